"""Convolutions on graphs that gather the neighbors of each vector, by their mean, sum or maximum: spatial ones, and GraphSAGE."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from regard.layers.adjacency import Normalized, largest, spread
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.sets import VectorSets

__all__ = ["Gather", "GraphSAGE", "SpatialConvolution"]

Gather = Literal["mean", "sum", "max"]


@checked()
class SpatialConvolution(nn.Module):
    """y_i = W gather({x_i} and all x_j that i has an edge to) + b, with the mean, the sum or the maximum of each number.

    Edges are (query row, key row), so vector i hears of its keys; an edge from a vector to itself, said or not, counts once. Values
    of edges are not read. The sum tells how many neighbors there are, the mean what they are like, the maximum which kinds there
    are (Xu et al. 2019, section 5). W begins as by Glorot and Bengio 2010.

    Args:
        width_in: of the vectors.
        width: of the result; None means that of the vectors.
        gather: "mean", "sum" or "max".

    Raises:
        InputError: (when called) sets without edges.

    >>> layer = SpatialConvolution(8, 4, gather="sum")
    >>> layer(VectorSets.pack([torch.ones(3, 8)], edges=[torch.tensor([[0, 1], [1, 0]])]))
    VectorSets(values [3, 4] float32, 1 sets)
    """

    def __init__(self, width_in: int, width: int | None = None, gather: Gather = "mean") -> None:
        super().__init__()
        self.width, self.gather = width or width_in, gather
        self.context = math.inf, math.inf
        self.linear = Linear(width_in, self.width, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.width))
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, sets: VectorSets) -> VectorSets:
        if self.gather == "max":
            return sets.with_values(self.linear(largest(sets.layout, sets.values, self_loops=True)) + self.bias)
        by: Normalized = "rows" if self.gather == "mean" else "none"
        narrow_first = self.width <= sets.values.shape[1]
        values = self.linear(sets.values) if narrow_first else sets.values
        values = spread(sets.layout, values, True, by)
        return sets.with_values((values if narrow_first else self.linear(values)) + self.bias)

    def extra_repr(self) -> str:
        return f"width={self.width}, gather={self.gather!r}"


@checked()
class GraphSAGE(nn.Module):
    """y_i = W [x_i; mean of all x_j that i has an edge to] + b (Hamilton et al. 2017, algorithm 1, with its mean).

    The mean is zeros for a vector without neighbors. A vector is no neighbor of itself: what it is and what it hears have a matrix
    each, unlike in `SpatialConvolution`. Values of edges are not read. The paper divides y_i by its length, which is left to a norm
    between layers. Both halves of W begin as by Glorot and Bengio 2010.

    Args:
        width_in: of the vectors.
        width: of the result; None means that of the vectors.

    Raises:
        InputError: (when called) sets without edges.

    >>> layer = GraphSAGE(8, 4)
    >>> layer(VectorSets.pack([torch.ones(3, 8)], edges=[torch.tensor([[0, 1], [1, 0]])]))
    VectorSets(values [3, 4] float32, 1 sets)
    """

    def __init__(self, width_in: int, width: int | None = None) -> None:
        super().__init__()
        self.width = width or width_in
        self.context = math.inf, math.inf
        self.own = Linear(width_in, self.width)
        self.neighbors = Linear(width_in, self.width, bias=False)
        for linear in (self.own, self.neighbors):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.own.bias)

    def forward(self, sets: VectorSets) -> VectorSets:
        x = sets.values
        if self.width <= x.shape[1]:
            heard = spread(sets.layout, self.neighbors(x), False, "rows")
        else:
            heard = self.neighbors(spread(sets.layout, x, False, "rows"))
        return sets.with_values(self.own(x) + heard)
