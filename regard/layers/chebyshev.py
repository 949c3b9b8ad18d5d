"""Spectral filters on graphs: polynomials of the graph's Laplacian. A polynomial of degree n reaches n edges."""

from __future__ import annotations

import math

import torch
from torch import nn

from regard.errors import InputError
from regard.layers.adjacency import spread
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.sets import VectorSets

__all__ = ["Chebyshev"]


@checked()
class Chebyshev(nn.Module):
    """Y = sum_{k=0}^{K-1} T_k(L') X W_k + b, with T_0 = 1, T_1(L') = L' and T_k(L') = 2 L' T_{k-1}(L') - T_{k-2}(L').

    L' = 2 L / 2 - I = - D^-1/2 A D^-1/2 is the normalized Laplacian L = I - D^-1/2 A D^-1/2, whose eigenvalues are at most 2,
    scaled to between -1 and 1; the paper divides by the largest eigenvalue itself, which would be another number for each graph.
    A_ij = 1 where i attends to j along an edge (query row, key row) and i is not j, and D_ii = sum_j A_ij: the Laplacian of an
    undirected graph has each edge both ways. A vector without edges becomes x (W_0 - W_2 + W_4 - ...) + b. Values of edges are not
    read.

    The sum is computed from its last term on (Clenshaw 1955), in vectors of the result's width.

    Source: Defferrard et al. 2016, eq. 4 and section 2.1. Each W_k begins as by Glorot and Bengio 2010.

    Args:
        width_in: of the vectors.
        width: of the result; None means that of the vectors.
        terms: K, at least 1; a vector hears of those up to K - 1 edges away.

    Raises:
        InputError: fewer than 1 term; (when called) sets without edges.

    >>> layer = Chebyshev(8, 4, terms=3)
    >>> layer(VectorSets.pack([torch.ones(3, 8)], edges=[torch.tensor([[0, 1], [1, 0]])]))
    VectorSets(values [3, 4] float32, 1 sets)
    """

    def __init__(self, width_in: int, width: int | None = None, terms: int = 3) -> None:
        super().__init__()
        if terms < 1:
            raise InputError(f"a Chebyshev filter has {terms} terms, expected at least 1")
        self.width, self.terms = width or width_in, terms
        self.context = math.inf, math.inf
        self.linear = Linear(width_in, terms * self.width, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.width))
        for matrix in self.linear.weight.split(self.width):
            nn.init.xavier_uniform_(matrix)

    def forward(self, sets: VectorSets) -> VectorSets:
        layout, parts = sets.layout, self.linear(sets.values).split(self.width, dim=1)
        # b_k = X W_k + 2 L' b_{k+1} - b_{k+2}, and Y = X W_0 + L' b_1 - b_2.
        later, latest = torch.zeros_like(parts[0]), torch.zeros_like(parts[0])
        for k in range(self.terms - 1, 0, -1):
            product = spread(layout, later, self_loops=False) if k < self.terms - 1 else later
            later, latest = parts[k] - 2 * product - latest, later
        return sets.with_values(parts[0] - spread(layout, later, self_loops=False) - latest + self.bias)

    def extra_repr(self) -> str:
        return f"width={self.width}, terms={self.terms}"
