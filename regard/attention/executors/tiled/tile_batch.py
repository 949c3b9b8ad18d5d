"""A tile batch: query tiles of like shape with all their keys, so that one matrix product serves them all.

Every tile batch holds whole rows (all keys of its rows), so a normalizer sees a row at once, whatever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.attention.pairs.pairs import Intervals, expand
from regard.sets.whole import insertions

__all__ = ["Keys", "Segment", "Strides", "TileBatch"]

# A row with up to so many intervals is compared with each of them.
_COMPARED = 2


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
class TileBatch:
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
