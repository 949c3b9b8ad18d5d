"""The layer of graph attention networks (Velickovic et al. 2018; Brody et al. 2022): attention whose pattern is the edges."""

from __future__ import annotations

import math

import torch
from torch import nn

from regard.attention.adapters.base import Adapter
from regard.attention.spec.attention import Attention
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.linear import Linear
from regard.sets import VectorSets

__all__ = ["GraphAttentionLayer"]


@checked()
class GraphAttentionLayer(nn.Module):
    """out_i = sum_j a_ij W x_j + b with a from score(W x_i, W x_j) along the edges (Velickovic et al. 2018, eq. 1 to 5).

    Where matrices are not shared, queries have one of their own, and keys are the values: score(W_l x_i, W_r x_j), as in GATv2
    (Brody et al. 2022, eq. 7), whose a . LeakyReLU(W [x_i; x_j]) is a . LeakyReLU(W_l x_i + W_r x_j).

    Args:
        width_in: of the vectors.
        width: of the result: the heads' outputs joined, or, where `average`, their mean.
        heads: number of heads.
        attention: the specification, with the pattern `Edges()` in the papers.
        dropout: on the weights, while training.
        average: take the mean of the heads instead of joining them (eq. 6).
        shared: whether queries are projected by the matrix of keys and values.
        value_dropout: on the projected vectors that are summed, not on those that are scored, while training.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        heads: int,
        attention: Attention | Adapter,
        dropout: float = 0.0,
        average: bool = False,
        shared: bool = True,
        value_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not average and width % heads:
            raise InputError(f"the graph layer has width {width} and {heads} heads, expected heads to divide the width")
        self.width, self.heads, self.average = width, heads, average
        self.context = math.inf, math.inf
        self.d = width if average else width // heads
        self.project = Linear(width_in, heads * self.d, bias=False)
        self.project_query = None if shared else Linear(width_in, heads * self.d, bias=False)
        self.attend = Attend(attention, heads, self.d, dropout=dropout)
        self.bias = nn.Parameter(torch.zeros(width))
        self.value_dropout = Dropout(value_dropout)
        for projection in (self.project, self.project_query):
            if projection is not None:
                nn.init.xavier_uniform_(projection.weight)
        for learned in self.attend.learned.values():
            nn.init.xavier_uniform_(learned)

    def forward(self, sets: VectorSets) -> VectorSets:
        x = self.project(sets.values).unflatten(-1, (self.heads, self.d))
        q = x if self.project_query is None else self.project_query(sets.values).unflatten(-1, (self.heads, self.d))
        out = self.attend(q, x, self.value_dropout(x), sets.layout)
        return sets.with_values((out.mean(1) if self.average else out.flatten(1)) + self.bias)
