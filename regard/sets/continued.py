"""Rows of sets that go on: those from before and the new ones, set by set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.sets.layout import Layout, offsets_of
from regard.sets.whole import repeated

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["following", "last_rows", "rows_of"]


def following(before: Layout, after: Layout) -> Int[Tensor, " rows"]:
    """In which order the rows from before, followed by the new ones, lie where each set has its own one after another.

    >>> following(Layout.of_lengths([2, 1]), Layout.of_lengths([1, 1])).tolist()
    [0, 1, 3, 2, 4]
    """
    return torch.cat([before.set_of_row, after.set_of_row]).argsort(stable=True)


def last_rows(layout: Layout, number: Int[Tensor, " s"]) -> tuple[Int[Tensor, " rows"], Int[Tensor, " s+1"]]:
    """The rows of the last so many vectors of each set, and the offsets that they then have.

    >>> rows, offsets = last_rows(Layout.of_lengths([3, 2]), torch.tensor([1, 2]))
    >>> rows.tolist(), offsets.tolist()
    ([2, 3, 4], [0, 1, 3])
    """
    return rows_of(layout, layout.lengths - number, number), offsets_of(number)


def rows_of(layout: Layout, first: Int[Tensor, " s"], number: Int[Tensor, " s"]) -> Int[Tensor, " rows"]:
    """The rows of so many vectors of each set, from its `first` one on, counted from 0.

    >>> rows_of(Layout.of_lengths([3, 2]), torch.tensor([1, 0]), torch.tensor([2, 1])).tolist()
    [1, 2, 3]
    """
    offsets = offsets_of(number)
    rows = torch.arange(int(offsets[-1]), device=offsets.device)
    return rows + repeated(layout.offsets[:-1] + first - offsets[:-1], number)
