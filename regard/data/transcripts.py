"""`Transcripts`: recordings as examples, whose targets are what is said in them, letter by letter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from regard.data.augment import Noise, Reverberation, SpecAugment, Speed
from regard.data.encoding import END, Encoding
from regard.data.examples import PARTS, Part, VectorSet, check_part, parts_of
from regard.data.folders import ending
from regard.data.frames import Frames, Normalize
from regard.data.listing import LabeledFile, Listing
from regard.data.sound import sound_suffixes
from regard.data.sound_reader import SoundReader
from regard.data.survey import PartSurvey, Survey
from regard.data.tables import Table, read_table
from regard.data.tokenizer import clean, learn_written, tokenizer
from regard.data.varied import VariedFrames
from regard.data.voice import VoiceActivity
from regard.errors import InputError, check_numbers

__all__ = ["Transcripts"]

_TABLE = "utterances.csv"


@dataclass
class Transcripts(SoundReader):
    """The text of each utterance; vectors are log-mel features of 25 ms windows, 10 ms apart, at 16 kHz.

    The ids of a text end in that of the end. Its vocabulary is that of the texts of the training part.

    Args:
        path: a table (CSV or TSV) with the columns `path`, relative to the table's folder, that of the text, and `split` if there
            is one; or a folder with such a table of the name `utterances.csv`. Without a division a tenth is the test part and
            another the validation part, by the SHA-256 of the paths. None is the adults of speechocean762.
        column: the column that is the text.
        tokens: what texts are cut into; "bpe" and "unigram" are pieces learned from the training part.
        vocabulary: how many pieces or characters there are at most, without those of the begin and the end; 0 is 8,000 pieces, and
            all characters.
        minimum_count: how often the training part must show a character.
        lowercase: whether texts are lower-cased.
        mels: the number of mel bands, the width of the vectors.
        normalize: what is subtracted from the bands, as in `Sounds`.
        seed: of everything that is drawn for training sounds.
        cache: whether features (samples, where they are varied) are computed once and kept in the cache folder, or
            computed at each reading.
        voice: which frames are dropped because they hold no voice
        speed: how training sounds are played faster or slower; 1. of what varies them
        reverberation: how training sounds are heard in rooms; 2.
        noise: how noise is added to training sounds; 3.
        mask: what of the training sounds' features is covered; 4.
    """

    input_options: ClassVar[tuple[str, ...]] = ("mels", "normalize", "tokens", "lowercase")

    path: str | None = None
    column: str = "text"
    tokens: Literal["bpe", "unigram", "characters", "bytes"] = "characters"
    vocabulary: int = 0
    minimum_count: int = 2
    lowercase: bool = False
    mels: int = 40
    normalize: Normalize = "utterance"
    seed: int = 0
    cache: bool = True
    voice: VoiceActivity = field(default_factory=VoiceActivity)
    speed: Speed = field(default_factory=Speed)
    reverberation: Reverberation = field(default_factory=Reverberation)
    noise: Noise = field(default_factory=Noise)
    mask: SpecAugment = field(default_factory=SpecAugment)

    published = "speechocean762-adults"

    def __post_init__(self) -> None:
        check_numbers("data", self, "vocabulary", least=0)
        check_numbers("data", self, "minimum_count", "mels", least=1)
        if self.speed.voices:
            raise InputError("data.speed.voices is true, expected false: texts are no labels to make further ones of")

    def fit(self) -> Encoding:
        """The vocabulary of the training part's texts; its sounds are read only where the mean over them is to be subtracted."""
        chosen = self._part("train")
        texts = [self._cleaned(each.label) for each in chosen]
        targets = learn_written(self.tokens, texts, self.vocabulary, self.minimum_count)
        return Encoding(targets, width=self.mels, band_mean=self._mean([each.path for each in chosen]))

    def part(self, name: Part, encoding: Encoding) -> Frames:
        """The utterances of one part; with `cache` their features are computed now, where they are not yet.

        Raises:
            InputError: a sound that cannot be read, or an empty part.
        """
        chosen = self._part(check_part(name))
        framing = self._framing(encoding)
        features = framing.features([each.path for each in chosen], self.cache)
        return Frames(features, framing, [each.name for each in chosen], self._targets(chosen, encoding))

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The text of each sound of one part, and where it stands."""
        return [(each.label, each.where) for each in self._part(check_part(name))]

    def training(self, encoding: Encoding) -> VariedFrames:
        """The utterances of the training part, varied; see `part`."""
        chosen = self._part("train")
        targets = self._targets(chosen, encoding)
        return self._varied([each.path for each in chosen], [each.name for each in chosen], targets, encoding)

    def survey(self) -> Survey:
        """How many utterances each part has, and the first ones."""
        files, skips = self._listing.files()
        counts = {name: sum(each.part == name for each in files) for name in PARTS}
        parts = {str(name): PartSurvey(count, "utterances") for name, count in counts.items() if count}
        notes = tuple(f"there is no {name} part" for name, count in counts.items() if not count)
        if "train" not in parts:
            self._part("train")
        table, first = self._table, [(each.name, "", each.label) for each in files[:3]]
        columns = {"path": "sound", self.column: "text"} | ({"split": "part"} if "split" in table.header else {})
        form = f"sounds with their texts ({table.format})"
        return Survey(str(self._place), form, parts, columns, table.encoding, skips, first, notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """One more than the sounds of a table of sounds and texts that says nothing of speakers; 0 elsewhere."""
        table = place / _TABLE if os.path.isdir(place) else place
        if ending(table.name) not in (".csv", ".tsv") or not table.is_file():
            return 0
        try:
            found = read_table(table, ("path", "text"))
        except InputError:
            return 0
        sounds = [ending(row[found.header.index("path")]) in sound_suffixes() for _, row in found.rows]
        return 0 if "speaker" in found.header or not any(sounds) else sum(sounds) + 1

    def names_parts(self) -> bool:
        """Whether a column says which part a sound is in."""
        return "split" in self._table.header

    @property
    def root(self) -> Path:
        """The folder that the names of sounds are relative to."""
        return self._listing.root

    @property
    def _place(self) -> Path:
        return super().root

    @property
    def _listing(self) -> Listing:
        place = self._place
        folder, name = (place, _TABLE) if os.path.isdir(place) else (place.parent, place.name)
        if not os.path.lexists(folder / name):
            expected = f"expected a table with the columns path and {self.column}, or a folder with one in {_TABLE}"
            missing = f"has no {_TABLE}" if name == _TABLE and place == folder else "is not there"
            raise InputError(f"{place} {missing}, {expected}")
        return Listing(folder, name, sound_suffixes(), "sounds", _TextColumn(self.column), texts=True)

    @property
    def _table(self) -> Table:
        listing = self._listing
        return read_table(listing.root / listing.table, ("path", self.column))

    def _part(self, name: Part) -> list[LabeledFile]:
        chosen = [each for each in self._listing.files()[0] if each.part in parts_of(name)]
        if not chosen:
            raise InputError(f"{self._place} has no sound in the {name} part, expected at least one")
        return chosen

    def _cleaned(self, text: str) -> str:
        return clean(text, self.lowercase)

    def _targets(self, chosen: Sequence[LabeledFile], encoding: Encoding) -> list[VectorSet]:
        if not isinstance(encoding.targets, Encoding):
            raise InputError(
                f"the targets of the encoding are {encoding.described_targets}, expected sets of ids: texts"
            )
        cut, end = tokenizer(self.tokens, encoding.targets), encoding.targets.entry(END)
        ids = [np.array([*cut.ids(self._cleaned(each.label)), end], np.int64) for each in chosen]
        return [VectorSet(each, text=file.label) for each, file in zip(ids, chosen, strict=True)]


@dataclass
class _TextColumn:
    """What a listing of texts is read by."""

    column: str
    numbers: bool = False
    label_separator: str = ""
