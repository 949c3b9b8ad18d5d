"""Dot products with softmax over tile batches, both passes written out in matrix products and operations in place.

    p = softmax(scale q k' + bias)      o = (p * f) v           f: dropout's factors, or 1
    dp = (do v') * f                    ds = p * (dp - sum p dp)
    dq = scale ds k     dk = scale ds' q     dv = (p * f)' do

The bias, if any, is a table of j - i for each head. Scores stay in cache, and are computed again on the way back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.attention.dropout import Dropout
from regard.attention.executors.blocks.offsets import Offsets
from regard.attention.executors.tiled.tile_batch import Keys, TileBatch
from regard.attention.executors.tiled.tile_batches import TileBatches, tile_batches
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.patterns import Pattern

__all__ = ["attend_by_dots", "dots_memory", "dots_work"]

# Half of a tile's rows make a matrix product worth while.
_FEW = 2
# Products of numbers up to here, summed, are finite in float32.
_TAME = 1e15


def _cut_up(problem: Problem) -> list[tuple[TileBatches, Keys, list[int]]]:
    """For each different pattern its tile batches, the keys of every row, and the heads that use it."""
    found = []
    for pattern, heads in problem.groups:
        cut, keys = problem.kept(("dots", pattern, _pairs(problem)), partial(_cut, problem, pattern))
        found.append((cut, keys, heads))
    return found


def _cut(problem: Problem, pattern: Pattern) -> tuple[TileBatches, Keys]:
    intervals, sizes = problem.intervals(pattern), problem.tiles
    most, few = sizes.most_scores // _work_type(problem).itemsize, max(1, sizes.rows // _FEW)
    cut = tile_batches(problem.layout, intervals, sizes.rows, pairs=_pairs(problem), few=few, most=most)
    return cut, Keys.of(intervals)


def _work_type(problem: Problem) -> torch.dtype:
    return torch.promote_types(problem.dtype, torch.float32)


def _pairs(problem: Problem) -> int:
    """How many pairs a step has, about."""
    sizes = problem.tiles
    return (sizes.scores if problem.device.type == "cpu" else sizes.most_scores) // _work_type(problem).itemsize


def _heads_at_once(problem: Problem, batch: TileBatch, heads: list[int]) -> int:
    """How many heads of a tile batch are computed in one step: whole groups that share keys, or one head."""
    if len(heads) < problem.heads:
        return 1
    shared = problem.heads // problem.key_heads
    fit = min(_pairs(problem) // (batch.tiles * batch.rows * batch.width), problem.heads)
    return fit // shared * shared if fit >= shared else 1


def dots_work(problem: Problem) -> tuple[int, int, int]:
    """The pairs of all heads, padding included, the steps, and the keys that are gathered, once for each head."""
    pairs = steps = gathered = 0
    for cut, _, heads in _cut_up(problem):
        pairs += cut.pairs * len(heads)
        gathered += cut.gathered * len(heads)
        steps += sum(-(-len(heads) // _heads_at_once(problem, batch, heads)) for batch in cut)
    return pairs, steps, gathered


def dots_memory(problem: Problem) -> int:
    """Bytes that both passes have allocated at their peak, above the inputs: that of the backward pass."""
    wide, width = _work_type(problem).itemsize, problem.d + problem.e
    rows = problem.layout.total * problem.heads, problem.key_layout.total * problem.key_heads
    out = rows[0] * problem.e * problem.dtype.itemsize
    gradients = (rows[0] * problem.d + rows[1] * width) * wide
    converted = sum(rows) * width * wide if problem.dtype.itemsize < wide else 0
    # Weights and their gradient; what dropout multiplies with, and what it is hashed from; where a bias lies.
    each_pair = (
        2 * wide + (0 if problem.dropout is None else 3 * wide) + (0 if problem.attention.bias is None else 3 * wide)
    )
    largest = 0
    for cut, _, heads in _cut_up(problem):
        for batch in cut:
            pairs, number = batch.tiles * batch.rows * batch.width, _heads_at_once(problem, batch, heads)
            copies = batch.tiles * (batch.rows + batch.width) * width * number
            masks = 0 if batch.full else pairs * (wide + 2) // (batch.tiles if batch.strides else 1)
            largest = max(largest, pairs * number * each_pair + copies * wide + masks)
    return 2 * out + gradients + converted + largest


def attend_by_dots(problem: Problem, tensors: Tensors) -> Tensor:
    """`[t, h, e]` for dot products, softmax, and no bias or one of the distance."""
    bias, table = problem.attention.bias, None
    if bias is not None:
        table = bias.by_distance(problem.heads, problem.reach, tensors.parameters)
    return _Dots.apply(problem, tensors.q, tensors.k, tensors.v, table)


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, q: Tensor, k: Tensor, v: Tensor, table: Tensor | None) -> Tensor:
        ctx.problem = problem
        ctx.save_for_backward(q, k, v, table)
        walk = _Walk(problem, [q, k, v], table)
        out = walk.zeros(problem.layout.total, problem.heads, problem.e)
        for step in walk.steps():
            weights, v_ = step.weights(), step.keys(walk.rows[2])
            if problem.dropout is None:
                step.put_queries(out, torch.bmm(weights, v_))
            else:
                weights *= step.kept(problem.dropout)
                step.put_queries(out, torch.bmm(weights, v_).div_(1 - problem.dropout.p))
        return out.to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        found = _gradients(ctx.problem, above, *ctx.saved_tensors)
        return None, *(None if g is None else g.to(x) for g, x in zip(found, ctx.saved_tensors, strict=True))


def _gradients(
    problem: Problem, above: Tensor, q: Tensor, k: Tensor, v: Tensor, table: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Those of q, k, v and the table, in the type of the work."""
    walk = _Walk(problem, [q, k, v, above], table)
    dq, dk, dv = (walk.zeros(*x.shape) for x in (q, k, v))
    dtable = None if table is None or not table.requires_grad else walk.zeros(*table.shape)
    for step in walk.steps():
        weights, do = step.weights(), step.real_queries(walk.rows[3])
        q_, k_, v_ = step.queries(walk.rows[0]), step.keys(walk.rows[1]), step.keys(walk.rows[2])
        if problem.dropout is not None:
            do = do / (1 - problem.dropout.p)
        ds = torch.bmm(do, v_.transpose(1, 2), out=walk.buffer(1, weights.shape))
        dropped = weights
        if problem.dropout is not None:
            kept = step.kept(problem.dropout)
            ds *= kept
            dropped = kept.mul_(weights)
        step.add_keys(dv, torch.bmm(dropped.transpose(1, 2), do), 1.0)
        if step.forbidden is not None and not walk.tame:
            step.by_tile(ds).masked_fill_(step.forbidden, 0)
        ds *= weights
        ds.addcmul_(weights, ds.sum(-1, keepdim=True), value=-1)
        if dtable is not None:
            step.add_bias(dtable, ds)
        step.put_queries(dq, torch.bmm(ds, k_).mul_(walk.scale))
        step.add_keys(dk, torch.bmm(ds.transpose(1, 2), q_), walk.scale)
    return dq, dk, dv, dtable


class _Walk:
    """The steps of a pass: a tile batch and some heads each, whose scores fit into a cache."""

    def __init__(self, problem: Problem, rows: Sequence[Tensor], table: Tensor | None) -> None:
        """`rows`: q, k, v and the output's gradient, as far as the pass reads them. `table [h, 2 * reach + 1]`: the bias."""
        self.problem = problem
        self.type = _work_type(problem)
        # Matrix products take rows wherever they lie, but not columns.
        self.rows = [x.to(self.type) if x.stride(-1) == 1 else x.to(self.type).contiguous() for x in rows]
        self.table = None if table is None else table.to(problem.device, self.type)
        self.scale = problem.attention.score.scaling(problem.d)
        self.tame = self._tame()
        self._buffers: list[Tensor] = [self.zeros(0), self.zeros(0)]

    def _tame(self) -> bool:
        """Whether no product can be infinite, so that -inf can be added to what is forbidden; asking a device takes long."""
        given = [x for x in (*self.rows, self.table) if x is not None and x.numel()]
        if self.problem.device.type != "cpu" or not given:
            return False
        return bool(torch.stack([end for x in given for end in x.aminmax()]).abs().amax() <= _TAME)

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self.type, device=self.problem.device)

    def buffer(self, which: int, shape: Sequence[int]) -> Tensor:
        """Memory for a matrix of this shape, the same for every step."""
        size = math.prod(shape)
        if self._buffers[which].numel() < size:
            self._buffers[which] = torch.empty(size, dtype=self.type, device=self.problem.device)
        return self._buffers[which][:size].view(shape)

    def steps(self) -> Iterator[_Step]:
        for cut, keys, heads in _cut_up(self.problem):
            for batch in cut:
                together = _heads_at_once(self.problem, batch, heads)
                masks = _Masks.of(self, batch, keys)
                for at in range(0, len(heads), together):
                    yield _Step(self, batch, masks, slice(heads[at], heads[at] + min(together, len(heads) - at)))


@dataclass(frozen=True)
class _Masks:
    """What the heads of a tile batch share, `[c or 1, 1 or h, rows, width or 1]` or None.

    `forbidden` pairs; what is `added` to scores, but for a bias that no two tiles share; `empty` rows, without keys;
    `offsets`: where the bias lies in its table.
    """

    forbidden: Tensor | None
    added: Tensor | None
    empty: Tensor | None
    offsets: Offsets | None

    @staticmethod
    def of(walk: _Walk, batch: TileBatch, keys: Keys) -> _Masks:
        forbidden = None if batch.full else ~batch.allowed(keys)[:, None]
        empty = keys.number[batch.query_rows][:, None, :, None] == 0 if keys.some_without else None
        offsets = None if walk.table is None else Offsets.of(walk.problem, batch)
        masks = _Masks(forbidden, None, empty, offsets)
        alone = offsets is not None and (len(offsets.tiles) != 1 or batch.tiles == 1)
        return masks if alone else replace(masks, added=masks.adds(walk, walk.table))

    def adds(self, walk: _Walk, table: Tensor | None) -> Tensor | None:
        """`[c or 1, h or 1, rows, width]` for scores: the bias of table `[h, .]`, and -inf where forbidden if the pass is tame."""
        hidden = self.forbidden if walk.tame else None
        if table is None or self.offsets is None:
            return None if hidden is None else walk.zeros(*hidden.shape).masked_fill_(hidden, -torch.inf)
        bias = self.offsets.read(table)
        return bias if hidden is None else bias.masked_fill(hidden, -torch.inf)


@dataclass(frozen=True)
class _Step:
    """Some heads of a tile batch: matrices `[z, ., .]`, one for each tile and head, tile by tile."""

    walk: _Walk
    batch: TileBatch
    masks: _Masks
    heads: slice

    @property
    def forbidden(self) -> Tensor | None:
        return self.masks.forbidden

    @property
    def _number(self) -> int:
        return self.heads.stop - self.heads.start

    def by_tile(self, x: Tensor) -> Tensor:
        """`[c, h, ., .]`"""
        return x.view(self.batch.tiles, self._number, *x.shape[1:])

    def queries(self, x: Tensor) -> Tensor:
        """`[z, rows, .]` of x `[t, h, .]`"""
        return self.batch.of_queries(x[:, self.heads]).flatten(0, 1)

    def real_queries(self, x: Tensor) -> Tensor:
        """The same, zero for rows that pad."""
        found, real = self.queries(x), self.batch.real_rows
        if real is not None:
            self.by_tile(found).masked_fill_(~real[:, None, :, None], 0)
        return found

    @property
    def _shared(self) -> int:
        return self.walk.problem.heads // self.walk.problem.key_heads

    @property
    def _key_heads(self) -> slice:
        first = self.heads.start // self._shared
        return slice(first, first + max(1, self._number // self._shared))

    def keys(self, x: Tensor) -> Tensor:
        """`[z, width, .]` of x `[u, g, .]`"""
        found = self.batch.of_keys(x[:, self._key_heads])
        if found.shape[1] < self._number:
            found = found.repeat_interleave(self._shared, 1)
        return found.flatten(0, 1)

    def _added(self) -> Tensor | None:
        """`[c or 1, h or 1, rows, width]`"""
        offsets, added = self.masks.offsets, self.masks.added
        if added is None and offsets is not None and self.walk.table is not None:
            return self.masks.adds(self.walk, self.walk.table[self.heads])
        return added[:, self.heads] if added is not None and added.shape[1] > 1 else added

    def weights(self) -> Tensor:
        """`[z, rows, width]`, before dropout."""
        q, k = self.queries(self.walk.rows[0]), self.keys(self.walk.rows[1]).transpose(1, 2)
        s = self.walk.buffer(0, (len(q), q.shape[1], k.shape[2]))
        added = self._added()
        if added is None or (self.batch.tiles > 1 and self._number > 1):
            torch.baddbmm(s, q, k, beta=0, alpha=self.walk.scale, out=s)
            if added is not None:
                self.by_tile(s).add_(added)
        else:
            torch.baddbmm(added.flatten(0, 1), q, k, alpha=self.walk.scale, out=s)
        if self.forbidden is not None and not self.walk.tame:
            self.by_tile(s).masked_fill_(self.forbidden, -torch.inf)
        s = torch.softmax(s, -1, out=s) if s.device.type == "cpu" else s.softmax(-1)
        if self.masks.empty is not None:
            self.by_tile(s).masked_fill_(self.masks.empty, 0)
        return s

    def kept(self, dropout: Dropout) -> Tensor:
        """`[z, rows, width]` 1 where a weight is kept, 0 where it is dropped."""
        head = torch.arange(self.heads.start, self.heads.stop, device=self.walk.problem.device)[:, None, None]
        rows, keys = self.batch.query_rows, self.batch.keys()[0]
        kept = dropout.kept(head, rows[:, None, :, None], keys[:, None, None, :])
        return kept.flatten(0, 1).to(self.walk.type)

    def put_queries(self, total: Tensor, part: Tensor) -> None:
        self.batch.put_queries(total[:, self.heads], self.by_tile(part))

    def add_keys(self, total: Tensor, part: Tensor, factor: float) -> None:
        part = self.by_tile(part)
        if self._number > 1 and self._shared > 1:
            part = part.unflatten(1, (-1, self._shared)).sum(2)
        self.batch.add_keys(total[:, self._key_heads], part, factor)

    def add_bias(self, table: Tensor, ds: Tensor) -> None:
        assert self.masks.offsets is not None
        self.masks.offsets.add(table[self.heads], self.by_tile(ds))
