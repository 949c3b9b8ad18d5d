"""Query tiles and the keys that any of their rows may attend to: what a pattern leaves to compute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attention.pairs import Intervals, ordered
from regard.sets import Layout

__all__ = ["Tiles", "tiles"]


@dataclass(frozen=True)
class Tiles:
    """Tiles of neighboring query rows of one set; tile n owns the key spans `spans[n] : spans[n + 1]`.

    Spans of a tile are sorted and disjoint. Every key of a span is allowed for at least one row of the tile, and for all of them
    where `full`.
    """

    begin: Tensor
    end: Tensor
    spans: Tensor
    start: Tensor
    stop: Tensor
    full: Tensor

    @property
    def pairs(self) -> Tensor:
        """`[n]` the pairs of each tile's rows with all keys of its spans."""
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
    owner = torch.repeat_interleave(torch.arange(layout.sets, device=layout.device), number, output_size=total)
    begin = layout.offsets[owner] + (torch.arange(total, device=layout.device) - first[owner]) * rows
    end = torch.minimum(begin + rows, layout.offsets[owner + 1])
    row = intervals.row
    in_set = row - layout.offsets[layout.set_of_row[row]]
    tile = first[layout.set_of_row[row]] + in_set // rows
    # All rows of a tile lie on one stretch of a line: where their intervals pile up, so many rows share the keys.
    stretch = intervals.of.stretch
    shift = (tile - row) * stretch
    codes = ordered(torch.cat([(intervals.start + shift) * 2, (intervals.stop + shift) * 2 + 1]))
    places, step = codes >> 1, 1 - (codes & 1) * 2
    edge, back = torch.unique_consecutive(places, return_inverse=True)
    depth = torch.zeros_like(edge).index_add(0, back, step).cumsum(0)[:-1]
    some = depth > 0
    start, stop, depth = edge[:-1][some], edge[1:][some], depth[some]
    of = start // stretch
    full = depth == (end - begin)[of]
    # Partial spans side by side become one.
    joined = (start[1:] == stop[:-1]) & ~full[1:] & ~full[:-1]
    opens, closes = torch.ones_like(full), torch.ones_like(full)
    opens[1:], closes[:-1] = ~joined, ~joined
    start, stop, full, of = start[opens], stop[closes], full[opens], of[opens]
    first_key = intervals.of.key_layout.offsets[owner[of]] - of * stretch
    spans = torch.searchsorted(of, torch.arange(total + 1, device=layout.device))
    return Tiles(begin, end, spans, start + first_key, stop + first_key, full)
