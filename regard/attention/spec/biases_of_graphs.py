"""Biases of graphs that are computed from their edges: how far it is from a vector to another, and what lies on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regard.attention.spec.base import Parameters, Shapes, bounded
from regard.attention.spec.bias import Bias, looked_up
from regard.attention.spec.edge_values import lacking_edge_values

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs
    from regard.sets import Layout

__all__ = ["ShortestPath"]


@dataclass(frozen=True, repr=False)
class ShortestPath(Bias):
    """bias = b_h[D] + mean over n = 1 ... min(D, longest) of w_hn . x_n, the edges' values along a shortest path of D edges.

    The path leads from query to key along edges; distances beyond `longest` share its entry of b, and pairs without a path have
    one of their own. Of several shortest paths the one of the smallest places is taken, so that with `edges` the order
    of a graph's vectors may matter. All pairs of each
    set have their path looked for, whatever the pattern. Source: Ying et al. 2021 (Graphormer), eq. 6 and 7.

    Args:
        longest: the largest distance that has an entry of its own, and how many edges of a path are read.
        edges: the number of values of each edge that are read along paths; 0 reads distances alone.
    """

    longest: int = field(default=5, metadata=bounded(1, 1 << 10))
    edges: int = field(default=0, metadata=bounded(0))

    @property
    def reads_edges(self) -> bool:
        return True

    @property
    def reads_queries(self) -> bool:
        return False

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        shapes: Shapes = {"bias_distances": (self.longest + 2, heads)}
        return shapes | ({"bias_edges": (self.longest, self.edges, heads)} if self.edges else {})

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        from regard.attention.pairs.paths import too_many_pairs

        if layout.edges is None or key_layout is not layout:
            return f"the sets lack what {self!r} reads, expected the edges of queries that are keys too"
        return too_many_pairs(layout) or (lacking_edge_values(self, self.edges, layout, layout) if self.edges else None)

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        from torch import where

        from regard.attention.pairs.paths import shortest_paths

        paths = shortest_paths(pairs.layout, self.longest)
        place = paths.of(pairs.layout, pairs.query_rows, pairs.key_rows)
        distance = paths.distance[place].long()
        entry = where(distance < 0, self.longest + 1, distance.clamp(max=self.longest))
        bias = looked_up(parameters["bias_distances"], entry)
        if not self.edges:
            return bias
        counted = distance.clamp(1, self.longest)[..., None].to(bias.dtype)
        return bias + self._along(pairs, paths.edges[place].long(), parameters["bias_edges"]) / counted

    def _along(self, pairs: Pairs, edges: Tensor, weight: Tensor) -> Float[Tensor, "*b h"]:
        """The sum over a path's edges, for `[..., longest]` of them, of each one's part by its place in the path."""
        from torch import arange, cat, where

        carried = pairs.layout.edge_values
        assert carried is not None, "a plan refuses layouts that lack what the bias needs"
        parts = carried.to(weight.dtype) @ weight  # [longest, edges, h]
        number = carried.shape[0]
        table = cat([parts.flatten(0, 1), weight.new_zeros(1, weight.shape[-1])])
        places = edges + arange(self.longest, device=edges.device) * number
        return looked_up(table, where(edges < 0, len(table) - 1, places)).sum(-2)
