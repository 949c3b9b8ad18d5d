"""`fused`: dot products over tiles of queries and stretches of keys, with an own backward pass; no score outlives its tile.

The idea is FlashAttention's (Dao et al. 2022): the weights of a tile are computed, used and forgotten, and computed again in the
backward pass from each row's logarithm of the sum of exponentials. Patterns enter as each row's intervals of keys, so that time
grows with the allowed pairs, and memory with the rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.attention.executors.fused import kernels
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax
from regard.attention.spec.scores import Dot
from regard.kernels.threads import memory_of, send_waiting_threads_home, share
from regard.kernels.vectors import ROWS, lanes
from regard.sets.whole import repeated

__all__ = ["memory", "run", "why_not", "work"]

Whole = NDArray[np.int64]

_NORMALIZERS = (Softmax, Relu, Sigmoid)
_TYPES = (torch.float32, torch.float64, torch.bfloat16)
_LOG2E = math.log2(math.e)
# Multiplications that take as long as one of the numbers that `TileSizes.long` counts.
_CHEAP = 200
# How many numbers a slot has at most, so that it stays in the second cache.
_SLOT = 61440
# Stretches are multiples of three vectors of float32, which a register tile takes.
_THREE = 48


def why_not(problem: Problem) -> str | None:
    attention = problem.attention
    if problem.device.type != "cpu":
        return f"its kernels are for the CPU, and the vectors are on {problem.device}"
    if problem.dtype not in _TYPES:
        return f"the vectors are {problem.dtype}, expected float32, float64 or bfloat16"
    if type(attention.score) is not Dot:
        return f"the score is {attention.score!r}, expected Dot"
    if type(attention.normalizer) not in _NORMALIZERS:
        return f"the normalizer is {attention.normalizer!r}, expected Softmax, Relu or Sigmoid"
    bias = attention.bias
    if bias is not None and (not bias.of_distance or bias.has_values):
        return f"the bias {bias!r} reads more than the distance of query and key, expected none or one of the distance"
    if min(problem.d, problem.e) < 1:
        return f"the vectors have widths {problem.d} and {problem.e}, expected at least 1"
    return None


def work(problem: Problem) -> dict[str, float]:
    cut = _cut(problem)
    width = problem.d + problem.e
    meetings, pairs = _touched(problem)
    return {
        "calls": 1,
        "units": len(cut.units),
        "rows": problem.layout.total * problem.heads * width,
        "meetings": meetings,
        "pairs": pairs,
        "products": pairs * width,
    }


def _touched(problem: Problem) -> tuple[int, int]:
    """How often rows meet a stretch of keys, and how many pairs are computed, some of them forbidden; for all heads."""
    cut, sizes = _cut(problem), problem.tiles
    wide = lanes(8 * _accurate(problem.dtype).itemsize)

    def each(n: int) -> tuple[int, int]:
        first = n * (problem.layout.total + 1)
        fixed = cut.tiles, cut.query_offsets, cut.key_offsets, first, cut.rows.pointer, cut.rows.start, cut.rows.stop
        return kernels.touched(*fixed, sizes.rows, _of_backward(sizes.keys), wide)

    patterns = tuple(pattern for pattern, _ in problem.groups)
    numbers = problem.kept(("touched", patterns, wide), lambda: [each(n) for n in range(len(patterns))])
    times = [len(heads) for _, heads in problem.groups]
    meetings, pairs = (sum(a * b for a, b in zip(each, times, strict=True)) for each in zip(*numbers, strict=True))
    return meetings, pairs


def memory(problem: Problem) -> int:
    accurate, size = _accurate(problem.dtype).itemsize, problem.dtype.itemsize
    queries, keys = problem.layout.total * problem.heads, problem.key_layout.total * problem.heads
    width = problem.d + problem.e
    # The output and its gradient, what is kept of each row, and the gradients of queries, keys and values.
    most = queries * (2 * problem.e * size + accurate + problem.d * size) + keys * width * accurate
    call = _call(problem, None, backward=True)
    most += call.parts * width * accurate
    # What each thread packs of keys and of a tile's rows.
    wide, _, _, d, e, stretch, rows, slots = call.sizes[:8].tolist()
    d, e = (-(-x // wide) * wide for x in (d, e))
    packed = 2 * rows * (d + e + stretch) + stretch * e + slots * stretch * (3 * d + 2 * e)
    most += min(torch.get_num_threads(), len(call.units)) * packed * accurate
    if problem.key_heads != problem.heads or accurate != size:
        # Summed over the heads that share keys, or rounded, in memory of their own.
        most += problem.key_layout.total * problem.key_heads * width * size
    return most


def run(problem: Problem, tensors: Tensors) -> Tensor:
    table, bias = None, problem.attention.bias
    if bias is not None:
        table = bias.by_distance(problem.heads, _cut(problem).reach, tensors.parameters)
    return _Fused.apply(problem, tensors.q, tensors.k, tensors.v, table)


def _of_backward(keys: int) -> int:
    """Keys of a stretch of the backward pass, whose slots hold gradients, too."""
    return keys * 2 // 3


def _rows_of_tile(problem: Problem) -> int:
    """Whole register tiles."""
    return -(-min(problem.tiles.rows, max(problem.layout.longest, 1)) // ROWS) * ROWS


def _margin(problem: Problem) -> int:
    """How far a stretch may reach beyond the distances of allowed pairs: the zeros on both sides of a table."""
    return -(-problem.tiles.keys // _THREE) * _THREE


def _accurate(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype


@dataclass(frozen=True)
class _Rows:
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
class _Cut:
    """The work, cut into units; see `kernels.Unit`."""

    units: Whole
    tiles: Whole
    query_offsets: Whole
    key_offsets: Whole
    shifts: Whole
    rows: _Rows
    longest: tuple[int, int]
    crowd: int
    """How many keys the row of a typical pair has."""

    @property
    def reach(self) -> int:
        return self.rows.reach


def _rows(problem: Problem) -> _Rows:
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
    return _Rows(joined[0], joined[1], joined[2], numbers, reach)


def _cut(problem: Problem) -> _Cut:
    threads = torch.get_num_threads()
    heads = tuple(tuple(heads) for _, heads in problem.groups)
    patterns = tuple(pattern for pattern, _ in problem.groups)
    return problem.kept(("fused", patterns, heads, threads), lambda: _make_cut(problem, threads))


def _make_cut(problem: Problem, threads: int) -> _Cut:
    layout, key_layout = problem.layout, problem.key_layout
    patterns = tuple(pattern for pattern, _ in problem.groups)
    rows = problem.kept(("intervals by row", patterns), lambda: _rows(problem))
    longest = layout.longest, key_layout.longest
    size = _rows_of_tile(problem)
    number = (layout.lengths + size - 1) // size
    owner = repeated(torch.arange(layout.sets), number)
    first = torch.nn.functional.pad(number.cumsum(0), (1, 0))
    begin = layout.offsets[owner] + (torch.arange(len(owner)) - first[owner]) * size
    tiles = torch.stack([begin, owner], 1).contiguous().numpy()
    shifts = torch.zeros(layout.sets, dtype=torch.int64)
    for each, sign in ((key_layout, 1), (layout, -1)):
        if each.starts is not None:
            shifts += sign * each.starts
    units: list[kernels.Unit] = []
    crowd = 1.0
    for n, (_, heads) in enumerate(problem.groups):
        counts = rows.numbers[n]
        crowd = max(crowd, float((counts.astype(np.float64) ** 2).sum() / max(counts.sum(), 1)))
        bounds = _share_out(counts, tiles, max(1, -(-problem.tiles.units * threads // len(heads))), threads)
        for head in heads:
            units += _units(problem, head, n * (layout.total + 1), bounds, tiles, rows)
    return _Cut(
        np.array(units, dtype=np.int64).reshape(-1, len(kernels.Unit._fields)),
        tiles,
        layout.offsets.numpy(),
        key_layout.offsets.numpy(),
        shifts.numpy(),
        rows,
        longest,
        int(crowd),
    )


def _share_out(counts: Whole, tiles: Whole, pieces: int, threads: int) -> list[int]:
    """Where to cut the tiles, so that the pieces cost about the same."""
    if not len(tiles):
        return [0]
    # A row costs something even where it has few keys.
    cost = np.add.reduceat(counts + 16, tiles[:, 0])
    until = cost.cumsum()
    wanted = until[-1] * np.arange(1, pieces) / pieces
    cuts = np.searchsorted(until, wanted)
    return sorted({0, *cuts.tolist(), len(tiles)})


def _units(
    problem: Problem, head: int, pattern: int, bounds: list[int], tiles: Whole, rows: _Rows
) -> list[kernels.Unit]:
    units = []
    for begin, end in itertools.pairwise(bounds):
        low = high = -1
        if begin and tiles[begin, 1] == tiles[begin - 1, 1]:
            # An earlier unit has tiles of this set too.
            owner = tiles[begin, 1]
            last = int(np.searchsorted(tiles[begin:end, 1], owner, side="right")) + begin
            stop = tiles[last, 0] if last < len(tiles) else problem.layout.total
            some = slice(rows.pointer[pattern + tiles[begin, 0]], rows.pointer[pattern + stop])
            if some.start < some.stop:
                low, high = int(rows.start[some].min()), int(rows.stop[some].max())
        units.append(kernels.Unit(head, begin, end, pattern, 0 if high > low else -1, low, high))
    return units


@dataclass(frozen=True)
class _Call:
    """What a kernel is told beside the tensors."""

    cut: _Cut
    sizes: Whole
    numbers: NDArray[np.float64]
    units: Whole
    parts: int
    """How many rows of keys lie in parts."""


def _call(problem: Problem, table: Tensor | None, backward: bool) -> _Call:
    cut, attention, drop, keys = _cut(problem), problem.attention, problem.dropout, problem.tiles.keys
    accurate = _accurate(problem.dtype)
    wide = lanes(8 * accurate.itemsize)
    step = math.lcm(wide, ROWS)
    across = [-(-x // wide) * wide for x in (problem.d, problem.e)]
    per_key = 3 * across[0] + 2 * across[1] if backward else sum(across)
    most = min(max(_THREE, _SLOT // per_key // _THREE * _THREE), _of_backward(keys) if backward else keys)
    stretch = -(-min(most, max(cut.longest[1], 1)) // step) * step
    rows = _rows_of_tile(problem)
    most_slots = max(2, problem.tiles.slots // (stretch * per_key * accurate.itemsize))
    slots = min(-(-cut.longest[1] // stretch), -(-(2 * cut.crowd + rows) // stretch) + 2, most_slots)
    scale = attention.score.scaling(problem.d)
    powers = not isinstance(attention.normalizer, Relu)
    sizes = kernels.Sizes(
        lanes=wide,
        heads=problem.heads,
        key_times=problem.heads // problem.key_heads,
        d=problem.d,
        e=problem.e,
        stretch=stretch,
        rows=rows,
        slots=max(slots, 1),
        normalizer=[type(attention.normalizer) is each for each in _NORMALIZERS].index(True),
        table=0 if table is None else table.shape[1],
        table_heads=1 if table is None else table.shape[0],
        origin=cut.reach + _margin(problem),
        dropping=0 if drop is None else 1,
        seed=0 if drop is None else drop.seed,
        threshold=0 if drop is None else int(drop.p * (1 << 32)) - (1 << 31),
        queries=problem.layout.total,
    )
    numbers = kernels.Numbers(
        query=scale * (_LOG2E if powers else 1.0),
        keep=1.0 if drop is None else 1 / (1 - drop.p),
        d_query=scale,
        d_key=1 / _LOG2E if powers else 1.0,
    )
    units, lengths = cut.units.copy(), _in_parts(cut.units)
    units[:, 4] = np.where(units[:, 4] >= 0, lengths.cumsum() - lengths, -1)
    return _Call(cut, np.array(sizes, np.int64), np.array(numbers, np.float64), units, int(lengths.sum()))


def _in_parts(units: Whole) -> Whole:
    """For each unit, how many rows of keys lie in a part of its own."""
    return np.where(units[:, 4] >= 0, units[:, 6] - units[:, 5], 0)


def _fixed(call: _Call) -> tuple[Any, ...]:
    cut = call.cut
    return (
        call.units,
        cut.tiles,
        cut.query_offsets,
        cut.key_offsets,
        cut.shifts,
        cut.rows.pointer,
        cut.rows.start,
        cut.rows.stop,
    )


def _wide_table(problem: Problem, table: Tensor | None) -> Tensor:
    """The table in the units of the kernels' scores, with zeros on both sides."""
    accurate = _accurate(problem.dtype)
    if table is None:
        return torch.zeros(1, dtype=accurate)
    factor = problem.attention.bias_scale(problem.d)
    if not isinstance(problem.attention.normalizer, Relu):
        factor *= _LOG2E
    return torch.nn.functional.pad(table.detach() * factor, [_margin(problem)] * 2).to(accurate)


def _share(problem: Problem, kernel: Callable[..., None], bounds: range, *arguments: Any) -> None:
    if problem.pairs * (problem.d + problem.e) > _CHEAP * problem.tiles.long:
        send_waiting_threads_home()
    share(kernel, bounds, *arguments)


class _Fused(torch.autograd.Function):
    """The kernels as an operation that autograd knows."""

    @staticmethod
    def forward(ctx: Any, problem: Problem, q: Tensor, k: Tensor, v: Tensor, table: Tensor | None) -> Tensor:
        wide = _wide_table(problem, table)
        call = _call(problem, None if table is None else wide, backward=False)
        out = q.new_empty(problem.layout.total, problem.heads, problem.e)
        stats = torch.empty(problem.heads, problem.layout.total, dtype=_accurate(q.dtype))
        strides = np.array([*q.stride(), *k.stride(), *v.stride()], np.int64)
        _share(
            problem,
            kernels.forward,
            range(len(call.units) + 1),
            *_fixed(call),
            *(memory_of(x) for x in (q, k, v, out, stats, wide)),
            call.sizes,
            strides,
            call.numbers,
        )
        ctx.save_for_backward(q, k, v, out, stats, table)
        ctx.problem = problem
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        problem: Problem = ctx.problem
        q, k, v, out, stats, table = ctx.saved_tensors
        wide = _wide_table(problem, table)
        call = _call(problem, None if table is None else wide, backward=True)
        accurate, keys, heads, d, e = stats.dtype, len(k), problem.heads, problem.d, problem.e
        d_q = q.new_empty(q.shape)
        d_k, d_v = k.new_zeros(keys, heads, d, dtype=accurate), v.new_zeros(keys, heads, e, dtype=accurate)
        part_k, part_v = (x.new_zeros(call.parts, x.shape[2]) for x in (d_k, d_v))
        wanted = ctx.needs_input_grad[4]
        d_table = stats.new_zeros((len(call.units), wide.shape[1]) if wanted else (1,))
        strides = np.array([*q.stride(), *k.stride(), *v.stride(), *above.stride()], np.int64)
        _share(
            problem,
            kernels.backward,
            range(len(call.units) + 1),
            *_fixed(call),
            *(memory_of(x) for x in (q, k, v, out, above, stats, wide, d_q, d_k, d_v, part_k, part_v, d_table)),
            call.sizes,
            strides,
            call.numbers,
        )
        for head, _, _, _, part, low, high in call.units.tolist():
            if part >= 0:
                d_k[low:high, head] += part_k[part : part + high - low]
                d_v[low:high, head] += part_v[part : part + high - low]
        if problem.key_heads != heads:
            d_k, d_v = (x.unflatten(1, (problem.key_heads, -1)).sum(2) for x in (d_k, d_v))
        return None, d_q, d_k.to(k.dtype), d_v.to(v.dtype), _of_table(problem, call, d_table, table) if wanted else None


def _of_table(problem: Problem, call: _Call, d_table: Tensor, table: Tensor) -> Tensor:
    """The units' gradients of the table, summed head by head in the order of the units."""
    margin = _margin(problem)
    inside = d_table[:, margin : d_table.shape[1] - margin] * problem.attention.bias_scale(problem.d)
    heads = torch.from_numpy(call.units[:, 0].copy())
    rows = inside.new_zeros(problem.heads, inside.shape[1]).index_add(0, heads, inside)
    return (rows if table.shape[0] > 1 else rows.sum(0, keepdim=True)).to(table.dtype)
