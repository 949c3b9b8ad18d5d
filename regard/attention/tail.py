"""What follows the scores: mask, normalize, mask again, drop, sum the values and their biases.

Written here once for the executors that compute scores in plain operators, in the two shapes that they hold: tiles, which are all
pairs of some queries and keys, and lists of pairs. The reference, which says what attention means, has its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from regard.attention.pairs.pairs import Pairs
from regard.attention.pairs.rows import Along, ByRow
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import RowReducer

__all__ = ["pair_weights", "row_weights", "sum_pairs", "sum_tile"]


def sum_tile(
    problem: Problem,
    s: Tensor,
    v: Tensor,
    pairs: Pairs,
    number: Tensor,
    forbidden: Tensor | None,
    parameters: Mapping[str, Tensor],
) -> Tensor:
    """`[c, h, n, e]` from the scores of c tiles.

    Args:
        s: `[c, h, n, m]` scores. v: `[c, h, m, e]` values. pairs: `[c, n, m]`.
        number: how many keys each row has, in a shape that broadcasts with `[c, h, n, 1]`.
        forbidden: True where a pair may not attend, in a shape that broadcasts with s; None where all may.
        parameters: the learned tensors, prepared.
    """
    a = row_weights(problem, s, Along(-1, number), forbidden)
    if problem.dropout is not None:
        head = torch.arange(problem.heads, device=a.device)[:, None, None]
        a = a * problem.dropout.factors(head, pairs.query_rows[:, None], pairs.key_rows[:, None], a.dtype)
    a = a.to(v.dtype)
    out, bias = a @ v, problem.attention.bias
    if bias is not None and bias.has_values:
        out = out + bias.tile_value_bias(a, pairs, parameters)
    return out


def pair_weights(problem: Problem, tensors: Tensors, query_rows: Tensor, key_rows: Tensor) -> tuple[Tensor, Pairs]:
    """`[p, h]`: the weights, before dropout, of these pairs, which must be all that some head allows in the rows they name."""
    pairs = Pairs(problem.layout, problem.key_layout, query_rows, key_rows)
    q, k = tensors.q.index_select(0, query_rows), tensors.k.index_select(0, key_rows)
    k = k.repeat_interleave(problem.heads // problem.key_heads, dim=1)
    s = problem.attention.scores(q, k, pairs, tensors.parameters)
    allowed = problem.attention.allows(pairs) if len(problem.attention.patterns) > 1 else None
    rows = ByRow(query_rows, problem.layout.total, allowed)
    return row_weights(problem, s, rows, None if allowed is None else ~allowed), pairs


def sum_pairs(problem: Problem, tensors: Tensors, query_rows: Tensor, key_rows: Tensor) -> Tensor:
    """`[t, h, e]` from all pairs that some head allows."""
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


def row_weights(problem: Problem, s: Tensor, rows: RowReducer, forbidden: Tensor | None) -> Tensor:
    """The weights of scores of any shape, before dropout."""
    s = s.to(torch.promote_types(s.dtype, torch.float32))
    if forbidden is None:
        return problem.attention.normalizer.weights(s, rows)
    a = problem.attention.normalizer.weights(s.masked_fill(forbidden, -torch.inf), rows)
    # Once more on the weights: the gradient of a forbidden one may be infinite, and zero times it is NaN.
    return a.masked_fill(forbidden, 0)
