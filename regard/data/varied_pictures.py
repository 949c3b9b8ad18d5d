"""Training pictures that are varied: distorted, mirrored, moved, and mixed with one another, anew in each epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regard.data.encoding import Encoding, Labels
from regard.data.examples import Array, Example
from regard.data.patches import Distortion, PictureSet
from regard.errors import InputError

__all__ = ["Variation", "VariedPictures", "cut_in", "moved"]

_KINDS = ("distort", "shift", "mix")


@dataclass(frozen=True)
class Variation:
    """How training pictures are varied; everything drawn for one is a function of (seed, epoch, picture).

    Args:
        distortion: turns, stretches, moves and mirrors, first.
        shift: by how many pixels a picture is moved at most, up or down and left or right.
        mixup, cutmix: alpha of the share of a picture that stays, drawn from Beta(alpha, alpha), where it is mixed with another
            training picture, value by value or by a rectangle; 0 for none. With both, half of the pictures have either.
        mixed: the share of pictures that are mixed.
    """

    distortion: Distortion
    shift: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixed: float = 1.0

    @property
    def mixes(self) -> bool:
        """Whether pictures are mixed with one another."""
        return bool((self.mixup or self.cutmix) and self.mixed)

    @property
    def varies(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.distortion.most or self.distortion.flip or self.shift or self.mixes)

    def alone(self, pixels: Array, epoch: int, index: int) -> Array:
        """A picture `[h, w, c]` between 0 and 1 as it is before it is mixed with another; its mean comes in from outside."""
        varied = self.distortion(pixels, epoch, index, float(pixels.mean()))
        if not self.shift:
            return varied
        down, right = self._draws("shift", epoch, index).integers(-self.shift, self.shift + 1, 2)
        return moved(varied, int(down), int(right))

    def partner(self, count: int, epoch: int, index: int) -> tuple[int, float, Array | None]:
        """With which of `count` pictures one is mixed, how much of it stays, and the center of a rectangle in parts of the sides.

        No center means that values are mixed, and a share of 1 that nothing is.
        """
        draws = self._draws("mix", epoch, index)
        chance, which = draws.random(2)
        if chance >= self.mixed:
            return index, 1.0, None
        other, center = int(draws.integers(count)), draws.random(2)
        cuts = self.cutmix > 0 and (not self.mixup or which < 0.5)
        alpha = self.cutmix if cuts else self.mixup
        share = float(draws.beta(alpha, alpha))
        return other, share, center if cuts else None

    def _draws(self, kind: str, epoch: int, index: int) -> np.random.Generator:
        """The generator of one kind of variation, which no other kind shares; `Distortion` has the first."""
        key = [(self.distortion.seed % 2**32) << 32 | epoch, index]
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, _KINDS.index(kind)]))


def moved(pixels: Array, down: int, right: int) -> Array:
    """The picture moved; what comes in from outside repeats its edge.

    >>> moved(np.arange(3.0).reshape(1, 3, 1), 0, 1)[0, :, 0].tolist()
    [0.0, 0.0, 1.0]
    """
    rows, columns = (
        np.clip(np.arange(size) - by, 0, size - 1) for size, by in zip(pixels.shape[:2], (down, right), strict=True)
    )
    return pixels[rows[:, None], columns]


def cut_in(pixels: Array, other: Array, center: Array, share: float) -> tuple[Array, float]:
    """The picture with a rectangle of another in it, and how much of it is left (Yun et al. 2019, CutMix, section 3.1).

    The rectangle has sqrt(1 - share) of height and width around a center, given in parts of both, and ends where the picture does.
    """
    size = np.array(pixels.shape[:2])
    half, middle = size * np.sqrt(1 - share) / 2, size * center
    (top, left), (bottom, right) = (
        np.clip(np.rint(middle + sign * half).astype(int), 0, size).tolist() for sign in (-1, 1)
    )
    out = pixels.copy()
    out[top:bottom, left:right] = other[top:bottom, left:right]
    return out, 1 - (bottom - top) * (right - left) / float(size.prod())


class VariedPictures(PictureSet):
    """Pictures that are varied, differently in each epoch.

    Where they are mixed, the target of an example is the share of each label: `[labels]` float32.

    Raises:
        InputError: mixing where pictures have no single labels.
    """

    def __init__(self, plain: PictureSet, variation: Variation, encoding: Encoding) -> None:
        super().__init__(plain.patches, plain.names, plain.pixels, plain.targets, plain.unseen, plain.shapes)
        self._variation, self._epoch = variation, 0
        labels = encoding.targets
        if variation.mixes and not isinstance(labels, Labels):
            found = f"data.mixup or data.cutmix is asked for and the targets are {encoding.described_targets}"
            raise InputError(f"{found}, expected one label for each picture, of which shares are mixed")
        if variation.mixes and not plain.patches.square:
            found = "data.mixup or data.cutmix is asked for and pictures keep their proportions"
            raise InputError(f"{found}, expected data.squares true, so that two of them lie over one another")
        self._labels = len(labels.names) if isinstance(labels, Labels) else 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the variations."""
        self._epoch = epoch

    def __getitem__(self, index: int, /) -> Example:
        pixels, target = self._alone(index), self.targets[index]
        if self._variation.mixes:
            pixels, target = self._mixed(pixels, index)
        return self.patches.example(pixels, self.names[index], target)

    def _alone(self, index: int) -> Array:
        return self._variation.alone(self.pixels[index].astype(np.float32) / 255, self._epoch, index)

    def _mixed(self, pixels: Array, index: int) -> tuple[Array, Array]:
        """lambda x_i + (1 - lambda) x_j with the targets alike (Zhang et al. 2018, mixup), or a rectangle of x_j in x_i."""
        other, share, center = self._variation.partner(len(self), self._epoch, index)
        if share < 1 and center is None:
            pixels = (share * pixels + (1 - share) * self._alone(other)).astype(np.float32)
        elif center is not None:
            pixels, share = cut_in(pixels, self._alone(other), center, share)
        return pixels, (share * self._shares(index) + (1 - share) * self._shares(other)).astype(np.float32)

    def _shares(self, index: int) -> Array:
        """`[labels]` 1 for the label of a picture; zeros where it has none."""
        shares, target = np.zeros(self._labels, np.float32), self.targets[index]
        if target is not None and target >= 0:
            shares[int(target)] = 1
        return shares
