"""How the work of `fused` is cut into units, which threads take one after another: ranges of tiles of one head."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from regard.attention.executors.fused import kernels
from regard.attention.executors.fused.kernels import Tile, Unit
from regard.attention.problem import Problem
from regard.kernels.records import Records, kind_of
from regard.kernels.simd.processor import ROWS, lanes
from regard.sets.whole import repeated

__all__ = [
    "THREE",
    "Cut",
    "Whole",
    "cut_of",
    "margin_of",
    "of_backward",
    "rows_of_tile",
    "stretch_of",
    "touched",
    "type_of_sums",
]

Whole = NDArray[np.int64]
# Stretches are multiples of three vectors of float32, which a register tile takes.
THREE = 48
# Intervals of a row, in the mean, up to which all stretches have the usual length.
_FEW = 4
# Pairs that take as long as a meeting of rows with a stretch.
_MEETING = 100


def touched(problem: Problem, keys: int) -> tuple[int, int]:
    """How often rows meet a stretch of keys, and how many pairs are computed, some of them forbidden; for all heads.

    Args:
        keys: of a stretch, as `stretch_of` gives them.
    """
    cut, wide = cut_of(problem), lanes(8 * type_of_sums(problem.dtype).itemsize)

    def each(n: int) -> tuple[int, int]:
        first = n * (problem.layout.total + 1)
        fixed = cut.tiles, cut.query_offsets, cut.key_offsets, first, cut.rows.pointer, cut.rows.start, cut.rows.stop
        return kernels.touched(*fixed, problem.tiles.rows, of_backward(keys), wide)

    patterns = tuple(pattern for pattern, _ in problem.groups)
    numbers = problem.kept(("touched", patterns, wide, keys), lambda: [each(n) for n in range(len(patterns))])
    times = [len(heads) for _, heads in problem.groups]
    meetings, pairs = (sum(a * b for a, b in zip(each, times, strict=True)) for each in zip(*numbers, strict=True))
    return meetings, pairs


def stretch_of(problem: Problem) -> int:
    """Keys of a stretch.

    Of a stretch, rows compute all keys from the first that they may attend to up to the last. So where a row has many short
    intervals, as of `BlockEnds`, shorter stretches compute fewer pairs in vain, and are met more often.
    """
    usual, rows = problem.tiles.keys, cut_of(problem).rows
    if len(rows.start) <= _FEW * len(problem.groups) * problem.layout.total:
        return usual
    each = [keys for keys in (usual, usual // 2, usual // 3, usual // 6) if keys == usual or keys >= THREE]

    def cost(keys: int) -> int:
        meetings, pairs = touched(problem, keys)
        return pairs + _MEETING * meetings

    patterns = tuple(pattern for pattern, _ in problem.groups)
    return problem.kept(("stretch", patterns, problem.dtype), lambda: min(each, key=cost))


def of_backward(keys: int) -> int:
    """Keys of a stretch of the backward pass, whose slots hold gradients, too."""
    return keys * 2 // 3


def rows_of_tile(problem: Problem) -> int:
    """Whole register tiles."""
    return -(-min(problem.tiles.rows, max(problem.layout.longest, 1)) // ROWS) * ROWS


def margin_of(problem: Problem) -> int:
    """How far a stretch may reach beyond the distances of allowed pairs: the zeros on both sides of a table."""
    return -(-problem.tiles.keys // THREE) * THREE


def type_of_sums(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype


@dataclass(frozen=True)
class Rows:
    """The intervals of keys of every query row, pattern after pattern: row n has those from `pointer[n]` to `pointer[n + 1]`.

    Of pattern p, the rows start at `p * (t + 1)`.
    """

    pointer: Whole
    start: Whole
    stop: Whole
    numbers: list[Whole]
    """For each pattern the number of keys of every row."""
    reach: int
    """The largest distance of an allowed pair."""


@dataclass(frozen=True)
class Cut:
    """The work, cut into units of tiles: records of `kernels.Unit` and `kernels.Tile`."""

    units: Records
    calls: list[int]
    """Where the units are cut into calls of a kernel."""
    tiles: Records
    query_offsets: Whole
    key_offsets: Whole
    shifts: Whole
    rows: Rows
    longest: tuple[int, int]
    crowd: int
    """How many keys the row of a typical pair has."""

    @property
    def reach(self) -> int:
        return self.rows.reach


def _rows(problem: Problem) -> Rows:
    pointers, starts, stops, numbers, reach, before = [], [], [], [], 0, 0
    index, key_index = problem.layout.index, problem.key_layout.index
    for pattern, _ in problem.groups:
        intervals = problem.intervals(pattern)
        row = intervals.row
        start, stop = intervals.bounds()
        count = torch.zeros(problem.layout.total + 1, dtype=torch.int64)
        count[1:] = torch.bincount(row, minlength=problem.layout.total)
        pointers.append(count.cumsum(0).add_(before))
        before += len(row)
        starts.append(start)
        stops.append(stop)
        numbers.append(intervals.counts().numpy())
        if len(row):
            ends = [(key_index[start] - index[row]).abs().max(), (key_index[stop - 1] - index[row]).abs().max()]
            reach = max(reach, *(int(end) for end in ends))
    joined = [torch.cat(each).numpy() for each in (pointers, starts, stops)]
    return Rows(joined[0], joined[1], joined[2], numbers, reach)


def cut_of(problem: Problem) -> Cut:
    threads = torch.get_num_threads()
    heads = tuple(tuple(heads) for _, heads in problem.groups)
    patterns = tuple(pattern for pattern, _ in problem.groups)
    return problem.kept(("fused", patterns, heads, threads), lambda: _make_cut(problem, threads))


def _make_cut(problem: Problem, threads: int) -> Cut:
    layout, key_layout = problem.layout, problem.key_layout
    patterns = tuple(pattern for pattern, _ in problem.groups)
    rows = problem.kept(("intervals by row", patterns), lambda: _rows(problem))
    longest = layout.longest, key_layout.longest
    size = rows_of_tile(problem)
    number = (layout.lengths + size - 1) // size
    owner = repeated(torch.arange(layout.sets), number)
    first = torch.nn.functional.pad(number.cumsum(0), (1, 0))
    begin = layout.offsets[owner] + (torch.arange(len(owner)) - first[owner]) * size
    tiles = torch.stack([begin, owner], 1).contiguous().numpy().view(kind_of(Tile))[:, 0]
    shifts = torch.zeros(layout.sets, dtype=torch.int64)
    for each, sign in ((key_layout, 1), (layout, -1)):
        if each.starts is not None:
            shifts += sign * each.starts
    crowd = 1.0
    for n in range(len(problem.groups)):
        counts = rows.numbers[n]
        crowd = max(crowd, float((counts.astype(np.float64) ** 2).sum() / max(counts.sum(), 1)))
    units, calls = _cut_up(problem, tiles, rows, threads)
    return Cut(
        units,
        calls,
        tiles,
        layout.offsets.numpy(),
        key_layout.offsets.numpy(),
        shifts.numpy(),
        rows,
        longest,
        int(crowd),
    )


def _cut_up(problem: Problem, tiles: Records, rows: Rows, threads: int) -> tuple[Records, list[int]]:
    """The units, and where they are cut into calls: many small sets are taken a few at a time, others head by head."""
    wanted, near = problem.tiles.units * threads, problem.tiles.near
    width = problem.heads * max(problem.d, problem.e) * problem.dtype.itemsize
    whole = width * max(problem.layout.total, problem.key_layout.total)
    longest = width * max(problem.layout.longest, problem.key_layout.longest)
    if longest > near or whole * problem.heads <= wanted * near:
        return _by_head(problem, tiles, rows, wanted, threads)
    bounds = _share_out(np.sum(rows.numbers, 0), tiles, max(wanted, whole // near), threads)
    return _by_sets(problem, tiles, bounds, wanted)


def _by_head(problem: Problem, tiles: Records, rows: Rows, wanted: int, threads: int) -> tuple[Records, list[int]]:
    """Units of one head, each a call, which keep what they have packed of its keys; several may share a set."""
    units: list[Unit] = []
    for n, (_, heads) in enumerate(problem.groups):
        bounds = _share_out(rows.numbers[n], tiles, max(1, -(-wanted // len(heads))), threads)
        for head in heads:
            units += _units(problem, head, n * (problem.layout.total + 1), bounds, tiles, rows)
    return np.array(units, kind_of(Unit)), [*range(len(units) + 1)]


def _by_sets(problem: Problem, tiles: Records, bounds: list[int], wanted: int) -> tuple[Records, list[int]]:
    """Units of a few whole sets, one after the other for each head; `bounds` of tiles are moved to where their sets begin.

    No set is cut, so that nobody adds to the gradients of another's keys.
    """
    first = np.searchsorted(tiles["owner"], tiles["owner"][bounds[1:-1]])
    cuts = np.unique([bounds[0], *first, bounds[-1]])
    found = np.zeros((len(cuts) - 1, problem.heads), kind_of(Unit))
    found["head"], found["part"], found["low"], found["high"] = np.arange(problem.heads), -1, -1, -1
    found["begin"], found["end"] = cuts[:-1, None], cuts[1:, None]
    for n, (_, heads) in enumerate(problem.groups):
        found["pattern"][:, heads] = n * (problem.layout.total + 1)
    return found.reshape(-1), sorted({found.size * n // wanted for n in range(wanted + 1)})


def _share_out(counts: Whole, tiles: Records, pieces: int, threads: int) -> list[int]:
    """Where to cut the tiles, so that the pieces cost about the same."""
    if not len(tiles):
        return [0]
    # A row costs something even where it has few keys.
    cost = np.add.reduceat(counts + 16, tiles["begin"])
    until = cost.cumsum()
    wanted = until[-1] * np.arange(1, pieces) / pieces
    cuts = np.searchsorted(until, wanted)
    return sorted({0, *cuts.tolist(), len(tiles)})


def _units(problem: Problem, head: int, pattern: int, bounds: list[int], tiles: Records, rows: Rows) -> list[Unit]:
    units, first, owners = [], tiles["begin"], tiles["owner"]
    for begin, end in itertools.pairwise(bounds):
        low = high = -1
        if begin and owners[begin] == owners[begin - 1]:
            # An earlier unit has tiles of this set too.
            last = int(np.searchsorted(owners[begin:end], owners[begin], side="right")) + begin
            stop = first[last] if last < len(tiles) else problem.layout.total
            some = slice(rows.pointer[pattern + first[begin]], rows.pointer[pattern + stop])
            if some.start < some.stop:
                low, high = int(rows.start[some].min()), int(rows.stop[some].max())
        units.append(Unit(head, begin, end, pattern, 0 if high > low else -1, low, high))
    return units
