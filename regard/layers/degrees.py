"""How many neighbors a vector of a graph has, as a learned vector that is added to it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import embedding

from regard.errors import InputError
from regard.layers.checks import checked
from regard.sets import VectorSets

__all__ = ["Degrees"]


@checked()
class Degrees(nn.Module):
    """x_i + z_out[o_i] + z_in[n_i], with o_i keys that i has edges to and n_i queries that have edges to i, itself not counted.

    Both tables are learned and begin small. Where each edge goes both ways, o_i = n_i, and the sum is one table. Degrees of
    `longest` - 1 and more share the last vector.

    Source: Ying et al. 2021 (Graphormer), eq. 5.

    Args:
        width: of the vectors.
        longest: how many degrees, from 0 on, have vectors of their own; the paper's code has 512.

    Raises:
        InputError: (when called) sets without edges.

    >>> layer = Degrees(8, 16)
    >>> layer(VectorSets.pack([torch.ones(3, 8)], edges=[torch.tensor([[0, 1], [1, 0]])]))
    VectorSets(values [3, 8] float32, 1 sets)
    """

    def __init__(self, width: int, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.outgoing = nn.Parameter(torch.randn(longest, width) * 0.02)
        self.incoming = nn.Parameter(torch.randn(longest, width) * 0.02)

    def forward(self, sets: VectorSets) -> VectorSets:
        edges = sets.layout.edges
        if edges is None:
            raise InputError("the sets have no edges, expected graphs: degrees count them")
        others = (edges[0] != edges[1]).to(torch.int64)
        values = sets.values
        for ends, table in zip(edges, (self.outgoing, self.incoming), strict=True):
            counts = torch.zeros(values.shape[0], dtype=torch.int64, device=values.device).index_add_(0, ends, others)
            values = values + embedding(counts.clamp(max=self.longest - 1), table).to(values.dtype)
        return sets.with_values(values)

    def extra_repr(self) -> str:
        return f"longest={self.longest}"
