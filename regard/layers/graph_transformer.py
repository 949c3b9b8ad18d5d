"""The graph transformer of Dwivedi and Bresson: attention along edges whose scores the edges' vectors weigh, and change them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Edges
from regard.attention.spec.scores import Dot, EdgeDot
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.linear import Linear
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["EdgeStream", "GraphTransformer"]


@checked()
class EdgeStream(nn.Module):
    """The vectors of edges from one layer to the next: e' = norm(e + O u), then norm(e' + W_2 relu(W_1 e')).

    u_ij joins over the heads what a score sums up, q_i * k_j * W e_ij / sqrt(d) (Dwivedi and Bresson 2021, eq. 10, 14 to 16). The
    paper has batch norms here and around its layers; these are layer norms, so that a graph gives what it gives alone.

    Args:
        width: of the vectors of edges. dropout: on what is added, while training.
    """

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.out = Linear(width, width)
        self.feed_forward = nn.Sequential(Linear(width, 2 * width), nn.ReLU(), Linear(2 * width, width))
        self.norm, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(
        self, edges: Float[torch.Tensor, "edges d"], terms: Float[torch.Tensor, "edges d"]
    ) -> Float[torch.Tensor, "edges d"]:
        edges = self.norm(edges + self.dropout(self.out(terms)))
        return self.norm_feed_forward(edges + self.dropout(self.feed_forward(edges)))


@checked(edge_width=0)
class GraphTransformer(nn.Module):
    """out = W_o [head_1; ...; head_h], each head attending along edges by the score `EdgeDot`, or `Dot` where edges carry nothing.

    Queries, keys and values are projections without a bias. A vector is no neighbor of itself, unless the graph says so, and one
    without neighbors becomes the bias of W_o. Edges' values enter through a linear map, and leave as an `EdgeStream` makes them, in
    the layout of the result: the next layer reads those. The residuals, norms and the feed-forward network of the paper are those
    of a `Block`, post-norm, with layer norms in place of its batch norms.

    Source: Dwivedi and Bresson 2021, eq. 8 to 16. Its code clips scores at 5 in size, as `EdgeDot` does; where edges carry nothing
    they are not clipped here.

    Args:
        width_in: of the vectors.
        width: of the result and of the edges' vectors.
        heads: a divisor of the width.
        edge_width: the number of values that edges carry; 0 reads none.
        dropout: on the weights and on what is added to the edges' vectors, while training.
        stream: whether the edges' vectors change; a last layer needs none.

    Raises:
        InputError: heads that do not divide the width; (when called) sets without edges, or with other values on them.

    >>> layer = GraphTransformer(8, 8, 2, edge_width=3)
    >>> sets = VectorSets.pack([torch.ones(2, 8)], edges=[torch.tensor([[0, 1], [1, 0]])], edge_values=[torch.ones(2, 3)])
    >>> layer(sets).layout.edge_values.shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        heads: int,
        edge_width: int = 0,
        dropout: float = 0.0,
        stream: bool = True,
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(
                f"the graph transformer has width {width} and {heads} heads, expected heads to divide the width"
            )
        self.width, self.heads, self.edge_width = width, heads, edge_width
        self.context = math.inf, math.inf
        self.project = Linear(width_in, 3 * width, bias=False)
        self.score = EdgeDot(width) if edge_width else Dot()
        self.attend = Attend(Attention(self.score, Edges()), heads, width // heads, dropout=dropout)
        self.out = Linear(width, width)
        self.enter = Linear(edge_width, width) if edge_width else None
        self.stream = EdgeStream(width, dropout) if edge_width and stream else None
        for matrix in self.project.weight.split(width):
            nn.init.xavier_uniform_(matrix)
        for learned in self.attend.learned.values():
            nn.init.xavier_uniform_(learned.view(width, width))

    def forward(self, sets: VectorSets) -> VectorSets:
        q, k, v = self.project(sets.values).unflatten(-1, (3, self.heads, -1)).unbind(1)
        layout = self._entered(sets.layout)
        values = self.out(self.attend(q, k, v, layout).flatten(1))
        if self.stream is not None and layout.edges is not None and layout.edge_values is not None:
            assert isinstance(self.score, EdgeDot)
            queries, keys = q.index_select(0, layout.edges[0]), k.index_select(0, layout.edges[1])
            projected = layout.edge_values.to(q.dtype) @ self.attend.learned["score_edges"].to(q.dtype).flatten(1)
            terms = self.score.products(queries, keys, projected.unflatten(1, q.shape[1:]))
            layout = layout.with_edge_values(self.stream(layout.edge_values, terms.flatten(1)))
        return VectorSets(values, layout)

    def _entered(self, layout: Layout) -> Layout:
        if self.enter is None:
            return layout
        found = 0 if layout.edge_values is None else layout.edge_values.shape[1]
        if found != self.edge_width or layout.edge_values is None:
            raise InputError(f"the edges of the sets carry {found} values, expected {self.edge_width}")
        return layout.with_edge_values(self.enter(layout.edge_values.to(self.enter.weight.dtype)))
