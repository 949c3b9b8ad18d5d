"""A stem of strided convolutions: from the patches of a picture to one vector per patch that has seen what lies around it."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.grids import rectangles
from regard.sets import VectorSets

__all__ = ["PatchStem"]

_LEAST = 24  # channels of the first convolution


@checked()
class PatchStem(nn.Module):
    """Convolutions over the pixels of pictures, each stage with half the rows and columns, until one vector is left per patch.

    A stage is y = relu(norm(W * x)), W of 3 x 3 with stride 2, and, from the second on, y + relu(norm(V * y)); norm is a layer norm
    over the channels of each place, so that no picture changes another one. Beyond a picture lie zeros. Pictures of one size go
    through together, those of other sizes by themselves.

    Args:
        patch: the side of a patch in pixels, a power of two of at least 2: the stride of the whole stem.
        channels: values of a pixel.
        width: of the vectors that come out; stages before the last have half as many channels each, at least 24.

    Raises:
        InputError: another patch; sets that are no whole pictures of patches.

    >>> stem = PatchStem(patch=4, channels=3, width=32)
    >>> coords = torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0))
    >>> stem(VectorSets.pack([torch.rand(6, 48)], coords=[coords]))
    VectorSets(values [6, 32] float32, 1 sets)
    """

    def __init__(self, patch: int, channels: int, width: int) -> None:
        super().__init__()
        stages = patch.bit_length() - 1
        if patch < 2 or patch != 1 << stages:
            raise InputError(
                f"a stem of strided convolutions was asked for patches of {patch}, expected 2, 4, 8, 16 or 32"
            )
        self.patch, self.channels, self.width = patch, channels, width
        # A patch may be looked at from all over a picture of some patches.
        self.context = math.inf, math.inf
        sizes = [channels, *(max(_LEAST, width >> (stages - n)) for n in range(1, stages)), width]
        self.stages = nn.ModuleList(_Stage(a, b, n > 0) for n, (a, b) in enumerate(itertools.pairwise(sizes)))

    def forward(self, sets: VectorSets) -> VectorSets:
        expected = self.channels * self.patch**2
        if sets.values.dim() != 2 or sets.values.shape[1] != expected:
            found = list(sets.values.shape[1:])
            raise InputError(f"the stem was given vectors of width {found}, expected {expected}: patches of pixels")
        grid = rectangles(sets.layout, type(self).__name__)
        sizes, kind = grid.size.unique(dim=0, return_inverse=True)
        order = grid.code.argsort()
        kinds = kind[sets.layout.set_of_row[order]]
        rows = [order[kinds == n] for n in range(len(sizes))]
        made = [
            self._convolved(sets.values.index_select(0, chosen), *size)
            for chosen, size in zip(rows, sizes.tolist(), strict=True)
            if len(chosen)
        ]
        if not made:
            return sets.with_values(sets.values.new_zeros(0, self.width))
        back = torch.cat(rows).argsort()
        return sets.with_values(torch.cat(made).index_select(0, back))

    def _convolved(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        """`[n, width]` of the patches of pictures of one size, row by row."""
        side = self.patch
        squares = patches.view(-1, rows, columns, side, side, self.channels).permute(0, 5, 1, 3, 2, 4)
        # Values lie between 0 and 1, and convolutions begin best with zero mean and about unit variance.
        pixels = (squares.flatten(4, 5).flatten(2, 3) - 0.5) * 4
        for stage in self.stages:
            pixels = stage(pixels)
        return pixels.permute(0, 2, 3, 1).flatten(0, 2)

    def extra_repr(self) -> str:
        return f"patch={self.patch}, channels={self.channels}, width={self.width}"


class _Stage(nn.Module):
    """One stage of the stem, on `[n, channels, h, w]`."""

    def __init__(self, width_in: int, width: int, deep: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(width)
        self.deepen = nn.Conv2d(width, width, 3, padding=1, bias=False) if deep else None
        self.norm_deep = nn.LayerNorm(width) if deep else None

    def forward(self, pixels: Tensor) -> Tensor:
        made = _normed(self.reduce(pixels), self.norm)
        if self.deepen is None or self.norm_deep is None:
            return made
        return made + _normed(self.deepen(made), self.norm_deep)


def _normed(pixels: Tensor, norm: nn.LayerNorm) -> Tensor:
    """ReLU of the layer norm over channels."""
    normed: Tensor = norm(pixels.permute(0, 2, 3, 1)).relu()
    return normed.permute(0, 3, 1, 2)
