"""`Room`: memory for the keys and values of sets that grow, with room for more after each set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from regard.attention.problem import STEPS
from regard.sets import Layout
from regard.sets.layout import offsets_of
from regard.sets.whole import repeated

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Move", "Room", "Rows", "attended", "moved", "next_rows"]

# The share of a set's rows, and the number of rows, that it has room for at least when memory is made.
_SHARE, _LEAST = 4, 32


class Rows(NamedTuple):
    """Where the next vectors of every set lie.

    Args:
        rows: of the memory. number: of vectors that each set then has in it. layout: by which they are attended to.
    """

    rows: slice | Int[Tensor, " t"]
    number: Int[Tensor, " s"]
    layout: Layout


class Move(NamedTuple):
    """How rows move to memory with more room: from where, to where, whose the rows there are, and how many each set has."""

    source: Int[Tensor, " rows"]
    target: Int[Tensor, " rows"]
    layout: Layout
    number: Int[Tensor, " s"]


@dataclass
class Room:
    """Memory that the states of a growing batch share: each next one writes its own rows behind those that are there.

    States never change, since none reads the rows of a later one: they lie after its last vector, and its attention looks back
    only. Only the newest state may write; one that is older goes on in memory of its own.

    Args:
        k, v: `[rows, g, d]` and `[rows, g, e]`; in memory the rows of a head lie together, as products of one query want them.
        layout: the rows of each set, room included.
        states: how many states have written.
    """

    k: Float[Tensor, "rows g d"]
    v: Float[Tensor, "rows g e"]
    layout: Layout
    states: int = 0

    @classmethod
    def of(cls, k: Float[Tensor, "u g d"], v: Float[Tensor, "u g e"], move: Move) -> Room:
        """New memory with the rows that move there."""

        def into(x: Tensor) -> Tensor:
            # Zeros, because what is no number would not vanish by a weight of 0.
            new = x.new_zeros(x.shape[1], move.layout.total, x.shape[2]).transpose(0, 1)
            return new.index_copy_(0, move.target, x.index_select(0, move.source))

        return cls(into(k), into(v), move.layout)

    def selected(self, sets: Int[Tensor, " n"], layout: Layout) -> Room:
        """New memory with the chosen sets, their room included, in one pass; all sets have as many rows.

        Args:
            layout: of the new memory.
        """

        def of(x: Tensor) -> Tensor:
            by_set = x.transpose(0, 1).unflatten(1, (self.layout.sets, -1))
            return by_set.index_select(1, sets).flatten(1, 2).transpose(0, 1)

        return Room(of(self.k), of(self.v), layout)

    def takes(self, k: Float[Tensor, "u g d"], states: int) -> bool:
        """Whether keys may be written by the state after so many."""
        writable = torch.is_inference_mode_enabled() or not self.k.is_inference()
        return writable and states == self.states and k.dtype == self.k.dtype

    def write(self, rows: slice | Int[Tensor, " u"], k: Float[Tensor, "u g d"], v: Float[Tensor, "u g e"]) -> None:
        """Keys and values for these rows, which no state has."""
        for ours, new in ((self.k, k), (self.v, v)):
            if isinstance(rows, slice):
                ours[rows] = new
            else:
                ours.index_copy_(0, rows, new)
        self.states += 1


def attended(layout: Layout, number: Int[Tensor, " s"]) -> Layout:
    """The layout by which the keys of memory are attended to: one set ends where its vectors do.

    Of several sets the room between them counts as keys that no query has reached yet, so that none is copied.
    """
    if layout.sets > 1:
        return layout
    keys = Layout._trusted([offsets_of(number), None, None, None, layout.starts])
    keys.derived[STEPS] = layout.derived[STEPS]
    return keys


def moved(
    layout: Layout,
    number: Int[Tensor, " s"],
    kept: Int[Tensor, " n"],
    more: Int[Tensor, " n"],
    sets: Int[Tensor, " n"] | None,
) -> Move:
    """The last `kept [n]` rows of the chosen sets in memory that has room for more.

    Args:
        layout: of the memory that there is. number: `[s]` of vectors that each set has. more: `[n]` how many come next.
        sets: those that are chosen, in their order; None for all.
    """
    first, starts = layout.offsets[:-1], layout.places_of_sets[0]
    if sets is not None:
        first, starts, number = first[sets], starts[sets], number[sets]
    places = starts + number - kept
    room = (kept + more) // _SHARE
    # No set is full long before the others, which would all have to move.
    room = torch.maximum(room, room.sum() // max(len(room), 1)).clamp(min=_LEAST)
    offsets = offsets_of(kept + more + room)
    place = torch.arange(int(kept.sum()), device=offsets.device)
    begin = offsets_of(kept)[:-1]
    source = place + repeated(first + number - kept - begin, kept)
    target = place + repeated(offsets[:-1] - begin, kept)
    regions = Layout._trusted([offsets, None, None, None, places if bool(places.any()) else None])
    regions.derived[STEPS] = {}
    return Move(source, target, regions, kept)


def next_rows(room: Layout, number: Int[Tensor, " s"], layout: Layout) -> Rows | None:
    """Where the next vectors, laid out like this, lie after so many of each set; None where there is no room."""
    grown = number + layout.lengths
    if bool((grown > room.lengths).any()):
        return None
    if room.sets == 1:
        return Rows(slice(int(number), int(grown)), grown, attended(room, grown))
    first = room.offsets[:-1] + number
    if layout.longest == 1 and layout.total == layout.sets:
        return Rows(first, grown, room)
    place = torch.arange(layout.total, device=first.device)
    return Rows(place + repeated(first - layout.offsets[:-1], layout.lengths), grown, room)
