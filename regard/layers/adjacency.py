"""The adjacency matrix of a batch of graphs, and its product with their vectors: what graph convolutions are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag, pad

from regard.errors import InputError
from regard.sets import Layout
from regard.sets.whole import ordered

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Adjacency", "Normalized", "largest", "normalized_adjacency", "spread"]

Normalized = Literal["both", "rows", "none"]
"""D^-1/2 A D^-1/2, D^-1 A, or A itself."""


class _Rows(NamedTuple):
    """A sparse matrix row by row: row i has `weights[offsets[i] : offsets[i + 1]]` at those `columns`, in increasing order."""

    offsets: Tensor
    columns: Tensor
    weights: Tensor


class Adjacency(NamedTuple):
    """A square sparse matrix over the t rows of a batch, and its transpose, for the gradient."""

    rows: _Rows
    transposed: _Rows


def normalized_adjacency(layout: Layout, self_loops: bool, by: Normalized = "both") -> Adjacency:
    """D^-1/2 A D^-1/2 with A_ij = 1 where an edge (query row i, key row j) is, and D_ii = sum_j A_ij.

    With `by` "rows" it is D^-1 A, whose product is the mean over the keys of each query, and with "none" A, for their sum.

    Each vector has an edge to itself with `self_loops` and none without, whatever the layout's edges say. Where edges go one way
    only, D counts the keys of each query, and a key that is no query itself has D_jj = 0 and weight 0. Values of edges are not
    read. Computed once per batch.

    Raises:
        InputError: a layout without edges.

    >>> layout = Layout(torch.tensor([0, 3]), edges=torch.tensor([[0, 1], [1, 0]]))
    >>> [weight.item() for weight in normalized_adjacency(layout, self_loops=True).rows.weights]
    [0.5, 0.5, 0.5, 0.5, 1.0]
    """
    if layout.edges is None:
        raise InputError("the sets have no edges, expected graphs: a graph convolution adds up along edges")
    return layout.kept(("adjacency", self_loops, by), lambda: _new_adjacency(layout, self_loops, by))


def _new_adjacency(layout: Layout, self_loops: bool, by: Normalized) -> Adjacency:
    total = max(1, layout.total)
    codes = layout.edge_codes
    # A vector's edge to itself is a multiple of this, and no other edge is.
    step = total + 1
    codes = codes[codes % step != 0]
    if self_loops:
        codes = ordered(torch.cat([codes, torch.arange(layout.total, device=codes.device) * step]))
    query = codes // total
    key = codes - query * total
    degree = torch.bincount(query, minlength=layout.total).double()
    mine = degree.index_select(0, query)
    if by == "both":
        product = mine * degree.index_select(0, key)
        weights = torch.where(product > 0, product.rsqrt(), 0)
    else:
        weights = 1 / mine if by == "rows" else torch.ones_like(mine)
    # Keys are in increasing order in each row already, queries stay so in each column.
    order = torch.argsort(key, stable=True)
    transposed = _Rows(_offsets(key, layout.total), query.index_select(0, order), weights.index_select(0, order))
    return Adjacency(_Rows(_offsets(query, layout.total), key, weights), transposed)


def _offsets(rows: Tensor, number: int) -> Tensor:
    return pad(torch.bincount(rows, minlength=number).cumsum(0), (1, 0))


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, adjacency: Adjacency) -> Tensor:
        ctx.transposed = adjacency.transposed
        return _product(adjacency.rows, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _product(ctx.transposed, gradient), None


def _product(matrix: _Rows, x: Tensor) -> Tensor:
    """Row by row, each summed by one thread in one order, without a copy of x per edge."""
    if not x.numel() or not len(matrix.columns):
        return torch.zeros_like(x)
    exact = x.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
    weights = matrix.weights.to(exact.dtype)
    sums = embedding_bag(
        matrix.columns, exact, matrix.offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
    return sums.to(x.dtype)


def spread(layout: Layout, x: Float[Tensor, "t d"], self_loops: bool, by: Normalized = "both") -> Float[Tensor, "t d"]:
    """The adjacency of the layout, normalized or not, times x; two runs agree to the last bit."""
    if torch.compiler.is_compiling():
        from regard.layers.untraced import untraced

        return untraced(_spread, layout, x, self_loops, by)
    return _spread(layout, x, self_loops, by)


def _spread(layout: Layout, x: Tensor, self_loops: bool, by: Normalized) -> Tensor:
    product: Tensor = _Spread.apply(x, normalized_adjacency(layout, self_loops, by))
    return product


class _Largest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: _Rows) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
        # 2 is "max"; the last result is the row of x that each number is from.
        best, _, _, owners = torch._embedding_bag(exact, rows.columns, rows.offsets, False, 2, False, None, True)
        empty = rows.offsets.diff() == 0
        ctx.save_for_backward(owners, empty)
        if exact.isnan().any():
            # The comparison with a number that is none is false, which would hide it behind its neighbors.
            found = _product(rows._replace(weights=torch.ones_like(rows.weights)), exact.isnan().to(exact.dtype))
            best = best.masked_fill(found > 0, torch.nan)
        return best.masked_fill(empty[:, None], 0).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        owners, empty = ctx.saved_tensors
        above = gradient.masked_fill(empty[:, None], 0)
        return torch.zeros_like(above).scatter_add_(0, owners.clamp(min=0).masked_fill(empty[:, None], 0), above), None


def largest(layout: Layout, x: Float[Tensor, "t d"], self_loops: bool) -> Float[Tensor, "t d"]:
    """For each row and each number of a vector the largest one among the row's keys, 0 for a row without keys.

    The gradient goes to one key, the first one of several with that number; a key that is NaN makes the result NaN.
    """
    if torch.compiler.is_compiling():
        from regard.layers.untraced import untraced

        return untraced(_largest, layout, x, self_loops)
    return _largest(layout, x, self_loops)


def _largest(layout: Layout, x: Tensor, self_loops: bool) -> Tensor:
    rows = normalized_adjacency(layout, self_loops, "none").rows
    if not len(rows.columns) or not x.numel():
        return x * 0
    best: Tensor = _Largest.apply(x, rows)
    return best
