"""The convolutional stem of pictures: convolutions over rows and columns, and max-pooling that leaves fewer of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.convolution2d import Convolution2d
from regard.layers.grids import grid_of
from regard.sets import Layout, VectorSets
from regard.sets.whole import insertions

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["MaxPool2d", "PictureStem"]

# Of cells without a vector, so many for each with one are pooled rather than that neighbors are gathered.
_MOST_EMPTY = 3


@checked()
class MaxPool2d(nn.Module):
    """y_I = max of x_i over all vectors i with |i - step I| <= reach in both directions, number by number.

    i is the row and the column of a vector, whole numbers, each pair once in a set; I that of a result, floor(i / step) of the
    vectors that there are. On pictures it is torch's pooling with a kernel of 2 reach + 1, `padding = reach` and `stride = step`,
    for all sizes in one batch. The results lie row by row.

    Args:
        reach: how far a window goes on each side.
        step: from one window to the next, at most `reach` + 1, so that every vector lies in one.

    Raises:
        InputError: windows that leave vectors out, or sets whose vectors have no row and column; the sentence names the set.

    >>> coords = [torch.cartesian_prod(torch.arange(5.0), torch.arange(4.0))]
    >>> MaxPool2d()(VectorSets.pack([torch.ones(20, 8)], coords=coords))
    VectorSets(values [6, 8] float32, 1 sets)
    """

    def __init__(self, reach: int = 1, step: int = 2) -> None:
        super().__init__()
        if step > reach + 1:
            raise InputError(f"MaxPool2d has step {step}, expected at most {reach + 1}: one more than its reach")
        self.reach, self.step = reach, step
        self.context = math.inf, math.inf

    def forward(self, sets: VectorSets) -> VectorSets:
        if torch.compiler.is_compiling():
            from regard.layers.untraced import untraced

            pooled: VectorSets = untraced(self._pooled, sets)
            return pooled
        return self._pooled(sets)

    def _pooled(self, sets: VectorSets) -> VectorSets:
        windows = sets.layout.kept(("windows", self.reach, self.step), lambda: _Windows(sets.layout, self))
        return VectorSets(windows.largest(sets.values), windows.layout)

    def extra_repr(self) -> str:
        return f"reach={self.reach}, step={self.step}"


class _Windows:
    """Where the windows of a layout's sets lie, and what each holds."""

    def __init__(self, layout: Layout, pool: MaxPool2d) -> None:
        reach, step = pool.reach, pool.step
        self.reach, self.step, self.sets, self.rows = reach, step, layout.sets, layout.total
        grid = grid_of(layout, type(pool).__name__)
        # Cells counted from the first window of each set.
        first = grid.first.div(step, rounding_mode="floor")
        cell = grid.cell + (grid.first - first * step)[layout.set_of_row]
        self.height, self.width = (int(n) for n in (cell.amax(0) + 1).tolist()) if len(cell) else (0, 0)
        self.code = (layout.set_of_row * self.height + cell[:, 0]) * self.width + cell[:, 1]
        # What torch gives: windows at 0, step, 2 step, ... of all that there are.
        self.high, self.wide = -(-self.height // step), -(-self.width // step)
        inside = cell // step
        owner = layout.set_of_row * self.high
        self.place = ((owner + inside[:, 0]) * self.wide + inside[:, 1]).unique()
        line, column = self.place // max(1, self.wide), self.place % max(1, self.wide)
        of_set, row = line // max(1, self.high), line % max(1, self.high)
        coords = torch.stack([row, column], 1) + first[of_set]
        lengths = torch.bincount(of_set, minlength=layout.sets)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        assert layout.coords is not None
        self.layout = Layout(offsets, coords=coords.to(layout.coords.dtype))
        self.members: Tensor | None = None
        if layout.sets * self.height * self.width > (1 + _MOST_EMPTY) * layout.total:
            self.members = self._gathered(of_set, torch.stack([row, column], 1) * step)

    def _gathered(self, of_set: Tensor, center: Tensor) -> Int[Tensor, "windows cells"]:
        """The row of the vector in each cell of each window, the number of vectors where there is none."""
        side = torch.arange(-self.reach, self.reach + 1, device=center.device)
        cell = center[:, None] + torch.cartesian_prod(side, side)
        inside = ((cell >= 0) & (cell < cell.new_tensor([self.height, self.width]))).all(-1)
        code = (of_set[:, None] * self.height + cell[..., 0]) * self.width + cell[..., 1]
        line, order = self.code.sort()
        place = insertions(line, code).clamp(max=max(0, self.rows - 1))
        return torch.where(inside & (line[place] == code), order[place], self.rows)

    def largest(self, values: Tensor) -> Tensor:
        """`[windows, d]`"""
        if not len(values):
            return values
        lowest = -math.inf
        if self.members is not None:
            padded = torch.cat([values, values.new_full((1, values.shape[1]), lowest)])
            joined = padded.index_select(0, self.members.flatten()).view(*self.members.shape, values.shape[1])
            return joined.max(1).values
        canvas = values.new_full((self.sets * self.height * self.width, values.shape[1]), lowest)
        pixels = (
            canvas.index_copy(0, self.code, values).view(self.sets, self.height, self.width, -1).permute(0, 3, 1, 2)
        )
        out = max_pool2d(pixels, 2 * self.reach + 1, self.step, self.reach)
        return out.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, self.place)


@checked()
class PictureStem(nn.Module):
    """max_pool(relu(norm(conv(x)))), stage after stage: the tokenizer of Hassani et al. 2021, section 3.2, with or without norms.

    Each stage halves rows and columns, so n of them make one vector of 2^n x 2^n. With stages enough, this is a plain convolutional
    network. A norm is that of each vector (layer norm), where the field normalizes over the batch, so that the result of a
    picture never depends on what else is in the batch.

    Args:
        width_in: of the vectors.
        widths: of the vectors of each stage.
        reach: how many taps of the convolutions on each side; 1 is 3 x 3.
        convolutions: of a stage, one after another, before it pools.
        norm: whether vectors are normalized after each convolution.

    >>> coords = [torch.cartesian_prod(torch.arange(28.0), torch.arange(28.0))]
    >>> PictureStem(1, [16, 32])(VectorSets.pack([torch.ones(784, 1)], coords=coords))
    VectorSets(values [49, 32] float32, 1 sets)
    """

    def __init__(
        self, width_in: int, widths: Sequence[int], reach: int = 1, convolutions: int = 1, norm: bool = False
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise InputError(f"PictureStem has widths {list(widths)}, expected at least one, and each at least 1")
        self.width = widths[-1]
        self.context = math.inf, math.inf
        self.halvings = len(widths)
        """How often rows and columns are halved."""
        entering = [width_in, *widths[:-1]]
        self.stages = nn.ModuleList(
            nn.ModuleList(
                Convolution2d(width if n else before, reach, width) for n in range(convolutions)
            )
            for before, width in zip(entering, widths, strict=True)
        )  # fmt: skip
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(convolutions))
            for width in widths
        )
        self.pool = MaxPool2d()

    def forward(self, sets: VectorSets) -> VectorSets:
        for convolutions, norms in zip(self.stages, self.norms, strict=True):
            for convolution, norm in zip(convolutions, norms, strict=True):  # type: ignore[call-overload]
                sets = convolution(sets)
                sets = sets.with_values(norm(sets.values).relu())
            sets = self.pool(sets)
        return sets
