"""Attention over tile batches and all the keys that they need, in plain operators, with a backward pass of its own.

A tile batch's scores stay in cache and are computed again on the way back, so that memory does not grow with the pairs. What
computes the scores of a tile batch is the executor's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.attention.executors.tiled.tile_batch import Keys, TileBatch
from regard.attention.executors.tiled.tile_batches import TileBatches, tile_batches
from regard.attention.pairs.pairs import Pairs
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.patterns import Pattern
from regard.attention.tail import sum_tile
from regard.sets import Layout

__all__ = ["Scores", "attend_in_tile_batches", "tile_batch_memory", "cut"]

# A tile batch's scores take so many times the bytes of `TileSizes`.
_ROOM = 1.5
# A quarter of a tile's rows makes a matrix product worth while; where scores hold many numbers for a pair, there is little of one.
_FEW, _FEWEST = 4, 16

# What autograd holds of a tile batch at its peak, measured: per number of its scores, per pair where there is a bias, per number
# of its tiles' keys and values, which are copied where tiles do not have all keys of a set.
_HELD, _HELD_BIAS, _HELD_KEYS, _HELD_COPIES = 4, 1.33, 0.43, 1.5

Scores = Callable[[Problem, Tensor, Tensor, Pairs, Mapping[str, Tensor]], Tensor]
"""`[c, h, rows, width]`: the scores of a tile batch, for q `[c, h, rows, d]`, k `[c, h, width, d]` and pairs `[c, rows, width]`."""


def attend_in_tile_batches(
    problem: Problem, tensors: Tensors, scores: Scores, numbers: int, room: float = _ROOM
) -> Tensor:
    """`[t, h, e]`, by `scores` that autograd can derive: so many numbers per pair, and `room` times `TileSizes.scores` at once."""
    layout, key_layout = problem.layout, problem.key_layout
    fields = [
        (owner, name)
        for owner, each in enumerate((layout,) if key_layout is layout else (layout, key_layout))
        for name in ("coords", "edge_values")
        if (field := getattr(each, name)) is not None and field.requires_grad
    ]
    learned = [getattr((layout, key_layout)[owner], name) for owner, name in fields]
    call = _Call(problem, scores, numbers, room, tuple(tensors.parameters), tuple(fields))
    return _Chunked.apply(call, tensors.q, tensors.k, tensors.v, *tensors.parameters.values(), *learned)


def cut(problem: Problem, numbers: int, room: float = _ROOM) -> TileBatches:
    """The tile batches of a problem whose scores hold so many numbers for a pair, and about `room` times `TileSizes.scores`."""
    sizes = problem.tiles
    per_pair = problem.heads * numbers * max(4, problem.dtype.itemsize)

    def make() -> TileBatches:
        return tile_batches(
            problem.layout,
            problem.intervals(problem.union),
            sizes.rows,
            pairs=int(room * sizes.scores) // per_pair,
            few=max(1, sizes.rows // _FEWEST, sizes.rows // _FEW // numbers),
            most=sizes.most_scores // per_pair,
        )

    return problem.kept(("tile batches", problem.union, per_pair, room), make)


def tile_batch_memory(problem: Problem, numbers: int, room: float = _ROOM, held: float = 1.0) -> int:
    """Bytes that both passes have allocated at their peak, above the inputs: that of the backward pass.

    Args:
        held: of a tile batch, as a multiple of what autograd holds where scores come from a matrix product.
    """
    wide, width = torch.promote_types(problem.dtype, torch.float32).itemsize, problem.d + problem.e
    rows = problem.layout.total * problem.heads, problem.key_layout.total * problem.key_heads
    out = rows[0] * problem.e * problem.dtype.itemsize
    gradients = rows[0] * problem.d + rows[1] * width
    rounded = gradients * problem.dtype.itemsize if problem.dtype.itemsize < wide else 0
    pairs = _HELD * numbers + (0 if problem.attention.bias is None else _HELD_BIAS)

    def numbers_of(batch: TileBatch) -> float:
        keys = _HELD_KEYS if batch.full else _HELD_COPIES
        return batch.tiles * batch.width * (batch.rows * pairs + keys * width)

    largest = held * max((numbers_of(batch) for batch in cut(problem, numbers, room)), default=0)
    return round(2 * out + gradients * wide + rounded + largest * problem.heads * wide)


@dataclass(frozen=True)
class _Call:
    """What a call is about, beside its tensors: q, k, v, the parameters of these names, and the layouts' learned fields."""

    problem: Problem
    scores: Scores
    numbers: int
    room: float
    names: tuple[str, ...]
    fields: tuple[tuple[int, str], ...]

    def parameters(self, others: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return dict(zip(self.names, others, strict=False))

    def layouts(self, others: tuple[Tensor, ...]) -> tuple[Layout, Layout]:
        """The layouts with their learned fields replaced by the tensors behind the parameters."""
        layouts = [self.problem.layout, self.problem.key_layout]
        same = layouts[0] is layouts[1]
        if self.fields:
            layouts = [copy(layout) for layout in layouts]
            for (owner, name), field in zip(self.fields, others[len(self.names) :], strict=True):
                setattr(layouts[owner], name, field)
        return layouts[0], layouts[0] if same else layouts[1]


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, q: Tensor, k: Tensor, v: Tensor, *others: Tensor) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(q, k, v, *others)
        problem, exact = call.problem, torch.promote_types(q.dtype, torch.float32)
        layouts, parameters = call.layouts(others), _exact(call.parameters(others), exact)
        out = q.new_zeros(problem.layout.total, problem.heads, problem.e)
        for batch in cut(problem, call.numbers, call.room):
            places = _places(problem, batch)
            queries = batch.of_queries(q).to(exact)
            keys, values = (batch.of_keys(x).to(exact) for x in (k, v))
            batch.put_queries(out, _attend(call, queries, keys, values, layouts, places, parameters).to(out.dtype))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        call, (q, k, v, *others) = ctx.call, ctx.saved_tensors
        problem, exact = call.problem, torch.promote_types(q.dtype, torch.float32)
        wanted = ctx.needs_input_grad[1:]
        leaves = [x.detach().to(exact).requires_grad_(need) for x, need in zip(others, wanted[3:], strict=True)]
        layouts, parameters = call.layouts(tuple(leaves)), call.parameters(tuple(leaves))
        gradients = [
            torch.zeros_like(x, dtype=exact) if need else None
            for x, need in zip((q, k, v, *others), wanted, strict=True)
        ]

        def add(batch: TileBatch) -> None:
            # In a function of its own, so that nothing of a tile batch is still held when the next one's scores are computed.
            places = _places(problem, batch)
            parts = [batch.of_queries(q), batch.of_keys(k), batch.of_keys(v)]
            parts = [x.detach().to(exact).requires_grad_(need) for x, need in zip(parts, wanted, strict=False)]
            with torch.enable_grad():
                out = _attend(call, parts[0], parts[1], parts[2], layouts, places, parameters)
            into = [x for x in (*parts, *leaves) if x.requires_grad]
            found = iter(torch.autograd.grad(out, into, _above(above, batch).to(exact), allow_unused=True))
            for at, (total, need) in enumerate(zip(gradients, wanted, strict=True)):
                gradient = next(found) if need else None
                if gradient is None or total is None:
                    continue
                if at == 0:
                    batch.put_queries(total, gradient)
                elif at < 3:
                    batch.add_keys(total, gradient)
                else:
                    total += gradient

        for batch in cut(problem, call.numbers, call.room):
            add(batch)
        back = [None if g is None else g.to(x.dtype) for g, x in zip(gradients, (q, k, v, *others), strict=True)]
        return None, *back


def _exact(parameters: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: x.to(dtype) for name, x in parameters.items()}


@dataclass(frozen=True)
class _Places:
    """Where a tile batch's rows and keys lie, and what is forbidden: `forbidden [c, h or 1, rows, width]`, None for nothing."""

    query_rows: Tensor
    key_rows: Tensor
    forbidden: Tensor | None
    number: Tensor
    """`[c, h or 1, rows, 1]` how many keys each row has."""


def _places(problem: Problem, batch: TileBatch) -> _Places:
    rows, keys = batch.query_rows, batch.keys()[0]
    each = [_keys_of_rows(problem, pattern) for pattern, _ in problem.groups]
    if len(each) == 1:
        forbidden = None if batch.full else ~batch.allowed(each[0])[:, None]
        return _Places(rows, keys, forbidden, each[0].number[rows][:, None, :, None])
    group = torch.zeros(problem.heads, dtype=torch.int64, device=rows.device)
    for at, (_, heads) in enumerate(problem.groups):
        group[heads] = at
    allowed = torch.stack(torch.broadcast_tensors(*[batch.allowed(of_row) for of_row in each]), 1)
    number = torch.stack([of_row.number[rows] for of_row in each], 1)
    return _Places(rows, keys, ~allowed[:, group], number[:, group, :, None])


def _keys_of_rows(problem: Problem, pattern: Pattern) -> Keys:
    return problem.kept(("keys", pattern), lambda: Keys.of(problem.intervals(pattern)))


def _attend(
    call: _Call,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layouts: tuple[Layout, Layout],
    places: _Places,
    parameters: Mapping[str, Tensor],
) -> Tensor:
    """`[c, h, rows, e]`: the meaning, for q `[c, h, rows, d]`, k `[c, g, width, d]` and v `[c, g, width, e]`."""
    problem = call.problem
    pairs = Pairs(*layouts, places.query_rows[:, :, None], places.key_rows[:, None, :])
    if problem.key_heads != problem.heads:
        k, v = (x.repeat_interleave(problem.heads // problem.key_heads, dim=1) for x in (k, v))
    s = call.scores(problem, q, k, pairs, parameters)
    return sum_tile(problem, s, v, pairs, places.number, places.forbidden, parameters)


def _above(x: Tensor, batch: TileBatch) -> Tensor:
    """`[c, h, rows, e]` the gradient of a tile batch's output, zero for rows that pad."""
    gradient, real = batch.of_queries(x), batch.real_rows
    return gradient if real is None else gradient.masked_fill(~real[:, None, :, None], 0)
