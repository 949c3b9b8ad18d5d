"""Reductions along each row's allowed keys, for the two shapes in which executors hold scores, and rows of tables for pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["Along", "ByRow", "crossed", "looked_up", "spread"]

# Gradients of so many rows are added up in float64 at once.
_PART = 1 << 14


class Along:
    """Rows along one dimension of a rectangle; `number`, each row's allowed keys, broadcasts against what is reduced."""

    def __init__(self, dim: int, number: Int[Tensor, " ..."]) -> None:
        self.dim = dim
        self.number = number

    def count(self, s: Float[Tensor, "*b"]) -> Float[Tensor, "*#b"]:
        return self.number.clamp(min=1).to(s.dtype)

    def max(self, s: Float[Tensor, "*b"]) -> Float[Tensor, "*#b"]:
        if s.shape[self.dim] == 0:
            return s.new_zeros(())
        return s.detach().amax(self.dim, keepdim=True).masked_fill(self.number == 0, 0)

    def sum(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*#b"]:
        return x.sum(self.dim, keepdim=True).masked_fill(self.number == 0, 1)


class ByRow:
    """Pairs one after another, `[p, h]`: pair p is of row `row[p]` out of `rows`; `allowed [p, h or 1]`, None for all."""

    def __init__(self, row: Int[Tensor, " pairs"], rows: int, allowed: Bool[Tensor, "pairs _"] | None = None) -> None:
        self.row = row
        self.rows = rows
        self.allowed = allowed

    @cached_property
    def _number(self) -> Tensor:
        """`[rows, h or 1]` allowed keys of each row."""
        one = self.row.new_ones(len(self.row), 1) if self.allowed is None else self.allowed.long()
        return one.new_zeros(self.rows, one.shape[1]).index_add(0, self.row, one)

    def count(self, s: Float[Tensor, "pairs h"]) -> Float[Tensor, " pairs #h"]:
        return self._number.clamp(min=1).to(s.dtype)[self.row]

    def max(self, s: Float[Tensor, "pairs h"]) -> Float[Tensor, " pairs #h"]:
        s = s.detach()
        place = self.row[:, None].expand_as(s)
        top = s.new_zeros(self.rows, s.shape[1]).scatter_reduce(0, place, s, "amax", include_self=False)
        return top.masked_fill(self._number == 0, 0).index_select(0, self.row)

    def sum(self, x: Float[Tensor, "pairs h"]) -> Float[Tensor, " pairs #h"]:
        total = x.new_zeros(self.rows, x.shape[1]).index_add(0, self.row, x)
        return total.masked_fill(self._number == 0, 1).index_select(0, self.row)


def looked_up(table: Float[Tensor, "places width"], place: Int[Tensor, "*b"]) -> Float[Tensor, "*b width"]:
    """`table[place]`.

    Unlike an index, its gradient is summed in one fixed order, and in float64, since a place may have any number of pairs.
    """
    return _LookedUp.apply(table, place)


class _LookedUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.rows = table.shape[0]
        return embedding(place, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        total = gradient.new_zeros(ctx.rows, gradient.shape[-1], dtype=torch.float64)
        parts = gradient.flatten(0, -2).split(_PART), place.flatten().split(_PART)
        for part, rows in zip(*parts, strict=True):
            total += torch.ops.aten.embedding_dense_backward(part.double(), rows, ctx.rows, -1, False)
        return total.to(gradient.dtype), None


def crossed(
    table: Float[Tensor, "rows columns h"], row: Int[Tensor, "*#b n 1"], column: Int[Tensor, "*#b 1 m"]
) -> Float[Tensor, "*b n m h"]:
    """`table[row, column]` for all rows and columns of tiles.

    Its gradient is summed in one fixed order, in the type of the tiles: each has a pair of places once, but where it pads.
    """
    return _Crossed.apply(table, row, column)


class _Crossed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, row: Tensor, column: Tensor) -> Tensor:
        ctx.save_for_backward(row, column)
        ctx.shape = table.shape
        return table[row, column]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        row, column = ctx.saved_tensors
        total = gradient.new_zeros(ctx.shape)
        if gradient.is_cuda:  # where scatter_add would be atomic; this one sorts.
            return total.index_put_((row, column), gradient, accumulate=True), None, None
        number = (row * ctx.shape[1] + column)[..., None] * ctx.shape[2]
        number = number + torch.arange(ctx.shape[2], device=number.device)
        total.view(-1).scatter_add_(0, number.expand_as(gradient).flatten(), gradient.flatten())
        return total, None, None


def spread(x: Float[Tensor, "*#b"], shape: Sequence[int]) -> Float[Tensor, "*b"]:
    """x for each of any number of pairs: `x.expand(shape)`, whose gradient is summed in float64."""
    return _Spread.apply(x, tuple(shape))


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = x.shape
        return x.expand(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        more = gradient.dim() - len(ctx.shape)
        over = [axis for axis in range(gradient.dim()) if axis < more or ctx.shape[axis - more] == 1]
        return gradient.sum(over, dtype=torch.float64).view(ctx.shape).to(gradient.dtype), None
