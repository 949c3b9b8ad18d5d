"""The graph convolution of Kipf and Welling: each vector becomes a weighted mean of its neighbors and itself, then a linear map."""

from __future__ import annotations

import math

import torch
from torch import nn

from regard.layers.adjacency import spread
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.sets import VectorSets

__all__ = ["GraphConvolution"]


@checked()
class GraphConvolution(nn.Module):
    """Y = D^-1/2 (A + I) D^-1/2 X W + b, with A_ij = 1 where i attends to j along an edge, and D_ii = 1 + sum_j A_ij.

    Edges are (query row, key row), so vector i hears of its keys; edges that a graph already has from a vector to itself are that
    same I. A vector without edges becomes x W + b. Weights of edges are not read, and depend on degrees alone: what a neighbor
    says is never weighed by what it is, which is what attention along edges adds.

    Source: Kipf and Welling 2017, eq. 2 and 8. W begins as there, by Glorot and Bengio 2010.

    Args:
        width_in: of the vectors.
        width: of the result; None means that of the vectors.

    Raises:
        InputError: (when called) sets without edges.

    >>> layer = GraphConvolution(8, 4)
    >>> layer(VectorSets.pack([torch.ones(3, 8)], edges=[torch.tensor([[0, 1], [1, 0]])]))
    VectorSets(values [3, 4] float32, 1 sets)
    """

    def __init__(self, width_in: int, width: int | None = None) -> None:
        super().__init__()
        self.width = width or width_in
        self.context = math.inf, math.inf
        self.linear = Linear(width_in, self.width, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.width))
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, sets: VectorSets) -> VectorSets:
        narrow_first = self.width <= sets.values.shape[1]
        values = self.linear(sets.values) if narrow_first else sets.values
        values = spread(sets.layout, values, self_loops=True)
        return sets.with_values((values if narrow_first else self.linear(values)) + self.bias)
