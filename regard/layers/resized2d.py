"""Pictures with more or fewer rows and columns: cells that are repeated, and blocks of cells that become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from regard.layers.checks import checked
from regard.layers.grids import grid_of
from regard.sets import Layout, VectorSets
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["BlockMax2d", "BlockMean2d", "Repeated2d"]


class _Resized(NamedTuple):
    """The layout of the results, and for each vector of it, or of the sets that it is made of, where the other lies."""

    layout: Layout
    owner: Int[Tensor, " rows"]


@checked()
class Repeated2d(nn.Module):
    """y_I = x_floor(I / times): every cell becomes `times` x `times` cells with the same vector (nearest neighbor).

    i is the row and the column of a vector, whole numbers, each pair once in a set; the results lie row by row.

    Args:
        times: how often, in both directions.

    >>> coords = [torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0))]
    >>> Repeated2d()(VectorSets.pack([torch.ones(6, 4)], coords=coords))
    VectorSets(values [24, 4] float32, 1 sets)
    """

    def __init__(self, times: int = 2) -> None:
        super().__init__()
        self.times = times

    def forward(self, sets: VectorSets) -> VectorSets:
        resized: _Resized = sets.layout.kept(("repeated", self.times), lambda: _repeated(sets.layout, self))
        return VectorSets(sets.values.index_select(0, resized.owner), resized.layout)


def _repeated(layout: Layout, layer: Repeated2d) -> _Resized:
    times, grid = layer.times, grid_of(layout, type(layer).__name__)
    side = torch.arange(times, device=layout.device)
    coords = layout.coords
    assert coords is not None
    cells = (coords.detach().long()[:, None] * times + torch.cartesian_prod(side, side)).flatten(0, 1)
    source = torch.arange(layout.total, device=layout.device).repeat_interleave(times * times)
    # Row by row within each set.
    cell = grid.cell[source] * times + (cells - coords.detach().long()[source] * times)
    line = (layout.set_of_row[source] * max(1, grid.height * times) + cell[:, 0]) * max(1, grid.width * times)
    order = (line + cell[:, 1]).argsort()
    offsets = layout.offsets * times * times
    return _Resized(Layout(offsets, coords=cells[order].to(coords.dtype)), source[order])


def _blocks(layout: Layout, step: int, name: str) -> _Resized:
    """Blocks of `step` x `step` cells of which some have a vector, row by row, and the block of each vector."""
    grid = grid_of(layout, name)
    coords = layout.coords
    assert coords is not None
    first = grid.first.div(step, rounding_mode="floor")
    block = coords.detach().long().div(step, rounding_mode="floor") - first[layout.set_of_row]
    high, wide = grid.height // step + 2, grid.width // step + 2
    code = (layout.set_of_row * high + block[:, 0]) * wide + block[:, 1]
    codes, index = code.unique(return_inverse=True)
    of_set = codes // (high * wide)
    places = torch.stack([codes // wide % high, codes % wide], 1) + first[of_set]
    offsets = offsets_of(torch.bincount(of_set, minlength=layout.sets))
    return _Resized(Layout(offsets, coords=places.to(coords.dtype)), index)


class _Blocks2d(nn.Module):
    """A vector for each block of cells."""

    how: str

    def __init__(self, step: int = 2) -> None:
        super().__init__()
        self.step = step

    def _reduced(self, sets: VectorSets) -> VectorSets:
        name = type(self).__name__
        blocks: _Resized = sets.layout.kept(("blocks", self.step), lambda: _blocks(sets.layout, self.step, name))
        values = sets.values
        out = values.new_zeros(blocks.layout.total, values.shape[1])
        index = blocks.owner[:, None].expand_as(values)
        return VectorSets(out.scatter_reduce(0, index, values, self.how, include_self=False), blocks.layout)

    def extra_repr(self) -> str:
        return f"step={self.step}"


@checked()
class BlockMean2d(_Blocks2d):
    """y_I = mean of the x_i with floor(i / step) = I: on pictures, average pooling of `step` x `step`.

    i is the row and the column of a vector, whole numbers, each pair once in a set; the results lie row by row.

    Args:
        step: the side of a block.

    >>> coords = [torch.cartesian_prod(torch.arange(5.0), torch.arange(4.0))]
    >>> BlockMean2d()(VectorSets.pack([torch.ones(20, 8)], coords=coords))
    VectorSets(values [6, 8] float32, 1 sets)
    """

    how = "mean"

    def __init__(self, step: int = 2) -> None:
        super().__init__(step)

    def forward(self, sets: VectorSets) -> VectorSets:
        return self._reduced(sets)


@checked()
class BlockMax2d(_Blocks2d):
    """y_I = max of the x_i with floor(i / step) = I, number by number: on pictures, max-pooling of `step` x `step`.

    i is the row and the column of a vector, whole numbers, each pair once in a set; the results lie row by row. Equal numbers
    share the gradient.

    Args:
        step: the side of a block.

    >>> coords = [torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))]
    >>> BlockMax2d()(VectorSets.pack([torch.ones(16, 8)], coords=coords))
    VectorSets(values [4, 8] float32, 1 sets)
    """

    how = "amax"

    def __init__(self, step: int = 2) -> None:
        super().__init__(step)

    def forward(self, sets: VectorSets) -> VectorSets:
        return self._reduced(sets)
