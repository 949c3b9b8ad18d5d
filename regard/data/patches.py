"""Pictures as sets of square patches, and how training pictures are varied."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regard.data.encoding import Encoding
from regard.data.examples import Array, Example, TargetKind
from regard.errors import InputError

__all__ = ["Distortion", "Patches", "PictureSet", "cut", "joined"]


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
    """Into what pictures are brought: a square of `side` pixels with 1 or 3 channels, cut into square patches.

    >>> patches = Patches(28, 2, 1, "as the training part")
    >>> patches.count, patches.width
    (14, 4)
    >>> patches.described
    'pictures become 28 x 28, gray, cut into 14 x 14 patches of 2 x 2: as the training part'
    """

    side: int
    patch: int
    channels: int
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
        """The number of patches along a side."""
        return self.side // self.patch

    @property
    def width(self) -> int:
        """The number of values of a patch."""
        return self.patch * self.patch * self.channels

    @property
    def colored(self) -> bool:
        """Whether red, green and blue are kept."""
        return self.channels == 3

    @property
    def coords(self) -> Array:
        """`[patches, 2]`: row and column of each."""
        return np.stack(np.divmod(np.arange(self.count**2), self.count), 1).astype(np.float32)

    @property
    def described(self) -> str:
        """In one line."""
        square, parts = (
            f"{self.side} x {self.side}, {'color' if self.colored else 'gray'}",
            f"{self.count} x {self.count}",
        )
        return f"pictures become {square}, cut into {parts} patches of {self.patch} x {self.patch}: {self.origin}"

    def example(self, pixels: Array, name: str, target: Array | None = None) -> Example:
        """Of `[side, side, c]` uint8, or float32 between 0 and 1."""
        values = pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels
        return Example(cut(values, self.patch), target, name, coords=self.coords)

    def of_fractions(self, values: Array, name: str) -> Example:
        """Of pixels of this size between 0 and 1.

        Raises:
            InputError: pixels of another size or outside 0 to 1.
        """
        shape = (self.side, self.side, self.channels)
        if values.dtype.kind not in "fiub" or (
            values.shape != shape and (self.channels > 1 or values.shape != shape[:2])
        ):
            raise InputError(f"{name} has pixels {list(values.shape)}, expected {list(shape)} as in training")
        pixels = values.astype(np.float32).reshape(shape)
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError(f"{name} has pixels from {pixels.min():g} to {pixels.max():g}, expected 0 to 1")
        return self.example(pixels, name)


class PictureSet:
    """Pictures as examples; their pixels are held as bytes, and become patches when they are read.

    Args:
        patches: what they are cut into.
        names: of the pictures.
        pixels: `[n, side, side, c]` uint8.
        targets: None where there is none.
        unseen: labels that no training example has, with the number of their targets.
    """

    target_kind: TargetKind = "set"

    def __init__(
        self,
        patches: Patches,
        names: Sequence[str],
        pixels: Array,
        targets: Sequence[Array | None],
        unseen: Mapping[str, int] | None = None,
    ) -> None:
        self.patches, self.names, self.pixels, self.targets = patches, names, pixels, targets
        self.unseen = unseen or {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Example:
        return self.patches.example(self.pixels[index], self.names[index], self.targets[index])

    @property
    def lengths(self) -> list[int]:
        return [self.patches.count**2] * len(self)


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
        """`[side, side, c]` float32 of `[side, side, c]` between 0 and 1; `beyond` is the value outside the picture."""
        from scipy.ndimage import affine_transform

        side = len(pixels)
        key = (self.seed % 2**32) << 32 | epoch
        draws = np.random.Generator(np.random.Philox(key=[key, index]))
        turn, *rest = draws.uniform(-self.most, self.most, 5)
        if self.flip and draws.random() < 0.5:
            pixels = pixels[:, ::-1]
        if not self.most:
            return pixels
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * (1 + np.array(rest[:2]))
        center = np.full(2, (side - 1) / 2)
        offset = center - matrix @ (center + side * np.array(rest[2:]))
        return np.stack(
            [
                affine_transform(channel, matrix, offset, order=1, mode="grid-constant", cval=beyond)
                for channel in pixels.transpose(2, 0, 1)
            ],
            2,
        )
