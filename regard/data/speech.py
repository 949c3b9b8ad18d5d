"""A label or number per utterance: sounds in a folder for each label, or listed in `utterances.csv`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from regard.data.augment import Noise, Reverberation, SpecAugment, Speed
from regard.data.encoding import Encoding
from regard.data.examples import Array, Part, check_part, parts_of
from regard.data.folders import files_at
from regard.data.frames import Frames, Normalize, check_crop
from regard.data.label_sets import label_set
from regard.data.listing import LabeledFile, Listing, listing_targets
from regard.data.sound import sound_suffixes
from regard.data.sound_reader import SoundReader
from regard.data.survey import Survey, part_surveys
from regard.data.targets import PartTargets
from regard.data.varied import VariedFrames
from regard.data.voice import VoiceActivity
from regard.errors import InputError, check_numbers, nearest

__all__ = ["STRANGERS", "Sounds"]

# Eight women and eight men of speechocean762's 96 adults, those of each whose number has the smallest SHA-256.
STRANGERS = (
    *("0563", "0594", "2129", "2488", "9608", "9622", "9625", "9647"),
    *("0739", "1039", "1099", "1181", "1420", "2252", "2355", "2892"),
)


@dataclass
class Sounds(SoundReader):
    """A label per utterance; vectors are log-mel features of 25 ms windows, 10 ms apart, at 16 kHz.

    Args:
        path: a folder `LABEL/` of sounds, or of `train/LABEL/`, `validation/LABEL/` and `test/LABEL/`, or with
            `utterances.csv` (columns `path`, `split` if there is one, and the label's). Without a division a tenth of
            each label is the test part and another the validation part, by the SHA-256 of the paths inside the folder.
            None is the adults of speechocean762.
        column: the column of `utterances.csv` that is the label.
        unseen: labels that belong to no part: voices that the model never hears, to test it with strangers. None means
            none of one's own data, and 16 of the published ones (`STRANGERS`).
        numbers: whether that column holds numbers to predict, not names of classes.
        label_separator: what stands between the labels of a sound that may have several; empty where each has one.
        mels: the number of mel bands, the width of the vectors.
        normalize: what is subtracted from each band: "none", its mean over the "utterance" (of what was cut of it), or "global",
            its mean over the training part, which is kept with the run; or the loudness alone, in all bands alike: the
            "level" of what was cut of it, or the "running" level of the last seconds, which a stream knows as well.
        crop: seconds to keep from the middle of each validation, test and input sound; 0 keeps all.
        train_crop: seconds to keep of each training sound, at a place that depends on (seed, epoch, sound); 0 keeps all.
        seed: of everything that is drawn for training sounds.
        cache: whether features (samples, where they are varied) are computed once and kept in the cache folder, or
            computed at each reading.
        voice: which frames are dropped because they hold no voice, before anything is cut
        speed: how training sounds are played faster or slower; 1. of what varies them
        reverberation: how training sounds are heard in rooms; 2.
        noise: how noise is added to training sounds; 3.
        mask: what of the training sounds' features is covered; 4.
    """

    input_options: ClassVar[tuple[str, ...]] = ("mels", "normalize")

    path: str | None = None
    column: str = "speaker"
    unseen: tuple[str, ...] | None = None
    numbers: bool = False
    label_separator: str = ""
    mels: int = 40
    normalize: Normalize = "utterance"
    crop: float = 0
    train_crop: float = 0
    seed: int = 0
    cache: bool = True
    voice: VoiceActivity = field(default_factory=VoiceActivity)
    speed: Speed = field(default_factory=Speed)
    reverberation: Reverberation = field(default_factory=Reverberation)
    noise: Noise = field(default_factory=Noise)
    mask: SpecAugment = field(default_factory=SpecAugment)

    published = "speechocean762-adults"

    def fit(self) -> Encoding:
        """The labels of the training part; its sounds are read only where the mean over them is to be subtracted."""
        check_numbers("data", self, "mels", least=1)
        check_crop("crop", self.crop)
        check_crop("train_crop", self.train_crop)
        chosen = self._part("train")
        self._check_unseen()
        targets = listing_targets(self.labels("train"), self, self.speed.copies)
        if self.speed.voices and (self.numbers or self.label_separator):
            with_ = "data.numbers" if self.numbers else "data.label_separator"
            raise InputError(f"data.speed.voices is asked for with {with_}, expected labels to make further ones of")
        return Encoding(targets, width=self.mels, band_mean=self._mean([sound.path for sound in chosen]))

    def _check_unseen(self) -> None:
        known = {sound.label for sound in self._listed()}
        for label in self.unseen or ():
            if label not in known:
                raise InputError(f"no sound has the label {label!r} of data.unseen: {nearest(label, known)}")

    def part(self, name: Part, encoding: Encoding) -> Frames:
        """The utterances of one part; with `cache` their features are computed now, where they are not yet.

        Raises:
            InputError: a sound that cannot be read, or an empty part.
        """
        target = PartTargets(encoding, check_part(name))
        paths, names, targets = self._labelled(name, target)
        framing = self._framing(encoding)
        return Frames(framing.features(paths, self.cache), framing, names, targets, target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each sound of one part, and where it stands."""
        return [(sound.label, sound.where) for sound in self._part(check_part(name))]

    def training(self, encoding: Encoding) -> VariedFrames:
        """The utterances of the training part, cut at drawn places, and varied; see `part`."""
        paths, names, targets = self._labelled("train", PartTargets(encoding, "train"))
        return self._varied(paths, names, targets, encoding)

    def seconds(self, training: bool = False) -> float:
        """How much of each sound is kept; 0 keeps all."""
        return self.train_crop if training else self.crop

    def _labelled(self, name: Part, target: PartTargets) -> tuple[list[Path], list[str], list[Array]]:
        """The files of a part, their names and targets."""
        chosen = self._part(name)
        targets = target.all([(sound.label, sound.where) for sound in chosen])
        return [sound.path for sound in chosen], [sound.name for sound in chosen], targets

    def strangers(self, encoding: Encoding) -> tuple[Frames, list[str]]:
        """All utterances of the labels that are `unseen`, and the label of each.

        Raises:
            InputError: there are none.
        """
        chosen = [sound for sound in self._listed() if sound.label in self.hidden]
        if not chosen:
            raise InputError(f"no sound has one of the unseen labels {list(self.hidden)}, expected some to test with")
        framing = self._framing(encoding)
        features = framing.features([sound.path for sound in chosen], self.cache)
        names, labels = [sound.name for sound in chosen], [sound.label for sound in chosen]
        return Frames(features, framing, names), labels

    def listing(self, part: Part | Literal["unseen"] | None = None) -> list[tuple[str, str]]:
        """The names and labels of a part, of the labels that are `unseen`, or of all sounds; none is read.

        Raises:
            InputError: there are none.
        """
        if part is None or part == "unseen":
            chosen = [sound for sound in self._listed() if part is None or sound.label in self.hidden]
            if not chosen:
                raise InputError(
                    f"no sound in {self.root} has a label of data.unseen, {list(self.hidden)}, expected some"
                )
        else:
            chosen = self._part(check_part(part))
        return [(sound.name, sound.label) for sound in chosen]

    def survey(self) -> Survey:
        """How many sounds of each part have each label, without those of labels that are `unseen`."""
        (listed, skips), tabled = self._listing.files(), self._listing.tabled
        sounds = [sound for sound in listed if sound.label not in self.hidden]
        names = partial(label_set, separator=self.label_separator) if self.label_separator else None
        parts, notes = part_surveys(self.labels, "sounds", self.numbers, names)
        hidden = len(listed) - len(sounds)
        notes += [f"{hidden:,} sounds of {len(self.hidden)} unseen labels are in no part"] if hidden else []
        form = "sounds listed in utterances.csv" if tabled else "sounds by label"
        columns = {"path": "sound", self.column: "number" if self.numbers else "label"} if tabled else {}
        first = [(sound.name, sound.label, "") for sound in sounds[:3]]
        return Survey(str(self.root), form, parts, columns, skipped=skips, examples=first, notes=notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of sound files."""
        suffixes = sound_suffixes()
        return sum(path.suffix.lower() in suffixes for path in files_at(place))

    @property
    def hidden(self) -> tuple[str, ...]:
        """The labels that belong to no part."""
        if self.unseen is not None:
            return self.unseen
        return STRANGERS if self.path is None and self.column == "speaker" else ()

    @property
    def _listing(self) -> Listing:
        return Listing(self.root, "utterances.csv", sound_suffixes(), "sounds", self)

    def _listed(self) -> list[LabeledFile]:
        return self._listing.files()[0]

    def names_parts(self) -> bool:
        """Whether a column or folders say which part a sound is in."""
        return self._listing.names_parts()

    def _part(self, name: Part) -> list[LabeledFile]:
        chosen = [sound for sound in self._listed() if sound.part in parts_of(name) and sound.label not in self.hidden]
        if not chosen:
            way = "" if (self.root / "utterances.csv").exists() else ": a label needs 3 sounds to be divided"
            raise InputError(f"{self.root} has no sound in the {name} part, expected at least one{way}")
        return chosen
