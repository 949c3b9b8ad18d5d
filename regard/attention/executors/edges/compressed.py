"""Attention over compressed rows as a function of torch: what the kernels of `edges` need, and its gradients.

Heads are taken in blocks of 16, 8, 4, 2 or 1, and the tables of a block are packed once a call, heads innermost, in float32
(float64 where the inputs are): memory grows with the rows, not with the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from regard.attention.executors.edges import kernels
from regard.kernels.threads import share
from regard.sets.whole import insertions, repeated

__all__ = ["Call", "Compressed", "blocks", "fused", "packed", "unpacked"]

# There are at most so many parts, whatever the number of threads.
_MOST_PARTS = 32


@dataclass(frozen=True)
class Compressed:
    """The keys of every query row: row i owns `columns[offsets[i] : offsets[i + 1]]`, packed key rows in increasing order.

    Args:
        offsets: `[t + 1]` int64. columns: `[p]` int32. keys: the number u of key rows.
        part: how many multiplications are worth a part.
    """

    offsets: Tensor
    columns: Tensor
    keys: int
    part: int
    derived: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of_pairs(cls, query_rows: Tensor, key_rows: Tensor, rows: int, keys: int, part: int) -> Compressed:
        """From all pairs, in the order of the query rows."""
        return cls(_offsets(query_rows, rows), key_rows.int(), keys, part)

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    @property
    def pairs(self) -> int:
        return len(self.columns)

    def query_rows(self) -> Tensor:
        """`[p]` the row of each pair."""
        return repeated(torch.arange(self.rows), self.offsets.diff())

    def seen(self) -> Tensor:
        """`[u]` whether any row has this key."""
        return torch.bincount(self.columns, minlength=self.keys) > 0

    def transposed(self) -> tuple[Compressed, Tensor]:
        """The queries of every key row, and the place of each pair in the order of queries; derived once."""
        if "transposed" not in self.derived:
            offsets = _offsets(self.columns, self.keys)
            columns, places = torch.empty_like(self.columns), torch.empty_like(self.columns)
            ends = offsets[:-1].clone()
            kernels.transpose(*(x.numpy() for x in (self.offsets, self.columns, ends, columns, places)))
            self.derived["transposed"] = Compressed(offsets, columns, self.rows, self.part), places
        return self.derived["transposed"]

    def bounds(self, numbers_per_pair: int) -> list[int]:
        """Where to cut the rows into parts of about as many pairs: the same for any number of threads."""
        parts = max(1, min(_MOST_PARTS, self.pairs * numbers_per_pair // self.part))
        name = f"bounds {parts}"
        if name not in self.derived:
            wanted = torch.arange(1, parts) * self.pairs // parts
            cuts = insertions(self.offsets, wanted).clamp(max=self.rows)
            self.derived[name] = sorted({0, *cuts.tolist(), self.rows})
        return self.derived[name]


def _offsets(rows: Tensor, number: int) -> Tensor:
    return pad(torch.bincount(rows, minlength=number).cumsum(0), (1, 0))


def blocks(heads: Sequence[int]) -> list[list[int]]:
    """The heads, in blocks whose sizes are powers of two up to 16.

    >>> [len(block) for block in blocks(range(44))]
    [16, 16, 8, 4]
    """
    found, at = [], 0
    while at < len(heads):
        size = min(16, 1 << (len(heads) - at).bit_length() - 1)
        found.append(list(heads[at : at + size]))
        at += size
    return found


def width_of(heads: int, d: int) -> int:
    """How many numbers a row of a table has: those of all heads, filled up to whole vectors."""
    return -(-heads * d // 16) * 16


class _Packed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, width: int) -> Tensor:
        ctx.shape, ctx.scale, ctx.kind, ctx.width = x.shape, scale, x.dtype, width
        rows, heads, d = x.shape
        exact = torch.promote_types(x.dtype, torch.float32)
        flat = torch.zeros(rows * width + 16, dtype=exact)
        table = flat[: rows * width].view(rows, width)[:, : heads * d].unflatten(1, (d, heads))
        table.copy_(x.transpose(1, 2))
        if scale != 1:
            flat *= scale
        return flat

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _unpacked(gradient, ctx.shape, ctx.width, ctx.scale).to(ctx.kind), None, None


class _Unpacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flat: Tensor, shape: tuple[int, int, int], width: int) -> Tensor:
        ctx.width = width
        return _unpacked(flat, shape, width, 1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Packed.forward(ctx, gradient, 1.0, ctx.width), None, None


def _unpacked(flat: Tensor, shape: Sequence[int], width: int, scale: float) -> Tensor:
    rows, heads, d = shape
    table = flat[: rows * width].view(rows, width)[:, : heads * d].unflatten(1, (d, heads)).transpose(1, 2)
    return table.contiguous() if scale == 1 else table * scale


def packed(x: Tensor, scale: float = 1.0, width: int | None = None) -> Tensor:
    """x `[rows, h, d]`, times `scale`, as a flat table with heads innermost, and 16 numbers behind it."""
    return _Packed.apply(x, scale, width_of(x.shape[1], x.shape[2]) if width is None else width)


def unpacked(flat: Tensor, rows: int, heads: int, d: int) -> Tensor:
    """`[rows, h, d]` from a flat table."""
    return _Unpacked.apply(flat, (rows, heads, d), width_of(heads, d))


class Call(NamedTuple):
    """What is computed over which rows; `seeds [16]` int32 are the dropout's, mixed with the head of each lane."""

    form: kernels.Form
    rows: Compressed
    seeds: Tensor


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, w: Tensor, bias: Tensor, call: Call, shown: bool
    ) -> tuple[Tensor, Tensor]:
        form, rows = call.form, call.rows
        out = torch.empty(rows.rows * form.e + 16, dtype=q.dtype)
        out[rows.rows * form.e :] = 0
        statistics = torch.zeros(rows.rows * 3 * form.heads + 16, dtype=q.dtype)
        weights = torch.empty(rows.pairs * form.heads if shown else 0, dtype=q.dtype)
        given = _arrays(rows.offsets, rows.columns, q, k, v, w, bias, call.seeds, out, statistics, weights)
        share(kernels.forward, rows.bounds(form.d + form.e), form, *given)
        ctx.save_for_backward(q, k, v, w, bias, out, statistics, weights)
        ctx.call = call
        return out, weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor, above: Tensor) -> Any:
        q, k, v, w, bias, out, statistics, weights = ctx.saved_tensors
        form, rows, seeds = ctx.call
        heads, t = form.heads, rows.rows
        statistics = statistics.clone()
        delta = (d_out * out)[: t * form.e].view(t, form.e // heads, heads).sum(1)
        if above.numel():
            above = above.contiguous()
            delta = delta.index_add(0, rows.query_rows(), (above * weights).view(-1, heads))
        statistics[: t * 3 * heads].view(t, 3, heads)[:, 2] = delta
        d_out = d_out.contiguous()
        none = q.new_empty(0)
        d_q, d_k, d_v, d_w, d_bias = none, none, none, none, none
        if any(ctx.needs_input_grad[at] for at in (0, 3, 4)):
            bounds = rows.bounds(form.d + form.e)
            d_q, d_bias = torch.empty_like(q), torch.empty_like(bias)
            d_q[t * form.d :] = 0
            d_w = q.new_empty((len(bounds) - 1) * len(w))
            _backward(ctx.call, bounds, 0, (q, d_out, k, v, w, bias, above, seeds, statistics, d_q, none, d_bias, d_w))
            d_w = d_w.view(-1, len(w)).sum(0) if len(w) else d_w
        if any(ctx.needs_input_grad[1:3]):
            bounds = rows.transposed()[0].bounds(form.d + form.e)
            d_k, d_v = torch.empty_like(k), torch.empty_like(v)
            d_k[rows.keys * form.d :] = 0
            d_v[rows.keys * form.e :] = 0
            _backward(ctx.call, bounds, 1, (k, v, q, d_out, w, bias, above, seeds, statistics, d_k, d_v, none, none))
        return d_q, d_k, d_v, d_w, d_bias, None, None


def _backward(call: Call, bounds: list[int], transposed: int, tensors: Sequence[Tensor]) -> None:
    rows, places = call.rows.transposed() if transposed else (call.rows, call.rows.columns)
    arrays = _arrays(rows.offsets, rows.columns, places, *tensors, torch.tensor(bounds))
    share(kernels.backward, bounds, call.form, transposed, *arrays)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]


def fused(q: Tensor, k: Tensor, v: Tensor, w: Tensor, bias: Tensor, call: Call, shown: bool) -> tuple[Tensor, Tensor]:
    """The weighted sums, and, where `shown`, the weights `[p * h]`, both flat, from packed tables."""
    return _Fused.apply(q, k, v, w, bias, call, shown)
