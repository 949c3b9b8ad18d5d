"""The kernels of `fused` as an operation that autograd knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.attention.executors.fused import kernels
from regard.attention.executors.fused.kernels import Numbers, Unit
from regard.attention.executors.fused.units import (
    THREE,
    Cut,
    Whole,
    cut_of,
    margin_of,
    of_backward,
    rows_of_tile,
    stretch_of,
    type_of_sums,
)
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax
from regard.kernels.records import Records, Stride, record
from regard.kernels.simd.processor import ROWS, lanes
from regard.kernels.threads import memory_of, share

__all__ = ["attend", "memory"]

_NORMALIZERS = (Softmax, Relu, Sigmoid)
_LOG2E = math.log2(math.e)
# How many numbers a slot has at most, so that it stays in the second cache.
_SLOT = 61440


def attend(problem: Problem, tensors: Tensors) -> Tensor:
    """`[t, h, e]`; see `executor.run`."""
    table, bias = None, problem.attention.bias
    if bias is not None:
        table = bias.by_distance(problem.heads, cut_of(problem).reach, tensors.parameters)
    out: Tensor = _Fused.apply(problem, tensors.q, tensors.k, tensors.v, table)
    return out


def memory(problem: Problem) -> int:
    """Bytes at the peak; see `executor.memory`."""
    accurate, size = type_of_sums(problem.dtype).itemsize, problem.dtype.itemsize
    queries, keys = problem.layout.total * problem.heads, problem.key_layout.total * problem.heads
    width = problem.d + problem.e
    # The output and its gradient, what is kept of each row, and the gradients of queries, keys and values.
    most = queries * (2 * problem.e * size + accurate + problem.d * size) + keys * width * accurate
    call = _call(problem, None, backward=True)
    most += call.parts * width * accurate
    # What each thread packs of keys and of a tile's rows.
    sizes = call.numbers
    rows, stretch = sizes.rows, sizes.stretch
    d, e = (-(-x // sizes.lanes) * sizes.lanes for x in (sizes.d, sizes.e))
    packed = 2 * rows * (d + e + stretch) + stretch * e + sizes.slots * stretch * (3 * d + 2 * e)
    most += min(torch.get_num_threads(), len(call.units)) * packed * accurate
    if problem.key_heads != problem.heads or accurate != size:
        # Summed over the heads that share keys, or rounded, in memory of their own.
        most += problem.key_layout.total * problem.key_heads * width * size
    return most


@dataclass(frozen=True)
class _Call:
    """What a kernel takes besides the tensors."""

    cut: Cut
    numbers: Numbers
    units: Records
    parts: int
    """How many rows of keys lie in parts."""


def _call(problem: Problem, table: Tensor | None, backward: bool) -> _Call:
    shape, drop = None if table is None else (table.shape[0], table.shape[1]), problem.dropout
    sizes = (problem.heads, problem.key_heads, problem.d, problem.e, problem.dtype, shape, torch.get_num_threads())
    key = ("fused call", problem.attention, *sizes, backward)
    call = problem.kept(key, lambda: _make_call(problem, shape, backward))
    if drop is None:
        return call
    drawn = call.numbers._replace(dropping=1, seed=drop.seed, least=drop.least, keep=1 / (1 - drop.p))
    return replace(call, numbers=drawn)


def _make_call(problem: Problem, table: tuple[int, int] | None, backward: bool) -> _Call:
    """The same without dropout, for a table of this shape."""
    cut, attention, keys = cut_of(problem), problem.attention, stretch_of(problem)
    accurate = type_of_sums(problem.dtype)
    wide = lanes(8 * accurate.itemsize)
    step = math.lcm(wide, ROWS)
    across = [-(-x // wide) * wide for x in (problem.d, problem.e)]
    per_key = 3 * across[0] + 2 * across[1] if backward else sum(across)
    most = min(max(THREE, _SLOT // per_key // THREE * THREE), of_backward(keys) if backward else keys)
    stretch = -(-min(most, max(cut.longest[1], 1)) // step) * step
    rows = rows_of_tile(problem)
    most_slots = max(2, problem.tiles.slots // (stretch * per_key * accurate.itemsize))
    slots = min(-(-cut.longest[1] // stretch), -(-(2 * cut.crowd + rows) // stretch) + 2, most_slots)
    scale = attention.score.scaling(problem.d)
    powers = not isinstance(attention.normalizer, Relu)
    numbers = Numbers(
        lanes=wide,
        heads=problem.heads,
        key_times=problem.heads // problem.key_heads,
        d=problem.d,
        e=problem.e,
        stretch=stretch,
        rows=rows,
        slots=max(slots, 1),
        normalizer=[type(attention.normalizer) is each for each in _NORMALIZERS].index(True),
        table=0 if table is None else table[1],
        table_heads=1 if table is None else table[0],
        origin=cut.reach + margin_of(problem),
        dropping=0,
        seed=0,
        least=0,
        queries=problem.layout.total,
        query_factor=scale * (_LOG2E if powers else 1.0),
        keep=1.0,
        d_query=scale,
        d_key=1 / _LOG2E if powers else 1.0,
    )
    units, lengths = cut.units.copy(), _in_parts(cut.units)
    units["part"] = np.where(units["part"] >= 0, lengths.cumsum() - lengths, -1)
    return _Call(cut, numbers, units, int(lengths.sum()))


def _in_parts(units: Records) -> Whole:
    """For each unit, how many rows of keys lie in a part of its own."""
    return np.where(units["part"] >= 0, units["high"] - units["low"], 0)


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
    accurate = type_of_sums(problem.dtype)
    if table is None:
        return torch.zeros(1, dtype=accurate)
    factor = problem.attention.bias_scale(problem.d)
    if not isinstance(problem.attention.normalizer, Relu):
        factor *= _LOG2E
    return torch.nn.functional.pad(table.detach() * factor, [margin_of(problem)] * 2).to(accurate)


def _share(kernel: Callable[..., None], call: _Call, *arguments: Any) -> None:
    if torch.get_num_threads() == 1:
        # Each call has to look at the types of all arguments.
        kernel(0, len(call.units), *arguments)
        return
    share(kernel, call.cut.calls, *arguments)


class _Fused(torch.autograd.Function):
    """The kernels as an operation that autograd knows."""

    @staticmethod
    def forward(ctx: Any, problem: Problem, q: Tensor, k: Tensor, v: Tensor, table: Tensor | None) -> Tensor:
        wide = _wide_table(problem, table)
        call = _call(problem, None if table is None else wide, backward=False)
        out = q.new_empty(problem.layout.total, problem.heads, problem.e)
        stats = torch.empty(problem.heads, problem.layout.total, dtype=type_of_sums(q.dtype))
        numbers = call.numbers._replace(q=Stride.of(q), k=Stride.of(k), v=Stride.of(v))
        _share(
            kernels.forward,
            call,
            *_fixed(call),
            *(memory_of(x) for x in (q, k, v, out, stats, wide)),
            record(numbers),
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
        numbers = call.numbers._replace(q=Stride.of(q), k=Stride.of(k), v=Stride.of(v), above=Stride.of(above))
        _share(
            kernels.backward,
            call,
            *_fixed(call),
            *(memory_of(x) for x in (q, k, v, out, above, stats, wide, d_q, d_k, d_v, part_k, part_v, d_table)),
            record(numbers),
        )
        for unit in map(Unit._make, call.units.tolist()) if call.parts else ():
            if unit.part >= 0:
                keys_seen, rows = slice(unit.low, unit.high), slice(unit.part, unit.part + unit.high - unit.low)
                d_k[keys_seen, unit.head] += part_k[rows]
                d_v[keys_seen, unit.head] += part_v[rows]
        if problem.key_heads != heads:
            d_k, d_v = (x.unflatten(1, (problem.key_heads, -1)).sum(2) for x in (d_k, d_v))
        return None, d_q, d_k.to(k.dtype), d_v.to(v.dtype), _of_table(problem, call, d_table, table) if wanted else None


def _of_table(problem: Problem, call: _Call, d_table: Tensor, table: Tensor) -> Tensor:
    """The units' gradients of the table, summed head by head in the order of the units."""
    margin = margin_of(problem)
    inside = d_table[:, margin : d_table.shape[1] - margin] * problem.attention.bias_scale(problem.d)
    heads = torch.from_numpy(call.units["head"].copy())
    rows = inside.new_zeros(problem.heads, inside.shape[1]).index_add(0, heads, inside)
    return (rows if table.shape[0] > 1 else rows.sum(0, keepdim=True)).to(table.dtype)
