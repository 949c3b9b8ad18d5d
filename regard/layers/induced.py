"""Attention by way of a few learned vectors, the induced blocks of the Set Transformer."""

from __future__ import annotations

import math

import torch
from torch import nn

from regard.layers.attention import CrossAttention, mark_learned
from regard.layers.blocks import FeedForward
from regard.layers.checks import checked
from regard.sets import Layout, VectorSets

__all__ = ["InducedAttention"]


@checked()
class InducedAttention(nn.Module):
    """y = MultiHead(X, H, H) with H = MAB(I, X): m learned vectors I look at the n vectors of a set, which then look at the result.

        H = norm(h + rFF(h))        h = norm(I + MultiHead(I, X, X))        rFF(h) = W_2 relu(W_1 h + b_1) + b_2

    so that every vector depends on all for 2 n m pairs in place of n^2. In a post-norm `Block`, which adds the residual, the norms
    and a feed-forward network to y, it is the paper's ISAB_m(X) = MAB(X, H), and `SelfAttention` there is its SAB(X) = MAB(X, X);
    without positions both give permuted vectors for permuted vectors. Scores are divided by the root of the width of a head, where
    the authors' code divides by that of the whole width.

    Source: Lee et al. 2019 (Set Transformer), eq. 6, 7, 9 and 10.

    Args:
        width_in: of the vectors.
        heads: of both attentions, a divisor of `width`.
        inducing: m.
        width: of the result, and of I and H; None means that of the vectors.
        dropout: probability on the normalized weights while training.

    Raises:
        InputError: heads that do not divide the width.

    >>> layer = InducedAttention(8, heads=2, inducing=3)
    >>> layer(VectorSets.pack([torch.ones(5, 8), torch.ones(0, 8)]))
    VectorSets(values [5, 8] float32, 2 sets)
    """

    def __init__(
        self, width_in: int, heads: int, inducing: int, width: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width, self.inducing = width or width_in, inducing
        self.context = math.inf, math.inf
        self.points = nn.Parameter(torch.empty(inducing, self.width))
        nn.init.xavier_uniform_(self.points)
        self.gather = CrossAttention(self.width, heads, width_in, dropout=dropout)
        self.norm, self.last_norm = nn.LayerNorm(self.width), nn.LayerNorm(self.width)
        self.feed_forward = FeedForward(self.width, self.width)
        self.spread = CrossAttention(self.width, heads, dropout=dropout, width_in=width_in)
        mark_learned(self.gather, "queries")
        mark_learned(self.spread, "keys")

    def summary(self, sets: VectorSets) -> VectorSets:
        """H, m vectors for each set; those of an empty one depend on nothing but I."""
        layout = sets.layout
        points = VectorSets._trusted(self.points.to(sets.values.dtype).repeat(layout.sets, 1), self._layout(layout))
        h = self.norm(points.values + self.gather(points, sets).values)
        return points.with_values(self.last_norm(h + self.feed_forward(h)))

    def forward(self, sets: VectorSets) -> VectorSets:
        return self.spread(sets, self.summary(sets))

    def _layout(self, layout: Layout) -> Layout:
        """That of m vectors for each set; kept by the sets' own."""

        def make() -> Layout:
            return Layout._trusted([torch.arange(layout.sets + 1, device=layout.device) * self.inducing])

        return layout.kept(("inducing", self.inducing), make)
