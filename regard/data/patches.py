"""Pictures as sets of square patches, and how training pictures are varied."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from regard.data.encoding import Encoding
from regard.data.examples import Array, Example, TargetKind
from regard.data.picture_files import resized
from regard.errors import InputError

__all__ = ["Distortion", "Patches", "PictureSet", "Pixels", "cut", "joined"]


class Pixels(Protocol):
    """The pixels of pictures, by index."""

    def __getitem__(self, index: int, /) -> Array: ...


def cut(pixels: Array, patch: int) -> Array:
    """`[patches, patch * patch * c]` float32 of a picture `[h, w, c]` whose sides are multiples of the patch's."""
    rows, columns = (side // patch for side in pixels.shape[:2])
    squares = pixels.reshape(rows, patch, columns, patch, pixels.shape[2]).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(squares.reshape(rows * columns, -1), np.float32)


def joined(patches: Array, patch: int) -> Array:
    """The square picture `[side, side, c]` that was cut into these patches."""
    side = round(len(patches) ** 0.5)
    squares = patches.reshape(side, side, patch, patch, -1).transpose(0, 2, 1, 3, 4)
    return squares.reshape(side * patch, side * patch, -1)


@dataclass(frozen=True)
class Patches:
    """Into what pictures are brought: so many pixels with 1 or 3 channels, cut into square patches.

    Args:
        side: of a square, in pixels; where pictures keep their proportions, the longer side has at most so many, and 0 is no bound.
        patch: the side of a patch.
        channels: 1 or 3.
        square: whether they become squares.
        extent: the most rows and columns of patches, where pictures are no squares.
        origin: why, in words.

    >>> patches = Patches(28, 2, 1, origin="as the training part")
    >>> patches.count, patches.width
    (14, 4)
    >>> patches.described
    'pictures become 28 x 28, gray, cut into 14 x 14 patches of 2 x 2: as the training part'
    >>> [Patches(64, 4, 1, square=False).shape(*size) for size in ((480, 640), (10, 10_000), (1, 1))]
    [(48, 64), (4, 64), (4, 4)]
    """

    side: int
    patch: int
    channels: int
    square: bool = True
    extent: tuple[int, int] = (0, 0)
    origin: str = ""

    @classmethod
    def of(cls, encoding: Encoding) -> Patches:
        """What training used: patch * patch values for each of 1 or 3 channels; no square is thrice another one."""
        patch = math.isqrt(encoding.width)
        channels = 1 if patch * patch == encoding.width else 3
        patch = math.isqrt(encoding.width // channels)
        return cls(encoding.grid.extent[0] * patch, patch, channels)

    @property
    def count(self) -> int:
        """The number of patches along a side of a square."""
        return self.side // self.patch

    @property
    def width(self) -> int:
        """The number of values of a patch."""
        return self.patch * self.patch * self.channels

    @property
    def colored(self) -> bool:
        """Whether red, green and blue are kept."""
        return self.channels == 3

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """What a picture of these sides becomes: multiples of the patch's, and at least one patch."""
        if self.square:
            return self.side, self.side
        scale = min(1.0, self.side / max(height, width)) if self.side else 1.0
        rows, columns = (max(1, round(side * scale / self.patch)) for side in (height, width))
        return rows * self.patch, columns * self.patch

    def brought(self, pixels: Array) -> Array:
        """`[h, w, c]` uint8 of a picture as `read_picture` gives it."""
        return resized(pixels, self.shape(*pixels.shape[:2]), self.colored)

    @property
    def described(self) -> str:
        """In one line."""
        color, patch = "color" if self.colored else "gray", f"patches of {self.patch} x {self.patch}"
        if self.square:
            form, parts = f"become {self.side} x {self.side}", f"{self.count} x {self.count} {patch}"
        else:
            longer = f", of at most {self.side} pixels along the longer side" if self.side else ""
            form, parts = (
                f"keep their proportions{longer}",
                f"{patch}, at most {self.extent[0]} x {self.extent[1]} of them",
            )
        return f"pictures {form}, {color}, cut into {parts}: {self.origin}"

    def example(self, pixels: Array, name: str, target: Array | None = None) -> Example:
        """Of `[h, w, c]` uint8, or float32 between 0 and 1, of such a shape."""
        values = pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels
        rows, columns = (side // self.patch for side in pixels.shape[:2])
        coords = np.stack(np.divmod(np.arange(rows * columns), columns), 1).astype(np.float32)
        return Example(cut(values, self.patch), target, name, coords=coords)

    def of_fractions(self, values: Array, name: str) -> Example:
        """Of pixels of this size between 0 and 1.

        Raises:
            InputError: pixels of another size or outside 0 to 1.
        """
        shape = (*self._expected(values), self.channels)
        if values.dtype.kind not in "fiub" or (
            values.shape != shape and (self.channels > 1 or values.shape != shape[:2])
        ):
            raise InputError(f"{name} has pixels {list(values.shape)}, expected {list(shape)} as in training")
        pixels = values.astype(np.float32).reshape(shape)
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError(f"{name} has pixels from {pixels.min():g} to {pixels.max():g}, expected 0 to 1")
        return self.example(pixels, name)

    def _expected(self, values: Array) -> tuple[int, int]:
        height, width = (*values.shape, 1, 1)[:2]
        return self.shape(max(1, height), max(1, width))


class PictureSet:
    """Pictures as examples; their pixels are bytes, and become patches when they are read.

    Args:
        patches: what they are cut into.
        names: of the pictures.
        pixels: for each `[h, w, c]` uint8, in memory or as `regard.data.decoded` opens them.
        targets: None where there is none.
        unseen: labels that no training example has, with the number of their targets.
        shapes: height and width of each, where pictures are no squares.
    """

    target_kind: TargetKind = "set"

    def __init__(
        self,
        patches: Patches,
        names: Sequence[str],
        pixels: Pixels,
        targets: Sequence[Array | None],
        unseen: Mapping[str, int] | None = None,
        shapes: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self.patches, self.names, self.pixels, self.targets = patches, names, pixels, targets
        self.unseen, self.shapes = unseen or {}, shapes

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Example:
        return self.patches.example(self.pixels[index], self.names[index], self.targets[index])

    def picture(self, index: int) -> Array:
        """`[h, w, c]` uint8 of a picture, brought to its size."""
        return self.pixels[index]

    @property
    def lengths(self) -> list[int]:
        if self.shapes is None:
            return [self.patches.count**2] * len(self)
        return [height * width // self.patches.patch**2 for height, width in self.shapes]


@dataclass(frozen=True)
class Distortion:
    """How training pictures are varied, a function of (seed, epoch, picture).

    Args:
        most: how far they are turned (radians), stretched and moved (parts of the side).
        flip: whether half of them are mirrored, left for right.
        seed: of what is drawn.
    """

    most: float
    flip: bool = False
    seed: int = 0

    def __call__(self, pixels: Array, epoch: int, index: int, beyond: float = 0.0) -> Array:
        """`[h, w, c]` float32 of `[h, w, c]` between 0 and 1; `beyond` is the value outside the picture."""
        from scipy.ndimage import affine_transform

        sides = np.array(pixels.shape[:2])
        key = (self.seed % 2**32) << 32 | epoch
        draws = np.random.Generator(np.random.Philox(key=[key, index]))
        turn, *rest = draws.uniform(-self.most, self.most, 5)
        if self.flip and draws.random() < 0.5:
            pixels = pixels[:, ::-1]
        if not self.most:
            return pixels
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * (1 + np.array(rest[:2]))
        center = (sides - 1) / 2
        offset = center - matrix @ (center + sides * np.array(rest[2:]))
        return np.stack(
            [
                affine_transform(channel, matrix, offset, order=1, mode="grid-constant", cval=beyond)
                for channel in pixels.transpose(2, 0, 1)
            ],
            2,
        )
