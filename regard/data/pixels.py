"""Pictures as sets of pixels, each with one of 256 levels as its id: what a model of the next pixel reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from regard.data.encoding import BEGIN, Encoding, Labels
from regard.data.examples import Array, Example, Listed, Part, TargetKind, check_part
from regard.data.patches import Distortion, PictureSet
from regard.data.pictures import Pictures
from regard.data.survey import Survey
from regard.data.varied_pictures import Variation, VariedPictures
from regard.errors import check_numbers

__all__ = ["LEVELS", "PixelSet", "Pixels", "VariedPixels"]

LEVELS = 256
"""How many values a pixel may have."""

_COLUMN = "pixel"
_VALUES = tuple(str(n) for n in range(LEVELS))


class PixelSet:
    """Pictures as sets of their pixels, row by row: `values [n]` the level of each, which is its target too.

    Args:
        pictures: of patches of 1 x 1, gray.
        targets: whether examples have them.
    """

    target_kind: TargetKind = "vector"

    def __init__(self, pictures: PictureSet, targets: bool = True) -> None:
        self.pictures, self._targets = pictures, targets

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int, /) -> Example:
        return _pixels(self.pictures[index], self._targets)

    @property
    def lengths(self) -> list[int]:
        return self.pictures.lengths

    @property
    def targets(self) -> list[Array | None]:
        """The levels as bytes, which are an eighth of the ids."""
        if not self._targets:
            return [None] * len(self)
        return [self.pictures.pixels[n].reshape(-1) for n in range(len(self))]


class VariedPixels(PixelSet):
    """Pixels of pictures that are varied, differently in each epoch."""

    pictures: VariedPictures

    def set_epoch(self, epoch: int) -> None:
        """Choose the variations."""
        self.pictures.set_epoch(epoch)


def _pixels(example: Example, targets: bool) -> Example:
    ids = np.rint(example.values[:, 0] * (LEVELS - 1)).astype(np.int64)
    return Example(ids, ids if targets else None, example.name, "vector", coords=example.coords)


@dataclass
class Pixels:
    """Gray pictures as sets of pixels, each of which is a vector with the id of its level, 0 to 255, and the coordinates (row,
    column); its level is its target as well.

    Args:
        path: a folder of idx files such as `train-images-idx3-ubyte.gz`, or of pictures as `LABEL/FILE` or `PART/LABEL/FILE`, as
            `Pictures` reads them; their labels are not looked at.
        size: the side of the square, in pixels, to which pictures are brought; 0 takes the median of the training part, at most 64.
        flip: whether half of the training pictures are mirrored, left for right, drawn anew in each epoch.
        seed: of these draws.
    """

    input_options: ClassVar[tuple[str, ...]] = ()

    path: str | None = None
    size: int = 0
    flip: bool = False
    seed: int = 0

    published = ""

    def __post_init__(self) -> None:
        check_numbers("data", self, "size", "seed", least=0)

    def fit(self) -> Encoding:
        """The levels, and the size that pictures get."""
        return replace(self._pictures.form(), targets=Labels(_VALUES), columns={_COLUMN: (*_VALUES, BEGIN)}, width=0)

    def part(self, name: Part, encoding: Encoding) -> PixelSet:
        """The pictures of one part.

        Raises:
            InputError: a picture that cannot be read, or an empty part.
        """
        return PixelSet(self._pictures.unlabeled(name, _patched(encoding)))

    def training(self, encoding: Encoding) -> PixelSet:
        """The pictures of the training part, mirrored where that is asked for."""
        plain = self._pictures.unlabeled("train", _patched(encoding))
        variation = Variation(Distortion(0.0, self.flip, self.seed))
        return VariedPixels(VariedPictures(plain, variation, encoding)) if self.flip else PixelSet(plain)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """None: what is guessed is the picture itself."""
        self._pictures.labels(check_part(name))
        return []

    def names_parts(self) -> bool:
        """Whether folders or the names of idx files say which part a picture is in."""
        return self._pictures.names_parts()

    def survey(self) -> Survey:
        """What `Pictures` finds there."""
        return self._pictures.survey()

    @classmethod
    def claims(cls, place: Path) -> int:
        """None: pictures are for the reader `Pictures`, which looks for labels."""
        return 0

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> PixelSet:
        """Picture files, and all pictures below folders, brought to the size of training."""
        return PixelSet(self._pictures.inputs(sources, _patched(encoding)), targets=False)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A picture in memory, as `Pictures.example` takes it.

        Raises:
            InputError: what is no picture.
        """
        return _pixels(self._pictures.example(value, _patched(encoding), name), targets=False)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """One picture file."""
        for part in self._pictures.stream(file, _patched(encoding)):
            yield Listed([_pixels(example, targets=False) for example in part.examples])

    @property
    def _pictures(self) -> Pictures:
        return Pictures(self.path, size=self.size, patch=1, color="gray")


def _patched(encoding: Encoding) -> Encoding:
    """The encoding as `Pictures` has it, whose vectors are patches of one pixel."""
    return replace(encoding, width=1, targets=None, columns={})
