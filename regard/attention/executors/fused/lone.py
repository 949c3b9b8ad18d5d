"""One query of each set at most: a step of a decoder, or a readout by a single query. No tile of queries is worth packing keys for.

A kernel reads each key where it lies, computes all scores of a query, and sums the values; nothing but the intervals of keys is
made beforehand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from regard.attention.executors.fused import lone_kernels as kernels
from regard.attention.executors.fused.lone_kernels import Sizes
from regard.attention.executors.fused.units import Whole
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import Softmax
from regard.attention.spec.pattern import Pattern
from regard.attention.spec.patterns import Causal, Everyone
from regard.kernels.records import Records, Stride, record
from regard.kernels.threads import memory_of, share

__all__ = ["attend", "fits", "memory", "work"]

_TYPES = (torch.float32, torch.float64)
_LANES = 16
# So many numbers of keys and values go to a thread at once.
_PART = 1 << 17


def fits(problem: Problem) -> bool:
    """Whether the kernels compute it: what is left is for tiles."""
    attention = problem.attention
    plain = attention.bias is None and problem.dropout is None and type(attention.normalizer) is Softmax
    wide = problem.d % _LANES == 0 and problem.e % _LANES == 0 and problem.dtype in _TYPES
    return plain and wide and problem.layout.longest <= 1 and len(attention.patterns) == 1


def work(problem: Problem) -> dict[str, float]:
    """See `executor.work`; its constants are measured without gradients, of which a step has none."""
    numbers = problem.d + problem.e
    return {
        "lone calls": 1,
        "lone rows": problem.layout.total * problem.heads * numbers,
        "lone numbers": problem.pairs * numbers,
    }


def memory(problem: Problem) -> int:
    """Bytes at the peak: the output and its gradient, and the gradients of queries, keys and values."""
    queries, keys = problem.layout.total * problem.heads, problem.key_layout.total * problem.key_heads
    return (queries * (2 * problem.e + problem.d) + keys * (problem.d + problem.e)) * problem.dtype.itemsize


def attend(problem: Problem, tensors: Tensors) -> Tensor:
    """`[t, h, e]`; see `executor.run`."""
    given = [x if x.stride(2) == 1 else x.contiguous() for x in (tensors.q, tensors.k, tensors.v)]
    if not (torch.is_grad_enabled() and any(x.requires_grad for x in given)):
        # A step takes about as long as autograd's part of it.
        return _forward(problem, *given)
    out: Tensor = _Lone.apply(problem, *given)
    return out


class _Keys(NamedTuple):
    """For each query where its intervals begin in a list, then for each of these the first key and the one behind the last.

    Args:
        most: keys of a query. pairs: of a head.
    """

    lists: Whole
    starts: Whole
    stops: Whole
    most: int
    pairs: int


def _keys(problem: Problem) -> _Keys:
    (pattern,) = problem.attention.patterns
    return problem.kept(("lone keys", pattern), lambda: _listed(problem, pattern))


def _listed(problem: Problem, pattern: Pattern) -> _Keys:
    layout, keys = problem.layout, problem.key_layout
    if isinstance(pattern, Everyone | Causal) and layout.places is None and keys.places is None:
        # As the intervals are, in a few operations: a step has others than the one before.
        number = keys.lengths
        if isinstance(pattern, Causal):
            places, first = layout.places_of_sets[0], keys.places_of_sets[0]
            number = torch.minimum((places - first + 1).clamp(min=0), number)
        starts = keys.offsets[:-1].numpy()
        stops = starts + number.numpy()
        if layout.total < layout.sets:
            has_query = layout.lengths.numpy() > 0
            starts, stops = starts[has_query], stops[has_query]
        lists, counts = np.arange(len(starts) + 1), stops - starts
    else:
        intervals = problem.intervals(pattern)
        starts, stops = (x.numpy() for x in intervals.bounds())
        lists, counts = np.searchsorted(intervals.row.numpy(), np.arange(layout.total + 1)), intervals.counts().numpy()
    return _Keys(lists, starts, stops, int(counts.max(initial=0)), int(counts.sum()))


def _sizes(problem: Problem, most: int, q: Tensor, k: Tensor, v: Tensor, above: Stride) -> Records:
    scale, group = problem.attention.score.scaling(problem.d), problem.heads // problem.key_heads
    strides = Stride.of(q), Stride.of(k), Stride.of(v), above
    return record(Sizes(problem.heads, group, problem.d, problem.e, most, scale, *strides))


def _bounds(problem: Problem, pairs: int, units: int) -> list[int]:
    """Units in parts that are worth a thread each; `pairs` of a head."""
    if torch.get_num_threads() == 1:
        return [0, units]
    each = pairs * problem.heads * (problem.d + problem.e) // max(units, 1)
    step = max(1, _PART // max(each, 1))
    return [*range(0, units, step), units]


def _forward(problem: Problem, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    keys = _keys(problem)
    out = q.new_empty(problem.layout.total, problem.heads, problem.e)
    share(
        kernels.forward,
        _bounds(problem, keys.pairs, problem.layout.total * problem.heads),
        *map(memory_of, (out, q, k, v)),
        keys.lists,
        keys.starts,
        keys.stops,
        _sizes(problem, keys.most, q, k, v, Stride()),
    )
    return out


class _Lone(torch.autograd.Function):
    """The kernels as an operation that autograd knows."""

    @staticmethod
    def forward(ctx: Any, problem: Problem, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = _forward(problem, q, k, v)
        ctx.save_for_backward(q, k, v)
        ctx.problem = problem
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        problem: Problem = ctx.problem
        q, k, v = ctx.saved_tensors
        above = above if above.stride(2) == 1 else above.contiguous()
        keys = _keys(problem)
        made = q.new_empty(q.shape), k.new_zeros(k.shape), v.new_zeros(v.shape)
        share(
            kernels.backward,
            _bounds(problem, keys.pairs, problem.layout.total * problem.key_heads),
            *map(memory_of, (*made, q, k, v, above)),
            keys.lists,
            keys.starts,
            keys.stops,
            _sizes(problem, keys.most, q, k, v, Stride.of(above)),
        )
        return None, *made
