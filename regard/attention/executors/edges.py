"""`edges`: every allowed pair on its own; time and memory grow with the pairs, whatever the pattern."""

from __future__ import annotations

import torch
from torch import Tensor

from regard.attention.pairs import Pairs
from regard.attention.problem import Problem, Tensors
from regard.attention.reducers import ByRow

__all__ = ["memory", "pair_weights", "run", "why_not", "work"]


def why_not(problem: Problem) -> str | None:
    return None


def work(problem: Problem) -> dict[str, float]:
    held = problem.d + problem.e + problem.attention.score.numbers_per_pair(problem.d)
    return {"calls": 1, "numbers": problem.count(problem.union) * problem.heads * held}


def memory(problem: Problem) -> int:
    held = problem.d + problem.e + problem.attention.score.numbers_per_pair(problem.d)
    return problem.count(problem.union) * problem.heads * held * max(4, problem.dtype.itemsize) + problem.bytes


def pair_weights(problem: Problem, tensors: Tensors, query_rows: Tensor, key_rows: Tensor) -> tuple[Tensor, Pairs]:
    """`[p, h]`: the weights of these pairs, which must be all that some head allows in the rows they name."""
    pairs = Pairs(problem.layout, problem.key_layout, query_rows, key_rows)
    q, k = tensors.q.index_select(0, query_rows), tensors.k.index_select(0, key_rows)
    k = k.repeat_interleave(problem.heads // problem.key_heads, dim=1)
    s = problem.attention.scores(q, k, pairs, tensors.parameters)
    s = s.to(torch.promote_types(s.dtype, torch.float32))
    allowed = None
    if len(problem.attention.patterns) > 1:
        allowed = problem.attention.allows(pairs)
        s = s.masked_fill(~allowed, -torch.inf)
    a = problem.attention.normalizer.weights(s, ByRow(query_rows, problem.layout.total, allowed))
    # Once more on the weights: the gradient of a forbidden one may be infinite, and zero times it is NaN.
    return a if allowed is None else a.masked_fill(~allowed, 0), pairs


def run(problem: Problem, tensors: Tensors) -> Tensor:
    union = problem.union
    query_rows, key_rows = problem.kept(("pairs", union), lambda: problem.intervals(union).pairs())
    a, pairs = pair_weights(problem, tensors, query_rows, key_rows)
    if problem.dropout is not None:
        head = torch.arange(problem.heads, device=a.device)
        a = a * problem.dropout.factors(head, query_rows[:, None], key_rows[:, None], a.dtype)
    v = tensors.v.index_select(0, key_rows).repeat_interleave(problem.heads // problem.key_heads, dim=1)
    bias = problem.attention.bias
    if bias is not None and bias.has_values:
        v = v + bias.value_bias(pairs, tensors.parameters)
    out = a.new_zeros(problem.layout.total, problem.heads, problem.e)
    return out.index_add(0, query_rows, a[..., None] * v).to(tensors.q.dtype)
