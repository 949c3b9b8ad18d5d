"""Pooling: one vector for each set, whatever its size; zeros for an empty one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from regard.attention.scores import Dot
from regard.attention.spec import Attention
from regard.layers.attention import Attend
from regard.sets import Layout, VectorSets

__all__ = ["Max", "Mean", "PoolName", "SelfAttentionPooling", "Statistics", "pooling"]

PoolName = Literal["mean", "max", "statistics", "attention"]


def pooling(name: PoolName, width: int) -> nn.Module:
    """The pooling of that name for vectors of that width: "mean", "max", "statistics" or "attention"."""
    return {"mean": Mean, "max": Max, "statistics": Statistics, "attention": SelfAttentionPooling}[name](width)


def _mean(values: Tensor, layout: Layout) -> Tensor:
    """`[s, d]` the mean of each set."""
    total = values.new_zeros(layout.sets, values.shape[1]).index_add(0, layout.set_of_row, values)
    return total / layout.lengths.clamp(min=1)[:, None].to(values.dtype)


class Mean(nn.Module):
    """The mean of a set's vectors. Args: width: of the vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sets: VectorSets) -> Tensor:
        """`[s, width]`"""
        return _mean(sets.values, sets.layout)


class Max(nn.Module):
    """The largest of each of the vectors' numbers. Args: width: of the vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sets: VectorSets) -> Tensor:
        """`[s, width]`"""
        place = sets.layout.set_of_row[:, None].expand_as(sets.values)
        empty = sets.values.new_zeros(len(sets), sets.values.shape[1])
        return empty.scatter_reduce(0, place, sets.values, "amax", include_self=False)


class Statistics(nn.Module):
    """[mean; standard deviation] of a set's vectors (Snyder et al. 2017, section 2.1). Args: width: of the vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = 2 * width

    def forward(self, sets: VectorSets) -> Tensor:
        """`[s, 2 width]`"""
        mean = _mean(sets.values, sets.layout)
        spread = sets.values - mean.index_select(0, sets.layout.set_of_row)
        # The floor keeps the root's slope finite where all vectors of a set are the same.
        return torch.cat([mean, _mean(spread.square(), sets.layout).clamp(min=1e-8).sqrt()], dim=1)


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

    def forward(self, sets: VectorSets) -> Tensor:
        """`[s, width]`"""
        derived = sets.layout.derived
        if "one per set" not in derived:
            derived["one per set"] = Layout.of_lengths(torch.ones_like(sets.layout.lengths))
        one = derived["one per set"]
        q = self.query.to(sets.values.dtype).expand(len(sets), 1, -1)
        vectors = sets.values[:, None]
        return self.attend(q, vectors, vectors, one, sets.layout)[:, 0]
