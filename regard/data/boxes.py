"""A set of labeled boxes per picture: the reader of PASCAL VOC's annotations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from regard.data.arrangement import ending
from regard.data.boxed_pictures import BoxedPictures, BoxVariation, Fitting, Source, VariedBoxes, version_of
from regard.data.encoding import Encoding, Grid, Labels
from regard.data.examples import Array, Example, Part, VectorSet, check_part, divided, parts_of
from regard.data.folders import files_at, files_below
from regard.data.picture_files import PICTURE_SUFFIXES, SIDES
from regard.data.reader import STREAM, refused_value
from regard.data.registry import locate
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.data.voc import (
    LARGEST_XML,
    Annotated,
    Annotation,
    Stored,
    annotated_pictures,
    is_packed,
    read_annotation,
    stored_files,
)
from regard.errors import InputError, check_numbers

__all__ = ["Boxes"]

_ALIKE = 0.02  # how much the shape of a picture may differ from what its annotation says


@dataclass(frozen=True, eq=False)
class _Entry:
    """A picture with its boxes, `[n, 4]` centers, widths and heights as parts of the picture's, and the label of each."""

    source: Source
    part: Part
    labels: tuple[str, ...]
    boxes: Array
    where: str


@dataclass
class Boxes:
    """A set of labeled boxes per picture; vectors are square patches in color, with the coordinates (row, column) of the patch.

    A target is a set of its own: for each box the id of its label, and as its coordinates the center (x, y), the width and the
    height, all as parts of the picture's. Boxes end where the picture ends; those without area, and those outside their picture,
    are skipped and counted. A picture without boxes is an example with an empty set.

    Args:
        path: a folder, or a tar archive of it, as PASCAL VOC has it: `Annotations/NAME.xml`, `JPEGImages/NAME.jpg` and the lists
            `ImageSets/Main/train.txt`, `val.txt`, `test.txt`; or XML files beside their pictures in folders train, valid, test.
            Where nothing says the part, a tenth of the pictures is the test part and another the validation part, by the SHA-256
            of their names. None is the published data set BCCD.
        size: the longer side of a picture in pixels, to which it is brought; 0 leaves pictures as large as they are.
        patch: the side of a patch in pixels; each side of a picture becomes a multiple of it.
        flip: whether half of the training pictures are mirrored, left for right, and half of them top for bottom.
        crop: the least part of each side that is cut out of a training picture and brought to its whole size; 1 cuts nothing.
        jitter: how much brightness, contrast and each color of a training picture are changed, at most.
        mosaic: the share of training pictures that are put together from parts of four, where nothing is cut further.
        seed: of these variations, which are a function of (seed, epoch, picture).
    """

    input_options: ClassVar[tuple[str, ...]] = ("patch",)

    path: str | None = None
    size: int = 320
    patch: int = 16
    flip: bool = False
    crop: float = 1.0
    jitter: float = 0.0
    mosaic: float = 0.0
    seed: int = 0

    published = "bccd"

    def fit(self) -> Encoding:
        """The labels of the training part's boxes."""
        labels = self.labels("train")
        if not labels:
            raise InputError(f"{self._place} has no box in the train part, expected at least one")
        boxes = Encoding(Labels.of(label for label, _ in labels), grid=Grid(4))
        return Encoding(boxes, width=self._fitting.width, grid=Grid(2))

    def part(self, name: Part, encoding: Encoding) -> BoxedPictures:
        """The pictures of one part, with their boxes."""
        inner = encoding.targets
        if not isinstance(inner, Encoding):
            raise InputError(f"the targets of the encoding are {encoding.described_targets}, expected sets of boxes")
        known = PartTargets(inner, check_part(name))
        chosen = self._chosen(name)
        targets = []
        for entry in chosen:
            ids = np.array([int(known(label, entry.where)) for label in entry.labels], np.int64)
            targets.append(VectorSet(ids, entry.boxes))
        return BoxedPictures(self._fitting, [entry.source for entry in chosen], targets, known.unseen)

    def training(self, encoding: Encoding) -> BoxedPictures:
        """The pictures of the training part, varied where that is asked for; see `part`."""
        plain = self.part("train", encoding)
        variation = BoxVariation(self.flip, self.crop, self.jitter, self.seed, self.mosaic)
        return VariedBoxes(plain, variation) if variation.varies else plain

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each box of one part, and where it stands."""
        return [(label, entry.where) for entry in self._chosen(check_part(name)) for label in entry.labels]

    def names_parts(self) -> bool:
        """Whether lists or folders say which part a picture is in."""
        return any(each.part for each in annotated_pictures(self._place)[0])

    def survey(self) -> Survey:
        """How many boxes of each part have each label; which are skipped, and which pictures have none."""
        entries, skips, clipped = _entries(self._place)
        parts, notes = part_surveys(self.labels, "boxes")
        for name in parts:
            chosen = [entry for entry in entries if entry.part == name]
            bare = [entry.source.name for entry in chosen if not entry.labels]
            without = f", {len(bare):,} of them without boxes, such as {bare[0]}" if bare else ""
            notes.append(f"{len(chosen):,} pictures in the {name} part{without}")
        if len(clipped):
            notes += [f"{line}, and end there" for line in clipped.lines()]
        notes.insert(0, self._fitting.described)
        first = [(entry.source.name, f"{len(entry.labels)} boxes", ", ".join(entry.labels)) for entry in entries[:3]]
        form = "boxes of pictures in XML (PASCAL VOC)"
        return Survey(str(self._place), form, parts, skipped=skips, examples=first, notes=notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of XML files and pictures, where there are some of both."""
        names: list[str] = [str(path) for path in files_at(place)]
        if len(names) == 1 and is_packed(Path(names[0])):
            try:
                names = list(stored_files(place)[0])
            except InputError:
                # Whoever reads it says what is wrong.
                return 0
        xml = sum(ending(name) == ".xml" for name in names)
        pictures = sum(ending(name) in PICTURE_SUFFIXES for name in names)
        return xml + pictures if xml and pictures else 0

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> BoxedPictures:
        """Picture files, and all pictures below folders, without boxes; see `part` for their form."""
        paths: list[Path] = []
        for source in map(Path, sources):
            paths += files_below(source, PICTURE_SUFFIXES, "pictures")[0] if os.path.isdir(source) else [source]
        chosen = [Source.of_file(path, str(path)) for path in paths]
        return BoxedPictures(self._fitting, chosen, [None] * len(chosen))

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A picture in memory: the bytes of its file, or its pixels `[h, w]`, `[h, w, 3]` or, with alpha, `[h, w, 4]` uint8.

        Raises:
            InputError: what is neither.
        """
        if not isinstance(value, (bytes, np.ndarray)):
            raise refused_value(value, name or "the picture", "the bytes of a picture's file, or its pixels")
        return self._fitting.example(Source(name or "the picture", value), None)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[BoxedPictures]:
        """One picture file."""
        source = Source(STREAM, file.read())
        # What is no picture is refused here.
        source.read()
        yield BoxedPictures(self._fitting, [source], [None])

    @property
    def _place(self) -> Path:
        return Path(self.path) if self.path is not None else locate(self.published)

    @property
    def _fitting(self) -> Fitting:
        check_numbers("data", self, "size", least=0, below=SIDES)
        check_numbers("data", self, "patch", least=1)
        if not 0 < self.crop <= 1:
            raise InputError(f"data.crop is {self.crop}, expected more than 0 and at most 1")
        check_numbers("data", self, "jitter", least=0, below=1)
        if not 0 <= self.mosaic <= 1:
            raise InputError(f"data.mosaic is {self.mosaic}, expected a share from 0 to 1")
        return Fitting(self.size, self.patch)

    def _chosen(self, name: Part) -> list[_Entry]:
        chosen = [entry for entry in _entries(self._place)[0] if entry.part in parts_of(name)]
        if not chosen:
            raise InputError(f"{self._place} has no picture in the {name} part, expected at least one")
        return chosen


def _entries(place: Path) -> tuple[list[_Entry], Skips, Skips]:
    """All pictures, each in its part; what is skipped; and what was cut off."""
    found, skips = annotated_pictures(place)
    parts = divided([each.name for each in found], [""] * len(found), [each.part for each in found])
    clipped = Skips()
    entries = []
    for each, part in zip(found, parts, strict=True):
        entries.append(_entry(each, part, f"{place}/{each.name}", skips, clipped))
    return entries, skips, clipped


def _entry(each: Annotated, part: Part, where: str, skips: Skips, clipped: Skips) -> _Entry:
    source = Source(each.name, each.picture)
    stated = _annotation(each.annotation, f"the annotation of {where}", *version_of(each.annotation))
    width, height = source.size
    if all(stated.size):
        if abs(stated.size[0] * height / (stated.size[1] * width) - 1) > _ALIKE:
            found = f"{stated.size[0]} x {stated.size[1]} pixels and its picture {width} x {height}"
            raise InputError(f"the annotation of {where} says {found}, expected the same shape")
        width, height = stated.size
    labels, boxes = [], []
    for n, (label, (left, top, right, bottom)) in enumerate(zip(stated.labels, stated.ends, strict=True), 1):
        name = f"{each.name}, object {n}"
        if right <= left or bottom <= top:
            skips.add("boxes without area", name)
        elif left >= width or top >= height or right <= 0 or bottom <= 0:
            skips.add("boxes outside their picture", name)
        else:
            ends = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
            if ends != (left, top, right, bottom):
                clipped.add("boxes reach beyond their picture", name)
            x, w, y, h = (ends[0] + ends[2]) / 2, ends[2] - ends[0], (ends[1] + ends[3]) / 2, ends[3] - ends[1]
            labels.append(label)
            boxes.append((x / width, y / height, w / width, h / height))
    return _Entry(source, part, tuple(labels), np.array(boxes, np.float32).reshape(-1, 4), where)


@lru_cache(maxsize=1 << 17)
def _annotation(stored: Stored, where: str, modified: int, size: int) -> Annotation:
    """Read once, since `fit`, `part` and `survey` read the same files; a changed file is another key."""
    return read_annotation(stored.read(where, LARGEST_XML), where)
