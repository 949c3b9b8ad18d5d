"""Chunks of sorted rows, whose rows attend to those of their bucket in their own and in the chunk before, over several rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.attention.dropout import Dropout
from regard.attention.pairs.pairs import Rows, expand
from regard.attention.problem import Tensors
from regard.attention.spec.score import Score
from regard.sets import Layout
from regard.sets.whole import insertions, repeated

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["AT_ONCE", "Chunks", "attend_in_chunks", "chunks_of", "pairs_of"]

AT_ONCE = 1 << 20
"""Pairs that are computed at once; their scores are computed again in the backward pass."""


@dataclass(frozen=True)
class Chunks:
    """One round: rows in the order of (set, bucket, place), cut into chunks that end with their set.

    Args:
        order: the row at each rank. rank: of each row.
        begin: from which rank to which rank (`end`) the keys of each row lie, itself among them.
        first: the rank of each chunk's first row. start, last: of the first and of the last row of its set.
        of: the chunk of each row.
        size: of a chunk, but for the last ones of sets.
    """

    order: Int[Tensor, " t"]
    rank: Int[Tensor, " t"]
    begin: Int[Tensor, " t"]
    end: Int[Tensor, " t"]
    first: Int[Tensor, " chunks"]
    start: Int[Tensor, " chunks"]
    last: Int[Tensor, " chunks"]
    of: Int[Tensor, " t"]
    size: int

    @property
    def pairs(self) -> int:
        """Of different rows."""
        return int((self.end - self.begin).sum()) - len(self.order)

    def meets(self, rows: Int[Tensor, "*#b"], keys: Int[Tensor, "*#b"]) -> Bool[Tensor, "*b"]:
        """Whether a key is among those of a row."""
        rank = self.rank[keys]
        return (self.begin[rows] <= rank) & (rank < self.end[rows])


def chunks_of(layout: Layout, bucket: Int[Tensor, " t"], size: int, causal: bool) -> Chunks:
    """One round, from the bucket of each row; rows of a set are in order of their places."""
    most = int(bucket.max()) + 1 if len(bucket) else 1
    codes, order = torch.sort(layout.set_of_row * most + bucket, stable=True)
    place = torch.arange(layout.total, device=bucket.device)
    number = (layout.lengths + size - 1) // size
    owner = repeated(torch.arange(layout.sets, device=bucket.device), number)
    turn = torch.arange(len(owner), device=bucket.device) - (number.cumsum(0) - number)[owner]
    # Sets lie where they lay.
    start, last = layout.offsets[owner], layout.offsets[owner + 1] - 1
    first = start + turn * size
    of = insertions(first, place, right=True) - 1
    begin = torch.maximum(insertions(codes, codes), torch.maximum(first - size, start)[of])
    end = torch.minimum(insertions(codes, codes, right=True), first[of] + size)
    if causal:
        # Within a bucket, rows are in order of their places.
        end = torch.minimum(end, place + 1)
    rank = torch.empty_like(order).index_copy_(0, order, place)
    return Chunks(order, rank, begin[rank], end[rank], first, start, last, of[rank], size)


def pairs_of(rounds: Sequence[Chunks]) -> Int[Tensor, "2 pairs"]:
    """`[2, pairs]` (row, key) of all rounds, each once: keys are other rows, or the row itself if there is no other."""
    done: list[Chunks] = []
    edges = []
    for chunks in rounds:
        Rows.check_named(chunks.pairs * len(rounds))
        i, at = expand(chunks.begin, chunks.end - chunks.begin)
        j = chunks.order[at]
        new = i != j
        for other in done:
            new &= ~other.meets(i, j)
        edges.append(torch.stack([i[new], j[new]]))
        done.append(chunks)
    pairs = torch.cat(edges, 1)
    alone = (torch.bincount(pairs[0], minlength=len(rounds[0].order)) == 0).nonzero().T.expand(2, -1)
    return torch.cat([pairs, alone], 1)


def attend_in_chunks(
    score: Score, tensors: Tensors, rounds: Sequence[Chunks], rows: int, dropout: Dropout | None
) -> Float[Tensor, "th 1 e"]:
    """`[h t, 1, e]`: the softmax over the pairs of `pairs_of`, for `rows` rows of each of h heads, one head after another.

    Of each round the sums of exponentials e^(s - m), m a row's largest score, and of these with the values; in the end, all rounds
    are brought to the largest m. What is held grows with the rows and not with the pairs.
    """
    q, k, v = tensors.q.squeeze(1), tensors.k.squeeze(1), tensors.v.squeeze(1)
    if not len(q):
        return tensors.v
    many = [_one_round(score, (q, k, v), rounds[: n + 1], rows, dropout) for n in range(len(rounds))]
    tops = torch.stack([top for top, _, _ in many])
    top = tops.amax(0)
    nothing = top == -torch.inf
    factors = (tops - top.masked_fill(nothing, 0)).exp()
    total = sum(factor * part for factor, (_, part, _) in zip(factors, many, strict=True))
    out = sum(factor[:, None] * part for factor, (_, _, part) in zip(factors, many, strict=True))
    out = out / total.masked_fill(nothing, 1)[:, None]
    # Rows that nothing else is left for attend to themselves, with the weight 1.
    itself = v.to(out.dtype)
    if dropout is not None:
        row = torch.arange(len(q), device=q.device)
        itself = itself * dropout.factors(row // rows, row % rows, row % rows, out.dtype)[:, None]
    return torch.where(nothing[:, None], itself, out).to(v.dtype).unsqueeze(1)


def _one_round(
    score: Score, tensors: tuple[Tensor, Tensor, Tensor], rounds: Sequence[Chunks], rows: int, dropout: Dropout | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`[ht]` the largest score of each row in the last of these rounds, `[ht]` and `[ht, e]` the sums without and with values.

    Pairs that met in an earlier round are left out.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Round.apply(_Call(score, tuple(rounds), rows, dropout), *tensors)
    return found


@dataclass(frozen=True)
class _Call:
    """What a round is about, besides its tensors."""

    score: Score
    rounds: tuple[Chunks, ...]
    rows: int
    dropout: Dropout | None

    def parts(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Chunks after chunks: their rows `mine [c, n]`, which of them there are, `keys [c, m]` and their ranks, -1 for none."""
        chunks = self.rounds[-1]
        size, device = chunks.size, chunks.order.device
        at = torch.arange(-size, size, device=device)
        bounds = torch.stack([chunks.first, chunks.start, chunks.last])
        for first, start, last in bounds[..., None].split(max(1, AT_ONCE // (2 * size * size)), 1):
            ranks = first + at
            # Where a chunk has no such row, one of the same set stands in, which no row meets.
            mine = chunks.order[torch.minimum(ranks[:, size:], last)]
            there = (ranks >= start) & (ranks <= last)
            keys = chunks.order[torch.where(there, ranks, first)]
            yield mine, there[:, size:], keys, torch.where(there, ranks, -1)


class _Round(torch.autograd.Function):
    """One round, whose scores are computed again in the backward pass; gradients of all chunks gather in one tensor."""

    @staticmethod
    def forward(ctx: Any, call: _Call, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.call = call
        ctx.save_for_backward(q, k, v)
        chunks, parts = call.rounds[-1], []
        for mine, _, keys, ranks in call.parts():
            gathered = [_gathered(x, at) for x, at in ((q, mine), (k, keys), (v, keys))]
            parts.append(_tiles(call, gathered, (mine, keys, ranks)))
        slot = chunks.of * chunks.size + chunks.rank - chunks.first[chunks.of]
        top, total, out = (torch.cat(part).index_select(0, slot) for part in zip(*parts, strict=True))
        ctx.mark_non_differentiable(top)
        return top, total, out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, above_total: Tensor, above_out: Tensor) -> tuple[Tensor | None, ...]:
        call, tensors = ctx.call, ctx.saved_tensors
        gradients = [torch.zeros_like(x, dtype=above_out.dtype) for x in tensors]
        for mine, there, keys, ranks in call.parts():
            places = (mine, keys, keys)
            leaves = [_gathered(x, at).requires_grad_() for x, at in zip(tensors, places, strict=True)]
            with torch.enable_grad():
                _, total, out = _tiles(call, leaves, (mine, keys, ranks))
            rows = mine.flatten()
            # The last chunk of a set has the sums of a stand-in, too.
            above = [each.index_select(0, rows) for each in (above_total, above_out)]
            above = [each.masked_fill(~there.reshape(-1, *[1] * (each.dim() - 1)), 0) for each in above]
            found = torch.autograd.grad((total, out), leaves, above)
            for gradient, part, at in zip(gradients, found, places, strict=True):
                _add(gradient, at.flatten(), part.flatten(0, 1))
        return None, *(gradient.to(x.dtype) for gradient, x in zip(gradients, tensors, strict=True))


def _gathered(x: Tensor, at: Tensor) -> Tensor:
    """`[c, n, d]` the rows of `x [ht, d]` at `[c, n]`, with exact numbers."""
    return (
        x.detach().index_select(0, at.flatten()).unflatten(0, at.shape).to(torch.promote_types(x.dtype, torch.float32))
    )


def _add(total: Tensor, rows: Tensor, part: Tensor) -> None:
    """Add each row of a part to a row of the total, in one fixed order."""
    if total.is_cuda:  # where index_add would be atomic; this one sorts.
        total.index_put_((rows,), part, accumulate=True)
    else:
        total.index_add_(0, rows, part)


def _tiles(
    call: _Call, gathered: Sequence[Tensor], where: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for some chunks, whose rows are `mine [c, n]`, with `keys [c, m]` of these ranks, -1 where there is none."""
    mine, keys, ranks = where
    chunks, rows, (i, j) = call.rounds[-1], call.rows, (mine[:, :, None], keys[:, None, :])
    allowed = (chunks.begin[i] <= ranks[:, None]) & (ranks[:, None] < chunks.end[i]) & (i != j)
    for other in call.rounds[:-1]:
        allowed &= ~other.meets(i, j)
    q, k, v = gathered
    s = call.score.tile(q, k, {}).masked_fill(~allowed, -torch.inf)
    top = s.detach().amax(-1)
    a = (s - top.masked_fill(top == -torch.inf, 0)[..., None]).exp().masked_fill(~allowed, 0)
    total = a.sum(-1)
    if call.dropout is not None:
        a = a * call.dropout.factors(i // rows, i % rows, j % rows, a.dtype)
    return top.flatten(), total.flatten(), (a @ v).flatten(0, 1)
