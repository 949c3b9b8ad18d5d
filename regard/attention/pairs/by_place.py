"""Sums over the rows of each set, by weights that a table has for each place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.attention.adapters.reduce import SameLength, by_length, sums_of_sets
from regard.attention.pairs.rows import looked_up

if TYPE_CHECKING:
    from jaxtyping import Float

    from regard.sets import Layout

__all__ = ["sums_by_place"]


def sums_by_place(
    table: Float[Tensor, " places #h k"], x: Float[Tensor, "u h d"], layout: Layout
) -> Float[Tensor, "reduced h d"]:
    """k weighted sums of the vectors of each set that is not empty: sum_j table[place of j, :, r] x_j over its rows j, for each r.

    Sets of one length that begin at place 0 are columns of one product with the table, of which nothing is copied.
    """
    if layout.places is None and layout.starts is None:
        return _Sums.apply(table, x, layout)
    rows = looked_up(table.flatten(1), layout.index).unflatten(1, table.shape[1:])
    return sums_of_sets(rows, x, layout)


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, x: Tensor, layout: Layout) -> Tensor:
        ctx.save_for_backward(table, x)
        ctx.layout, groups = layout, by_length(layout)
        if not groups.groups:
            return x[:0].clone()
        parts = [_back(table[: y.shape[1]].permute(1, 2, 0) @ y, each, x) for each, y in _columns(table, x, layout)]
        return (parts[0] if len(parts) == 1 else torch.cat(parts).index_select(0, groups.rank)).flatten(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        table, x = ctx.saved_tensors
        d_table, d_x, groups = torch.zeros_like(table), torch.empty_like(x), by_length(ctx.layout)
        above = gradient.unflatten(0, (-1, table.shape[2]))
        if len(groups.groups) > 1:
            above = torch.empty_like(above).index_copy_(0, groups.rank, above)
        done = 0
        for each, y in _columns(table, x, ctx.layout):
            n = y.shape[1]
            g = _forth(above[done : done + each.sets], table.shape[1])
            d_table[:n] += (y @ g.mT).transpose(0, 1)
            d_y = _back(table[:n].transpose(0, 1) @ g, each, x).flatten(0, 1)
            d_x = d_y if len(groups.groups) == 1 else d_x.index_copy_(0, each.rows, d_y)
            done += each.sets
        return d_table, d_x, None


def _columns(table: Tensor, x: Tensor, layout: Layout) -> list[tuple[SameLength, Tensor]]:
    """Sets of one length, and `[tables, n, sets * numbers]` their rows, those of one place together."""
    groups = by_length(layout).groups
    # A single group is all rows, in order.
    rows = [x if len(groups) == 1 else x.index_select(0, each.rows) for each in groups]
    return [
        (each, _forth(y.unflatten(0, (each.sets, -1)), table.shape[1])) for each, y in zip(groups, rows, strict=True)
    ]


def _forth(x: Tensor, tables: int) -> Tensor:
    """`[tables, n, sets * numbers]` of `[sets, n, h, d]`, where each table is for h / tables heads."""
    return x.flatten(2).unflatten(2, (tables, -1)).permute(2, 1, 0, 3).flatten(2)


def _back(x: Tensor, each: SameLength, like: Tensor) -> Tensor:
    """`[sets, n, h, d]` of `[tables, n, sets * numbers]`."""
    return x.unflatten(2, (each.sets, -1)).permute(2, 1, 0, 3).flatten(2).unflatten(2, like.shape[1:])
