"""The reader of gray pictures as sequences of pixels: a label per picture, rows one after another, without coordinates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import numpy as np

from regard.data.arena.rasters import Rasters, is_batch, one_size, read_rasters
from regard.data.arena.shards import ABOUT
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Array, Example, Listed, Part, TargetKind, check_part, parts_of
from regard.data.folders import files_at, files_below
from regard.data.picture_files import PICTURE_SUFFIXES, read_picture
from regard.data.reader import STREAM, refused_value
from regard.data.registry import locate
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.data.tokenizer import UNKNOWN
from regard.errors import InputError, check_numbers

__all__ = ["PixelRows", "Raster"]

_LEVELS = tuple(map(str, range(256)))


class PixelRows:
    """Pictures as examples: `values [n]` one id for each pixel, its gray plus 1, so that black is an id as any other."""

    target_kind: TargetKind = "set"

    def __init__(
        self,
        pixels: Sequence[Array] | Array,
        names: Sequence[str],
        targets: Sequence[Array | None],
        unseen: Mapping[str, int] | None = None,
    ) -> None:
        self.pixels, self.names, self.targets, self.unseen = pixels, names, targets, unseen or {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Example:
        return Example(self.pixels[index].reshape(-1).astype(np.int64) + 1, self.targets[index], self.names[index])

    @property
    def lengths(self) -> list[int]:
        return [self.pixels[n].size for n in range(len(self))]


@dataclass
class Raster:
    """A label per picture, read as a sequence: row after row, each pixel one of 256 levels of gray, without coordinates.

    Args:
        path: a folder that `regard arena make pathfinder` or `path-x` wrote; CIFAR-10's batches for Python, in a folder or packed;
            or a folder or a tar archive of pictures as `LABEL/FILE` or `PART/LABEL/FILE`. None is the published data set.
        dataset: which one is meant where there is no path; empty for none.
        size: how many rows and columns each picture has; others are refused.
    """

    input_options: ClassVar[tuple[str, ...]] = ("size",)

    path: str | None = None
    dataset: Literal["", "cifar-10", "cifar-10-jpeg"] = ""
    size: int = 32

    def __post_init__(self) -> None:
        check_numbers("data", self, "size", least=1)

    @property
    def published(self) -> str:
        """The data set that is meant where there is no path."""
        return self.dataset

    def fit(self) -> Encoding:
        """The labels of the training part, and the 256 levels."""
        labels = Labels.of(label for label, _ in self.labels("train"))
        return Encoding(labels, {"gray": (UNKNOWN, *_LEVELS)})

    def part(self, name: Part, encoding: Encoding) -> PixelRows:
        """The pictures of one part."""
        found, chosen = self._chosen(check_part(name))
        target = PartTargets(encoding, name)
        targets = [target(found.labels[n], self._where(found, n)) for n in chosen]
        # The pictures of a part are mostly neighbors, of which a slice is no copy.
        whole = chosen[-1] - chosen[0] + 1 == len(chosen)
        pixels = found.pixels[chosen[0] : chosen[-1] + 1] if whole else found.pixels[chosen]
        return PixelRows(pixels, [found.names[n] for n in chosen], targets, target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each picture of one part, and where it stands."""
        found, chosen = self._chosen(check_part(name))
        return [(found.labels[n], self._where(found, n)) for n in chosen]

    def training(self, encoding: Encoding) -> PixelRows:
        """The pictures of the training part: nothing varies them."""
        return self.part("train", encoding)

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> PixelRows:
        """Picture files, and all pictures below folders."""
        paths: list[Path] = []
        for source in map(Path, sources):
            paths += files_below(source, PICTURE_SUFFIXES, "pictures")[0] if os.path.isdir(source) else [source]
        pixels = [one_size(read_picture(path, str(path)), self.size, str(path)) for path in paths]
        return PixelRows(pixels, list(map(str, paths)), [None] * len(paths))

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A picture in memory: the bytes of its file, or its pixels `[h, w]`, `[h, w, 3]` or, with alpha, `[h, w, 4]` uint8.

        Raises:
            InputError: what is neither, or has another size.
        """
        name = name or "the picture"
        if not isinstance(value, bytes | np.ndarray):
            raise refused_value(value, name, "the bytes of a picture's file, or its pixels")
        return PixelRows([one_size(read_picture(value, name), self.size, name)], [name], [None])[0]

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """One picture file."""
        yield Listed([self.example(file.read(), encoding, STREAM)])

    def survey(self) -> Survey:
        """How many pictures of each part have each label."""
        found = read_rasters(self._place, self.size)
        parts, notes = part_surveys(self.labels, "pictures")
        notes.insert(0, f"pictures are sequences of {self.size**2:,} pixels, row after row")
        first = [(name, label, "") for name, label in zip(found.names[:3], found.labels, strict=False)]
        return Survey(
            str(self._place), found.format, parts, skipped=found.skips or Skips(), examples=first, notes=notes
        )

    @classmethod
    def claims(cls, place: Path) -> int:
        """Twice the number of shards or of batches: pictures by label are for the reader `Pictures`."""
        shards = (place / ABOUT).is_file()
        return 2 * sum(path.suffix == ".npz" if shards else is_batch(path.name) for path in files_at(place))

    def names_parts(self) -> bool:
        """Whether the pictures come divided: shards and batches do, and folders of parts."""
        return read_rasters(self._place, self.size).divided

    @property
    def _place(self) -> Path:
        if self.path is None and not self.dataset:
            raise InputError(
                "data.path is not given, expected a folder that `regard arena make` wrote, or of pictures by label"
            )
        return Path(self.path) if self.path is not None else locate(self.dataset)

    def _where(self, found: Rasters, n: int) -> str:
        return f"{self._place}, picture {found.names[n]},"

    def _chosen(self, name: Part) -> tuple[Rasters, list[int]]:
        """All pictures, and the numbers of those of a part."""
        found = read_rasters(self._place, self.size)
        chosen = [n for n, part in enumerate(found.parts) if part in parts_of(name)]
        if not chosen:
            raise InputError(f"{self._place} has no picture in the {name} part, expected at least 3 of some label")
        return found, chosen
