"""`Score`: how well a key answers a query, before any normalization.

A score is called with aligned queries and keys, `q [..., h, d]` and `k [..., h, d]` that broadcast against each other,
and gives `[..., h]`; that is its meaning. `tile` computes all pairs of `q [..., h, n, d]` and `k [..., h, m, d]`.
Both are given the pairs too, of shape `[...]` and `[..., n, m]`; only a score that is `placed`, or `reads_edges`, reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.attention.spec.base import Parameters, Part, Shapes

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs

__all__ = ["Score"]


@dataclass(frozen=True, repr=False)
class Score(Part):
    """What every score offers; a new one defines `__call__`, and `tile` where it knows a quicker way."""

    def parameters(self, heads: int, d: int) -> Shapes:
        """The learned tensors and their shapes."""
        return {}

    def scaling(self, d: int) -> float:
        """The factor that the score applies to its product, which also covers a bias that says `scaled`."""
        return 1.0

    @property
    def placed(self) -> bool:
        """Whether the score depends on the places of query and key in their sets."""
        return False

    @property
    def reads_edges(self) -> bool:
        """Whether the score depends on the values of edges."""
        return False

    @property
    def positive(self) -> bool:
        """Whether no score is below zero, whatever the vectors are."""
        return False

    def numbers_per_pair(self, d: int) -> int:
        """How many numbers `tile` holds for a pair."""
        return d

    def width(self, d: int) -> int:
        """How many numbers of a query and of a key make up a score."""
        return d

    def __call__(
        self,
        q: Float[Tensor, "*#b h d"],
        k: Float[Tensor, "*#b h d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h"]:
        raise NotImplementedError

    def tile(
        self,
        q: Float[Tensor, "*#b h rows d"],
        k: Float[Tensor, "*#b h keys d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h rows keys"]:
        """`[..., h, n, m]` for `q [..., h, n, d]` and `k [..., h, m, d]`."""
        q, k = q.movedim(-3, -2).unsqueeze(-3), k.movedim(-3, -2).unsqueeze(-4)
        return self(q, k, parameters, pairs).movedim(-1, -3)
