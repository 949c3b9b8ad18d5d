"""Attention over compressed rows as a function of torch: what the kernels of `edges` need, and its gradients.

Tables are packed once a call: memory grows with the rows, not with the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.attention.executors.edges import kernels
from regard.attention.executors.edges.compressed import Compressed
from regard.attention.executors.edges.tables import agreement, empty, pack, scores, scores_back, unpack
from regard.kernels.threads import share

__all__ = ["Call", "attended"]

_QUERIES, _KEYS, _VALUES = range(3)


class Call(NamedTuple):
    """What is computed over which rows.

    Args:
        seeds: `[16]` int32, the dropout's, mixed with the head of each lane.
        scale: of the queries' table.
        shared: for queries, keys and values the first of the three that is the same tensor.
        weighted: whether the weights are asked for.
    """

    form: kernels.Form
    rows: Compressed
    seeds: Tensor
    scale: float = 1.0
    shared: tuple[int, int, int] = (_QUERIES, _KEYS, _VALUES)
    weighted: bool = False

    @property
    def separable(self) -> bool:
        return self.form.score == kernels.SEPARABLE


def attended(call: Call, q: Tensor, k: Tensor, v: Tensor, w: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted sums `[t, h, e]`, and the weights `[p * h]` where they are asked for.

    Args:
        q, k, v: `[t, h, d]`, `[u, h, d]` and `[u, h, e]`.
        w: the weights of additive scores in the order of a table's row; of separable ones `[2, width]`, those of queries and of
            keys, or none, where all scores are those of the bias.
        bias: `[p * h]`, or none.
    """
    return _Attended.apply(call, q, k, v, w, bias)


class _Attended(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, call: Call, q: Tensor, k: Tensor, v: Tensor, w: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        form, rows = call.form, call.rows
        given = (q, k, v)
        tables: dict[tuple[int, float], Tensor] = {}

        def table(which: int) -> Tensor:
            key = _table_of(call, which)
            if key not in tables:
                tables[key] = pack(given[which], key[1])
            return tables[key]

        v_table = table(_VALUES)
        if not call.separable:
            a, b = table(_QUERIES), table(_KEYS)
            scored: tuple[Tensor, ...] = ()
        elif len(w):
            scored = table(_QUERIES), table(_KEYS)
            a, b = _scores(call, scored, (len(q), len(k)), w)
        else:
            scored = ()
            a, b = (empty(len(x), form.d, v_table).zero_() for x in (q, k))
        out, statistics = empty(rows.rows, form.e, v_table), empty(rows.rows, 3 * form.heads, v_table).zero_()
        weights = v_table.new_empty(rows.pairs * form.heads if call.weighted else 0)
        arrays = _arrays(rows.offsets, rows.columns, a, b, v_table, w, bias, call.seeds, out, statistics, weights)
        share(kernels.forward, rows.bounds(form.d + form.e), form, *arrays)
        ctx.save_for_backward(a, b, v_table, w, bias, out, statistics, weights, *scored)
        ctx.call, ctx.shapes, ctx.kind = call, [x.shape for x in given], q.dtype
        return unpack(out, (rows.rows, form.heads, v.shape[2]), 1.0, out.dtype), weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor, above_weights: Tensor) -> Any:
        a, b, v_table, w, bias, out, statistics, weights, *scored = ctx.saved_tensors
        call: Call = ctx.call
        form, rows = call.form, call.rows
        heads, t = form.heads, rows.rows
        d_out, statistics = pack(above), statistics.clone()
        agreement(d_out, out, statistics, t, heads, form.e)
        if weights.numel():
            above_weights = above_weights.contiguous()
            delta = statistics[: t * 3 * heads].view(t, 3, heads)[:, 2]
            delta.index_add_(0, rows.query_rows(), (above_weights * weights).view(-1, heads))
        else:
            above_weights = weights
        none, beside = a.new_empty(0), (w, bias, above_weights, call.seeds, statistics)
        wanted = {call.shared[n] for n in range(3) if ctx.needs_input_grad[1 + call.shared[n]]}
        d_a, d_w, d_bias, found = none, none, none, _Gradients(call)
        learned = ctx.needs_input_grad[4] and len(w) > 0
        if call.shared[_QUERIES] in wanted or learned or ctx.needs_input_grad[5]:
            bounds = rows.bounds(form.d + form.e)
            d_a, d_bias = empty(t, form.d, a), torch.empty_like(bias)
            additive = form.d if form.score in (kernels.LEAKY, kernels.TANH) else 0
            d_w = a.new_empty((len(bounds) - 1) * additive)
            _backward(call, bounds, 0, (a, d_out, b, v_table, *beside, d_a, none, d_bias, d_w))
            d_w = d_w.view(-1, additive).sum(0) if additive else none
        d_b, d_v = none, none
        if wanted & {call.shared[_KEYS], call.shared[_VALUES]} or (learned and call.separable):
            bounds = rows.transposed()[0].bounds(form.d + form.e)
            d_b, d_v = empty(rows.keys, form.d, a), empty(rows.keys, form.e, a)
            _backward(call, bounds, 1, (b, v_table, a, d_out, *beside, d_b, d_v, none, none))
            found.add(_VALUES, d_v)
        if scored and (wanted or learned):
            d_a, d_b = (each if each.numel() else torch.zeros_like(like) for each, like in ((d_a, a), (d_b, b)))
            d_w = _scores_back(call, found, scored, (d_a, d_b), w)
        elif not call.separable:
            for which, each in ((_QUERIES, d_a), (_KEYS, d_b)):
                if each.numel():
                    found.add(which, each)
        del d_out, d_a, d_b, d_v
        of_inputs = found.unpacked(ctx.shapes, ctx.kind, wanted)
        return None, *of_inputs, d_w if learned else None, d_bias if ctx.needs_input_grad[5] else None


class _Gradients:
    """The gradients of tables, added up where tensors are the same."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._of: dict[tuple[int, float], Tensor] = {}

    def add(self, which: int, gradient: Tensor) -> None:
        """One of the table of queries, keys or values; it may be added to."""
        key = _table_of(self._call, which)
        self._of[key] = self._of[key].add_(gradient) if key in self._of else gradient

    def unpacked(self, shapes: Sequence[torch.Size], kind: torch.dtype, wanted: set[int]) -> list[Tensor | None]:
        """Those of the three tensors; one that is the same as another has it with the first."""
        found: list[Tensor | None] = [None, None, None]
        while self._of:
            # No table stays longer than it is needed.
            (which, scale), gradient = self._of.popitem()
            if which in wanted:
                each, before = unpack(gradient, shapes[which], scale, kind), found[which]
                found[which] = each if before is None else before.add_(each)
        return found


def _table_of(call: Call, which: int) -> tuple[int, float]:
    """Which table holds queries, keys or values: the first tensor that is the same, and its factor."""
    return call.shared[which], call.scale if which == _QUERIES else 1.0


def _scores(call: Call, tables: Sequence[Tensor], rows: tuple[int, int], w: Tensor) -> tuple[Tensor, ...]:
    """What queries and keys add to separable scores, from one table or two."""
    heads = call.form.heads
    if call.shared[_KEYS] == _QUERIES:
        return scores(tables[0], rows[0], heads, w).unbind()
    return tuple(
        scores(table, n, heads, w[i : i + 1])[0] for i, (table, n) in enumerate(zip(tables, rows, strict=True))
    )


def _scores_back(
    call: Call, found: _Gradients, tables: Sequence[Tensor], gradients: tuple[Tensor, ...], w: Tensor
) -> Tensor:
    """The gradient of the weights, from those of what queries and keys add; those of the tables are found."""
    heads = call.form.heads
    if call.shared[_KEYS] == _QUERIES:
        d_table, d_w = scores_back(torch.stack(gradients), tables[0], heads, w)
        found.add(_QUERIES, d_table)
        return d_w
    of_w = []
    for which, (gradient, table) in enumerate(zip(gradients, tables, strict=True)):
        d_table, d_w = scores_back(gradient[None], table, heads, w[which : which + 1])
        found.add(which, d_table)
        of_w.append(d_w)
    return torch.cat(of_w)


def _backward(call: Call, bounds: list[int], transposed: int, tensors: Sequence[Tensor]) -> None:
    rows, places = call.rows.transposed() if transposed else (call.rows, call.rows.columns)
    arrays = _arrays(rows.offsets, rows.columns, places, *tensors, torch.tensor(bounds))
    share(kernels.backward, bounds, call.form, transposed, *arrays)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]
