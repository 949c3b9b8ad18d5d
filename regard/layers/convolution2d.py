"""Convolution over rows and columns, with zeros where no vector lies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from regard.layers.checks import checked
from regard.layers.grids import Grid, grid_of
from regard.sets import Layout, VectorSets
from regard.sets.whole import insertions

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["Convolution2d"]

# Of cells without a vector, so many for each with one are computed rather than that neighbors are gathered.
_MOST_EMPTY = 3


@checked(reach=0)
class Convolution2d(nn.Module):
    """y_i = sum_r W_r x_(i + step r) + b over the shifts r of at most `reach` rows and columns, with zeros where no vector lies.

    i is the place of a vector, its row and column: whole numbers, each pair once in a set. On pictures it is torch's convolution
    with `padding = reach * step`, for all sizes in one batch; sets with holes are computed where they have vectors.

    Args:
        width_in: of the vectors.
        reach: how many taps on each side; `taps` is `[width, width_in, 2 reach + 1, 2 reach + 1]`, as torch has them.
        width: of the result; None means that of the vectors.
        step: from one tap to the next, at least 1.

    Raises:
        InputError: sets whose vectors have no row and column; the sentence names the set.

    >>> layer = Convolution2d(4, reach=1, width=8)
    >>> coords = [torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0)), torch.zeros(1, 2)]
    >>> layer(VectorSets.pack([torch.ones(6, 4), torch.ones(1, 4)], coords=coords))
    VectorSets(values [7, 8] float32, 2 sets)
    """

    def __init__(self, width_in: int, reach: int = 1, width: int | None = None, step: int = 1) -> None:
        super().__init__()
        self.width, self.reach, self.step = width or width_in, reach, step
        # The order of vectors says nothing about where they lie.
        self.context = math.inf, math.inf
        side = 2 * reach + 1
        bound = 1 / math.sqrt(side * side * width_in)
        self.taps = nn.Parameter(torch.empty(self.width, width_in, side, side).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(self.width))

    def forward(self, sets: VectorSets) -> VectorSets:
        if torch.compiler.is_compiling():
            from regard.layers.untraced import untraced

            return sets.with_values(untraced(self._convolved, sets))
        return sets.with_values(self._convolved(sets))

    def _convolved(self, sets: VectorSets) -> Tensor:
        grid = grid_of(sets.layout, type(self).__name__)
        cells = sets.layout.sets * grid.height * grid.width
        if 0 < cells <= (1 + _MOST_EMPTY) * sets.layout.total:
            return self._on_canvas(sets.values, grid, sets.layout.sets)
        return self._gathered(sets.values, sets.layout, grid)

    def _on_canvas(self, values: Tensor, grid: Grid, pictures: int) -> Tensor:
        """Every set becomes a picture of the size of the largest."""
        canvas = values.new_zeros(pictures * grid.height * grid.width, values.shape[1]).index_copy(0, grid.code, values)
        pixels = canvas.view(pictures, grid.height, grid.width, values.shape[1]).permute(0, 3, 1, 2)
        # Taps beyond a picture's size meet zeros alone.
        out = conv2d(pixels, self.taps, self.bias, padding=self.reach * self.step, dilation=self.step)
        return out.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, grid.code)

    def _gathered(self, values: Tensor, layout: Layout, grid: Grid) -> Tensor:
        """The neighbors of each vector are joined."""
        rows = layout.kept(("cells around", self.reach, self.step), lambda: _around(grid, self.reach, self.step))
        padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
        joined = padded.index_select(0, rows.flatten()).view(len(rows), rows.shape[1] * values.shape[1])
        return linear(joined, self.taps.permute(0, 2, 3, 1).flatten(1), self.bias)

    def extra_repr(self) -> str:
        return f"reach={self.reach}, width={self.width}, step={self.step}"


def _around(grid: Grid, reach: int, step: int) -> Int[Tensor, "t taps"]:
    """The row of the vector in each cell around a vector's, row by row; the number of vectors where there is none."""
    total = len(grid.code)
    line, order = grid.code.sort()
    side = torch.arange(-reach, reach + 1, device=line.device) * step
    shifts = torch.cartesian_prod(side, side).view(-1, 2)
    cell = grid.cell[:, None] + shifts
    inside = ((cell >= 0) & (cell < cell.new_tensor([grid.height, grid.width]))).all(-1)
    code = grid.code[:, None] + shifts[:, 0] * grid.width + shifts[:, 1]
    place = insertions(line, code).clamp(max=max(0, total - 1))
    return torch.where(inside & (line[place] == code), order[place], total)
