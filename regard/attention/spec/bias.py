"""`Bias`: what a pair's place, or its edge, adds to its score and to its value.

    s_ij = score(q_i, k_j) + bias(q_i, i, j)        out_i = sum_j a_ij (v_j + value_bias(i, j))

`score_bias` and `value_bias` are the meaning, for aligned pairs; their `tile_` forms do all pairs of a tile at once.
`scaled` says whether the factor of a scaled dot product covers the bias too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.attention.spec.base import Parameters, Part, Shapes

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs

__all__ = ["Bias", "looked_up", "spread"]


@dataclass(frozen=True, repr=False)
class Bias(Part):
    """What every bias offers; a new one defines `score_bias`, and the others where it has more or knows a quicker way."""

    @property
    def scaled(self) -> bool:
        return False

    @property
    def has_values(self) -> bool:
        """Whether there is a value bias."""
        return False

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        """The learned tensors and their shapes, for queries of width d and values of width e."""
        return {}

    def prepare(self, parameters: Parameters, reach: Callable[[], int]) -> Parameters:
        """What the methods below get as `parameters`, computed once a call: the learned tensors, and what pairs share of them.

        `reach()` is the largest |i - j| of the pairs that may attend; what is said of pairs beyond it does not matter.
        """
        return parameters

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        """`[..., h]` for aligned queries `[..., h, d]`."""
        raise NotImplementedError

    def tile_score_bias(
        self, q: Float[Tensor, "*#b h rows d"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*#b h rows keys"]:
        """`[..., h, n, m]` for `q [..., h, n, d]` and pairs of shape `[..., n, m]`."""
        return self.score_bias(q.movedim(-3, -2).unsqueeze(-3), pairs, parameters).movedim(-1, -3)

    @property
    def reads_edges(self) -> bool:
        """Whether it depends on the layout's edges."""
        return False

    @property
    def reads_queries(self) -> bool:
        """Whether the score bias depends on what the queries hold."""
        return True

    @property
    def of_distance(self) -> bool:
        """Whether the score bias is a function of the head and of j - i alone."""
        return False

    def by_distance(self, heads: int, reach: int, parameters: Parameters) -> Float[Tensor, "h 2*{reach}+1"] | None:
        """`[h, 2 * reach + 1]`: the score bias for j - i from -reach to reach, or None where it is no function `of_distance`.

        In the type and on the device of what is learned; in float64 on the CPU where nothing is.
        """
        return None

    def value_bias(self, pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*b _ e"]:
        """`[..., h or 1, e]`, added to the values; only where `has_values`."""
        raise NotImplementedError

    def tile_value_bias(
        self, weights: Float[Tensor, "*b h rows keys"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*b h rows e"]:
        """`[..., h, n, e]`: the value biases of a tile, summed with `weights [..., h, n, m]`."""
        values = self.value_bias(pairs, parameters).movedim(-2, -4)
        return (weights.unsqueeze(-1) * values).sum(-2)


def looked_up(table: Float[Tensor, "places width"], place: Int[Tensor, "*b"]) -> Float[Tensor, "*b width"]:
    """`[..., width]` rows of a table `[n, width]`; unlike an index, its gradient is summed in one fixed order."""
    from torch.nn.functional import embedding

    return embedding(place, table)


def spread(x: Float[Tensor, "*#b"], shape: Sequence[int]) -> Float[Tensor, "*b"]:
    """x for each of any number of pairs: `x.expand(shape)`, whose gradient is summed in float64."""
    from regard.attention.pairs.rows import spread

    return spread(x, shape)
