"""Pairs of rows, and the keys of rows as intervals: how patterns and biases see a layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import embedding

from regard.errors import InputError
from regard.sets import Layout
from regard.sets.whole import insertions, ordered, repeated

if TYPE_CHECKING:
    from jaxtyping import Int, Num, Shaped

__all__ = ["AT_ONCE", "Allows", "Intervals", "Pairs", "Rows", "coordinates", "expand", "naming_at_most"]

AT_ONCE = 1 << 20
"""How many pairs a pattern is asked about at once, and how many intervals are sorted at once."""

# `Pattern.allows(i, j, pairs)`: whether query i may attend to key j, indices in their own sets.
Allows = Callable[[Any, Any, "Pairs"], Any]


class Pairs:
    """Query rows against key rows of the same sets: int64 tensors of packed rows that broadcast against each other."""

    def __init__(
        self, layout: Layout, key_layout: Layout, query_rows: Int[Tensor, "*#b"], key_rows: Int[Tensor, "*#b"]
    ) -> None:
        self.layout = layout
        self.key_layout = key_layout
        self.query_rows = query_rows
        self.key_rows = key_rows

    @cached_property
    def i(self) -> Int[Tensor, "*b"]:
        """Each query's index in its own set."""
        return self.layout.index[self.query_rows]

    @cached_property
    def j(self) -> Int[Tensor, "*b"]:
        """Each key's index in its own set."""
        return self.key_layout.index[self.key_rows]

    @cached_property
    def start(self) -> Int[Tensor, "*b"]:
        """The first place of a key of each query's set."""
        return self.key_layout.places_of_sets[0][self.layout.set_of_row[self.query_rows]]

    @cached_property
    def places(self) -> Int[Tensor, "*b"]:
        """How many places the keys of each query's set take, from the first to the last."""
        return self.key_layout.places_of_sets[1][self.layout.set_of_row[self.query_rows]]

    @property
    def query_coords(self) -> Num[Tensor, "*b n"]:
        """`[..., n]` the queries' coordinates."""
        return coordinates(self.layout)[self.query_rows]

    @property
    def key_coords(self) -> Num[Tensor, "*b n"]:
        """`[..., n]` the keys' coordinates."""
        return coordinates(self.key_layout)[self.key_rows]

    @cached_property
    def edge(self) -> Int[Tensor, "*b"]:
        """The place of each pair in the layout's edges, -1 where it is no edge."""
        codes = self.layout.edge_codes
        wanted = self.query_rows * self.layout.total + self.key_rows
        if codes.numel() == 0:
            return torch.full_like(wanted, -1)
        place = insertions(codes, wanted).clamp(max=codes.numel() - 1)
        return torch.where(codes[place] == wanted, self.layout.edge_order[place], -1)

    @property
    def edge_values(self) -> Num[Tensor, "*b m"]:
        """`[..., m]` what each pair's edge carries, zeros where it is no edge."""
        values = self.layout.edge_values
        assert values is not None, "a plan refuses layouts that lack what the bias needs"
        padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
        # Unlike an index, its gradient is summed in one fixed order.
        return embedding(self.edge % padded.shape[0], padded)

    @staticmethod
    def stack(per_head: Sequence[Shaped[Tensor, "*#b"]]) -> Shaped[Tensor, "*b h"]:
        """`[..., h]` from one tensor per head."""
        return torch.stack(torch.broadcast_tensors(*per_head), -1)


def coordinates(layout: Layout) -> Num[Tensor, "t n"]:
    """`[t, n]` a layout's coordinates, where it is known to have some."""
    assert layout.coords is not None, "a plan refuses layouts that lack what the bias needs"
    return layout.coords


_most_named: ContextVar[int] = ContextVar("keys that may be named one by one", default=1 << 34)


@contextmanager
def naming_at_most(keys: int) -> Iterator[None]:
    """Within it, patterns that name more keys one by one, or are asked about more pairs, are refused."""
    before = _most_named.set(keys)
    try:
        yield
    finally:
        _most_named.reset(before)


class Rows:
    """Query rows whose keys are asked for; what `Pattern.keys` builds intervals with. Keys lie in order of their places.

    Intervals lie on one line on which every row has a stretch of its own, with a gap between two rows, so that unions,
    intersections and complements of all rows are one sort. Only memory depends on `at_once`.
    """

    def __init__(self, rows: Int[Tensor, " rows"], layout: Layout, key_layout: Layout, at_once: int = AT_ONCE) -> None:
        self.rows = rows
        self.layout = layout
        self.key_layout = key_layout
        self.at_once = at_once

    @cached_property
    def sets(self) -> Int[Tensor, " rows"]:
        return self.layout.set_of_row[self.rows]

    @cached_property
    def index(self) -> Int[Tensor, " rows"]:
        """Each row's index in its own set."""
        return self.layout.index[self.rows]

    @cached_property
    def first_key(self) -> Int[Tensor, " rows"]:
        """The packed row of the first key of each row's set."""
        return self.key_layout.offsets[self.sets]

    @cached_property
    def number(self) -> Int[Tensor, " rows"]:
        """The number of keys of each row's set."""
        return self.key_layout.lengths[self.sets]

    @cached_property
    def start(self) -> Int[Tensor, " rows"]:
        """The first place of a key of each row's set."""
        return self.key_layout.places_of_sets[0][self.sets]

    @cached_property
    def places(self) -> Int[Tensor, " rows"]:
        """How many places the keys of each row's set take, from the first to the last."""
        return self.key_layout.places_of_sets[1][self.sets]

    @cached_property
    def stretch(self) -> int:
        """How far apart rows lie on the line."""
        return self.key_layout.longest + 1

    @cached_property
    def reach(self) -> int:
        """More than any place of a key in its own set."""
        first, places = self.key_layout.places_of_sets
        return int((first + places).max()) + 1 if first.numel() else 1

    @staticmethod
    def check_named(keys: int) -> None:
        """Refuse to name so many keys one by one, which would end in no time or no memory.

        Raises:
            InputError: more than `naming_at_most` says.
        """
        most = _most_named.get()
        if keys > most:
            found = f"a pattern names {keys:,} pairs of a query and a key one by one"
            raise InputError(
                f"{found}, expected at most {most:,}: shorter sets, or a pattern of whole stretches of keys"
            )

    def _before(self, place: Tensor) -> Tensor:
        """How many keys of each row's set lie before a place; less than none, or more than there are, where it lies outside."""
        start, sets, first = (x.view(-1, *[1] * (place.dim() - 1)) for x in (self.start, self.sets, self.first_key))
        if self.key_layout.places is None:
            return place - start
        line = self.key_layout.set_of_row * self.reach + self.key_layout.places
        return insertions(line, sets * self.reach + place.clamp(0, self.reach - 1)) - first

    def between(self, low: Int[Tensor, " rows"] | int, high: Int[Tensor, " rows"] | int) -> Intervals:
        """Keys with low <= j < high, j a place in its own set."""
        low, high = (self._before(torch.as_tensor(x, device=self.rows.device)) for x in (low, high))
        return self._stretch_of(low.clamp(min=0), torch.minimum(high, self.number))

    def _stretch_of(self, low: Tensor, high: Tensor) -> Intervals:
        """The keys from one to another, counted in each row's set."""
        low, high = torch.broadcast_tensors(low, high)
        place = torch.arange(len(self.rows), device=self.rows.device) * self.stretch
        some = low < high
        return Intervals(self, (place + low)[some], (place + high)[some])

    def stretches(self, low: Int[Tensor, "rows k"], high: Int[Tensor, "rows k"]) -> Intervals:
        """Keys that lie in one of several stretches of a row, each as in `between`; they increase, and none overlaps another."""
        low = self._before(low).clamp(min=0)
        high = torch.minimum(self._before(high), self.number[:, None])
        place = torch.arange(len(self.rows), device=self.rows.device)[:, None] * self.stretch
        some = low < high
        start, stop = (place + low)[some], (place + high)[some]
        # Neighbors grow together.
        apart = torch.ones(len(start) + 1, dtype=torch.bool, device=start.device)
        apart[1:-1] = start[1:] != stop[:-1]
        return Intervals(self, start[apart[:-1]], stop[apart[1:]])

    def everything(self) -> Intervals:
        """All keys of each row's set."""
        return self._stretch_of(torch.zeros_like(self.number), self.number)

    def every(self, step: int, low: Int[Tensor, " rows"], high: Int[Tensor, " rows"]) -> Intervals:
        """The keys at places low, low + step, ... below high that are there."""
        if self.key_layout.places is not None:
            return self._every_place(step, low, high)
        low, high = low - self.start, torch.minimum(high - self.start, self.number)
        low = torch.where(low < 0, low % step, low)
        if step == 1:
            return self.between(low + self.start, high + self.start)
        # On the line, rows and their keys follow each other in order; nothing larger than the keys is held twice.
        number = ((high - low + step - 1) // step).clamp(min=0)
        self.check_named(int(number.sum()))
        places = repeated(low + torch.arange(len(low), device=low.device) * self.stretch, number)
        before = torch.nn.functional.pad(number.cumsum(0), (1, 0))[:-1]
        turn = torch.arange(len(places), device=low.device).sub_(repeated(before, number))
        return Intervals.of_places(self, places.add_(turn, alpha=step))

    def _every_place(self, step: int, low: Tensor, high: Tensor) -> Intervals:
        """The same where places are left out: keys that are a multiple of the step apart are sorted side by side."""
        places, reach, step = self.key_layout.places, self.reach, min(step, self.reach)
        assert places is not None
        classes, key_class = (self.key_layout.set_of_row * step + places % step).unique(return_inverse=True)
        line, order = torch.sort(key_class * reach + places, stable=True)
        row_class = self.sets * step + low % step
        which = insertions(classes, row_class).clamp(max=max(len(classes) - 1, 0))
        begin, end = (insertions(line, which * reach + x.clamp(0, reach - 1)) for x in (low, high))
        there = classes[which] == row_class if len(classes) else torch.zeros_like(begin, dtype=torch.bool)
        number = torch.where(there, end - begin, 0).clamp(min=0)
        self.check_named(int(number.sum()))
        row, place = expand(begin, number)
        return Intervals.of_places(self, self.on_line(row, order[place]))

    def alike_but_for(self, axis: int) -> Intervals:
        """The keys whose coordinates are the row's, all but one of them."""
        ours, theirs = (
            torch.cat(
                [layout.set_of_row[:, None].double(), coords[:, :axis].double(), coords[:, axis + 1 :].double()], 1
            )
            for layout in (self.layout, self.key_layout)
            for coords in [coordinates(layout)]
        )
        places = torch.cat([ours[self.rows], theirs])
        # What is no number equals nothing, not even itself, and could not be sorted.
        none = places.isnan().any(1)
        alike = torch.unique(
            places.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf), dim=0, return_inverse=True
        )[1]
        mine, others = alike.masked_fill(none, -1).split([len(self.rows), len(theirs)])
        mine = mine.masked_fill(mine < 0, len(alike))
        others, key = torch.sort(others, stable=True)
        begin = insertions(others, mine)
        number = insertions(others, mine, right=True) - begin
        self.check_named(int(number.sum()))
        row, place = expand(begin, number)
        return Intervals.of_places(self, self.on_line(row, key[place]))

    def edges(self) -> Intervals:
        """The keys that an edge joins to each row."""
        codes, total = self.layout.edge_codes, self.layout.total
        begin = insertions(codes, self.rows * total)
        counts = insertions(codes, (self.rows + 1) * total) - begin
        row, entry = expand(begin, counts)
        return Intervals.of_places(self, self.on_line(row, codes[entry] % max(total, 1)))

    def tried(self, allows: Allows) -> Intervals:
        """The keys that a pattern allows, found by asking about every pair."""
        return self.everything().allowed(allows)

    def on_line(self, row: Int[Tensor, " keys"], key: Int[Tensor, " keys"]) -> Int[Tensor, " keys"]:
        """Where packed keys of rows lie on the line; `row` counts the rows asked for."""
        return key + (torch.arange(len(self.rows), device=row.device) * self.stretch - self.first_key)[row]


@dataclass(frozen=True)
class Intervals:
    """Keys of rows as sorted, disjoint stretches of one line: `start <= place < stop`."""

    of: Rows
    start: Int[Tensor, " intervals"]
    stop: Int[Tensor, " intervals"]

    @staticmethod
    def of_places(rows: Rows, places: Int[Tensor, " places"]) -> Intervals:
        """One key each, at places in increasing order; keys side by side grow together."""
        gap = torch.ones(len(places) + 1, dtype=torch.bool, device=places.device)
        gap[1:-1] = places[1:] != places[:-1] + 1
        return Intervals(rows, places[gap[:-1]], places[gap[1:]] + 1)

    def __and__(self, other: Intervals) -> Intervals:
        return self._sweep([self, other], [1, 1], at_least=2)

    def __or__(self, other: Intervals) -> Intervals:
        return self._sweep([self, other], [1, 1], at_least=1)

    def __invert__(self) -> Intervals:
        return self._sweep([self.of.everything(), self], [1, -1], at_least=1)

    def allowed(self, allows: Allows) -> Intervals:
        """Those of these keys that a pattern allows, found by asking about each pair, in parts of bounded size."""
        rows, until = self.of, (self.stop - self.start).cumsum(0)
        if len(until):
            rows.check_named(int(until[-1]))
        parts, begin, asked = [self.start[:0]], 0, 0
        while begin < len(until):
            # At least one interval, which is no longer than a set.
            end = max(begin + 1, int(insertions(until, until.new_tensor(asked + self.of.at_once), right=True)))
            which, place = expand(self.start[begin:end], self.stop[begin:end] - self.start[begin:end])
            row = self.row[begin:end][which]
            pairs = Pairs(
                rows.layout, rows.key_layout, rows.rows[row], place - row * rows.stretch + rows.first_key[row]
            )
            parts.append(place[torch.as_tensor(allows(pairs.i, pairs.j, pairs)).expand(place.shape)])
            begin, asked = end, int(until[end - 1])
        return Intervals.of_places(rows, torch.cat(parts))

    def _sweep(self, parts: Sequence[Intervals], signs: Sequence[int], at_least: int) -> Intervals:
        """Walk the line from left to right; keep where the signed number of intervals overhead is at least so many."""
        # At one place, a union opens before it closes, so that neighbors merge; the others close first, so that none is empty.
        merging = at_least == 1 and all(sign > 0 for sign in signs)
        code = ordered(
            torch.cat(
                [
                    end * 2 + ((step < 0) if merging else (step > 0))
                    for part, sign in zip(parts, signs, strict=True)
                    for end, step in ((part.start, sign), (part.stop, -sign))
                ]
            )
        )
        step = (code & 1).to(torch.int8).mul_(-2 if merging else 2).add_(1 if merging else -1)
        place, after = code.bitwise_right_shift_(1), step.cumsum(0, dtype=torch.int32)
        opens = (after >= at_least) & (after - step < at_least)
        closes = (after < at_least) & (after - step >= at_least)
        return Intervals(self.of, place[opens], place[closes])

    @property
    def row(self) -> Int[Tensor, " intervals"]:
        """Which of the rows asked for each interval belongs to."""
        return self.start // self.of.stretch

    def counts(self) -> Int[Tensor, " rows"]:
        """The number of keys of each row asked for."""
        none = self.start.new_zeros(len(self.of.rows))
        return none.index_add(0, self.row, self.stop - self.start)

    def reach(self) -> int:
        """The largest |i - j| of a row at place i and a key of it at place j; 0 where there is no pair."""
        if not len(self.start):
            return 0
        i, (start, stop) = self.of.index[self.row], self.bounds()
        ends = [(self.of.key_layout.index[key] - i).abs().max() for key in (start, stop - 1)]
        return max(int(end) for end in ends)

    def pairs(self) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
        """`(query_rows, key_rows)`: every pair, in packed rows, in the order of the rows asked for and of the keys."""
        which, place = expand(self.start, self.stop - self.start)
        row = self.row[which]
        return self.of.rows[row], place - row * self.of.stretch + self.of.first_key[row]

    def bounds(self) -> tuple[Int[Tensor, " intervals"], Int[Tensor, " intervals"]]:
        """`(start, stop)` of every interval in packed key rows."""
        shift = self.of.first_key[self.row] - self.row * self.of.stretch
        return self.start + shift, self.stop + shift


def expand(
    start: Int[Tensor, " stretches"], counts: Int[Tensor, " stretches"]
) -> tuple[Int[Tensor, " total"], Int[Tensor, " total"]]:
    """For each stretch `start .. start + count`: which stretch, and the place, of every place in it."""
    which = repeated(torch.arange(len(counts), device=counts.device), counts)
    before = torch.nn.functional.pad(counts.cumsum(0), (1, 0))[:-1]
    return which, torch.arange(len(which), device=counts.device) - before[which] + start[which]
