"""Scores that are nothing without the values of edges; see `score` for what every score offers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regard.attention.spec.base import Parameters, Shapes, bounded
from regard.attention.spec.edge_values import lacking_edge_values, projected_edges
from regard.attention.spec.score import Score

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs
    from regard.sets import Layout

__all__ = ["EdgeDot"]


@dataclass(frozen=True, repr=False)
class EdgeDot(Score):
    """s = clip(sum_c q_c k_c (W x)_c / sqrt(d), -clip, clip), x the values of the pair's edge, with W learned per head.

    A dot product whose terms are weighed by what the edge carries; 0 for a pair that is no edge. Source: Dwivedi and Bresson 2021
    (Graph Transformer), eq. 9, whose code clips scores at 5.

    Args:
        edges: the number of values of each edge.
        clip: the largest size of a score.
    """

    edges: int = field(metadata=bounded(1))
    clip: float = field(default=5.0, metadata=bounded(0))

    @property
    def reads_edges(self) -> bool:
        return True

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return lacking_edge_values(self, self.edges, layout, key_layout)

    def parameters(self, heads: int, d: int) -> Shapes:
        return {"score_edges": (self.edges, heads, d)}

    @staticmethod
    def products(
        q: Float[Tensor, "*#b h d"], k: Float[Tensor, "*#b h d"], projected: Float[Tensor, "*#b h d"]
    ) -> Float[Tensor, "*b h d"]:
        """`[..., h, d]`: what the score sums up, which a Graph Transformer goes on with as the edges' vectors."""
        # In this order, in which no product of a pair that may not attend is infinite: zero times it would be NaN.
        return projected * q.shape[-1] ** -0.5 * q * k

    def __call__(
        self,
        q: Float[Tensor, "*#b h d"],
        k: Float[Tensor, "*#b h d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h"]:
        products = self.products(q, k, projected_edges(parameters["score_edges"], pairs, q))
        return products.sum(-1).clamp(-self.clip, self.clip)
