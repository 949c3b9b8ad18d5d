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
    from regard.attention.executors.edges.tables import blocks, width_of

    queries, keys, heads = problem.layout.total, problem.key_layout.total, problem.heads
    sizes = [len(block) for _, group in problem.groups for block in blocks(group)]
    d, e = (sum(width_of(n, width) for n in sizes) for width in (problem.d, problem.e))
    # Packed values and output, their gradients, the output's own two, and what is kept of each row and head.
    numbers = 2 * (keys + queries) * e + 2 * queries * heads * problem.e + 7 * queries * heads
    score = problem.attention.score
    if not score.reads_edges:
        numbers += 2 * (queries + keys) * d
    if isinstance(score, Separable) or score.reads_edges:
        numbers += 2 * (queries + keys) * heads
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
    from regard.attention.executors.edges.tables import blocks

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
        from regard.attention.executors.edges.autograd import Call, attended

        problem, n = self.problem, len(block)
        bias, score = problem.attention.bias, problem.attention.score
        keys = [head * problem.key_heads // problem.heads for head in block]
        seeds = torch.zeros(16, dtype=torch.int32)
        if problem.dropout is not None:
            seeds = problem.dropout.of_heads(torch.tensor(block)).repeat(16 // n)
        given = self.q.new_empty(0, dtype=self.exact) if self.bias is None else _heads(self.bias, block).flatten()
        # What is one tensor, as keys and values are in GATv2, is packed once, and found in the nearest cache when it is summed.
        three = (self.q, self.k, self.v)
        shared = (0, 0 if self.k is self.q else 1, 0 if self.v is self.q else 1 if self.v is self.k else 2)
        with_values = bias is not None and bias.has_values
        form = _form(problem, n, self.q.shape[2])
        call = Call(form, self.compressed, seeds, score.scaling(problem.d), shared, with_values)
        q, k, v = (_heads(x, heads) for x, heads in zip(three, (block, keys, keys), strict=True))
        out, weights = attended(call, q, k, v, self._weights(block), given)
        if bias is not None and self.pairs is not None and bias.has_values:
            values = bias.value_bias(self.pairs, self.parameters).to(self.exact)
            values = values if values.shape[1] == 1 else _heads(values, block)
            out = out.index_add(0, self.pairs.query_rows, weights.view(-1, n, 1) * values)
        return out

    def _weights(self, block: list[int]) -> Tensor:
        """The weights of a block's scores, as `attended` takes them."""
        from regard.attention.executors.edges.tables import interleaved, width_of

        score, width = self.problem.attention.score, width_of(len(block), self.problem.d)
        if isinstance(score, Additive) and not score.reads_edges:
            return interleaved(_heads(self.parameters["score_weight"], block, 0), width).to(self.exact)
        if isinstance(score, Separable) and not score.reads_edges:
            both = (_heads(self.parameters[name], block, 0) for name in ("score_query", "score_key"))
            return torch.stack([interleaved(each, width) for each in both]).to(self.exact)
        return self.q.new_empty(0, dtype=self.exact)


def _form(problem: Problem, heads: int, d: int) -> Form:
    """What the kernels compute for so many heads with vectors of width d to score."""
    from regard.attention.executors.edges import kernels
    from regard.attention.executors.edges.tables import width_of

    score, dropout = problem.attention.score, problem.dropout
    kind, slope, width = kernels.DOT, 0.0, width_of(heads, d)
    if score.reads_edges:
        # What the kernels score is LeakyReLU(0 + 0), to which the scores of the pairs are added.
        kind, width = kernels.SEPARABLE, heads
    elif isinstance(score, Separable):
        kind, slope, width = kernels.SEPARABLE, score.slope, heads
    elif isinstance(score, Additive):
        kind, slope = kernels.LEAKY if score.activation == "leaky_relu" else kernels.TANH, score.slope
    normalizers = {Softmax: kernels.SOFTMAX, Relu: kernels.RELU, Sigmoid: kernels.SIGMOID, Sum: kernels.SUM}
    normalizer = normalizers[type(problem.attention.normalizer)]
    least, kept = (0, 1.0) if dropout is None else (dropout.least, 1 / (1 - dropout.p))
    e = width_of(heads, problem.e)
    return kernels.Form(kind, normalizer, heads, width, e, slope, dropout is not None, least, kept)


def _heads(x: Tensor, heads: list[int], dim: int = 1) -> Tensor:
    """Some heads of x, without a copy where they are neighbors."""
    if heads != list(range(heads[0], heads[-1] + 1)):
        return x.index_select(dim, torch.tensor(heads))
    return x if len(heads) == x.shape[dim] else x.narrow(dim, heads[0], len(heads))


def _gather(problem: Problem, tensors: Tensors) -> Tensor:
    """In plain operators, on any device."""
    union = problem.union
    query_rows, key_rows = problem.kept(("pairs", union), lambda: problem.intervals(union).pairs())
    return sum_pairs(problem, tensors, query_rows, key_rows)
