"""`edges`: every allowed pair on its own; time grows with the pairs, whatever the pattern.

On the CPU, kernels walk compressed rows, and memory grows with the rows. Scores that read values of edges are computed pair by pair
in plain operators and given to the kernels, as a bias is, so that values are never gathered. Elsewhere, for scores that the kernels
do not know, and without Numba, the queries, keys and values of all pairs are gathered by plain operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.attention.costs import beside
from regard.attention.pairs.pairs import Pairs
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax, Sum
from regard.attention.spec.patterns import Edges, Pattern
from regard.attention.spec.scores import Additive, Dot, EdgeDot, Kernel, Separable
from regard.attention.tail import sum_pairs
from regard.kernels import available
from regard.sets.whole import insertions

if TYPE_CHECKING:
    from regard.attention.executors.edges.compressed import Compressed
    from regard.attention.executors.edges.kernels import Form

__all__ = ["memory", "run", "why_not", "work"]

_SCORES, _NORMALIZERS = (Dot, Kernel, Separable, Additive, EdgeDot), (Softmax, Relu, Sigmoid, Sum)


def why_not(problem: Problem) -> str | None:
    return None


def _walks_rows(problem: Problem) -> bool:
    """Whether the kernels compute it."""
    attention = problem.attention
    known = type(attention.score) in _SCORES and type(attention.normalizer) in _NORMALIZERS
    return known and problem.device.type == "cpu" and available()


def work(problem: Problem) -> dict[str, float]:
    width = problem.attention.score.width(problem.d) + problem.e
    held = width + problem.attention.score.numbers_per_pair(problem.d)
    if _walks_rows(problem):
        packed = (problem.layout.total + problem.key_layout.total) * problem.heads * width
        listed = sum(problem.count(pattern) for pattern, _ in problem.groups)
        amounts = {"calls": 1, "packed numbers": packed, "listed pairs": listed, "walked numbers": problem.pairs * held}
        return amounts | beside(problem, problem.pairs, problem.d)
    return {"calls": 1, "numbers": problem.count(problem.union) * problem.heads * held}


def memory(problem: Problem) -> int:
    held = problem.d + problem.e + problem.attention.score.numbers_per_pair(problem.d)
    if not _walks_rows(problem):
        return problem.count(problem.union) * problem.heads * held * max(4, problem.dtype.itemsize) + problem.bytes
    from regard.attention.executors.edges.compressed import blocks, width_of

    queries, keys, heads = problem.layout.total, problem.key_layout.total, problem.heads
    sizes = [len(block) for _, group in problem.groups for block in blocks(group)]
    d, e = (sum(width_of(n, width) for n in sizes) for width in (problem.d, problem.e))
    # Packed values and output, their gradients, the output's own two, and what is kept of each row and head.
    numbers = 2 * (keys + queries) * e + 2 * queries * heads * problem.e + 7 * queries * heads
    if isinstance(problem.attention.score, Separable) or problem.attention.score.reads_edges:
        numbers += 2 * (queries + keys) * heads
    else:
        numbers += 2 * (queries + keys) * d
    numbers += _numbers_of_bias(problem)
    return numbers * max(4, problem.dtype.itemsize)


def _numbers_of_bias(problem: Problem) -> int:
    """How many float32 numbers are held for the pairs, which only a bias and values of edges ask for."""
    bias, heads, score = problem.attention.bias, problem.heads, problem.attention.score
    if bias is None and not score.reads_edges:
        return 0
    held = 2 * heads + 4  # The bias, its gradient, and the pairs, which are of int64.
    held += 5 * heads * score.numbers_per_pair(problem.d) if score.reads_edges else 0
    if bias is not None:
        held += 3 * heads * problem.d if bias.reads_queries else 0
        held += heads * (2 + problem.e) if bias.has_values else 0
    return held * sum(problem.count(pattern) for pattern, _ in problem.groups)


def run(problem: Problem, tensors: Tensors) -> Tensor:
    return _walk(problem, tensors) if _walks_rows(problem) else _gather(problem, tensors)


def _walk(problem: Problem, tensors: Tensors) -> Tensor:
    """By kernels, a block of heads after the other."""
    from regard.attention.executors.edges.compressed import blocks

    found, order = [], []
    for pattern, heads in problem.groups:
        group = _Group(problem, tensors, _compressed(problem, pattern))
        for block in blocks(heads):
            found.append(group.run(block))
            order += block
    out = found[0] if len(found) == 1 else torch.cat(found, 1)
    if order != sorted(order):
        out = out.index_select(1, torch.tensor(order).argsort())
    return out.to(problem.dtype)


def _compressed(problem: Problem, pattern: Pattern) -> Compressed:
    """The compressed rows of a pattern, derived once for all layers."""
    from regard.attention.executors.edges.compressed import Compressed

    layout, keys, part = problem.layout, problem.key_layout.total, problem.tiles.part

    def make() -> Compressed:
        if isinstance(pattern, Edges):
            codes = layout.edge_codes  # Sorted already.
            offsets = insertions(codes, torch.arange(layout.total + 1) * layout.total)
            return Compressed(offsets, (codes % max(layout.total, 1)).int(), keys, part)
        return Compressed.of_pairs(*problem.intervals(pattern).pairs(), layout.total, keys, part)

    return problem.kept(("compressed", pattern), make)


class _Group:
    """Heads that share a pattern: what is computed for all of them, before a block of them runs."""

    def __init__(self, problem: Problem, tensors: Tensors, compressed: Compressed) -> None:
        self.problem, self.compressed, self.parameters = problem, compressed, tensors.parameters
        self.exact = torch.promote_types(problem.dtype, torch.float32)
        self.q, self.k, self.v = tensors.q, tensors.k, tensors.v
        score, bias = problem.attention.score, problem.attention.bias
        self.same = tensors.k is tensors.v and not isinstance(score, Kernel | Separable) and not score.reads_edges
        if isinstance(score, Kernel):
            # Features of a key that nobody sees may be infinite, and zero times their gradient is NaN.
            k = self.k.masked_fill(~compressed.seen()[:, None, None], 0)
            self.q, self.k = score.phi.of_queries(self.q), score.phi.of_keys(k)
        self.pairs: Pairs | None = None
        self.bias: Tensor | None = None
        if bias is not None or score.reads_edges:
            query_rows = compressed.query_rows()
            self.pairs = Pairs(problem.layout, problem.key_layout, query_rows, compressed.columns.long())
        if score.reads_edges and self.pairs is not None:
            self.bias = self._scores_of_pairs(self.pairs)
        elif bias is not None and self.pairs is not None:
            query_rows = self.pairs.query_rows
            read = tensors.q.index_select(0, query_rows) if bias.reads_queries else tensors.q[:1].detach()
            found = problem.attention.bias_scale(problem.d) * bias.score_bias(read, self.pairs, self.parameters)
            self.bias = found.to(self.exact).expand(compressed.pairs, problem.heads)

    def _scores_of_pairs(self, pairs: Pairs) -> Tensor:
        """`[p, h]`: scores and biases, of which the kernels know none."""
        problem, tensors = self.problem, (self.q, self.k)
        q, k = (x.index_select(0, rows) for x, rows in zip(tensors, (pairs.query_rows, pairs.key_rows), strict=True))
        k = k.repeat_interleave(problem.heads // problem.key_heads, dim=1)
        return problem.attention.scores(q, k, pairs, self.parameters).to(self.exact)

    def run(self, block: list[int]) -> Tensor:
        """`[t, heads of the block, e]`"""
        from regard.attention.executors.edges import compressed as rows

        problem, compressed, n = self.problem, self.compressed, len(block)
        bias = problem.attention.bias
        q, k, w, d = self._scored(block)
        # Keys that are the values (GATv2) are packed once, and found in the nearest cache when they are summed.
        v = k if self.same else rows.packed(_heads(self.v, self._keys(block)))
        form = _form(problem, n, d)
        seeds = torch.zeros(16, dtype=torch.int32)
        if problem.dropout is not None:
            seeds = problem.dropout.of_heads(torch.tensor(block)).repeat(16 // n)
        given = w.new_empty(0) if self.bias is None else _heads(self.bias, block).flatten()
        with_values = bias is not None and bias.has_values
        flat, weights = rows.fused(q, k, v, w, given, rows.Call(form, compressed, seeds), with_values)
        out = rows.unpacked(flat, compressed.rows, n, problem.e)
        if bias is not None and self.pairs is not None and bias.has_values:
            values = bias.value_bias(self.pairs, self.parameters).to(self.exact)
            values = values if values.shape[1] == 1 else _heads(values, block)
            out = out.index_add(0, self.pairs.query_rows, weights.view(-1, n, 1) * values)
        return out

    def _keys(self, block: list[int]) -> list[int]:
        """The key heads of query heads."""
        return [head * self.problem.key_heads // self.problem.heads for head in block]

    def _scored(self, block: list[int]) -> tuple[Tensor, Tensor, Tensor, int]:
        """The tables of queries and keys, the weight of additive scores, and the width of all three."""
        from regard.attention.executors.edges import compressed as rows

        score, n = self.problem.attention.score, len(block)
        w = self.q.new_empty(0, dtype=self.exact)
        if score.reads_edges:
            # What the kernels score is LeakyReLU(0 + 0), to which the scores of the pairs are added.
            q, k = (w.new_zeros(len(x), n, 1) for x in (self.q, self.k))
            return rows.packed(q, width=n), rows.packed(k, width=n), w, n
        q, k = _heads(self.q, block), _heads(self.k, self._keys(block))
        if isinstance(score, Separable):
            names = ("score_query", "score_key")
            a, b = (_heads(self.parameters[name][None], block).to(self.exact) for name in names)
            q, k = ((x.to(self.exact) * y).sum(-1, keepdim=True) for x, y in ((q, a), (k, b)))
            return rows.packed(q, width=n), rows.packed(k, width=n), w, n
        d = rows.width_of(n, q.shape[-1])
        if isinstance(score, Additive):
            w = rows.packed(_heads(self.parameters["score_weight"][None], block))[:d]
        scale = score.scaling(self.problem.d)
        return rows.packed(q, scale), rows.packed(k), w, d


def _form(problem: Problem, heads: int, d: int) -> Form:
    """What the kernels compute for so many heads with tables of width d."""
    from regard.attention.executors.edges import compressed as rows
    from regard.attention.executors.edges import kernels

    score, dropout = problem.attention.score, problem.dropout
    kind, slope = kernels.DOT, 0.0
    if score.reads_edges:
        kind = kernels.SEPARABLE
    elif isinstance(score, Separable):
        kind, slope = kernels.SEPARABLE, score.slope
    elif isinstance(score, Additive):
        kind, slope = kernels.LEAKY if score.activation == "leaky_relu" else kernels.TANH, score.slope
    normalizers = {Softmax: kernels.SOFTMAX, Relu: kernels.RELU, Sigmoid: kernels.SIGMOID, Sum: kernels.SUM}
    normalizer = normalizers[type(problem.attention.normalizer)]
    least, kept = (0, 1.0) if dropout is None else (dropout.least, 1 / (1 - dropout.p))
    e = rows.width_of(heads, problem.e)
    return kernels.Form(kind, normalizer, heads, d, e, slope, dropout is not None, least, kept)


def _heads(x: Tensor, heads: list[int]) -> Tensor:
    """`x[:, heads]`, without a copy where they are neighbors."""
    if heads == list(range(heads[0], heads[-1] + 1)):
        return x if len(heads) == x.shape[1] else x[:, heads[0] : heads[-1] + 1]
    return x.index_select(1, torch.tensor(heads))


def _gather(problem: Problem, tensors: Tensors) -> Tensor:
    """In plain operators, on any device."""
    union = problem.union
    query_rows, key_rows = problem.kept(("pairs", union), lambda: problem.intervals(union).pairs())
    return sum_pairs(problem, tensors, query_rows, key_rows)
