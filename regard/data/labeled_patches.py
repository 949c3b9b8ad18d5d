"""A label per patch of a picture with boxes: what a model learns from before it tells boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from regard.data.boxed_pictures import BoxedPictures, VariedBoxes
from regard.data.boxes import Boxes
from regard.data.encoding import Encoding, Grid, Labels
from regard.data.examples import UNSEEN, Array, Example, Part, TargetKind, VectorSet
from regard.data.survey import Survey

__all__ = ["BACKGROUND", "LabeledPatches", "PatchLabels", "VariedPatches", "patch_labels"]

BACKGROUND = "background"
"""The label of patches in no box."""


def patch_labels(coords: Array, target: VectorSet, of_box: Array, background: int) -> Array:
    """`[n]` the label of each patch of a picture: that of the smallest box that holds the middle of the patch.

    A box smaller than a patch may hold no middle, so each box has the patch with its own middle as well.

    Args:
        coords: `[n, 2]` row and column of the patches.
        target: a label and a box each; a box is its center, width and height as parts of the picture's.
        of_box: which label of patches a label of boxes is; those below 0 stay as they are.
        background: the label where there is no box.

    >>> coords = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    >>> boxes = np.array([[0.5, 0.5, 1, 1], [0.7, 0.2, 0.1, 0.1]], np.float32)
    >>> patch_labels(coords, VectorSet(np.array([0, 1]), boxes), np.array([5, 6]), 9).tolist()
    [5, 6, 5, 5]
    """
    labels, boxes = np.full(len(coords), background), target.coords
    assert boxes is not None
    grid = coords.max(0) + 1
    middles = ((coords + 0.5) / grid)[:, ::-1]
    for n in np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable"):
        center, sides = boxes[n, :2], boxes[n, 2:]
        inside = (np.abs(middles - center) <= sides / 2).all(1)
        inside |= (coords == np.minimum(center[::-1] * grid, grid - 1).astype(int)).all(1)
        label = int(target.values[n])
        labels[inside] = of_box[label] if label >= 0 else label
    return labels


class LabeledPatches:
    """Pictures with boxes as examples whose targets are the labels of their patches; see `patch_labels`.

    Args:
        pictures: with their boxes, or without targets.
        of_box: which label of patches a label of boxes is.
        background: the label of patches in no box.
    """

    target_kind: TargetKind = "vector"

    def __init__(self, pictures: BoxedPictures, of_box: Array, background: int) -> None:
        self.pictures, self._of_box, self._background = pictures, of_box, background

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int, /) -> Example:
        example = self.pictures[index]
        target = self._labels(example.coords, example.target)
        return replace(example, target=target, target_kind="vector")

    def _labels(self, coords: Array | None, target: Array | VectorSet | None) -> Array | None:
        if not isinstance(target, VectorSet):
            return None
        assert coords is not None
        return patch_labels(coords, target, self._of_box, self._background)

    def picture(self, index: int) -> Array:
        """`[h, w, 3]` uint8 of a picture as it is."""
        return self.pictures.picture(index)

    @cached_property
    def unseen(self) -> Mapping[str, int]:
        """Labels that no training example has, with the number of their patches."""
        names = list(self.pictures.unseen)
        if not names:
            return {}
        found = np.concatenate([target for target in self.targets if target is not None])
        return {name: int((found == UNSEEN - n).sum()) for n, name in enumerate(names)}

    @property
    def lengths(self) -> list[int]:
        return self.pictures.lengths

    @property
    def targets(self) -> list[Array | None]:
        found = []
        for source, target in zip(self.pictures.sources, self.pictures.targets, strict=True):
            rows, columns = self.pictures.fitting.grid(*source.size)
            coords = np.stack(np.divmod(np.arange(rows * columns), columns), 1).astype(np.float32)
            found.append(self._labels(coords, target))
        return found


class VariedPatches(LabeledPatches):
    """Patches of pictures that are varied with their boxes, differently in each epoch."""

    pictures: VariedBoxes

    def set_epoch(self, epoch: int) -> None:
        """Choose the variations."""
        self.pictures.set_epoch(epoch)


@dataclass
class PatchLabels:
    """A label per patch of a picture: that of the smallest box around the middle of the patch, or "background".

    Vectors are those of `Boxes`, so that a model of boxes can begin with a run that learned these labels.

    Args:
        path: a folder, or a tar archive of it, with pictures and XML files of their boxes, as `Boxes` reads them. None is the
            published data set BCCD.
        size: the longer side of a picture in pixels, to which it is brought; 0 leaves pictures as large as they are.
        patch: the side of a patch in pixels; each side of a picture becomes a multiple of it.
        flip: whether half of the training pictures are mirrored, left for right, and half of them top for bottom.
        crop: the least part of each side that is cut out of a training picture and brought to its whole size; 1 cuts nothing.
        jitter: how much brightness, contrast and each color of a training picture are changed, at most.
        mosaic: the share of training pictures that are put together from parts of four, where nothing is cut further.
        seed: of these variations, which are a function of (seed, epoch, picture).
    """

    input_options: ClassVar[tuple[str, ...]] = Boxes.input_options

    path: str | None = None
    size: int = 320
    patch: int = 16
    flip: bool = False
    crop: float = 1.0
    jitter: float = 0.0
    mosaic: float = 0.0
    seed: int = 0

    published = Boxes.published

    def fit(self) -> Encoding:
        """The labels of the training part's boxes, and that of no box."""
        encoding = self._boxes.fit()
        assert isinstance(encoding.targets, Encoding)
        return replace(encoding, targets=Labels.of([*encoding.targets.labels, BACKGROUND]))

    def part(self, name: Part, encoding: Encoding) -> LabeledPatches:
        """The pictures of one part, with the labels of their patches."""
        return LabeledPatches(self._boxes.part(name, _of_boxes(encoding)), *_labels(encoding))

    def training(self, encoding: Encoding) -> LabeledPatches:
        """The pictures of the training part, varied where that is asked for; see `part`."""
        pictures = self._boxes.training(_of_boxes(encoding))
        kind = VariedPatches if isinstance(pictures, VariedBoxes) else LabeledPatches
        return kind(pictures, *_labels(encoding))

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each box of one part, and where it stands."""
        return self._boxes.labels(name)

    def names_parts(self) -> bool:
        """Whether lists or folders say which part a picture is in."""
        return self._boxes.names_parts()

    def survey(self) -> Survey:
        """What `Boxes` finds there."""
        return self._boxes.survey()

    @classmethod
    def claims(cls, place: Path) -> int:
        """None: boxes are for the reader `Boxes`."""
        return 0

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> LabeledPatches:
        """Picture files, and all pictures below folders, without labels."""
        return LabeledPatches(self._boxes.inputs(sources, encoding), *_labels(encoding))

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A picture in memory, as `Boxes.example` takes it.

        Raises:
            InputError: what is no picture.
        """
        return self._boxes.example(value, encoding, name)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[LabeledPatches]:
        """One picture file."""
        for pictures in self._boxes.stream(file, encoding):
            yield LabeledPatches(pictures, *_labels(encoding))

    @property
    def _boxes(self) -> Boxes:
        return Boxes(self.path, self.size, self.patch, self.flip, self.crop, self.jitter, self.mosaic, self.seed)


def _of_boxes(encoding: Encoding) -> Encoding:
    """The encoding as `Boxes` has it."""
    names = tuple(name for name in encoding.labels if name != BACKGROUND)
    return replace(encoding, targets=Encoding(Labels(names), grid=Grid(4)))


def _labels(encoding: Encoding) -> tuple[Array, int]:
    """Which label of patches each label of boxes is, and which that of no box is."""
    names = encoding.labels
    return np.array([n for n, name in enumerate(names) if name != BACKGROUND]), names.index(BACKGROUND)
