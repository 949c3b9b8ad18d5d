"""A label or number per utterance: sounds in a folder for each label, or listed in `utterances.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data.examples import PARTS, Array, Encoding, Example, Part, Targets, check_part, parse_number, split
from regard.data.features import FRAMES_PER_SECOND, cached_log_mel, count_frames, log_mel, sound_suffixes
from regard.data.files import PART_NAMES, labeled_files, read_table
from regard.data.registry import locate
from regard.errors import InputError, check_numbers

__all__ = ["Sounds", "Utterances"]


@dataclass(frozen=True)
class _Listed:
    """A sound, its label, its part, and how an error names it."""

    path: Path
    name: str
    label: str
    part: str
    where: str


@dataclass
class Sounds:
    """A label per utterance; vectors are log-mel features of 25 ms windows, 10 ms apart, at 16 kHz.

    Args:
        path: a folder `LABEL/` of sounds, or of `train/LABEL/`, `validation/LABEL/` and `test/LABEL/`, or with
            `utterances.csv` (columns `path`, `split` if there is one, and the label's). Without a division a tenth of
            each label is the test part and another the validation part, by the SHA-256 of the paths inside the folder.
            None is the adults of speechocean762.
        column: the column of `utterances.csv` that is the label.
        numbers: whether that column holds numbers to predict, not names of classes.
        mels: the number of mel bands, the width of the vectors.
        normalize: whether the mean of each band over the utterance (or what was cut of it) is subtracted.
        crop: seconds to keep from the middle of each validation, test and input sound; 0 keeps all.
        train_crop: seconds to keep of each training sound, at a place that depends on (seed, epoch, sound); 0 keeps all.
        seed: for the places of `train_crop`.
        cache: whether features are computed once and kept in the cache folder, or computed at each reading.
    """

    path: str | None = None
    column: str = "speaker"
    numbers: bool = False
    mels: int = 40
    normalize: bool = True
    crop: float = 0
    train_crop: float = 0
    seed: int = 0
    cache: bool = True

    def fit(self) -> Encoding:
        """The labels of the training part; no sound is read."""
        check_numbers("data", self, "mels", least=1)
        for name, seconds in (("crop", self.crop), ("train_crop", self.train_crop)):
            if seconds and not seconds * FRAMES_PER_SECOND >= 1:
                raise InputError(f"{name} is {seconds} seconds, expected 0 or at least 0.01: one frame")
        chosen = self._part("train")
        if self.numbers:
            for each in chosen:
                parse_number(each.label, f"{each.where}, column {self.column},")
        targets = Targets.fit([each.label for each in chosen], self.numbers)
        return Encoding(labels=targets.labels, width=self.mels, statistics=targets.statistics)

    def part(self, name: Part, encoding: Encoding) -> Utterances:
        """The utterances of one part; with `cache` their features are computed now, where they are not yet.

        Raises:
            InputError: a sound that cannot be read, a label that no training sound has, or an empty part.
        """
        chosen, targets = self._part(check_part(name)), Targets.of(encoding)
        found = [targets(each.label, each.where) for each in chosen]
        random = name == "train" and self.train_crop > 0
        seconds = self.train_crop if name == "train" else self.crop
        return self._utterances([e.path for e in chosen], [e.name for e in chosen], found, seconds, random)

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Utterances:
        """Sound files, and all sounds below folders; nothing is put into the cache."""
        paths = []
        for source in sources:
            path = Path(source)
            inside = (
                sorted(p for p in path.rglob("*") if p.suffix.lower() in sound_suffixes()) if path.is_dir() else [path]
            )
            if not inside:
                raise InputError(f"{source} has no sound file, expected at least one")
            paths += inside
        kept = [log_mel(path, self.mels) for path in paths]
        return self._utterances(paths, [str(path) for path in paths], None, self.crop, False, kept)

    def _utterances(
        self,
        paths: Sequence[Path],
        names: Sequence[str],
        targets: Sequence[Array] | None,
        seconds: float,
        random: bool,
        features: Sequence[Array] | None = None,
    ) -> Utterances:
        kept: Sequence[Array | Path] | None = features
        if features is None and self.cache:
            kept = cached_log_mel(paths, self.mels)
        frames = round(seconds * FRAMES_PER_SECOND)
        return Utterances(self, paths, names, targets, kept, frames, random)

    def _part(self, name: Part) -> list[_Listed]:
        root = Path(self.path) if self.path is not None else locate("speechocean762-adults")
        table = root / "utterances.csv"
        chosen = [each for each in (self._table(table) if table.exists() else _folder(root)) if each.part == name]
        if not chosen:
            raise InputError(f"{root} has no sound in the {name} part, expected at least one")
        return chosen

    def _table(self, table: Path) -> list[_Listed]:
        header, rows = read_table(table, ("path", self.column))
        places = header.index("path"), header.index(self.column)
        names, labels = [row[places[0]] for _, row in rows], [row[places[1]] for _, row in rows]
        lines = [f"{table}, line {line}, ({name})" for name, (line, _) in zip(names, rows, strict=True)]
        for label, where in zip(labels, lines, strict=True):
            if not label:
                raise InputError(f"{where} has an empty {self.column}, expected a label")
        if "split" in header:
            given = [row[header.index("split")] for _, row in rows]
            for part, where in zip(given, lines, strict=True):
                if part not in PART_NAMES:
                    raise InputError(f"{where} has the split {part!r}, expected {', '.join(PARTS)}")
            parts = [PART_NAMES[part] for part in given]
        else:
            # Numbers are hardly ever equal: dividing within each would put all of them into the training part.
            parts = [str(part) for part in split(names, None if self.numbers else labels)]
        whole = zip(names, labels, parts, lines, strict=True)
        return [_Listed(table.parent / name, name, label, part, where) for name, label, part, where in whole]


def _folder(root: Path) -> list[_Listed]:
    files = labeled_files(root, sound_suffixes())
    names, labels = [path.relative_to(root).as_posix() for path, _, _ in files], [label for _, label, _ in files]
    given = [part for _, _, part in files]
    parts = split(names, labels) if None in given else given
    return [
        _Listed(path, name, label, str(part), str(path))
        for (path, _, _), name, label, part in zip(files, names, labels, parts, strict=True)
    ]


class Utterances:
    """Sounds as examples: `values [frames, mels]`; features are memory maps opened by path, at each reading.

    `features` are arrays, or `.npy` files, or None where they are to be computed. With `random`, `frames` rows are cut
    at a place that is a function of (seed, epoch, index), otherwise from the middle; 0 keeps all.
    """

    def __init__(
        self,
        reader: Sounds,
        paths: Sequence[Path],
        names: Sequence[str],
        targets: Sequence[Array] | None,
        features: Sequence[Array | Path] | None,
        frames: int,
        random: bool,
    ) -> None:
        self._reader, self._paths, self._names, self._targets = reader, paths, names, targets
        self._features, self._frames, self._random = features, frames, random
        self._epoch = 0
        counts = (
            [count_frames(path) for path in paths]
            if features is None
            else [len(self._load(i)) for i in range(len(self))]
        )
        self.lengths = [min(count, frames) if frames else count for count in counts]

    def set_epoch(self, epoch: int) -> None:
        """Choose the places of the random cuts."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int, /) -> Example:
        features = self._load(index)
        spare = len(features) - self._frames
        start, stop = 0, len(features)
        if self._frames and spare > 0:
            start = spare // 2
            if self._random:
                key = (self._reader.seed % 2**32) << 32 | self._epoch
                start = int(np.random.Generator(np.random.Philox(key=[key, index])).integers(spare + 1))
            stop = start + self._frames
        values = np.array(features[start:stop], np.float32)
        if self._reader.normalize:
            values -= values.mean(0)
        return Example(values, None if self._targets is None else self._targets[index], self._names[index])

    def _load(self, index: int) -> Array:
        if self._features is None:
            return log_mel(self._paths[index], self._reader.mels)
        kept = self._features[index]
        return np.load(kept, mmap_mode="r") if isinstance(kept, Path) else kept
