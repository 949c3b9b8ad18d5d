"""Pictures with boxes as examples: brought to a size, cut into patches, and varied together with their boxes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from regard.data.examples import Array, Example, TargetKind, VectorSet
from regard.data.patches import cut
from regard.data.picture_files import picture_size, read_picture
from regard.data.voc import Stored

__all__ = ["BoxVariation", "BoxedPictures", "Fitting", "Source", "VariedBoxes", "version_of"]

_KEPT = 0.3  # of a box's area must lie inside of what is cut out, or the box is left out


@dataclass(frozen=True, eq=False)
class Source:
    """A picture: a file, its bytes or its pixels, and what errors and predictions call it."""

    name: str
    content: Stored | bytes | Array

    @classmethod
    def of_file(cls, path: Path, name: str) -> Source:
        """A picture file."""
        return cls(name, Stored(path))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the picture is shown; its pixels are not decoded."""
        content = self.content
        if isinstance(content, np.ndarray):
            return content.shape[1], content.shape[0]
        if isinstance(content, bytes):
            return picture_size(content, self.name)
        return _stored_size(content, self.name, *version_of(content))

    def read(self) -> Array:
        """`[h, w, 3]` uint8; see `read_picture`."""
        content = self.content.read(self.name) if isinstance(self.content, Stored) else self.content
        pixels = read_picture(content, self.name)
        return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, 2)


def version_of(stored: Stored) -> tuple[int, int]:
    """What a changed file has another of; zeros where there is none, which reading tells."""
    try:
        status = os.stat(stored.place)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1 << 17)
def _stored_size(stored: Stored, name: str, modified: int, size: int) -> tuple[int, int]:
    """Read once, since lengths, surveys and targets ask for it; a changed file is another key."""
    return picture_size(stored.read(name), name)


@dataclass(frozen=True)
class Fitting:
    """Into what pictures are brought: the longer side has about `size` pixels, and each side a multiple of `patch`.

    Args:
        size: 0 for pictures as large as they are.
        patch: the side of a patch.

    >>> fitting = Fitting(320, 16)
    >>> fitting.grid(640, 480), fitting.grid(10_000, 10), fitting.width
    ((15, 20), (1, 20), 768)
    """

    size: int
    patch: int

    @property
    def width(self) -> int:
        """The number of values of a patch."""
        return 3 * self.patch * self.patch

    @property
    def described(self) -> str:
        """In one line."""
        longer = f"{self.size} pixels along the longer side" if self.size else "as large as they are"
        return f"pictures become {longer}, each side a multiple of {self.patch}, cut into patches of {self.patch} x {self.patch}"

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """How many rows and columns of patches a picture of so many pixels becomes."""
        scale = self.size / max(width, height) if self.size else 1
        rows, columns = (max(1, round(side * scale / self.patch)) for side in (height, width))
        return rows, columns

    def example(self, source: Source, target: VectorSet | None) -> Example:
        """A picture as it is."""
        pixels = source.read()
        height, width = pixels.shape[:2]
        whole = (0.0, 0.0, float(width), float(height))
        return self.cut(self.resized(pixels, whole), source, target, (width, height))

    def resized(self, pixels: Array, window: tuple[float, float, float, float]) -> Array:
        """`[rows * patch, columns * patch, 3]` uint8 of what lies inside of a window (left, top, right, bottom)."""
        from PIL import Image

        rows, columns = self.grid(pixels.shape[1], pixels.shape[0])
        size = (columns * self.patch, rows * self.patch)
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=window))

    def cut(self, pixels: Array, source: Source, target: VectorSet | None, size: tuple[int, int]) -> Example:
        """Of pixels that have been brought to their size: uint8, or float32 between 0 and 1."""
        values = pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels
        rows, columns = (side // self.patch for side in pixels.shape[:2])
        places = np.stack(np.divmod(np.arange(rows * columns), columns), 1).astype(np.float32)
        return Example(cut(values, self.patch), target, source.name, "sets", coords=places, pixels=size)


class BoxedPictures:
    """Pictures as examples, each decoded when it is read.

    Args:
        fitting: what they become.
        sources: of the pictures.
        targets: for each its boxes, or None.
        unseen: labels that no training example has, with the number of their boxes.
    """

    target_kind: TargetKind = "sets"

    def __init__(
        self,
        fitting: Fitting,
        sources: Sequence[Source],
        targets: Sequence[VectorSet | None],
        unseen: Mapping[str, int] | None = None,
    ) -> None:
        self.fitting, self.sources, self.targets = fitting, sources, targets
        self.unseen = unseen or {}

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int, /) -> Example:
        return self.fitting.example(self.sources[index], self.targets[index])

    def picture(self, index: int) -> Array:
        """`[h, w, 3]` uint8 of a picture as it is."""
        return self.sources[index].read()

    @property
    def lengths(self) -> list[int]:
        grids = (self.fitting.grid(*source.size) for source in self.sources)
        return [rows * columns for rows, columns in grids]


@dataclass(frozen=True)
class BoxVariation:
    """How training pictures are varied with their boxes, a function of (seed, epoch, picture).

    Args:
        flip: whether half are mirrored, left for right, and half of them top for bottom.
        crop: the least part of each side that is cut out; boxes with less than 0.3 of their area in it are left out.
        jitter: how much brightness, contrast and each color change, at most.
        seed: of what is drawn.
        mosaic: the share of training pictures that are put together from parts of four, which are not cut further.
    """

    flip: bool = False
    crop: float = 1.0
    jitter: float = 0.0
    seed: int = 0
    mosaic: float = 0.0

    @property
    def varies(self) -> bool:
        """Whether anything is changed at all."""
        return self.flip or self.crop < 1 or self.jitter > 0 or self.mosaic > 0

    def __call__(self, pictures: BoxedPictures, epoch: int, index: int) -> Example:
        """The example of a picture in an epoch."""
        draws = self._draws(epoch, index, 0)
        # All is drawn, whatever is asked for, so that one option leaves the draws of the others as they are.
        flips, part, place = draws.random(2) < 0.5, draws.uniform(self.crop, 1), draws.random(2)
        gains = 1 + draws.uniform(-self.jitter, self.jitter, 5)
        source = pictures.sources[index]
        mixed = self._draws(epoch, index, 1) if self.mosaic else None
        if mixed is not None and mixed.random() < self.mosaic:
            pixels, ids, boxes = _mosaic(pictures, index, mixed)
        else:
            pixels, ids, boxes = _cut_out(pictures, index, place * (1 - part), part if self.crop < 1 else 1.0)
        values = pixels.astype(np.float32) / 255
        for axis in (0, 1) if self.flip else ():
            if flips[axis]:
                values = np.flip(values, 1 - axis)
                boxes = boxes.copy()
                boxes[:, axis] = 1 - boxes[:, axis]
        if self.jitter:
            mean = values.mean()
            values = np.clip(((values - mean) * gains[0] + mean * gains[1]) * gains[2:].astype(np.float32), 0, 1)
        varied = VectorSet(ids, boxes.astype(np.float32))
        return pictures.fitting.cut(np.ascontiguousarray(values, np.float32), source, varied, source.size)

    def _draws(self, epoch: int, index: int, kind: int) -> np.random.Generator:
        key = (self.seed % 2**32) << 32 | epoch
        return np.random.Generator(np.random.Philox(key=[key, index], counter=[0, 0, 0, kind]))


def _cut_out(pictures: BoxedPictures, index: int, corner: Array, part: float) -> tuple[Array, Array, Array]:
    """The pixels of a part of a picture's sides, brought to the size of the whole, the ids of what is in it, and their boxes."""
    pixels, target = pictures.sources[index].read(), pictures.targets[index]
    assert target is not None
    assert target.coords is not None
    height, width = pixels.shape[:2]
    if part == 1:
        return pictures.fitting.resized(pixels, (0.0, 0.0, width, height)), target.values, target.coords
    left, top = corner
    window = (left * width, top * height, (left + part) * width, (top + part) * height)
    boxes, kept = _seen(target.coords, corner, part)
    return pictures.fitting.resized(pixels, window), target.values[kept], boxes


def _mosaic(pictures: BoxedPictures, index: int, draws: np.random.Generator) -> tuple[Array, Array, Array]:
    """A picture in whose corners lie parts of it and of three others, as large as they are there (Bochkovskiy et al. 2020, 3.4).

    The corners meet at a drawn point, 0.25 to 0.75 of both sides. Each holds a window of its picture that has the corner's share of
    the sides and lies at a drawn place; boxes with less than 0.3 of their area in the window are left out.
    """
    from PIL import Image

    fitting = pictures.fitting
    rows, columns = fitting.grid(*pictures.sources[index].size)
    whole = np.array([columns, rows]) * fitting.patch
    meet = np.rint(draws.uniform(0.25, 0.75, 2) * whole).astype(int).clip(1, np.maximum(whole - 1, 1))
    others = draws.integers(len(pictures), size=3)
    places = draws.random((4, 2))
    canvas = np.zeros((whole[1], whole[0], 3), np.uint8)
    ids, boxes = [], []
    for n, which in enumerate([index, *others.tolist()]):
        last = np.array([n % 2, n // 2], bool)
        low, high = np.where(last, meet, 0), np.where(last, whole, meet)
        if (high <= low).any():
            # Of a picture of one pixel.
            continue
        pixels, target = pictures.sources[which].read(), pictures.targets[which]
        assert target is not None
        part = (high - low) / whole
        corner, sides = places[n] * (1 - part), np.array(pixels.shape[1::-1])
        window = (*(corner * sides).tolist(), *((corner + part) * sides).tolist())
        piece = Image.fromarray(np.ascontiguousarray(pixels))
        width, height = (high - low).tolist()
        canvas[low[1] : high[1], low[0] : high[0]] = piece.resize(
            (width, height), Image.Resampling.BILINEAR, box=window
        )
        seen, kept = _seen(target.coords, corner, part)
        boxes.append(seen * np.tile(part, 2) + np.concatenate([low / whole, [0, 0]]))
        ids.append(target.values[kept])
    return canvas, np.concatenate(ids), np.concatenate(boxes).astype(np.float32)


def _seen(boxes: Array | None, corner: Array, part: Array | float) -> tuple[Array, Array]:
    """`[k, 4]` boxes as parts of what was cut out, ending where it ends, and `[n]` which of all they are.

    Args:
        corner: left and top, and part: width and height, or both, of what was cut out, as parts of the picture's sides.
    """
    assert boxes is not None
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    low, high = (((ends - corner) / part).clip(0, 1) for ends in (low, high))
    area = (boxes[:, 2:] / part).prod(1)
    kept = (high - low).prod(1) >= _KEPT * area
    low, high = low[kept], high[kept]
    return np.concatenate([(low + high) / 2, high - low], 1).astype(np.float32), kept


class VariedBoxes(BoxedPictures):
    """Pictures that are varied with their boxes, differently in each epoch."""

    def __init__(self, plain: BoxedPictures, variation: BoxVariation) -> None:
        super().__init__(plain.fitting, plain.sources, plain.targets, plain.unseen)
        self._variation, self._epoch = variation, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the variations."""
        self._epoch = epoch

    def __getitem__(self, index: int, /) -> Example:
        return self._variation(self, self._epoch, index)
