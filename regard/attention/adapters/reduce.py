"""What adapters share that reduce the keys: attention over a few keys that are made of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from regard.attention.adapters.base import Adapter
from regard.attention.spec.patterns import Everyone
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from regard.sets import Layout

__all__ = ["Mixed", "SameLength", "by_length", "kept_of_each", "sums_of_sets"]


@dataclass(frozen=True, repr=False)
class Mixed(Adapter):
    """An adapter whose reduced keys are each made of all keys of a set, so that none of them has a place of its own.

    Raises:
        InputError: an attention whose pattern, bias or score reads places, coordinates or edges.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        attention = self.attention
        if attention.bias is not None or attention.score.placed or attention.reads_edges:
            reads = "whose bias or score reads where a key lies"
        elif set(attention.patterns) != {Everyone()}:
            reads = "whose pattern reads where a key lies"
        else:
            return
        raise InputError(
            f"{type(self).__name__} has attention {attention!r}, {reads}, expected Everyone() and no bias: "
            "each of its keys is made of all vectors of a set, also of later ones"
        )

    @property
    def extent(self) -> tuple[float, float]:
        return math.inf, math.inf


class SameLength(NamedTuple):
    """Sets of one length: `[m * n]` their rows, and how many of them there are."""

    rows: Int[Tensor, " rows"]
    sets: int


class _ByLength(NamedTuple):
    """Sets that are not empty by their lengths, and `[s']` where each of them, in order, is among those of all groups."""

    groups: Sequence[SameLength]
    rank: Tensor


def by_length(layout: Layout) -> _ByLength:
    """Groups of sets of the same length; kept by the layout."""
    found: _ByLength = layout.kept("by length", lambda: _by_length(layout))
    return found


def _by_length(layout: Layout) -> _ByLength:
    import torch

    lengths, offsets = layout.host.lengths, layout.host.offsets
    sets = lengths.nonzero()[:, 0]
    order = sets[lengths[sets].argsort(stable=True)]
    groups = []
    for some in order.split(torch.unique_consecutive(lengths[order], return_counts=True)[1].tolist()):
        rows = offsets[some][:, None] + torch.arange(int(lengths[some[0]]))
        groups.append(SameLength(rows.flatten().to(layout.device), len(some)))
    return _ByLength(groups, order.argsort().to(layout.device))


def kept_of_each(layout: Layout, number: int) -> Layout:
    """The layout of so many keys for each set that is not empty; kept by the layout of all keys."""

    def make() -> Layout:
        import torch

        from regard.sets import Layout
        from regard.sets.layout import offsets_of

        return Layout._trusted([offsets_of(torch.where(layout.lengths > 0, number, 0))])

    reduced: Layout = layout.kept(("so many of each", number), make)
    return reduced


def sums_of_sets(
    weights: Float[Tensor, " u #h k"], x: Float[Tensor, "u h d"], layout: Layout
) -> Float[Tensor, "reduced h d"]:
    """k weighted sums of the vectors of each set that is not empty: sum_j w_jr x_j over the rows j of the set, for each r.

    Sets of the same length are multiplied together; nothing is padded.
    """
    import torch

    parts: list[Tensor] = []
    for rows, sets in (groups := by_length(layout)).groups:
        w, y = (t.index_select(0, rows).unflatten(0, (sets, -1)) for t in (weights, x))
        if w.shape[2] == 1:
            parts.append((w[:, :, 0].mT @ y.flatten(2)).unflatten(2, x.shape[1:]))
        else:
            parts.append((w.permute(0, 2, 3, 1) @ y.transpose(1, 2)).transpose(1, 2))
    if not parts:
        return x[:0]
    return torch.cat(parts).index_select(0, groups.rank).flatten(0, 1)
