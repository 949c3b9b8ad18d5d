"""Query tiles and the keys that any of their rows may attend to: what a pattern leaves to compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.attention.pairs.pairs import Intervals
from regard.sets import Layout
from regard.sets.whole import insertions, ordered, repeated

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

__all__ = ["Tiles", "tiles"]


@dataclass(frozen=True)
class Tiles:
    """Tiles of neighboring query rows of one set; tile n owns the key spans `spans[n] : spans[n + 1]`.

    Spans of a tile are sorted and disjoint. Every key of a span is allowed for at least one row of the tile, and for all of them
    where `full`.
    """

    begin: Int[Tensor, " tiles"]
    end: Int[Tensor, " tiles"]
    spans: Int[Tensor, " tiles+1"]
    start: Int[Tensor, " spans"]
    stop: Int[Tensor, " spans"]
    full: Bool[Tensor, " spans"]

    @property
    def pairs(self) -> Int[Tensor, " tiles"]:
        """The pairs of each tile's rows with all keys of its spans."""
        keys = torch.nn.functional.pad((self.stop - self.start).cumsum(0), (1, 0))[self.spans].diff()
        return (self.end - self.begin) * keys


def tiles(layout: Layout, intervals: Intervals, rows: int) -> Tiles:
    """The tiles of at most `rows` rows that cover every set of a layout from its first row on.

    Args:
        layout: of the queries. intervals: the keys of every one of its rows.
        rows: how many rows a tile has, but for the last one of a set.
    """
    number = (layout.lengths + rows - 1) // rows
    first = torch.nn.functional.pad(number.cumsum(0), (1, 0))
    total = int(first[-1])
    owner = repeated(torch.arange(layout.sets, device=layout.device), number)
    begin = layout.offsets[owner] + (torch.arange(total, device=layout.device) - first[owner]) * rows
    end = torch.minimum(begin + rows, layout.offsets[owner + 1])
    stretch = intervals.of.stretch
    tile_of_row = repeated(torch.arange(total, device=layout.device), end - begin)
    before = insertions(intervals.start, torch.cat([begin, layout.offsets[-1:]]) * stretch)
    parts = [(intervals.start[:0], intervals.start[:0], end[:0] > 0, begin[:0])]
    at = 0
    while at < total:
        enough = int(insertions(before, before[at] + intervals.of.at_once))
        then = max(at + 1, min(enough, total))
        some = slice(int(before[at]), int(before[then]))
        parts.append(_spans(intervals.start[some], intervals.stop[some], stretch, tile_of_row, end - begin))
        at = then
    start, stop, full, of = (torch.cat(part) for part in zip(*parts, strict=True))
    first_key = intervals.of.key_layout.offsets[owner[of]] - of * stretch
    spans = insertions(of, torch.arange(total + 1, device=layout.device))
    return Tiles(begin, end, spans, start + first_key, stop + first_key, full)


def _spans(
    start: Tensor, stop: Tensor, stretch: int, tile_of_row: Tensor, heights: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`(start, stop, full, tile)` of the spans of some tiles, from the intervals of all of their rows."""
    # All rows of a tile lie on one stretch of a line: where their intervals pile up, so many rows share the keys.
    row = start // stretch
    shift = (tile_of_row[row] - row) * stretch
    codes = ordered(torch.cat([(start + shift) * 2, (stop + shift) * 2 + 1]))
    places, depth = codes >> 1, (1 - (codes & 1) * 2).cumsum(0)
    # What counts at a place is the depth behind all that opens and closes there.
    last = torch.ones_like(places, dtype=torch.bool)
    last[:-1] = places[1:] != places[:-1]
    places, depth = places[last], depth[last][:-1]
    some = depth > 0
    start, stop, depth = places[:-1][some], places[1:][some], depth[some]
    of = start // stretch
    full = depth == heights[of]
    # Partial spans side by side become one.
    joined = (start[1:] == stop[:-1]) & ~full[1:] & ~full[:-1]
    opens, closes = torch.ones_like(full), torch.ones_like(full)
    opens[1:], closes[:-1] = ~joined, ~joined
    return start[opens], stop[closes], full[opens], of[opens]
