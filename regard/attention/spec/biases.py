"""All biases; see `bias` for what every bias offers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from regard.attention.spec.base import MOST_COORDINATES, Parameters, Shapes, bounded
from regard.attention.spec.bias import Bias, looked_up, spread
from regard.attention.spec.biases_by_distance import T5, TransformerXL
from regard.attention.spec.biases_of_graphs import ShortestPath
from regard.attention.spec.edge_values import lacking_edge_values, projected_edges
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, dtype

    from regard.attention.pairs.pairs import Pairs
    from regard.sets import Layout

__all__ = [
    "T5",
    "ALiBi",
    "Bias",
    "EdgeBias",
    "EdgeVectors",
    "Gaussian",
    "Quadratic",
    "Shaw",
    "ShortestPath",
    "TransformerXL",
]


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

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        if not self.coordinates or _common_coordinates(layout, key_layout):
            return None
        return _lacking(self, "coordinates", layout, key_layout)

    @property
    def of_distance(self) -> bool:
        return not self.coordinates

    def by_distance(self, heads: int, reach: int, parameters: Parameters) -> Float[Tensor, "h 2*{reach}+1"] | None:
        from torch import arange, float64, tensor

        if not self.of_distance:
            return None
        return -tensor(self.slopes(heads), dtype=float64)[:, None] * arange(-reach, reach + 1).abs()

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        from torch import float32, promote_types

        exact = promote_types(q.dtype, float32)  # bfloat16 has no distance of 257.
        slopes = q.new_tensor(self.slopes(q.shape[-2]), dtype=exact)
        return -slopes * _distance(pairs, self.coordinates).to(exact)[..., None]


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

    radius: int = field(metadata=bounded(0))
    keys: bool = True
    values: bool = True
    coordinates: int = field(default=0, metadata=bounded(0, MOST_COORDINATES))

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

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return _lacking_number(self, self.coordinates, layout, key_layout) if self.coordinates else None

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
            total = total + looked_up(table, place)
        return total.unsqueeze(-2)

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        if not self.keys:
            return q.new_zeros(())
        return (q * self._vectors(parameters["bias_keys"], pairs)).sum(-1)

    def tile_score_bias(
        self, q: Float[Tensor, "*#b h rows d"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*#b h rows keys"]:
        if not self.keys:
            return q.new_zeros(())
        total: Any = 0
        for table, place in zip(parameters["bias_keys"], self._places(pairs), strict=True):
            products = q @ table.mT
            total = total + products.gather(-1, place.unsqueeze(-3).expand(*products.shape[:-1], place.shape[-1]))
        return total

    def value_bias(self, pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*b _ e"]:
        return self._vectors(parameters["bias_values"], pairs)

    def tile_value_bias(
        self, weights: Float[Tensor, "*b h rows keys"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*b h rows e"]:
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

    width: int = field(metadata=bounded(1))

    @property
    def reads_edges(self) -> bool:
        return True

    @property
    def reads_queries(self) -> bool:
        return False

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        return {"bias_edges": (self.width, heads)}

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return lacking_edge_values(self, self.width, layout, key_layout)

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        return pairs.edge_values.to(q.dtype) @ parameters["bias_edges"]


@dataclass(frozen=True, repr=False)
class EdgeVectors(Bias):
    """bias = q_i . W x and value bias = W x, x the pair's edge values: an edge adds its vector to key and value; 0 for no edge.

    W is learned per head; the scale of the dot product covers the bias. Source: Shi et al. 2021, eq. 3 and 4, the graph
    transformer known as TransformerConv.

    Args:
        width: the number of values an edge carries.
    """

    width: int = field(metadata=bounded(1))

    @property
    def scaled(self) -> bool:
        return True

    @property
    def has_values(self) -> bool:
        return True

    @property
    def reads_edges(self) -> bool:
        return True

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        if e >= 0 and d != e:  # Below 0, values of any width.
            raise InputError(f"EdgeVectors has keys of width {d} and values of width {e}, expected the same for both")
        return {"bias_edges": (self.width, heads, d)}

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return lacking_edge_values(self, self.width, layout, key_layout)

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        return (q * projected_edges(parameters["bias_edges"], pairs, q)).sum(-1)

    def value_bias(self, pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*b h e"]:
        weight = parameters["bias_edges"]
        return projected_edges(weight, pairs, weight)


class _Centered(Bias):
    """Minus a factor per head times squared distances of differences of coordinates from a center per head, both learned."""

    coordinates: int

    @property
    def reads_queries(self) -> bool:
        return False

    def parameters(self, heads: int, d: int, e: int) -> Shapes:
        return {"bias_centers": (heads, self.coordinates), "bias_sharpness": (heads,)}

    def tile_score_bias(
        self, q: Float[Tensor, "*#b h rows d"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*#b h rows keys"]:
        gap, centers, factor = self._of_pairs(pairs, parameters)
        squares = _squares(gap, centers)
        return -spread(factor[:, None, None], squares.shape) * squares

    def _of_pairs(self, pairs: Pairs, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """`[..., n]` differences, `[h, n]` centers, `[h]` factors, in float32 or float64."""
        from torch import float32, promote_types

        centers, sharpness = parameters["bias_centers"], parameters["bias_sharpness"]
        exact = promote_types(centers.dtype, float32)
        return self._gap(pairs, exact), centers.to(exact), self._factor(sharpness.to(exact))

    def _gap(self, pairs: Pairs, exact: dtype) -> Tensor:
        """`[..., n]`: how far each key lies from its query."""
        raise NotImplementedError

    def _factor(self, sharpness: Tensor) -> Tensor:
        """What squared distances are multiplied with."""
        return sharpness


@dataclass(frozen=True, repr=False)
class Quadratic(_Centered):
    """bias = -a_h |x_j - x_i - c_h|^2, with x the coordinates: the quadratic encoding of Cordonnier et al. 2020 (eq. 9).

    Each head looks around a center c_h, learned, relative to the query, and the more sharply the larger its learned a_h is. With
    softmax and a large a_h it reads the one vector nearest to the center, as a tap of a convolution does.

    Args:
        coordinates: how many each vector has.
    """

    coordinates: int = field(default=2, metadata=bounded(1, MOST_COORDINATES))

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return _lacking_number(self, self.coordinates, layout, key_layout)

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        gap, centers, sharpness = self._of_pairs(pairs, parameters)
        return -sharpness * (gap.unsqueeze(-2) - centers).square().sum(-1)

    def _gap(self, pairs: Pairs, exact: dtype) -> Tensor:
        return (pairs.key_coords - pairs.query_coords).to(exact)


@dataclass(frozen=True, repr=False)
class Gaussian(_Centered):
    """bias = -(a_h |(x_j - x_i) / s_i - c_h|)^2, with x_j where a key lies, and x_i and s_i the place and the size of a query.

    It multiplies the weights with a Gaussian around the query's box: each head looks at a learned center c_h, in sizes of the box,
    as sharply as a_h says (Gao et al. 2021, SMCA, section 3.2, with centers and sharpness per head, not per query). Sizes below 1
    count as 1. Queries have `2 n` coordinates, place and size, keys the n of their place, or as many as queries.

    Args:
        coordinates: n, of a place.
    """

    coordinates: int = field(default=2, metadata=bounded(1, MOST_COORDINATES // 2))

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        ours, theirs = (0 if x.coords is None else x.coords.shape[1] for x in (layout, key_layout))
        n = self.coordinates
        if ours == 2 * n and theirs in (n, 2 * n):
            return None
        reads = f"{self!r} reads {2 * n} coordinates of queries and {n} of keys"
        return f"{reads} and the sets have {ours} and {theirs}, expected these"

    def score_bias(self, q: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters) -> Float[Tensor, "*#b h"]:
        gap, centers, factor = self._of_pairs(pairs, parameters)
        around = spread(centers, (*gap.shape[:-1], *centers.shape))
        squares = (gap.unsqueeze(-2) - around).square().sum(-1)
        return -spread(factor, squares.shape) * squares

    def _gap(self, pairs: Pairs, exact: dtype) -> Tensor:
        """In sizes of the query."""
        boxes, n = pairs.query_coords.to(exact), self.coordinates
        return (pairs.key_coords[..., :n].to(exact) - boxes[..., :n]) / boxes[..., n:].clamp(min=1)

    def _factor(self, sharpness: Tensor) -> Tensor:
        return sharpness.square()


def _squares(gap: Tensor, centers: Tensor) -> Tensor:
    """`[..., h, rows, keys]` of the distances between differences `[..., rows, keys, n]` and centers `[h, n]`.

    The square written out would be quicker, and no longer exact: at a distance of 1,000, 1 is lost among 1,000,000.
    """
    squares: Any = 0
    for axis in range(centers.shape[1]):
        along = gap[..., axis].unsqueeze(-3)
        shape = (*along.shape[:-3], len(centers), *along.shape[-2:])
        squares = squares + (along - spread(centers[:, axis, None, None], shape)).square()
    return squares


def _distance(pairs: Pairs, coordinates: bool) -> Tensor:
    if coordinates:
        gap = pairs.key_coords - pairs.query_coords
        # Whole numbers are subtracted as such, and have no norm.
        return (gap if gap.is_floating_point() else gap.float()).norm(dim=-1)
    return (pairs.j - pairs.i).abs()


def _common_coordinates(layout: Layout, key_layout: Layout) -> int:
    """How many coordinates queries and keys have, 0 where they have different numbers."""
    ours, theirs = (0 if x.coords is None else x.coords.shape[1] for x in (layout, key_layout))
    return ours if ours == theirs else 0


def _lacking_number(bias: Bias, coordinates: int, layout: Layout, key_layout: Layout) -> str | None:
    common = _common_coordinates(layout, key_layout)
    if common == coordinates:
        return None
    return _lacking(bias, f"{coordinates} coordinates (it has {common})", layout, key_layout)


def _lacking(bias: Bias, expected: str, layout: Layout, key_layout: Layout) -> str:
    whose = "" if layout is key_layout else " of queries and keys together"
    return f"the sets{whose} lack what {bias!r} reads, expected {expected}"
