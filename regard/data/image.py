"""A label per picture: the handwritten digits of scikit-learn, or one's own pictures in a folder for each label."""

from __future__ import annotations

import gzip
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from regard.data.encoding import Encoding, Grid
from regard.data.examples import Array, Example, Listed, Part, check_part, parts_of, split
from regard.data.folders import files_below
from regard.data.label_sets import label_set
from regard.data.listing import LabeledFile, Listing, listing_targets
from regard.data.patches import Distortion, cut, joined
from regard.data.picture_files import PICTURE_SUFFIXES, SIDES, read_picture, resized
from regard.data.reader import STREAM, refused_value
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.errors import InputError, check_numbers

__all__ = ["Digits"]


@dataclass
class Digits:
    """Labels, or a number, per picture; vectors are pixels or square patches, with the coordinates (row, column) of the patch.

    A vector holds the values of its patch, row by row and between 0 (black) and 1 (white); a pixel is a patch of 1.

    Args:
        path: a folder `LABEL/` of picture files, or of `train/LABEL/`, `validation/LABEL/` and `test/LABEL/`; without
            such a division a tenth of each label is the test part and another the validation part, by the SHA-256 of
            the files' paths inside the folder. Or a folder with `pictures.csv` (columns `path`, `split` if there is one, and the
            label's). None is scikit-learn's 1,797 digits of 8 x 8 pixels, named by their
            number, divided by label in the same way into 1,005 / 297 / 495.
        column: the column of `pictures.csv` that is the label.
        numbers: whether labels are numbers to predict, not names of classes.
        label_separator: what stands between the labels of a picture that may have several; empty where each has one.
        patch: the side of a patch in pixels; it divides `size`.
        size: the side to which own pictures are resized.
        color: whether own pictures keep red, green and blue; otherwise they become gray.
        distort: how far each training picture is turned (radians), stretched and moved (parts of its side), at most and
            anew in each epoch; 0 leaves pictures as they are.
        seed: of the distortions, which are a function of (seed, epoch, picture).
    """

    input_options: ClassVar[tuple[str, ...]] = ("patch",)

    path: str | None = None
    column: str = "label"
    numbers: bool = False
    label_separator: str = ""
    patch: int = 1
    size: int = 8
    color: bool = False
    distort: float = 0.0
    seed: int = 0

    published = "digits"

    def fit(self) -> Encoding:
        """The labels of the training part, and the grid of patches."""
        check_numbers("data", self, "size", least=1, below=SIDES)
        if self.patch < 1 or self._side % self.patch:
            raise InputError(
                f"patch is {self.patch}, expected a divisor of the {self._side} pixels of a picture's side"
            )
        if not 0 <= self.distort < 1:
            raise InputError(f"distort is {self.distort}, expected at least 0 and less than 1")
        side = self._side // self.patch
        targets = listing_targets(self.labels("train"), self)
        width = self.patch**2 * (3 if self.color and self.path is not None else 1)
        return Encoding(targets, width=width, grid=Grid(2, (side, side)))

    def part(self, name: Part, encoding: Encoding) -> Listed:
        """The pictures of one part.

        Raises:
            InputError: a picture that cannot be read, or an empty part.
        """
        target = PartTargets(encoding, check_part(name))
        chosen, targets = self._chosen(name), target.all(self.labels(name))
        examples = [self._example(f.name, self._pixels(f.name), its) for f, its in zip(chosen, targets, strict=True)]
        return Listed(examples, target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each picture of one part, and where it stands."""
        return [(picture.label, picture.where) for picture in self._chosen(check_part(name))]

    def names_parts(self) -> bool:
        """Whether a column or folders say which part a picture is in."""
        return self.path is None or self._listing.names_parts()

    @property
    def _listing(self) -> Listing:
        return Listing(Path(self.path or ""), "pictures.csv", PICTURE_SUFFIXES, "pictures", self)

    def _chosen(self, name: Part) -> list[LabeledFile]:
        chosen = [picture for picture in self._index()[0] if picture.part in parts_of(name)]
        if not chosen:
            raise InputError(f"{self.path} has no picture in the {name} part, expected at least 3 of some label")
        return chosen

    def training(self, encoding: Encoding) -> Listed:
        """The pictures of the training part, distorted where that is asked for; see `part`."""
        plain = self.part("train", encoding)
        return (
            _Distorted(self.patch, Distortion(self.distort, seed=self.seed), plain.examples) if self.distort else plain
        )

    def survey(self) -> Survey:
        """How many pictures of each part have each label."""
        (index, skips), listed = self._index(), self.path is not None and self._listing.tabled
        names = partial(label_set, separator=self.label_separator) if self.label_separator else None
        parts, notes = part_surveys(self.labels, "pictures", self.numbers, names)
        if self.path is not None:
            shown = "color" if self.color else "gray"
            kept = f"pictures become {self.size} x {self.size}, {shown}"
            notes.insert(0, f"{kept}: the recipe pictures follows the data instead")
        form = "digits" if self.path is None else "pictures listed in pictures.csv" if listed else "pictures by label"
        first = [(picture.name, picture.label, "") for picture in index[:3]]
        columns = {"path": "picture", self.column: "number" if self.numbers else "label"} if listed else {}
        source = self.path or "scikit-learn"
        return Survey(source, form, parts, columns, skipped=skips, examples=first, notes=notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """None: pictures are for the reader `Pictures`, which follows them."""
        return 0

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Listed:
        """Picture files, brought to the size of training; for the embedded digits also their numbers, such as `17`."""
        examples = []
        for source in self._files(sources):
            embedded = self.path is None and source.isdecimal() and not Path(source).exists()
            pixels = self._pixels(source) if embedded else self._open(Path(source), source)
            examples.append(self._example(source, pixels, None))
        return Listed(examples)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A picture in memory: the bytes of its file, or its pixels `[side, side]` or `[side, side, c]` between 0 and 1.

        Raises:
            InputError: what is neither.
        """
        name, side = name or "the picture", self._side
        channels = 3 if self.color and self.path is not None else 1
        if isinstance(value, bytes):
            return self._example(name, self._open(value, name), None)
        if not isinstance(value, np.ndarray):
            raise refused_value(value, name, "the bytes of a picture's file, or its pixels")
        pixels = value.astype(np.float32)
        if pixels.shape != (side, side, channels) and (channels > 1 or pixels.shape != (side, side)):
            raise InputError(f"{name} has pixels {list(value.shape)}, expected {[side, side, channels]} as in training")
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError(f"{name} has pixels from {pixels.min():g} to {pixels.max():g}, expected 0 to 1")
        return self._example(name, pixels.reshape(side, side, channels), None)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """One picture file."""
        yield Listed([self.example(file.read(), encoding, STREAM)])

    def _files(self, sources: Sequence[str]) -> list[str]:
        """The sources, and all pictures below those that are folders."""
        return [
            str(file)
            for source in sources
            for file in (
                files_below(Path(source), PICTURE_SUFFIXES, "pictures")[0] if os.path.isdir(source) else [source]
            )
        ]

    @property
    def _side(self) -> int:
        return 8 if self.path is None else self.size

    def _index(self) -> tuple[list[LabeledFile], Skips]:
        """The pictures, named by their number or their path, and what is skipped."""
        if self.path is not None:
            return self._listing.files()
        labels = [str(label) for label in _digits()[1]]
        names = [str(i) for i in range(len(labels))]
        whole = zip(names, labels, split(names, labels, (0.56, 0.165, 0.275)), strict=True)
        return [LabeledFile(Path(name), name, label, part, f"digit {name}") for name, label, part in whole], Skips()

    def _pixels(self, key: str) -> Array:
        if self.path is not None:
            path = Path(self.path) / key
            return self._open(path, str(path))
        pictures = _digits()[0]
        if len(key) > 9 or int(key) >= len(pictures):
            raise InputError(f"there is no digit {key}, expected a number below {len(pictures)} or a picture file")
        return pictures[int(key)][:, :, None]

    def _open(self, source: Path | bytes, name: str) -> Array:
        """`[side, side, c]` float32, of a picture that was brought to the square."""
        colored = self.color and self.path is not None
        return resized(read_picture(source, name), self._side, colored).astype(np.float32) / 255

    def _example(self, name: str, pixels: Array, target: Array | None) -> Example:
        side = self._side // self.patch
        rows, columns = np.divmod(np.arange(side * side), side)
        coords = np.stack([rows, columns], 1).astype(np.float32)
        return Example(cut(pixels, self.patch), target, name, coords=coords)


class _Distorted(Listed):
    """Pictures that are turned, stretched and moved a little, differently in each epoch."""

    def __init__(self, patch: int, distortion: Distortion, examples: Sequence[Example]) -> None:
        super().__init__(examples)
        self._patch, self._distortion, self._epoch = patch, distortion, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the distortions."""
        self._epoch = epoch

    def __getitem__(self, index: int, /) -> Example:
        example = self.examples[index]
        varied = self._distortion(joined(example.values, self._patch), self._epoch, index)
        return replace(example, values=cut(varied, self._patch))


@lru_cache(maxsize=1)
def _digits() -> tuple[Array, Array]:
    """`[1797, 8, 8]` between 0 and 1, and their labels."""
    # The file that `sklearn.datasets.load_digits` reads: that module takes longer to import than torch.
    package = importlib.util.find_spec("sklearn")
    root = Path(package.origin or "").parent if package else Path()
    try:
        with gzip.open(root / "datasets" / "data" / "digits.csv.gz") as file:
            table = np.loadtxt(file, delimiter=",")
    except OSError:
        raise InputError("scikit-learn is not installed with its digits, expected them for the recipe digits") from None
    return (table[:, :-1].reshape(-1, 8, 8) / 16).astype(np.float32), table[:, -1].astype(np.int64)
