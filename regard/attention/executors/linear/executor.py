"""`kernelized`: linear attention in time that grows with the vectors, for `Kernel(phi)` with `Sum`.

    out_i = phi(q_i) S_i / phi(q_i) z_i        S_i = sum_j phi(k_j) v_j^T        z_i = sum_j phi(k_j)

with j over the whole set (`Everyone`) or up to i (`Causal`). Causal sets are cut into chunks: pairs within a chunk are products
with a mask, and all earlier chunks are one state (Katharopoulos et al. 2020, section 3.3, a chunk at a time), of which a column of
ones beside the values makes z a part. Pieces of some thousand rows are computed one after another, so that what lies between
the products stays in the cache, and the backward pass computes it again.

With the features `Elu` and `Favor` on a CPU, long sets go through kernels that do the same a tile of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.attention.executors.linear import buckets
from regard.attention.executors.linear.buckets import Bucket
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.feature_maps import Elu, Favor, Features
from regard.attention.spec.patterns import Causal, Everyone
from regard.attention.spec.scores import Kernel
from regard.kernels import available

if TYPE_CHECKING:
    from regard.attention.executors.linear.long import LongSets

__all__ = ["memory", "run", "why_not", "work"]

_TYPES = (torch.float32, torch.float64, torch.bfloat16)


def why_not(problem: Problem) -> str | None:
    attention = problem.attention
    if not isinstance(attention.score, Kernel):
        return f"it computes the score Kernel, not {attention.score!r}"
    pattern = problem.groups[0][0]
    if len(problem.groups) > 1 or not isinstance(pattern, Everyone | Causal):
        return f"its sums run over Everyone or Causal for all heads, not {attention.pattern!r}"
    if isinstance(pattern, Causal) and (problem.key_layout is not problem.layout or problem.layout.starts is not None):
        return (
            "its causal sums run along with the queries, expected queries and keys of the same layout from its start on"
        )
    if problem.dropout is not None:
        return "dropout falls on the weight of each pair, and it computes none; layers drop nothing here"
    return None


def work(problem: Problem) -> dict[str, float]:
    rows, cut = problem.heads * (problem.layout.total + problem.key_layout.total) / 2, buckets.of(problem)
    phi = _features(problem)
    width = phi.width(problem.d)
    # What makes features of vectors is a product, too, where they are drawn.
    drawn = rows * problem.d if isinstance(phi, Favor) else 0
    within = sum(_within_pairs(problem, bucket) for bucket in cut) * problem.heads
    summed = rows if any(not bucket.short for bucket in cut) else 0
    return {
        "calls": 1,
        "pieces": sum(len(list(bucket.pieces(bucket.n))) + len(list(bucket.pieces(bucket.m))) for bucket in cut),
        "numbers": rows * (width + problem.d + problem.e),
        "products": (summed * problem.e + within + drawn) * width,
    }


def memory(problem: Problem) -> int:
    exact, width, e = max(4, problem.dtype.itemsize), _features(problem).width(problem.d), problem.e
    causal = isinstance(problem.attention.patterns[0], Causal)
    # The output and the inputs' gradients are as large as the inputs and the output; the output has a gradient, too, and the
    # divisor a number a row.
    queries = problem.layout.total * problem.heads
    kept = problem.bytes + queries * (e * problem.dtype.itemsize + exact)
    piece = 0
    compiled = _in_kernels(problem)
    if compiled is not None:
        kept += compiled.memory
    for bucket in _left(problem):
        pieces = len(list(bucket.pieces(bucket.n)))
        # What both passes hold of a row of a piece at their peak, counted in `_Pass`.
        if causal and not bucket.short:
            numbers = 6 * width + 6 * e + 3 * bucket.chunk
        elif bucket.sets > 1:
            numbers = 5 * width + 5 * e
        else:
            numbers = 4 * width + 3 * e + (width + e if problem.dtype.itemsize < exact else 0)
        numbers += _features(problem).held(problem.d)
        if not bucket.short:
            kept += bucket.sets * problem.heads * width * (e + 1) * exact * (pieces if causal else 1)
        rows = bucket.sets * -(-max(bucket.n, bucket.m) // pieces)
        piece = max(piece, rows * problem.heads * exact * numbers)
    return kept + piece


def run(problem: Problem, tensors: Tensors) -> Tensor:
    return _Linear.apply(tensors.q, tensors.k, tensors.v, problem)


def _features(problem: Problem) -> Features:
    assert isinstance(problem.attention.score, Kernel), "a plan refuses other scores"
    return problem.attention.score.phi


def _in_kernels(problem: Problem) -> LongSets | None:
    """What computes the buckets that are not short; None where torch's operators compute all."""

    def find() -> LongSets | None:
        known = type(_features(problem)) in (Elu, Favor)
        fits = problem.device.type == "cpu" and known and problem.dtype in _TYPES and available()
        long = [bucket.members for bucket in buckets.of(problem) if not bucket.short]
        if not fits or not long:
            return None
        from regard.attention.executors.linear.long import LongSets

        return LongSets.of(problem, torch.cat(long))

    sizes = problem.heads, problem.key_heads, problem.d, problem.e, problem.dtype
    return problem.kept(("long sets", problem.attention, *sizes), find)


def _within_pairs(problem: Problem, bucket: Bucket) -> int:
    if bucket.short:
        return bucket.sets * bucket.n * bucket.m
    return bucket.sets * bucket.n * bucket.chunk if isinstance(problem.attention.patterns[0], Causal) else 0


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, problem: Problem) -> Tensor:
        each = _Pass(problem, q, k, v)
        out = _room(problem, q, q.shape[0], problem.heads, problem.e)
        divisor = torch.ones(*out.shape[:2], 1, dtype=each.exact, device=q.device)
        states: list[Tensor] = []
        compiled = _in_kernels(problem)
        if compiled is not None:
            states += compiled.forward(q, k, v, out, divisor)
        for bucket in _left(problem):
            for low, high, sums, total in each.sums(bucket, states):
                # Divided by infinity, zeros are zeros, and so are their gradients.
                total = total.masked_fill(total == 0, torch.inf)
                bucket.queries.put(out, low, high, sums.div_(total))
                bucket.queries.put(divisor, low, high, total)
        ctx.save_for_backward(q, k, v, out, divisor, *states)
        ctx.problem = problem
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        q, k, v, out, divisor, *states = ctx.saved_tensors
        each = _Pass(ctx.problem, q, k, v)
        found = _Gradients(*(_room(ctx.problem, x, *x.shape) for x in (q, k, v)))
        given = gradient, out, divisor
        compiled = _in_kernels(ctx.problem)
        if compiled is not None:
            compiled.backward((q, k, v), given, (states.pop(0), states.pop(0)), (found.q, found.k, found.v))
        for bucket in reversed(_left(ctx.problem)):
            if bucket.short:
                each.short_back(bucket, given, found)
            elif each.causal:
                each.causal_back(bucket, given, found, states)
            else:
                totals, sums = states.pop(), states.pop()
                each.everyone_back(bucket, given, found, sums, totals)
        return found.q, found.k, found.v, None


def _room(problem: Problem, like: Tensor, *shape: int) -> Tensor:
    """Zeros, or whatever there is where every row will be written."""
    lengths, key_lengths = problem.layout.lengths, problem.key_layout.lengths
    written = problem.kept(("linear rows",), lambda: bool(((lengths > 0) == (key_lengths > 0)).all()))
    return like.new_empty(shape) if written else like.new_zeros(shape)


@dataclass(frozen=True)
class _Gradients:
    q: Tensor
    k: Tensor
    v: Tensor


# The gradient of the output, the output, and what divided it.
_Given = tuple[Tensor, Tensor, Tensor]


def _left(problem: Problem) -> list[Bucket]:
    """The buckets that kernels leave to torch's operators."""
    return [bucket for bucket in buckets.of(problem) if bucket.short or _in_kernels(problem) is None]


class _Pass:
    """Sums of buckets, and their gradients, all of them `[b, heads, rows, width]`."""

    def __init__(self, problem: Problem, q: Tensor, k: Tensor, v: Tensor) -> None:
        self.q, self.k, self.v = q, k, v
        self.heads, self.key_heads = problem.heads, problem.key_heads
        self.phi = _features(problem)
        self.causal = isinstance(problem.attention.patterns[0], Causal)
        self.exact = torch.promote_types(q.dtype, torch.float32)

    def _queries(self, bucket: Bucket, low: int, high: int) -> tuple[Tensor, Tensor]:
        """Queries and their features."""
        x = self._ready(bucket, bucket.queries.take(self.q, low, high))
        return x, self.phi.of_queries(x)

    def _ready(self, bucket: Bucket, x: Tensor) -> Tensor:
        """In the type of the sums; heads of a single set stay beside one another, where products take them as they are."""
        x = x.to(self.exact)
        return x.contiguous() if self.causal or bucket.sets > 1 else x

    def _keys(self, bucket: Bucket, low: int, high: int) -> tuple[Tensor, Tensor]:
        """Keys and their features; behind a set's end there are none."""
        x = self._ready(bucket, bucket.keys.take(self.k, low, high))
        phi, unreal = self.phi.of_keys(x), bucket.keys.unreal(low, high)
        return x, phi if unreal is None else phi.masked_fill(unreal, 0)

    def _values(self, bucket: Bucket, low: int, high: int) -> Tensor:
        return self._ready(bucket, bucket.keys.take(self.v, low, high))

    def _values_and_ones(self, bucket: Bucket, low: int, high: int) -> Tensor:
        v = bucket.keys.take(self.v, low, high)
        values = torch.ones(*v.shape[:-1], v.shape[-1] + 1, dtype=self.exact, device=v.device)
        values[..., :-1] = v
        return values

    def _by_head(self, x: Tensor) -> Tensor:
        return x if self.heads == self.key_heads else x.repeat_interleave(self.heads // self.key_heads, 1)

    def _by_key_head(self, x: Tensor) -> Tensor:
        return x if self.heads == self.key_heads else x.unflatten(1, (self.key_heads, -1)).sum(2)

    def _put_keys(
        self, bucket: Bucket, low: int, high: int, x: tuple[Tensor, Tensor], dphi: Tensor, dv: Tensor, found: _Gradients
    ) -> None:
        bucket.keys.put(found.k, low, high, self.phi.gradient(self.phi.of_keys, *x, dphi))
        bucket.keys.put(found.v, low, high, dv)

    def _above(self, bucket: Bucket, low: int, high: int, given: _Given) -> tuple[Tensor, Tensor]:
        """The gradients of the sums, and of what divides them."""
        g, out, divisor = (bucket.queries.take(x, low, high).to(self.exact) for x in given)
        above = g / divisor
        of_total = (above * out).sum(-1, keepdim=True).neg_()
        unreal = bucket.queries.unreal(low, high)
        if unreal is not None:
            above.masked_fill_(unreal, 0)
            of_total.masked_fill_(unreal, 0)
        return above, of_total

    def sums(self, bucket: Bucket, states: list[Tensor]) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Bounds, sums and what divides them for one piece of queries after another; `states` gets what the way back needs."""
        if bucket.short:
            (_, q), (_, k), v = (
                self._queries(bucket, 0, bucket.n),
                self._keys(bucket, 0, bucket.m),
                self._values(bucket, 0, bucket.m),
            )
            a = self._weights(q, self._by_head(k))
            yield 0, bucket.n, a @ self._by_head(v), a.sum(-1, keepdim=True)
        elif self.causal:
            state: Tensor | None = None
            for low, high in bucket.pieces(bucket.n):
                (_, q), (_, k), v = (
                    self._queries(bucket, low, high),
                    self._keys(bucket, low, high),
                    self._values_and_ones(bucket, low, high),
                )
                q, k, v = (x.unflatten(2, (-1, bucket.chunk)) for x in (q, self._by_head(k), self._by_head(v)))
                before = _running(k.mT @ v, state)
                states.append(before[:, :, 0].clone())
                state = before[:, :, -1].clone()
                found = (self._weights(q, k) @ v).add_(q @ before[:, :, :-1]).flatten(2, 3)
                yield low, high, found[..., :-1], found[..., -1:]
        else:
            sums = totals = torch.zeros((), dtype=self.exact, device=self.q.device)
            for low, high in bucket.pieces(bucket.m):
                _, k = self._keys(bucket, low, high)
                sums, totals = sums + k.mT @ self._values(bucket, low, high), totals + k.sum(2)
            states += [sums, totals]
            sums, totals = self._by_head(sums), self._by_head(totals).unsqueeze(-1)
            for low, high in bucket.pieces(bucket.n):
                _, q = self._queries(bucket, low, high)
                yield low, high, q @ sums, q @ totals

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Products of all pairs, without what is not allowed."""
        a = q @ k.mT
        return a.tril_() if self.causal else a

    def short_back(self, bucket: Bucket, given: _Given, found: _Gradients) -> None:
        (x, q), (y, k), v = (
            self._queries(bucket, 0, bucket.n),
            self._keys(bucket, 0, bucket.m),
            self._values(bucket, 0, bucket.m),
        )
        (above, of_total), each_k = self._above(bucket, 0, bucket.n, given), self._by_head(k)
        da = (above @ self._by_head(v).mT).add_(of_total)
        if self.causal:
            da.tril_()
        bucket.queries.put(found.q, 0, bucket.n, self.phi.gradient(self.phi.of_queries, x, q, da @ each_k))
        dk, dv = (self._by_key_head(z) for z in (da.mT @ q, self._weights(q, each_k).mT @ above))
        self._put_keys(bucket, 0, bucket.m, (y, k), dk, dv, found)

    def everyone_back(self, bucket: Bucket, given: _Given, found: _Gradients, sums: Tensor, totals: Tensor) -> None:
        each_sums, each_totals = self._by_head(sums).mT, self._by_head(totals).unsqueeze(-2)
        d_sums = d_totals = torch.zeros((), dtype=self.exact, device=sums.device)
        for low, high in bucket.pieces(bucket.n):
            x, q = self._queries(bucket, low, high)
            above, of_total = self._above(bucket, low, high, given)
            d_sums, d_totals = d_sums + q.mT @ above, d_totals + (q.mT @ of_total).mT
            dq = (above @ each_sums).addcmul_(of_total, each_totals)
            bucket.queries.put(found.q, low, high, self.phi.gradient(self.phi.of_queries, x, q, dq))
        d_sums, d_totals = self._by_key_head(d_sums), self._by_key_head(d_totals)
        for low, high in bucket.pieces(bucket.m):
            x, k = self._keys(bucket, low, high)
            dk = (self._values(bucket, low, high) @ d_sums.mT).add_(d_totals)
            self._put_keys(bucket, low, high, (x, k), dk, k @ d_sums, found)

    def causal_back(self, bucket: Bucket, given: _Given, found: _Gradients, states: list[Tensor]) -> None:
        after = None
        for low, high in reversed(list(bucket.pieces(bucket.n))):
            (x, q), (y, phi), v = (
                self._queries(bucket, low, high),
                self._keys(bucket, low, high),
                self._values_and_ones(bucket, low, high),
            )
            above = torch.cat(self._above(bucket, low, high, given), -1)
            q, k, v, above = (
                z.unflatten(2, (-1, bucket.chunk)) for z in (q, self._by_head(phi), self._by_head(v), above)
            )
            before = _running((k.mT @ v)[:, :, :-1], states.pop())
            behind = _running((q.mT @ above).flip(2), after).flip(2)
            after = behind[:, :, 0].clone()
            behind = behind[:, :, 1:]
            da = (above @ v.mT).tril_()
            dq = (da @ k).add_(above @ before.mT).flatten(2, 3)
            dk = (da.mT @ q).add_(v @ behind.mT).flatten(2, 3)
            dv = (self._weights(q, k).mT @ above).add_(k @ behind).flatten(2, 3)[..., :-1]
            bucket.queries.put(found.q, low, high, self.phi.gradient(self.phi.of_queries, x, q.flatten(2, 3), dq))
            self._put_keys(bucket, low, high, (y, phi), self._by_key_head(dk), self._by_key_head(dv), found)


def _running(steps: Tensor, first: Tensor | None) -> Tensor:
    """`[b, h, n + 1, ...]`: what `steps [b, h, n, ...]` add up to before each of them and behind the last, from `first` on."""
    if first is None:
        first = torch.zeros_like(steps[:, :, 0])
    return torch.cat([first.unsqueeze(2), steps], 2).cumsum_(2)
