"""Pooling: one vector for each set, whatever its size; zeros for an empty one. And a learned vector that each set begins with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from regard.attention.spec.attention import Attention
from regard.attention.spec.scores import Additive, Dot
from regard.errors import InputError
from regard.layers.attention import Attend, CrossAttention
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "AttentiveStatistics",
    "ClassVector",
    "First",
    "Max",
    "Mean",
    "MultiHeadPooling",
    "PoolName",
    "SelfAttentionPooling",
    "Statistics",
    "Sum",
    "pooling",
]

PoolName = Literal["mean", "sum", "max", "statistics", "attention", "multi_head", "attentive_statistics", "first"]


def pooling(name: PoolName, width: int) -> nn.Module:
    """The pooling of that name for vectors of that width."""
    known = {
        "mean": Mean,
        "sum": Sum,
        "max": Max,
        "statistics": Statistics,
        "attention": SelfAttentionPooling,
        "multi_head": MultiHeadPooling,
        "attentive_statistics": AttentiveStatistics,
        "first": First,
    }
    return known[name](width)


def _sum(values: Tensor, layout: Layout) -> Tensor:
    """`[s, d]` the sum of each set."""
    return values.new_zeros(layout.sets, values.shape[1]).index_add(0, layout.owners(values.shape[0]), values)


def _mean(values: Tensor, layout: Layout) -> Tensor:
    """`[s, d]` the mean of each set."""
    return _sum(values, layout) / layout.offsets.diff().clamp(min=1)[:, None].to(values.dtype)


@checked()
class Mean(nn.Module):
    """The mean of a set's vectors. Args: width: of the vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sets: VectorSets) -> Float[Tensor, "s {self.width}"]:
        return _mean(sets.values, sets.layout)


@checked()
class Sum(nn.Module):
    """The sum of a set's vectors, which tells how many there are, unlike their mean. Args: width: of the vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sets: VectorSets) -> Float[Tensor, "s {self.width}"]:
        return _sum(sets.values, sets.layout)


@checked()
class Max(nn.Module):
    """The largest of each of the vectors' numbers. Args: width: of the vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sets: VectorSets) -> Float[Tensor, "s {self.width}"]:
        place = sets.layout.owners(sets.values.shape[0])[:, None].expand_as(sets.values)
        empty = sets.values.new_zeros(sets.layout.sets, sets.values.shape[1])
        return empty.scatter_reduce(0, place, sets.values, "amax", include_self=False)


@checked()
class First(nn.Module):
    """The first vector of a set: the one that `ClassVector` put there. Args: width: of the vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sets: VectorSets) -> Float[Tensor, "s {self.width}"]:
        sets.layout.check_rows_in_order("the pooling of the first vector")
        offsets, values = sets.layout.offsets, sets.values
        # The row of zeros is that of empty sets.
        row = torch.where(offsets.diff() > 0, offsets[:-1], values.shape[0])
        return torch.cat([values, values.new_zeros(1, self.width)]).index_select(0, row)


@checked()
class ClassVector(nn.Module):
    """[c; x_1; ...; x_n]: a learned vector in front of each set's, for the set as a whole (Devlin et al. 2019, section 3, [CLS]).

    The sets it gives have an order, and neither coordinates nor edges, for c has none: positions that read coordinates come
    before. With `origin` coordinates stay, and those of c are zeros, so that rotary positions leave c as it is; what reads
    distances would take c for the vector that lies there. An empty set becomes a set of c alone.

    Args:
        width: of the vectors. origin: whether the sets keep coordinates, where they have some.

    Raises:
        InputError: (when called) sets that continue others, which have begun already.

    >>> ClassVector(2)(VectorSets.pack([torch.ones(3, 2), torch.ones(0, 2)])).offsets.tolist()
    [0, 4, 5]
    """

    def __init__(self, width: int, origin: bool = False) -> None:
        super().__init__()
        self.width, self.origin = width, origin
        self.vector = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, sets: VectorSets) -> VectorSets:
        layout, values = sets.layout, sets.values
        if layout.starts is not None:
            raise InputError("the sets continue others, expected whole sets to put a class vector in front of")
        layout.check_rows_in_order("a class vector")
        longer, place = layout.kept(
            ("class vector", self.origin), lambda: _one_more(layout, values.shape[0], self.origin)
        )
        out = values.new_empty(values.shape[0] + layout.sets, self.width).index_copy(0, place, values)
        first = self.vector.to(values.dtype).expand(layout.sets, -1)
        return VectorSets(out.index_copy(0, longer.offsets[:-1], first), longer)


def _one_more(layout: Layout, rows: int, origin: bool) -> tuple[Layout, Tensor]:
    """The layout of sets with one more vector each, in front, and `[t]` where each of the t rows is in it."""
    steps = torch.arange(layout.sets + 1, device=layout.device)
    place = torch.arange(rows, device=layout.device) + layout.owners(rows) + 1
    coords = None
    if origin and layout.coords is not None:
        coords = layout.coords.new_zeros(rows + layout.sets, layout.coords.shape[1]).index_copy(0, place, layout.coords)
    return Layout._trusted([layout.offsets + steps, coords, None, None, None]), place


@checked()
class Statistics(nn.Module):
    """[mean; standard deviation] of a set's vectors (Snyder et al. 2017, section 2.1). Args: width: of the vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = 2 * width

    def forward(self, sets: VectorSets) -> Float[Tensor, "s {self.width}"]:
        mean = _mean(sets.values, sets.layout)
        spread = sets.values - mean.index_select(0, sets.layout.owners(sets.values.shape[0]))
        # The floor keeps the root's slope finite where all vectors of a set are the same.
        return torch.cat([mean, _mean(spread.square(), sets.layout).clamp(min=1e-8).sqrt()], dim=1)


@checked()
class SelfAttentionPooling(nn.Module):
    """sum_i a_i h_i with a = softmax of w . h_i over the set: one learned query, unscaled (Safari et al. 2020, eq. 5 and 6).

    Args:
        width: of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.query = nn.Parameter(torch.zeros(width))
        self.attend = Attend(Attention(score=Dot(scale=1.0)), heads=1, d=width)

    def forward(self, sets: VectorSets) -> Float[Tensor, "s {self.width}"]:
        one = _one_per_set(sets.layout)
        q = self.query.to(sets.values.dtype).expand(sets.layout.sets, 1, -1)
        vectors = sets.values[:, None]
        return self.attend(q, vectors, vectors, one, sets.layout)[:, 0]


@checked()
class MultiHeadPooling(nn.Module):
    """norm(h + rFF(h)) with h = norm(s + MultiHead(s, Z, Z)), Z = rFF(X) and one learned vector s: the PMA of Lee et al. 2019.

    Each rFF is its own W_2 relu(W_1 x + b_1) + b_2, row by row (section 3.2, eq. 6, 7 and 11, with k = 1).

    Args:
        width: of the vectors. heads: None for 4, or for as many of them as divide the width.

    Raises:
        InputError: heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int | None = None) -> None:
        super().__init__()
        self.width = width
        self.seed = nn.Parameter(torch.empty(1, width))
        nn.init.xavier_uniform_(self.seed)
        self.before, self.after = (_row_by_row(width) for _ in range(2))
        self.attend = CrossAttention(width, heads or math.gcd(width, 4))
        self.norm, self.last_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, sets: VectorSets) -> Float[Tensor, "s {self.width}"]:
        layout, attend = sets.layout, self.attend
        seed = self.seed.to(sets.values.dtype)
        q = attend.project_query(seed).unflatten(-1, (attend.heads, attend.d)).expand(layout.sets, -1, -1)
        memory = attend.projected(sets.with_values(self.before(sets.values)))
        heard = attend.attend(q, memory.k, memory.v, _one_per_set(layout), layout)
        h = self.norm(seed + attend.out(heard.flatten(1)))
        pooled = self.last_norm(h + self.after(h))
        return torch.where(layout.offsets.diff()[:, None] > 0, pooled, 0)


def _row_by_row(width: int) -> nn.Sequential:
    """W_2 relu(W_1 x + b_1) + b_2, which keeps the size of vectors at first (He et al. 2015).

    Nothing carries x around it: with torch's own initial values, each a third of that variance, what tells sets apart is so small
    next to the seed that a training may never find it.
    """
    into, out = Linear(width, width), Linear(width, width)
    nn.init.kaiming_normal_(into.weight, nonlinearity="relu")
    nn.init.kaiming_normal_(out.weight, nonlinearity="linear")
    for linear in (into, out):
        nn.init.zeros_(linear.bias)
    return nn.Sequential(into, nn.ReLU(), out)


@checked()
class AttentiveStatistics(nn.Module):
    """[mu; sigma] with mu = sum_i a_i h_i, sigma^2 = sum_i a_i h_i^2 - mu^2 and a = softmax of v . tanh(W h_i + b) over the set.

    Source: Okabe et al. 2018, eq. 3 to 6, with f = tanh; their added k changes no softmax.

    Args:
        width: of the vectors.
        hidden: width of W h + b.
    """

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.width = 2 * width
        self.project = Linear(width, hidden, bias=False)
        self.query = nn.Parameter(torch.zeros(hidden))
        self.attend = Attend(Attention(score=Additive()), heads=1, d=hidden, e=2 * width)

    def forward(self, sets: VectorSets) -> Float[Tensor, "s {self.width}"]:
        h = sets.values
        q = self.query.to(h.dtype).expand(sets.layout.sets, 1, -1)
        moments = torch.cat([h, h.square()], dim=1)[:, None]
        one = _one_per_set(sets.layout)
        mean, square = self.attend(q, self.project(h)[:, None], moments, one, sets.layout)[:, 0].chunk(2, dim=1)
        # The floor keeps the root's slope finite where all vectors of a set are the same.
        return torch.cat([mean, (square - mean.square()).clamp(min=1e-8).sqrt()], dim=1)


def _one_per_set(layout: Layout) -> Layout:
    """The layout of one query for each set; kept by the sets' own."""
    return layout.kept("one per set", layout.singles)
