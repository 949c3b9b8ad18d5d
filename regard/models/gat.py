"""Graph attention networks (Velickovic et al. 2018; Brody et al. 2022): layers of attention along edges."""

from __future__ import annotations

from torch import nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.dropout import Dropout
from regard.layers.graph_attention import GraphAttentionLayer
from regard.models.configs import GraphAttentionNetwork, attention_of
from regard.sets import VectorSets

__all__ = ["GraphAttentionModel"]


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
                attention_of(config.attention),
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
