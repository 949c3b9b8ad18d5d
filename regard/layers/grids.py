"""Where vectors lie on a grid: the cell of each by its coordinates, and sets that fill a whole rectangle."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from regard.errors import InputError
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["Grid", "grid_of", "rectangles"]

# More cells than any memory holds, and few enough that a cell of a set is one number.
_MOST_CELLS = 1 << 62
_FARTHEST = 1 << 24


class Grid(NamedTuple):
    """The cells of a batch: each set has `height` x `width` of them, from its own first row and column on.

    Args:
        cell: `[t, 2]` row and column of each vector, counted from 0 in its set.
        code: `[t]` the number of that cell among all of the batch, set by set and row by row.
        first: `[s, 2]` the coordinates of each set's first row and column, 0 where it is empty.
        size: `[s, 2]` how many rows and columns each set spans.
        height, width: of the largest.
    """

    cell: Int[Tensor, "t 2"]
    code: Int[Tensor, " t"]
    first: Int[Tensor, "s 2"]
    size: Int[Tensor, "s 2"]
    height: int
    width: int


def grid_of(layout: Layout, layer: str) -> Grid:
    """The cells of sets whose vectors have a row and a column; kept by the layout.

    Raises:
        InputError: other coordinates than a row and a column, no whole numbers, or two vectors in one cell; the sentence begins
            with the layer and names the set.
    """
    found = 0 if layout.coords is None else layout.coords.shape[1]
    if layout.coords is None or found != 2:
        raise InputError(f"{layer} reads rows and columns and the sets have {found} coordinates, expected 2")
    grid: Grid = layout.kept("grid", lambda: _grid(layout, layer))
    return grid


def _grid(layout: Layout, layer: str) -> Grid:
    assert layout.coords is not None
    coords = layout.coords.detach()
    exact = coords.double()
    _refuse(layout, layer, ~((exact == exact.round()) & (exact.abs() <= _FARTHEST)).all(1), "no whole number")
    place = exact.long()
    of_row = layout.set_of_row[:, None].expand(-1, 2)
    empty = place.new_zeros(layout.sets, 2)
    first, last = (empty.scatter_reduce(0, of_row, place, how, include_self=False) for how in ("amin", "amax"))
    size = torch.where(layout.lengths[:, None] > 0, last - first + 1, 0)
    height, width = size.amax(0).tolist() if layout.sets else (0, 0)
    if layout.sets * height * width > _MOST_CELLS:
        raise InputError(f"{layer} reads sets of {height:,} rows and {width:,} columns, expected fewer cells")
    cell = place - first[layout.set_of_row]
    code = (layout.set_of_row * height + cell[:, 0]) * width + cell[:, 1]
    ordered, order = code.sort()
    again = torch.zeros_like(code, dtype=torch.bool)
    again[order[1:]] = ordered[1:] == ordered[:-1]
    _refuse(layout, layer, again, "where another vector lies")
    return Grid(cell, code, first, size, height, width)


def _refuse(layout: Layout, layer: str, wrong: Tensor, why: str) -> None:
    if wrong.any():
        assert layout.coords is not None
        row = int(wrong.nonzero()[0])
        b = int(layout.set_of_row[row])
        where = ", ".join(f"{number:g}" for number in layout.coords[row].tolist())
        raise InputError(
            f"{layer} reads rows and columns and vector {row - int(layout.offsets[b])} of set {b} lies at ({where}), {why}: "
            "expected whole numbers, and each cell once"
        )


def rectangles(layout: Layout, layer: str) -> Grid:
    """The cells of sets that are whole rectangles, each cell with its vector, in any order; a set may be empty.

    Raises:
        InputError: as `grid_of`, or a cell without a vector; the sentence names the set.
    """
    grid = grid_of(layout, layer)
    missing = grid.size.prod(1) - layout.lengths
    if missing.any():
        b = int(missing.nonzero()[0])
        height, width = grid.size[b].tolist()
        raise InputError(
            f"{layer} reads whole pictures and set {b} of {height} x {width} cells has {int(layout.lengths[b])} vectors, "
            "expected one for each cell"
        )
    return grid
