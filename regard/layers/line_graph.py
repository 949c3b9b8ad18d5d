"""Edges as the set: the line graph of each graph, whose vectors are the edges and whose edges join those that share an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.sets import Layout, VectorSets
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["MOST_PAIRS", "EdgesAsSet", "line_graph"]

MOST_PAIRS = 1 << 26
"""Pairs of edges that share an end, of a batch."""


def line_graph(layout: Layout) -> tuple[Layout, Int[Tensor, " edges"]]:
    """The layout whose vectors are the edges of a layout, set by set, and `[edges]` which edge each of them is.

    Two edges are joined where they share an end, whichever, and each with itself; an edge there and one back are two vectors. The
    vectors of a set are in the order of its edges.

    Raises:
        InputError: a layout without edges, or one of whose edges too many share an end.

    >>> path = Layout(torch.tensor([0, 3]), edges=torch.tensor([[0, 1], [1, 2]]))
    >>> line_graph(path)[0].edges.tolist()
    [[0, 0, 1, 1], [0, 1, 0, 1]]
    """
    if layout.edges is None:
        raise InputError("the sets have no edges, expected graphs: their edges are to be the set")
    return layout.kept("line graph", lambda: _new_line_graph(layout))


def _new_line_graph(layout: Layout) -> tuple[Layout, Tensor]:
    assert layout.edges is not None
    owner, number = layout.set_of_row[layout.edges[0]], layout.edges.shape[1]
    order = torch.argsort(owner, stable=True)
    offsets = offsets_of(torch.bincount(owner, minlength=layout.sets))
    # For each end of an edge, the row of the node; an edge from a node to itself has one end.
    query, key = layout.edges[:, order]
    edges = torch.arange(number, device=layout.device)
    other = query != key
    nodes, places = torch.cat([query, key[other]]), torch.cat([edges, edges[other]])
    by_node = torch.argsort(nodes, stable=True)
    places, degree = places[by_node], torch.bincount(nodes, minlength=layout.total)
    pairs = int(degree.square().sum())
    if pairs > MOST_PAIRS:
        raise InputError(
            f"{pairs:,} pairs of edges share an end, expected at most {MOST_PAIRS:,}: try graphs with fewer edges per vector"
        )
    first = offsets_of(degree)
    each = degree[nodes[by_node]]  # How many edges meet the one at this end of it.
    starts = torch.repeat_interleave(first[nodes[by_node]] - offsets_of(each)[:-1], each)
    ours = torch.repeat_interleave(places, each)
    theirs = places[starts + torch.arange(len(starts), device=layout.device)]
    # Two edges between the same two nodes share both ends.
    codes = (ours * number + theirs).unique()
    joined = torch.stack([codes // max(1, number), codes % max(1, number)])
    return Layout(offsets, edges=joined), order


@checked(edge_width=0)
class EdgesAsSet(nn.Module):
    """W [x_i; x_j; e_ij] + b for each edge from i to j: sets of edges, which the layers after it mix.

    Two edges that share an end are joined by an edge of the line graph. A graph without edges becomes an empty set. Source: Buterez
    et al. 2025 (Edge-Set Attention), section 4.

    Args:
        width_in: of the vectors. edge_width: the number of values that edges carry. width: of the result.

    Raises:
        InputError: (when called) sets without edges, or with other values on them.

    >>> layer = EdgesAsSet(4, 0, 8)
    >>> layer(VectorSets.pack([torch.ones(3, 4)], edges=[torch.tensor([[0, 1], [1, 0]])]))
    VectorSets(values [2, 8] float32, 1 sets)
    """

    def __init__(self, width_in: int, edge_width: int, width: int) -> None:
        super().__init__()
        self.edge_width = edge_width
        self.linear = Linear(2 * width_in + edge_width, width)

    def forward(self, sets: VectorSets) -> VectorSets:
        layout, order = line_graph(sets.layout)
        edges, carried = sets.layout.edges, sets.layout.edge_values
        assert edges is not None, "a line graph is that of edges"
        found = 0 if carried is None else carried.shape[1]
        if self.edge_width and found != self.edge_width:
            raise InputError(f"the edges of the sets carry {found} values, expected {self.edge_width}")
        parts = [sets.values.index_select(0, ends) for ends in edges[:, order]]
        if self.edge_width and carried is not None:
            parts.append(carried.index_select(0, order).to(sets.values.dtype))
        return VectorSets(self.linear(torch.cat(parts, dim=1)), layout)
