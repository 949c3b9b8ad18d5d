"""Cuts the rows of a layout into tile batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.attention.executors.tiled.tile_batch import Segment, Strides, TileBatch
from regard.attention.pairs.pairs import Intervals, expand
from regard.attention.pairs.tiles import Tiles, tiles
from regard.sets import Layout
from regard.sets.whole import insertions

__all__ = ["TileBatches", "tile_batches"]

# Tiles are joined while they are padded by at most this share of their pairs, or by so many squares of full tiles.
_PADDED, _PADDED_SQUARES = 0.125, 0.5
# Tiles at even distances form a batch of their own where they have so many squares of pairs, and are not more than so many.
_APART_SQUARES, _APART_TILES = 4, 8
# A tile with so many squares of pairs that are not allowed is tried with so many times fewer rows.
_WASTED_SQUARES, _FINER = 2, 8
# Tiles with more spans are gathered.
_SEGMENTS = 4


@dataclass(frozen=True)
class TileBatches:
    """All tile batches of a layout under a pattern; rows without any key are in none."""

    each: list[TileBatch]
    pairs: int
    """Pairs of the tile batches, padding included."""

    @property
    def gathered(self) -> int:
        """How many keys of tiles are gathered, because no view shows them."""
        return sum(batch.tiles * batch.width for batch in self.each if batch.strides is None)

    @property
    def vectors(self) -> int:
        """How many queries and keys of tiles there are, together."""
        return sum(batch.tiles * (batch.rows + batch.width) for batch in self.each)

    def __iter__(self) -> Iterator[TileBatch]:
        return iter(self.each)


def tile_batches(layout: Layout, intervals: Intervals, rows: int, *, pairs: int, few: int, most: int) -> TileBatches:
    """Cuts a layout's rows into tile batches.

    Args:
        layout: of the queries. intervals: the keys of every one of its rows.
        rows: of a tile, at most.
        pairs: a batch grows up to so many, and a tile with more is cut. few: but rather not into fewer rows than these.
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
            TileBatch(
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
    return TileBatches(each, touched)


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
