"""A label per picture: one's own pictures by label, or idx files, in the size, the patches and the colors that they call for."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import numpy as np

from regard.data.decoded import picture_shape, pixels_of
from regard.data.encoding import Encoding, Grid
from regard.data.examples import Array, Example, Listed, Part, check_part, divided, parts_of
from regard.data.folders import files_at, files_below
from regard.data.idx import idx_parts, is_idx, read_idx
from regard.data.label_sets import label_set
from regard.data.listing import Listing, listing_targets
from regard.data.patches import Distortion, Patches, PictureSet
from regard.data.picture_files import PICTURE_SUFFIXES, SIDES, is_colored, read_header, read_picture
from regard.data.reader import STREAM, refused_value
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.data.varied_pictures import Variation, VariedPictures
from regard.errors import InputError, check_numbers

__all__ = ["Pictures"]

_LARGEST_SIDE = 64
_PATCHES = 8  # along a side, at most, where no patch is asked for


@dataclass(frozen=True, eq=False)
class _Entry:
    """A picture: its file or pixels, label and part, and how predictions and errors name it."""

    source: Path | Array
    name: str
    label: str
    part: Part
    where: str


@dataclass
class Pictures:
    """A label per picture; vectors are square patches, with the coordinates (row, column) of the patch.

    A vector holds the values of its patch, row by row and between 0 (black) and 1 (white). What is not asked for follows the
    training part: the side is the median of the pictures', at most 64 pixels, the patch such that at most 8 lie along a side
    (which becomes a multiple of it), and red, green and blue are kept where any picture has color.

    Args:
        path: a folder of pictures (PNG, JPEG, GIF, BMP, WebP, TIFF, PGM) as `LABEL/FILE` or `PART/LABEL/FILE`, or of idx files
            such as `train-images-idx3-ubyte.gz`. Where nothing says the part, a tenth of each label is the test part and another
            the validation part, by the SHA-256 of the files' paths inside the folder. Or a folder with `pictures.csv` (columns
            `path`, `split` if there is one, and the label's).
        column: the column of `pictures.csv` that is the label.
        numbers: whether labels are numbers to predict, not names of classes.
        label_separator: what stands between the labels of a picture that may have several; empty where each has one.
        size: the side of the square, in pixels, to which pictures are brought; 0 follows the training part. Without `squares`, how
            many pixels the longer side has at most, where 0 is no bound.
        squares: whether pictures become squares of one size; otherwise each keeps the proportions of its sides, which become
            multiples of the patch's, and may have any number of patches.
        patch: the side of a patch in pixels; it divides `size`. 0 follows the size.
        color: "color" keeps red, green and blue, "gray" does not, "auto" follows the training part.
        distort: how far each training picture is turned (radians), stretched and moved (parts of its side), at most and anew in
            each epoch; 0 leaves pictures as they are.
        flip: whether half of the training pictures are mirrored, left for right, drawn anew in each epoch.
        shift: by how many pixels each training picture is moved at most, up or down and left or right; its edge is repeated.
        mixup: each training picture is mixed with another one, value by value, as are their labels: alpha of the share that stays,
            drawn from Beta(alpha, alpha) (Zhang et al. 2018); 0 for none, 0.2 for little, 1 for any share alike.
        cutmix: each training picture has a rectangle of another one in it: alpha of the share that stays (Yun et al. 2019). With
            both of them, half of the pictures have either.
        mixed: the share of training pictures that are mixed in one of these ways.
        seed: of all that is drawn, which is a function of (seed, epoch, picture).
    """

    input_options: ClassVar[tuple[str, ...]] = ()

    path: str | None = None
    column: str = "label"
    numbers: bool = False
    label_separator: str = ""
    size: int = 0
    squares: bool = True
    patch: int = 0
    color: Literal["auto", "color", "gray"] = "auto"
    distort: float = 0.0
    flip: bool = False
    shift: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixed: float = 1.0
    seed: int = 0

    published = ""

    def fit(self) -> Encoding:
        """The labels of the training part, and the grid of patches that its pictures call for."""
        return replace(self.form(), targets=listing_targets(self.labels("train"), self))

    def form(self) -> Encoding:
        """The encoding without labels: the grid of patches that the training part calls for, and their width."""
        patches = self._patches()
        extent = (patches.count, patches.count) if patches.square else patches.extent
        return Encoding(width=patches.width, grid=Grid(2, extent))

    def part(self, name: Part, encoding: Encoding) -> PictureSet:
        """The pictures of one part.

        Raises:
            InputError: a picture that cannot be read, or an empty part.
        """
        target = PartTargets(encoding, check_part(name))
        chosen = self._chosen(name)
        targets = target.all([(entry.label, entry.where) for entry in chosen])
        return self._read(chosen, encoding, targets, target.unseen)

    def unlabeled(self, name: Part, encoding: Encoding) -> PictureSet:
        """The pictures of one part without their labels; `part` without targets."""
        chosen = self._chosen(check_part(name))
        return self._read(chosen, encoding, [None] * len(chosen))

    def training(self, encoding: Encoding) -> PictureSet:
        """The pictures of the training part, varied where that is asked for; see `part`.

        Raises:
            InputError: what cannot be read, or mixing where pictures have no single labels.
        """
        plain = self.part("train", encoding)
        distortion = Distortion(self.distort, self.flip, self.seed)
        variation = Variation(distortion, self.shift, self.mixup, self.cutmix, self.mixed)
        return VariedPictures(plain, variation, encoding) if variation.varies else plain

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each picture of one part, and where it stands."""
        return [(entry.label, entry.where) for entry in self._chosen(check_part(name))]

    def names_parts(self) -> bool:
        """Whether a column, folders or the names of idx files say which part a picture is in."""
        return bool(idx_parts(self._root)) or self._listing.names_parts()

    def survey(self) -> Survey:
        """How many pictures of each part have each label, what becomes of them, and which are not read as they are."""
        (entries, skips), idx = self._entries(), bool(idx_parts(self._root))
        names = partial(label_set, separator=self.label_separator) if self.label_separator else None
        parts, notes = part_surveys(self.labels, "pictures", self.numbers, names)
        headers = {entry.name: read_header(entry.source) for entry in entries if isinstance(entry.source, Path)}
        for name in (name for name, header in headers.items() if header.moving):
            skips.add("pictures after their first frame", name)
        clear = sum(header.transparent for header in headers.values())
        notes += [f"{clear:,} pictures may have transparent places, which become white"] if clear else []
        notes.insert(0, self._patches().described)
        first = [(entry.name, entry.label, "") for entry in entries[:3]]
        tabled = not idx and self._listing.tabled
        form = "pictures in idx files" if idx else "pictures listed in pictures.csv" if tabled else "pictures by label"
        columns = {"path": "picture", self.column: "number" if self.numbers else "label"} if tabled else {}
        return Survey(str(self._root), form, parts, columns, skipped=skips, examples=first, notes=notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of picture files, or of idx files."""
        return sum(path.suffix.lower() in PICTURE_SUFFIXES or is_idx(path.name) for path in files_at(place))

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> PictureSet:
        """Picture files, and all pictures below folders, brought to the size of training."""
        paths: list[Path] = []
        for source in map(Path, sources):
            paths += files_below(source, PICTURE_SUFFIXES, "pictures")[0] if os.path.isdir(source) else [source]
        entries = [_Entry(path, str(path), "", "test", str(path)) for path in paths]
        return self._read(entries, encoding, [None] * len(entries))

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A picture in memory: the bytes of its file; its pixels `[h, w]`, `[h, w, 3]` or, with alpha, `[h, w, 4]` uint8; or those
        of the size of training, `[side, side]` or `[side, side, c]` between 0 and 1.

        Raises:
            InputError: what is neither.
        """
        name, patches = name or "the picture", self._form(encoding)
        if isinstance(value, bytes) or (isinstance(value, np.ndarray) and value.dtype == np.uint8):
            return patches.example(patches.brought(read_picture(value, name)), name)
        if not isinstance(value, np.ndarray):
            raise refused_value(value, name, "the bytes of a picture's file, or its pixels")
        return patches.of_fractions(value, name)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """One picture file."""
        yield Listed([self.example(file.read(), encoding, STREAM)])

    @property
    def _root(self) -> Path:
        if self.path is None:
            raise InputError("data.path is not given, expected a folder of pictures by label, or of idx files")
        return Path(self.path)

    @property
    def _listing(self) -> Listing:
        return Listing(self._root, "pictures.csv", PICTURE_SUFFIXES, "pictures", self)

    def _entries(self) -> tuple[list[_Entry], Skips]:
        """All pictures, each in its part; and what is skipped."""
        idx = idx_parts(self._root)
        if idx:
            return _entries_of_idx(idx), Skips()
        files, skips = self._listing.files()
        return [_Entry(each.path, each.name, each.label, each.part, each.where) for each in files], skips

    def _chosen(self, name: Part) -> list[_Entry]:
        chosen = [entry for entry in self._entries()[0] if entry.part in parts_of(name)]
        if not chosen:
            raise InputError(f"{self._root} has no picture in the {name} part, expected at least 3 of some label")
        return chosen

    def _patches(self) -> Patches:
        """The size, the patch and the colors that are asked for, or that the training part calls for."""
        check_numbers("data", self, "size", "patch", "shift", least=0, below=SIDES)
        check_numbers("data", self, "mixup", "cutmix", least=0)
        check_numbers("data", self, "distort", least=0, below=1)
        if not 0 <= self.mixed <= 1:
            raise InputError(f"data.mixed is {self.mixed}, expected a share from 0 to 1")
        chosen = self._chosen("train")
        follows = not (self.size and self.squares)
        shapes = [picture_shape(entry.source) for entry in chosen] if follows else []
        sides = [math.sqrt(height * width) for height, width in shapes]
        origin = f"they have from {min(sides):.0f} to {max(sides):.0f} pixels along a side" if sides else "as asked for"
        side = self.size or max(1, min(_LARGEST_SIDE, round(statistics.median(sides))))
        patch = self.patch or _patch(side, exactly=self.size > 0 and self.squares)
        channels = 3 if self._is_colored(chosen) else 1
        if not self.squares:
            patches = Patches(self.size, patch, channels, square=False, origin=origin)
            rows, columns = zip(*(patches.shape(*shape) for shape in shapes), strict=True)
            return replace(patches, extent=(max(rows) // patch, max(columns) // patch))
        if not self.size:
            side = max(1, round(side / patch)) * patch
        if side % patch:
            raise InputError(f"data.patch is {patch}, expected a divisor of the {side} pixels of data.size")
        return Patches(side, patch, channels, origin=origin)

    def _is_colored(self, entries: Sequence[_Entry]) -> bool:
        if self.color == "auto":
            return any(is_colored(read_picture(entry.source, entry.where)) for entry in entries)
        return self.color == "color"

    def _form(self, encoding: Encoding) -> Patches:
        """What pictures become, as `_patches` found it in training."""
        square = Patches.of(encoding)
        return square if self.squares else replace(square, side=self.size, square=False)

    def _read(
        self, entries: Sequence[_Entry], encoding: Encoding, targets: Sequence[Array | None], unseen: Any = None
    ) -> PictureSet:
        patches, sources = self._form(encoding), [entry.source for entry in entries]
        if patches.square:
            shapes = [patches.shape(0, 0)] * len(entries)
        else:
            shapes = [patches.shape(*picture_shape(source)) for source in sources]
        pixels = pixels_of(patches, sources, [entry.where for entry in entries], shapes)
        names = [entry.name for entry in entries]
        return PictureSet(patches, names, pixels, targets, unseen, None if patches.square else shapes)


def _patch(side: int, exactly: bool) -> int:
    """The smallest patch of which at most 8 lie along a side; one that divides the side, where that must stay as it is."""
    least = -(-side // _PATCHES)
    return next(patch for patch in range(least, side + 1) if not exactly or side % patch == 0)


def _entries_of_idx(files: Mapping[Part, tuple[Path, Path]]) -> list[_Entry]:
    """The pictures of all parts, of which the training part gives some to a validation part that is not there."""
    sources: list[Array] = []
    whole: list[tuple[str, str, Part, str]] = []
    for part, (pictures, labels) in files.items():
        pixels, classes = read_idx(pictures, 3), read_idx(labels, 1)
        if len(pixels) != len(classes):
            found = f"{len(pixels):,} pictures and {labels} {len(classes):,} labels"
            raise InputError(f"{pictures} has {found}, expected as many")
        if not len(pixels) or not pixels[0].size:
            raise InputError(f"{pictures} has no pictures, expected at least one")
        sources += list(pixels)
        name = pictures.name.partition("-images")[0]
        whole += [
            (f"{name}/{n}", str(label), part, f"{pictures}, picture {n},") for n, label in enumerate(classes.tolist())
        ]
    parts = divided([name for name, *_ in whole], [label for _, label, *_ in whole], [part for _, _, part, _ in whole])
    return [
        _Entry(source, name, label, part, where)
        for source, (name, label, _, where), part in zip(sources, whole, parts, strict=True)
    ]
