"""Learned biases of the distance j - i: T5's buckets and Transformer-XL's sinusoids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING

from regard.attention.spec.base import Parameters, Shapes, bounded
from regard.attention.spec.bias import Bias, looked_up
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs

__all__ = ["T5", "TransformerXL"]

# Of bounds between buckets, and what of them is rounding.
_DIGITS, _NONE = 60, Decimal("1e-45")
# Distances of which vectors are computed: in float32 with 64 numbers, 4 GiB.
_FARTHEST = 1 << 23


@dataclass(frozen=True, repr=False)
class T5(Bias):
    """bias = b_h[bucket(j - i)], with a learned number for each head and bucket (Raffel et al. 2020, section 2.1).

    Half of the buckets hold one distance each, 0, 1, ..., m - 1; the others share the distances up to `max_distance` evenly on a
    logarithmic scale, bucket m + floor(m ln(|j - i| / m) / ln(max_distance / m)), and the last one holds all beyond as well.
    T5 itself does not scale its dot products: `Dot(scale=1.0)`.

    Args:
        buckets: how many there are.
        max_distance: from which distance on all share the last one.
        bidirectional: keys after the query have half of the buckets; else they share bucket 0 with the query's own place.

    Raises:
        InputError: too few buckets, or a `max_distance` that the buckets of one distance reach.

    >>> bias = T5(buckets=8, max_distance=16)
    >>> [bias.bucket(distance) for distance in (-20, -16, -3, -1, 0, 1, 2, 20)]
    [3, 3, 2, 1, 0, 5, 6, 7]
    """

    buckets: int = field(default=32, metadata=bounded(2, 1 << 16))
    max_distance: int = field(default=128, metadata=bounded(2))
    bidirectional: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._exact < 1 or (self.bidirectional and self.buckets % 2):
            wanted = "an even number of at least 4" if self.bidirectional else "at least 2"
            raise InputError(f"T5 has buckets {self.buckets}, expected {wanted}")
        if self.max_distance <= self._exact:
            raise InputError(f"T5 has max_distance {self.max_distance}, expected more than {self._exact}")

    @property
    def _one_way(self) -> int:
        """The buckets of one direction."""
        return self.buckets // 2 if self.bidirectional else self.buckets

    @property
    def _exact(self) -> int:
        return self._one_way // 2

    def bucket(self, distance: int) -> int:
        """The bucket of a distance j - i."""
        from torch import tensor

        return int(self._bucket(tensor(distance)))

    def _bucket(self, distance: Tensor) -> Tensor:
        from torch import bucketize

        after = (distance > 0) * self._one_way if self.bidirectional else 0
        far = distance.abs() if self.bidirectional else (-distance).clamp(min=0)
        return after + bucketize(far, distance.new_tensor(_t5_bounds(self._one_way, self.max_distance)), right=True)

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        return {"bias_buckets": (self.buckets, heads)}

    @property
    def reads_queries(self) -> bool:
        return False

    @property
    def of_distance(self) -> bool:
        return True

    def by_distance(self, heads: int, reach: int, parameters: Parameters) -> Float[Tensor, "h 2*{reach}+1"] | None:
        from torch import arange

        table = parameters["bias_buckets"]
        return looked_up(table, self._bucket(arange(-reach, reach + 1, device=table.device))).T

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        return looked_up(parameters["bias_buckets"], self._bucket(pairs.j - pairs.i))

    def tile_score_bias(
        self, q: Float[Tensor, "*#b h rows d"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*#b h rows keys"]:
        gap = pairs.j - pairs.i
        reach = min(_t5_bounds(self._one_way, self.max_distance)[-1], int(gap.abs().max()) if gap.numel() else 0)
        table = self.by_distance(q.shape[-3], reach, parameters)
        assert table is not None
        place = gap.clamp(-reach, reach) + reach
        found = table.gather(1, place.reshape(1, -1).expand(table.shape[0], -1))
        return found.view(-1, *place.shape).movedim(0, -3)


@lru_cache(maxsize=64)
def _t5_bounds(buckets: int, max_distance: int) -> list[int]:
    """The least distance of each bucket of one direction but the first."""
    exact, others = buckets // 2, buckets - buckets // 2
    bounds = list(range(1, exact + 1))
    with localcontext() as context:
        context.prec = _DIGITS
        ratio = (Decimal(max_distance) / exact).ln() / others
        for turn in range(1, others):
            bound = exact * (ratio * turn).exp()
            n = int(bound.to_integral_value())
            # A power that is a whole number is that number, whatever its last digit was rounded to.
            bounds.append(n if abs(bound - n) < _NONE * bound or n > bound else n + 1)
    return bounds


@dataclass(frozen=True, repr=False)
class TransformerXL(Bias):
    """bias = (q_i + w_h) . (W_h R_(i-j)), with R the sinusoids of a distance (Dai et al. 2019, section 3.3).

    W and w are learned per head, and the scale of the dot product covers the bias. The paper's score is
    q . k + q . W R + u . k + v . W R, with learned u and v: that is this one where u is the bias of the layer's query projection,
    which lies in q, and v = u + w.

    Args:
        width: of R; None means that of all heads' queries together.
        base: R holds sin and cos of (i - j) / base^(2n / width).
    """

    width: int | None = field(default=None, metadata=bounded(1))
    base: float = field(default=10000.0, metadata=bounded(1e-30))

    @property
    def scaled(self) -> bool:
        return True

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        return {"bias_query": (heads, d), "bias_projection": (heads, d, self.width or heads * d)}

    def prepare(self, parameters: Parameters, reach: Callable[[], int]) -> Parameters:
        """Adds `bias_distances [2 * reach + 1, h, d]`: W R for j - i from -reach to reach."""
        from torch import arange, cat, einsum, float32, promote_types

        from regard.sets.sinusoids import sinusoids

        projection = parameters["bias_projection"]
        far, width = reach(), projection.shape[-1]
        if far > _FARTHEST:
            raise InputError(
                f"queries and keys lie up to {far:,} places apart, expected at most {_FARTHEST:,} for TransformerXL, which "
                "computes the vector of every distance"
            )
        exact = promote_types(projection.dtype, float32)
        cos, sin = sinusoids(arange(far, -far - 1, -1, device=projection.device), width, self.base, exact)
        tables = cat([sin, cos], 1)[:, :width].to(projection.dtype)
        return {**parameters, "bias_distances": einsum("pw,hdw->phd", tables, projection)}

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        table = parameters["bias_distances"]
        of_pair = looked_up(table.flatten(1), self._place(pairs, table)).unflatten(-1, table.shape[1:])
        return ((q + parameters["bias_query"]) * of_pair).sum(-1)

    def tile_score_bias(
        self, q: Float[Tensor, "*#b h rows d"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*#b h rows keys"]:
        table = parameters["bias_distances"]
        place = self._place(pairs, table)
        if place.numel():
            # Neighbors are not far from each other: of the table, they need a part.
            first = int(place.min())
            table, place = table[first : int(place.max()) + 1], place - first
        products = (q + parameters["bias_query"][:, None]) @ table.permute(1, 2, 0)
        return products.gather(-1, place.unsqueeze(-3).expand(*products.shape[:-1], place.shape[-1]))

    @staticmethod
    def _place(pairs: Pairs, table: Tensor) -> Tensor:
        """Which row of the table each pair reads."""
        reach = table.shape[0] // 2
        return (pairs.j - pairs.i).clamp(-reach, reach) + reach
