"""Chunks: query tiles of like shape with all their keys, side by side, so that one matrix product serves them all.

Every chunk holds whole rows (all keys of its rows), so a normalizer sees a row at once, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.attention.pairs import Intervals, expand
from regard.attention.tiling import Tiles, tiles
from regard.sets import Layout

__all__ = ["Chunk", "Chunks", "Keys", "Strides", "chunks"]

# A row with up to so many intervals is compared with each of them.
_COMPARED = 2
# Tiles stand side by side while they are padded by at most this share of their pairs, or by so many pairs.
_PADDED, _PADDED_PAIRS = 0.125, 2048
# So many tiles that need no gathering are not joined by one that does.
_WORTH_STRIDES = 4

Strides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Keys:
    """The keys of every query row: row i owns the intervals `first[i] : first[i + 1]`, `start <= key < stop` in packed rows."""

    first: Tensor
    start: Tensor
    stop: Tensor

    @staticmethod
    def of(intervals: Intervals) -> Keys:
        start, stop = intervals.bounds()
        rows = torch.arange(len(intervals.of.rows) + 1, device=start.device)
        return Keys(torch.searchsorted(intervals.row, rows), start, stop)

    @cached_property
    def number(self) -> Tensor:
        """`[t]` how many keys each row has."""
        before = pad((self.stop - self.start).cumsum(0), (1, 0))
        return before[self.first].diff()


@dataclass(frozen=True)
class Chunk:
    """`c` tiles of at most `rows` query rows each, padded to `rows`, and their at most `width` keys, padded to `width`.

    A row or a key that pads repeats the last one of its own tile.
    """

    begin: Tensor
    """`[c]` each tile's first query row."""
    end: Tensor
    rows: int
    width: int
    spans: tuple[Tensor, Tensor]
    """The start and the stop of the tiles' key spans, one tile after another."""
    number: Tensor
    """`[c]` how many spans each tile has."""
    full: bool
    """Whether all rows of a tile may attend to all of its keys, and nothing is padded."""
    strides: Strides | None
    """`(query, query step, key, key step)` where tile n has the rows from `query + n * query step` on, without padding,
    and its keys are those from `key + n * key step` on; else None."""

    @property
    def tiles(self) -> int:
        return len(self.begin)

    @cached_property
    def _place(self) -> Tensor:
        return self.begin[:, None] + torch.arange(self.rows, device=self.begin.device)

    @property
    def query_rows(self) -> Tensor:
        """`[c, rows]`"""
        return torch.minimum(self._place, self.end[:, None] - 1)

    @property
    def real_rows(self) -> Tensor | None:
        """`[c, rows]` False where a row pads; None where none does."""
        return None if self.strides is not None else self._place < self.end[:, None]

    def keys(self) -> tuple[Tensor, Tensor]:
        """`[c, width]` key rows, and True where they are real."""
        start, stop = self.spans
        place = torch.arange(self.width, device=start.device)
        if len(start) == self.tiles:
            keys = start[:, None] + place
            return torch.minimum(keys, stop[:, None] - 1), keys < stop[:, None]
        lengths = stop - start
        before = pad(lengths.cumsum(0), (1, 0))
        first = pad(self.number.cumsum(0), (1, 0))
        total = before[first].diff()
        real = place < total[:, None]
        wanted = before[first[:-1]][:, None] + torch.minimum(place, total[:, None] - 1)
        span = torch.searchsorted(before, wanted, right=True) - 1
        return start[span] + wanted - before[span], real

    def allowed(self, keys: Keys, rows: Tensor, places: Tensor, real: Tensor) -> Tensor:
        """`[c, rows, width]` which keys each row has, of its tile's keys `places` that are `real`."""
        first, last = keys.first[rows], keys.first[rows + 1]
        most = int((last - first).max()) if first.numel() else 0
        if most <= _COMPARED:
            shape = self.tiles, self.rows, self.width
            none = torch.zeros(shape, dtype=torch.bool, device=rows.device)
            if most == 0:
                return none
            places = torch.where(real, places, -1)[:, None]
            for turn in range(most):
                which = torch.minimum(first + turn, last - 1).clamp(min=0)
                start = torch.where(first + turn < last, keys.start[which], 0)[..., None]
                stop = torch.where(first + turn < last, keys.stop[which], 0)[..., None]
                none |= (places >= start) & (places < stop)
            return none
        return self._swept(keys, first, last, places, real)

    def _swept(self, keys: Keys, first: Tensor, last: Tensor, places: Tensor, real: Tensor) -> Tensor:
        """The same by walking along each row: an interval adds one where it opens and takes it away where it closes."""
        # On one line, on which each tile has a stretch of its own.
        stretch = int(places.max()) + 2
        line = torch.where(real, places, stretch - 1)
        line = (line + torch.arange(self.tiles, device=line.device)[:, None] * stretch).flatten()
        owner, which = expand(first.flatten(), (last - first).flatten())
        tile = owner // self.rows
        steps = places.new_zeros(self.tiles * self.rows * (self.width + 1), dtype=torch.int8)
        one = steps.new_ones(len(owner))
        for end, sign in ((keys.start, 1), (keys.stop, -1)):
            place = torch.searchsorted(line, end[which] + tile * stretch) - tile * self.width
            steps.index_add_(0, owner * (self.width + 1) + place, sign * one)
        depth = steps.view(self.tiles, self.rows, self.width + 1).cumsum(-1, dtype=torch.int8)
        return depth[..., : self.width] > 0


@dataclass(frozen=True)
class Chunks:
    """All chunks of a layout under a pattern; rows without any key are in none."""

    each: list[Chunk]
    pairs: int
    """Pairs of the chunks, padding included."""

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self.each)


def chunks(layout: Layout, intervals: Intervals, rows: int, *, pairs: int, few: int, most: int) -> Chunks:
    """Cuts a layout's rows into chunks.

    Args:
        layout: of the queries. intervals: the keys of every one of its rows.
        rows: of a tile, at most.
        pairs: a chunk grows up to so many, and a tile with more is cut. few: but rather not into fewer rows than these.
        most: where even those have more pairs than so many, into fewer, down to one row.
    """
    found = tiles(layout, intervals, rows)
    before = pad((found.stop - found.start).cumsum(0), (1, 0))[found.spans]
    total, full = before.diff(), pad((~found.full).cumsum(0), (1, 0))[found.spans].diff() == 0
    keys = total.clamp(min=1)
    owner, begin, end = _cut(found, torch.maximum(pairs // keys, (most // keys).clamp(max=few)).clamp(min=1))
    order = torch.argsort(total[owner] * (rows + 1) + end - begin, stable=True)
    order = order[total[owner[order]] > 0]
    owner, begin, end = owner[order], begin[order], end[order]
    height, total, full = end - begin, total[owner], full[owner]
    first, number = found.spans[owner], found.spans.diff()[owner]
    span = expand(first, number)[1]
    start, stop = found.start[span], found.stop[span]
    shapes = torch.stack([height, total, begin, torch.where(number == 1, found.start[first], -1)]).T.tolist()
    bounds = pad(number.cumsum(0), (1, 0)).tolist()
    each, touched = [], 0
    for a, b, strides in _groups(shapes, pairs):
        some, spans = slice(a, b), slice(bounds[a], bounds[b])
        tall, wide = max(shape[0] for shape in shapes[a:b]), shapes[b - 1][1]
        even = all(shape[:2] == [tall, wide] for shape in shapes[a:b])
        each.append(
            Chunk(
                begin=begin[some],
                end=end[some],
                rows=tall,
                width=wide,
                spans=(start[spans], stop[spans]),
                number=number[some],
                full=even and bool(full[some].all()),
                strides=strides,
            )
        )
        touched += (b - a) * tall * wide
    return Chunks(each, touched)


def _cut(found: Tiles, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every tile in parts of at most `rows[n]` rows: which tile each is of, its first row, and the one behind its last."""
    height = found.end - found.begin
    parts = (height + rows - 1) // rows
    even = (height + parts - 1) // parts
    owner, turn = expand(torch.zeros_like(parts), (height + even - 1) // even)
    begin = found.begin[owner] + turn * even[owner]
    return owner, begin, torch.minimum(begin + even[owner], found.end[owner])


def _groups(shapes: list[list[int]], pairs: int) -> Iterator[tuple[int, int, Strides | None]]:
    """Which neighbors stand side by side: `(first, one past the last, strides)`.

    Args:
        shapes: height, width, first row and first key (-1 where a tile has several spans) of each tile, in order of the width.
    """
    begin, tall, real = 0, 0, 0
    strides: Strides | None = None
    for at, (height, width, row, key) in enumerate(shapes):
        number = at - begin
        if number:
            higher = max(tall, height)
            padded = (number + 1) * higher * width
            real_then = real + height * width
            longer = _continued(strides, shapes[begin], shapes[at], number)
            spoils = longer is None and strides is not None and number >= _WORTH_STRIDES
            if padded > pairs or spoils or padded - real_then > max(_PADDED * real_then, _PADDED_PAIRS):
                yield begin, at, strides
                number = 0
            else:
                tall, real, strides = higher, real_then, longer
        if not number:
            begin, tall, real = at, height, height * width
            strides = (row, 0, key, 0) if key >= 0 else None
    if shapes:
        yield begin, len(shapes), strides


def _continued(strides: Strides | None, first: list[int], new: list[int], number: int) -> Strides | None:
    """The strides of tiles of which `number` have these and one more is `new`, or None where it does not continue them."""
    if strides is None or new[:2] != first[:2] or new[3] < 0:
        return None
    row, row_step, key, key_step = strides
    if number == 1:
        row_step, key_step = new[2] - row, new[3] - key
        return (row, row_step, key, key_step) if row_step >= 0 and key_step >= 0 else None
    return strides if new[2:] == [row + number * row_step, key + number * key_step] else None
