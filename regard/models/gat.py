"""Graph attention networks (Velickovic et al. 2018; Brody et al. 2022): attention whose pattern is the edges."""

from __future__ import annotations

import torch
from torch import nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.layers.dropout import Dropout
from regard.models.configs import GraphAttentionNetwork, attention_of
from regard.sets import VectorSets

__all__ = ["GraphAttentionLayer", "GraphAttentionModel"]


class GraphAttentionLayer(nn.Module):
    """out_i = sum_j a_ij W x_j + b with a from score(W x_i, W x_j) along the edges (Velickovic et al. 2018, eq. 1 to 5).

    Args:
        width_in: of the vectors.
        width: of the result: the heads' outputs joined, or, where `average`, their mean.
        heads: number of heads.
        attention: text form of the attention.
        dropout: on the weights, while training.
        average: take the mean of the heads instead of joining them (eq. 6).
    """

    def __init__(
        self, width_in: int, width: int, heads: int, attention: str, dropout: float = 0.0, average: bool = False
    ) -> None:
        super().__init__()
        if not average and width % heads:
            raise InputError(f"the graph layer has width {width} and {heads} heads, expected heads to divide the width")
        self.width, self.heads, self.average = width, heads, average
        self.d = width if average else width // heads
        self.project = nn.Linear(width_in, heads * self.d, bias=False)
        self.attend = Attend(attention_of(attention), heads, self.d, dropout=dropout)
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.project.weight)
        for learned in self.attend.learned.values():
            nn.init.xavier_uniform_(learned)

    def forward(self, sets: VectorSets) -> VectorSets:
        x = self.project(sets.values).unflatten(-1, (self.heads, self.d))
        out = self.attend(x, x, x, sets.layout)
        return sets.with_values((out.mean(1) if self.average else out.flatten(1)) + self.bias)


class GraphAttentionModel(nn.Module):
    """From a batch of graphs to hidden vectors of their nodes."""

    def __init__(self, config: GraphAttentionNetwork, encoding: Encoding) -> None:
        super().__init__()
        if not encoding.width:
            raise InputError("the nodes carry ids, expected vectors of numbers for a graph attention network")
        self.width = config.width
        widths = [encoding.width, *[config.width] * config.layers]
        self.layers = nn.ModuleList(
            GraphAttentionLayer(
                widths[at],
                widths[at + 1],
                config.heads if at + 1 < config.layers else config.last_heads,
                config.attention,
                config.attention_dropout,
                average=at + 1 == config.layers,
            )
            for at in range(config.layers)
        )
        self.dropout = Dropout(config.dropout)

    def forward(self, batch: Batch) -> VectorSets:
        sets: VectorSets = batch.inputs
        for at, layer in enumerate(self.layers):
            sets = layer(sets.with_values(self.dropout(sets.values)))
            if at + 1 < len(self.layers):
                sets = sets.with_values(nn.functional.elu(sets.values))
        return sets
