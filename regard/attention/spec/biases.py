"""Biases: what a pair's place, or its edge, adds to its score and to its value.

    s_ij = score(q_i, k_j) + bias(q_i, i, j)        out_i = sum_j a_ij (v_j + value_bias(i, j))

`score_bias` and `value_bias` are the meaning, for aligned pairs; their `tile_` forms do all pairs of a tile at once.
`scaled` says whether the factor of a scaled dot product covers the bias too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from regard.attention.spec.base import Value
from regard.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs

__all__ = ["T5", "ALiBi", "Bias", "EdgeBias", "Shaw", "TransformerXL"]

Parameters = Mapping[str, "Tensor"]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, repr=False)
class Bias(Value):
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

    def needs(self, coordinates: int, edge_width: int) -> str | None:
        """What the layout lacks for this bias, or None; `coordinates` and `edge_width` are what it has, 0 for none."""
        return None

    def prepare(self, parameters: Parameters, reach: Callable[[], int]) -> Parameters:
        """What the methods below get as `parameters`, computed once a call: the learned tensors, and what pairs share of them.

        `reach()` is the largest |i - j| of the pairs that may attend; what is said of pairs beyond it does not matter.
        """
        return parameters

    def score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        """`[..., h]` for aligned queries `[..., h, d]`."""
        raise NotImplementedError

    def tile_score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        """`[..., h, n, m]` for `q [..., h, n, d]` and pairs of shape `[..., n, m]`."""
        return self.score_bias(q.movedim(-3, -2).unsqueeze(-3), pairs, parameters).movedim(-1, -3)

    @property
    def reads_queries(self) -> bool:
        """Whether the score bias depends on what the queries hold."""
        return True

    @property
    def of_distance(self) -> bool:
        """Whether the score bias is a function of the head and of j - i alone."""
        return False

    def by_distance(self, heads: int, reach: int, parameters: Parameters) -> Tensor | None:
        """`[h, 2 * reach + 1]`: the score bias for j - i from -reach to reach, or None where it is no function `of_distance`.

        In the type and on the device of what is learned; in float64 on the CPU where nothing is.
        """
        return None

    def value_bias(self, pairs: Pairs, parameters: Parameters) -> Tensor:
        """`[..., h or 1, e]`, added to the values; only where `has_values`."""
        raise NotImplementedError

    def tile_value_bias(self, weights: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        """`[..., h, n, e]`: the value biases of a tile, summed with `weights [..., h, n, m]`."""
        values = self.value_bias(pairs, parameters).movedim(-2, -4)
        return (weights.unsqueeze(-1) * values).sum(-2)


@dataclass(frozen=True, repr=False)
class ALiBi(Bias):
    """bias = -m_h |i - j|, with the fixed slopes m_h of Press et al. 2022 (section 3), also behind the query.

    For 8 heads the slopes are 1/2, 1/4, ..., 1/256; for n heads, a power of two, 2^(-8/n), 2^(-16/n), ...

    Args:
        coordinates: take the Euclidean distance of the vectors' coordinates instead of |i - j|.

    >>> ALiBi.slopes(4)
    [0.25, 0.0625, 0.015625, 0.00390625]
    """

    coordinates: bool = False

    @staticmethod
    def slopes(heads: int) -> list[float]:
        """One slope a head; between powers of two, every other slope of the next power fills up."""
        whole = 1 << (heads.bit_length() - 1)
        some = [2.0 ** (-8 * (h + 1) / whole) for h in range(whole)]
        more = [2.0 ** (-8 * (h + 1) / (2 * whole)) for h in range(0, 2 * whole, 2)]
        return some + more[: heads - whole]

    @property
    def reads_queries(self) -> bool:
        return False

    def needs(self, coordinates: int, edge_width: int) -> str | None:
        return "coordinates" if self.coordinates and not coordinates else None

    @property
    def of_distance(self) -> bool:
        return not self.coordinates

    def by_distance(self, heads: int, reach: int, parameters: Parameters) -> Tensor | None:
        from torch import arange, float64, tensor

        if not self.of_distance:
            return None
        return -tensor(self.slopes(heads), dtype=float64)[:, None] * arange(-reach, reach + 1).abs()

    def score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        from torch import float32, promote_types

        exact = promote_types(q.dtype, float32)  # bfloat16 has no distance of 257.
        slopes = q.new_tensor(self.slopes(q.shape[-2]), dtype=exact)
        return -slopes * _distance(pairs, self.coordinates).to(exact)[..., None]


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

    buckets: int = 32
    max_distance: int = 128
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

    def by_distance(self, heads: int, reach: int, parameters: Parameters) -> Tensor | None:
        from torch import arange

        table = parameters["bias_buckets"]
        return _looked_up(table, self._bucket(arange(-reach, reach + 1, device=table.device))).T

    def score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        return _looked_up(parameters["bias_buckets"], self._bucket(pairs.j - pairs.i))

    def tile_score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
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
    for turn in range(1, others):
        # The least n with (n / exact)^others >= (max_distance / exact)^turn, in integers, so that it is the same everywhere.
        low, n = bounds[-1], max_distance
        while low < n:
            middle = (low + n) // 2
            enough = middle**others * exact**turn >= max_distance**turn * exact**others
            low, n = (low, middle) if enough else (middle + 1, n)
        bounds.append(n)
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

    width: int | None = None
    base: float = 10000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width is not None and self.width < 1:
            raise InputError(f"TransformerXL has width {self.width}, expected at least 1")
        if self.base <= 0:
            raise InputError(f"TransformerXL has base {self.base}, expected more than 0")

    @property
    def scaled(self) -> bool:
        return True

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        return {"bias_query": (heads, d), "bias_projection": (heads, d, self.width or heads * d)}

    def prepare(self, parameters: Parameters, reach: Callable[[], int]) -> Parameters:
        """Adds `bias_distances [2 * reach + 1, h, d]`: W R for j - i from -reach to reach."""
        from torch import arange, cat, einsum, float32, promote_types

        projection = parameters["bias_projection"]
        far, width = reach(), projection.shape[-1]
        # Places far away turn by angles that bfloat16 could not tell apart.
        exact, device = promote_types(projection.dtype, float32), projection.device
        frequency = self.base ** (-arange(0, width, 2, dtype=exact, device=device) / width)
        angle = arange(far, -far - 1, -1, dtype=exact, device=device)[:, None] * frequency
        sinusoids = cat([angle.sin(), angle.cos()], 1)[:, :width].to(projection.dtype)
        return {**parameters, "bias_distances": einsum("pw,hdw->phd", sinusoids, projection)}

    def score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        table = parameters["bias_distances"]
        of_pair = _looked_up(table.flatten(1), self._place(pairs, table)).unflatten(-1, table.shape[1:])
        return ((q + parameters["bias_query"]) * of_pair).sum(-1)

    def tile_score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
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


@dataclass(frozen=True, repr=False)
class Shaw(Bias):
    """bias = q_i . a_r and value bias = b_r, with r = clip(j - i, -radius, radius) (Shaw et al. 2018, eq. 3 to 5).

    The tables a and b are learned and shared by the heads; the scale of the dot product covers the bias.

    Args:
        radius: the largest distance that has vectors of its own.
        keys: learn a, the vectors on keys.
        values: learn b, the vectors on values.
        coordinates: of this many coordinates, each has tables of its own, and their vectors add up; 0 means the order in the set.
    """

    radius: int
    keys: bool = True
    values: bool = True
    coordinates: int = 0

    @property
    def scaled(self) -> bool:
        return True

    @property
    def has_values(self) -> bool:
        return self.values

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        axes, places = max(1, self.coordinates), 2 * self.radius + 1
        shapes: Shapes = {"bias_keys": (axes, places, d)} if self.keys else {}
        return shapes | ({"bias_values": (axes, places, e)} if self.values else {})

    def needs(self, coordinates: int, edge_width: int) -> str | None:
        if self.coordinates and coordinates != self.coordinates:
            return f"{self.coordinates} coordinates (it has {coordinates})"
        return None

    def _places(self, pairs: Pairs) -> list[Tensor]:
        """For each axis, which row of the table each pair reads."""
        if self.coordinates:
            gap = (pairs.key_coords - pairs.query_coords).round().long()
            gaps = [gap[..., axis] for axis in range(self.coordinates)]
        else:
            gaps = [pairs.j - pairs.i]
        return [gap.clamp(-self.radius, self.radius) + self.radius for gap in gaps]

    def _vectors(self, tables: Tensor, pairs: Pairs) -> Tensor:
        """`[..., 1, width]` what each pair reads from the tables, summed over the axes."""
        total: Any = 0
        for table, place in zip(tables, self._places(pairs), strict=True):
            total = total + _looked_up(table, place)
        return total.unsqueeze(-2)

    def score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        if not self.keys:
            return q.new_zeros(())
        return (q * self._vectors(parameters["bias_keys"], pairs)).sum(-1)

    def tile_score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        if not self.keys:
            return q.new_zeros(())
        total: Any = 0
        for table, place in zip(parameters["bias_keys"], self._places(pairs), strict=True):
            products = q @ table.mT
            total = total + products.gather(-1, place.unsqueeze(-3).expand(*products.shape[:-1], place.shape[-1]))
        return total

    def value_bias(self, pairs: Pairs, parameters: Parameters) -> Tensor:
        return self._vectors(parameters["bias_values"], pairs)

    def tile_value_bias(self, weights: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        total: Any = 0
        for table, place in zip(parameters["bias_values"], self._places(pairs), strict=True):
            by_place = weights.new_zeros(*weights.shape[:-1], table.shape[0])
            total = total + by_place.scatter_add(-1, place.unsqueeze(-3).expand_as(weights), weights) @ table
        return total


@dataclass(frozen=True, repr=False)
class EdgeBias(Bias):
    """bias_h = w_h . x, with x the pair's edge values and w learned per head; 0 for pairs that are no edge.

    Args:
        width: the number of values an edge carries.
    """

    width: int

    @property
    def reads_queries(self) -> bool:
        return False

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        return {"bias_edges": (self.width, heads)}

    def needs(self, coordinates: int, edge_width: int) -> str | None:
        return None if edge_width == self.width else f"{self.width} values on each edge (it has {edge_width})"

    def score_bias(self, q: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        return pairs.edge_values.to(q.dtype) @ parameters["bias_edges"]


def _looked_up(table: Tensor, place: Tensor) -> Tensor:
    """`[..., width]` rows of a table `[n, width]`; unlike an index, its gradient is summed in one fixed order."""
    from torch.nn.functional import embedding

    return embedding(place, table)


def _distance(pairs: Pairs, coordinates: bool) -> Tensor:
    if coordinates:
        return (pairs.key_coords - pairs.query_coords).norm(dim=-1)
    return (pairs.j - pairs.i).abs()
