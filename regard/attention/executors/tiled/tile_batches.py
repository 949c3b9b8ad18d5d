"""Chunks: query tiles of like shape with all their keys, side by side, so that one matrix product serves them all.

Every chunk holds whole rows (all keys of its rows), so a normalizer sees a row at once, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.attention.pairs.pairs import Intervals, expand
from regard.attention.pairs.tiles import Tiles, tiles
from regard.sets import Layout
from regard.sets.whole import insertions

__all__ = ["Chunk", "Chunks", "Keys", "Segment", "Strides", "chunks"]

# A row with up to so many intervals is compared with each of them.
_COMPARED = 2
# Tiles are joined while they are padded by at most this share of their pairs, or by so many squares of full tiles.
_PADDED, _PADDED_SQUARES = 0.125, 0.5
# Tiles at even distances form a batch of their own where they have so many squares of pairs, and are not more than so many.
_APART_SQUARES, _APART_TILES = 4, 8
# A tile with so many squares of pairs that are not allowed is tried with so many times fewer rows.
_WASTED_SQUARES, _FINER = 2, 8
# Tiles with more spans are gathered.
_SEGMENTS = 4


class Segment(NamedTuple):
    """Keys of tiles at even distances: tile n has `width` of them from `first + n * step` on."""

    first: int
    step: int
    width: int


class Strides(NamedTuple):
    """Tiles at even distances: tile n has the rows from `row + n * row_step` on, without padding, and the keys of all segments."""

    row: int
    row_step: int
    keys: tuple[Segment, ...]


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
        return Keys(insertions(intervals.row, rows), start, stop)

    @cached_property
    def most(self) -> int:
        """The largest number of intervals of a row."""
        return int(self.first.diff().max()) if len(self.first) > 1 else 0

    @cached_property
    def some_without(self) -> bool:
        """Whether some row has no key."""
        return bool((self.number == 0).any())

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
    """Where the tiles lie at even distances, so that nothing needs to be gathered; else None."""

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
        span = insertions(before, wanted, right=True) - 1
        return start[span] + wanted - before[span], real

    def allowed(self, keys: Keys) -> Tensor:
        """`[c or 1, rows, width]` which of its tile's keys each row has; one for all tiles where they are seen to be alike."""
        rows = self.query_rows
        first, last = keys.first[rows], keys.first[rows + 1]
        most = keys.most
        if most > _COMPARED:
            return self._swept(keys, first, last)
        which = first[..., None] + torch.arange(most, device=rows.device)
        there = which < last[..., None]
        which = torch.where(there, which, 0)
        start, stop = (torch.where(there, x[which], 0) if most else which for x in (keys.start, keys.stop))
        places, real = self.keys()
        places = torch.where(real, places, -1)
        if self.strides is not None and self.tiles > 1 and most == len(self.strides.keys):
            first, step, width = torch.tensor(self.strides.keys, device=rows.device).T
            shift = torch.arange(self.tiles, device=rows.device)[:, None, None] * step
            low, high = start - shift, stop - shift
            alike = there & (low == low[:1]) & (high == high[:1]) & (low >= first) & (high <= first + width)
            if bool(alike.all()):
                start, stop, places = start[:1], stop[:1], places[:1]
        allowed = torch.zeros(*start.shape[:2], self.width, dtype=torch.bool, device=rows.device)
        for turn in range(most):
            allowed |= (places[:, None] >= start[..., turn, None]) & (places[:, None] < stop[..., turn, None])
        return allowed

    def _swept(self, keys: Keys, first: Tensor, last: Tensor) -> Tensor:
        """The same by walking along each row: an interval adds one where it opens and takes it away where it closes."""
        places, real = self.keys()
        # On one line, on which each tile has a stretch of its own.
        stretch = int(places.max()) + 2
        line = torch.where(real, places, stretch - 1)
        line = (line + torch.arange(self.tiles, device=line.device)[:, None] * stretch).flatten()
        owner, which = expand(first.flatten(), (last - first).flatten())
        tile = owner // self.rows
        steps = places.new_zeros(self.tiles * self.rows * (self.width + 1), dtype=torch.int8)
        one = steps.new_ones(len(owner))
        for end, sign in ((keys.start, 1), (keys.stop, -1)):
            place = insertions(line, end[which] + tile * stretch) - tile * self.width
            steps.index_add_(0, owner * (self.width + 1) + place, sign * one)
        depth = steps.view(self.tiles, self.rows, self.width + 1).cumsum(-1, dtype=torch.int8)
        return depth[..., : self.width] > 0

    def of_queries(self, x: Tensor) -> Tensor:
        """`[c, h, rows, width]` the query rows of x `[t, h, width]`; a view where they lie at even distances."""
        if self.strides is None:
            return x[self.query_rows].transpose(1, 2)
        return _view(x, self.tiles, self.rows, self.strides.row, self.strides.row_step)

    def of_keys(self, x: Tensor) -> Tensor:
        """`[c, g, width, .]` the keys of x `[u, g, .]`; a view where they lie at even distances."""
        if self.strides is None:
            return x[self.keys()[0]].transpose(1, 2)
        parts = [_view(x, self.tiles, each.width, each.first, each.step) for each in self.strides.keys]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def put_queries(self, total: Tensor, part: Tensor) -> None:
        """Writes `part [c, h, rows, .]` into the query rows of `total [t, h, .]`, but for rows that pad."""
        real = self.real_rows
        if real is None:
            self.of_queries(total).copy_(part)
        else:
            total[self.query_rows[real]] = part.transpose(1, 2)[real]

    def add_keys(self, total: Tensor, part: Tensor, factor: float = 1.0) -> None:
        """Adds `factor * part [c, g, width, .]` to the keys of `total [u, g, .]`, in one fixed order."""
        if self.strides is None:
            rows, flat = self.keys()[0].flatten(), part.transpose(1, 2).flatten(0, 1)
            if total.is_cuda:  # where index_add would be atomic; this one sorts.
                total.index_put_((rows,), flat * factor, accumulate=True)
            else:
                total.index_add_(0, rows, flat, alpha=factor)
            return
        begin = 0
        for first, step, width in self.strides.keys:
            each = part[:, :, begin : begin + width]
            begin += width
            if step == 0:
                _view(total, 1, width, first, 0).add_(each.sum(0, keepdim=True), alpha=factor)
                continue
            # Keys of neighboring tiles overlap: in slabs of as many as they are apart, each key comes once.
            for at in range(0, width, step):
                slab = each[:, :, at : at + step]
                _view(total, self.tiles, slab.shape[2], first + at, step).add_(slab, alpha=factor)


def _view(x: Tensor, number: int, rows: int, first: int, step: int) -> Tensor:
    """`[number, heads, rows, width]`: part n has the rows of x `[t, heads, width]` from `first + n * step` on; no copy."""
    row, head, column = x.stride()
    size, stride = (number, x.shape[1], rows, x.shape[2]), (step * row, head, row, column)
    return x.as_strided(size, stride, x.storage_offset() + first * row)


@dataclass(frozen=True)
class Chunks:
    """All chunks of a layout under a pattern; rows without any key are in none."""

    each: list[Chunk]
    pairs: int
    """Pairs of the chunks, padding included."""

    @property
    def gathered(self) -> int:
        """How many keys of tiles are gathered, because no view shows them."""
        return sum(chunk.tiles * chunk.width for chunk in self.each if chunk.strides is None)

    @property
    def vectors(self) -> int:
        """How many queries and keys of tiles there are, together."""
        return sum(chunk.tiles * (chunk.rows + chunk.width) for chunk in self.each)

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
    found = _refined(layout, intervals, tiles(layout, intervals, rows), rows)
    total = pad((found.stop - found.start).cumsum(0), (1, 0))[found.spans].diff()
    full = pad((~found.full).cumsum(0), (1, 0))[found.spans].diff() == 0
    joined, starts, stops = _joined(found)
    keys = total.clamp(min=1)
    owner, begin, end = _cut(found, torch.maximum(pairs // keys, (most // keys).clamp(max=few)).clamp(min=1))
    order = torch.argsort(total[owner] * (rows + 1) + end - begin, stable=True)
    order = order[total[owner[order]] > 0]
    owner, begin, end = owner[order], begin[order], end[order]
    height, total, full = end - begin, total[owner], full[owner]
    number = joined.diff()[owner]
    span = expand(joined[owner], number)[1]
    start, stop = starts[span], stops[span]
    bounds = pad(number.cumsum(0), (1, 0)).tolist()
    shapes = _shapes(torch.stack([height, total, begin]).T.tolist(), start.tolist(), stop.tolist(), bounds)
    each, touched = [], 0
    for a, b, strides in _groups(shapes, rows, pairs):
        some, spans = slice(a, b), slice(bounds[a], bounds[b])
        tall, wide = max(shape.height for shape in shapes[a:b]), shapes[b - 1].width
        even = all((shape.height, shape.width) == (tall, wide) for shape in shapes[a:b])
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


def _refined(layout: Layout, intervals: Intervals, found: Tiles, rows: int) -> Tiles:
    """The tiles with lower ones in place of those whose rows have little in common, such as a few rows with all keys."""
    number = pad(intervals.counts().cumsum(0), (1, 0))
    wasted = found.pairs - (number[found.end] - number[found.begin])
    poor = (wasted > found.pairs // 2) & (wasted > _WASTED_SQUARES * rows * rows)
    if rows < _FINER or not bool(poor.any()):
        return found
    finer = tiles(layout, intervals, rows // _FINER)
    owner = insertions(found.begin, finer.begin, right=True) - 1
    then = torch.zeros_like(found.pairs).index_add(0, owner, finer.pairs)
    poor &= then < found.pairs - found.pairs // 4
    parts = [_some(found, ~poor), _some(finer, poor[owner])]
    begin, end, start, stop, full = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("begin", "end", "start", "stop", "full")
    )
    spans = torch.cat([parts[0].spans, parts[1].spans[1:] + len(parts[0].start)])
    return Tiles(begin, end, spans, start, stop, full)


def _some(found: Tiles, wanted: Tensor) -> Tiles:
    number = found.spans.diff()[wanted]
    span = expand(found.spans[:-1][wanted], number)[1]
    spans = pad(number.cumsum(0), (1, 0))
    return Tiles(found.begin[wanted], found.end[wanted], spans, found.start[span], found.stop[span], found.full[span])


def _joined(found: Tiles) -> tuple[Tensor, Tensor, Tensor]:
    """The spans of all tiles, full or not, as few as hold the keys: tile n owns `joined[n] : joined[n + 1]` of starts and stops."""
    opens = torch.ones(len(found.start), dtype=torch.bool, device=found.start.device)
    opens[1:] = found.start[1:] != found.stop[:-1]
    first = found.spans[:-1]
    opens[first[found.spans.diff() > 0]] = True
    closes = torch.ones_like(opens)
    closes[:-1] = opens[1:]
    return pad(opens.cumsum(0), (1, 0))[found.spans], found.start[opens], found.stop[closes]


def _cut(found: Tiles, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every tile in parts of at most `rows[n]` rows: which tile each is of, its first row, and the one behind its last."""
    height = found.end - found.begin
    parts = (height + rows - 1) // rows
    even = (height + parts - 1) // parts
    owner, turn = expand(torch.zeros_like(parts), (height + even - 1) // even)
    begin = found.begin[owner] + turn * even[owner]
    return owner, begin, torch.minimum(begin + even[owner], found.end[owner])


class _Shape(NamedTuple):
    """A tile in numbers: its spans where they are few, else none."""

    height: int
    width: int
    row: int
    starts: tuple[int, ...]
    widths: tuple[int, ...]

    def follows(self, strides: Strides | None, first: _Shape, number: int) -> Strides | None:
        """The strides of `number` tiles from `first` on that have these and of this one, or None where it has others."""
        if strides is None or (self.height, self.widths) != (first.height, first.widths) or not self.widths:
            return None
        if number == 1:
            row_step = self.row - first.row
            steps = [ours - theirs for ours, theirs in zip(self.starts, first.starts, strict=True)]
            if min(row_step, *steps) < 0:
                return None
            keys = zip(first.starts, steps, first.widths, strict=True)
            return Strides(first.row, row_step, tuple(Segment(*each) for each in keys))
        goes_on = self.row == strides.row + number * strides.row_step and all(
            start == each.first + number * each.step for start, each in zip(self.starts, strides.keys, strict=True)
        )
        return strides if goes_on else None

    @property
    def alone(self) -> Strides | None:
        keys = tuple(Segment(start, 0, width) for start, width in zip(self.starts, self.widths, strict=True))
        return Strides(self.row, 0, keys) if keys else None


def _shapes(tiles: list[list[int]], start: list[int], stop: list[int], bounds: list[int]) -> list[_Shape]:
    shapes = []
    for (height, width, row), a, b in zip(tiles, bounds[:-1], bounds[1:], strict=True):
        starts = tuple(start[a:b]) if b - a <= _SEGMENTS else ()
        widths = tuple(y - x for x, y in zip(starts, stop[a:b], strict=False))
        shapes.append(_Shape(height, width, row, starts, widths))
    return shapes


def _groups(shapes: list[_Shape], rows: int, pairs: int) -> Iterator[tuple[int, int, Strides | None]]:
    """Which tiles, in order of their width, form a batch: `(first, one past the last, strides)`."""
    apart, free = _APART_SQUARES * rows * rows, _PADDED_SQUARES * rows * rows
    begin, tall, real = 0, 0, 0
    strides: Strides | None = None
    for at, shape in enumerate(shapes):
        number = at - begin
        if number:
            higher = max(tall, shape.height)
            padded = (number + 1) * higher * shape.width
            real_then = real + shape.height * shape.width
            longer = shape.follows(strides, shapes[begin], number)
            spoils = longer is None and ((strides is not None and real >= apart) or _even(shapes, at, apart))
            if padded > pairs or spoils or padded - real_then > max(_PADDED * real_then, free):
                yield begin, at, strides
                number = 0
            else:
                tall, real, strides = higher, real_then, longer
        if not number:
            begin, tall, real, strides = at, shape.height, shape.height * shape.width, shape.alone
    if shapes:
        yield begin, len(shapes), strides


def _even(shapes: list[_Shape], at: int, pairs: int) -> bool:
    """Whether from here on a few tiles at even distances have pairs enough for a batch of their own."""
    strides, first = shapes[at].alone, shapes[at]
    tiles = -(-pairs // (first.height * first.width))
    if strides is None or tiles > min(_APART_TILES, len(shapes) - at):
        return False
    for number in range(1, tiles):
        strides = shapes[at + number].follows(strides, first, number)
    return strides is not None
