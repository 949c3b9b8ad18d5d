"""Where the pairs of a tile batch lie in a table of distances: how `dot_softmax` reads a bias, and adds up its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attention.executors.tiled.tile_batch import TileBatch
from regard.attention.problem import Problem

__all__ = ["Offsets"]


@dataclass(frozen=True)
class Offsets:
    """Where the pairs of a tile batch lie in a table of j - i.

    Rows and keys of a tile follow each other, but for a few leaps between keys: what it reads are diagonals.
    """

    rows: int
    tiles: list[list[tuple[int, int]]]
    """For each tile its spans of keys: j - i of its first row and the span's first key, and the span's width.
    One tile where all are alike, none where there are too many to be listed."""
    places: Tensor | None
    """`[c, rows, width]`, where tiles are not listed."""

    @staticmethod
    def of(problem: Problem, batch: TileBatch) -> Offsets:
        i, j = problem.layout.index, problem.key_layout.index
        even = problem.layout.places is None and problem.key_layout.places is None
        if batch.strides is not None and even:
            tile = torch.arange(batch.tiles, device=i.device)
            row = i[batch.strides.row + tile * batch.strides.row_step]
            shifts = torch.stack([j[first + tile * step] - row for first, step, _ in batch.strides.keys], 1)
            if bool((shifts == shifts[:1]).all()):
                shifts = shifts[:1]
            if len(shifts) <= problem.tiles.listed:
                widths = [width for _, _, width in batch.strides.keys]
                return Offsets(batch.rows, [list(zip(each, widths, strict=True)) for each in shifts.tolist()], None)
        places = j[batch.keys()[0]][:, None, :] - i[batch.query_rows][:, :, None]
        # What lies beyond the reach is forbidden.
        return Offsets(batch.rows, [], places.clamp(-problem.reach, problem.reach) + problem.reach)

    def read(self, table: Tensor) -> Tensor:
        """`[c or 1, h, rows, width]` of table `[h, 2 * reach + 1]`."""
        if self.places is not None:
            return table[:, self.places].transpose(0, 1)
        tiles = [[self._read(table, *span) for span in spans] for spans in self.tiles]
        whole = [parts[0] if len(parts) == 1 else torch.cat(parts, -1) for parts in tiles]
        return whole[0][None] if len(whole) == 1 else torch.stack(whole)

    def _read(self, table: Tensor, shift: int, width: int) -> Tensor:
        line = table.new_zeros(len(table), width + self.rows - 1)
        there, here = self._overlap(shift, width, table.shape[1])
        line[:, there] = table[:, here]
        # Each row reads the line one place further to the left than the row before.
        return _diagonals(line[:, None].expand(-1, self.rows, -1).contiguous(), width)

    def add(self, table: Tensor, part: Tensor) -> None:
        """Adds `part [c, h, rows, width]` to where it was read from."""
        if self.places is not None:
            head = torch.arange(len(table), device=table.device)[:, None, None] * table.shape[1]
            places, total = (self.places[:, None] + head).flatten(), torch.zeros_like(table).flatten()
            if table.is_cuda:
                total.index_put_((places,), part.flatten(), accumulate=True)
            else:
                total.index_add_(0, places, part.flatten())
            table += total.view_as(table)
            return
        for spans, tile in zip(self.tiles, part.sum(0, keepdim=True) if len(self.tiles) == 1 else part, strict=True):
            begin = 0
            for shift, width in spans:
                lines = table.new_zeros(len(table), self.rows, width + self.rows - 1)
                _diagonals(lines, width).copy_(tile[..., begin : begin + width])
                there, here = self._overlap(shift, width, table.shape[1])
                table[:, here] += lines.sum(1)[:, there]
                begin += width

    def _overlap(self, shift: int, width: int, size: int) -> tuple[slice, slice]:
        """The part of a tile's diagonals that a table of so many offsets has, in the one and in the other."""
        first = shift - (self.rows - 1) + size // 2
        low, high = min(max(first, 0), size), min(max(first + width + self.rows - 1, 0), size)
        return slice(low - first, high - first) if high > low else slice(0, 0), slice(low, high)


def _diagonals(lines: Tensor, width: int) -> Tensor:
    """`[h, rows, width]` of lines `[h, rows, width + rows - 1]`: row b begins at place `rows - 1 - b`; no copy."""
    heads, rows, length = lines.shape
    return lines.as_strided((heads, rows, width), (rows * length, length - 1, 1), lines.storage_offset() + rows - 1)
