"""`attend` as two operators of torch, for compiled and exported code, which cannot look into plans and executors.

    regard::attend              [t, h, e] from queries, keys, values, learned tensors, the layouts' tensors and a text
    regard::attend_backward     the gradients that are wanted of them; the forward pass is computed once more

What Python decides (the attention, names of tensors and of an executor) is one text, which a compiled graph holds as a constant.
The rest are tensors, so that sizes may differ from call to call. Inside, the layouts are put together again and kept, so that
all layers of a compiled model share what was derived from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from regard.attention.adapters.base import Adapter
from regard.attention.call import compute
from regard.attention.dropout import Dropout
from regard.attention.problem import Tensors
from regard.attention.spec.attention import Attention
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.sets import Layout

__all__ = ["traced_attend"]

_INPUTS = (
    "Tensor q, Tensor k, Tensor v, Tensor[] learned, Tensor[] layout, Tensor[] key_layout, "
    "str call, float dropout, Tensor? seed"
)
# Layouts that are kept, with all that was derived: those of one batch of a model, forward and backward.
_KEPT = 4


def traced_attend(
    attention: Attention | Adapter,
    tensors: Tensors,
    layout: Layout,
    key_layout: Layout | None,
    dropout: Dropout | None,
    executor: str | None,
) -> Tensor:
    """`[t, h, e]`, as `compute`, for code that is being traced: nothing here depends on what tensors hold.

    Sizes that do not fit are refused when the operator runs.
    """
    ours, theirs = _fields(layout), "" if key_layout is None or key_layout is layout else _fields(key_layout)
    call = "\n".join([attention.text, " ".join(tensors.parameters), ours, theirs, executor or ""])
    # Drawn in compiled code, a seed is a tensor already.
    seed = None if dropout is None else torch.as_tensor(dropout.seed)
    return torch.ops.regard.attend(
        tensors.q,
        tensors.k,
        tensors.v,
        list(tensors.parameters.values()),
        [getattr(layout, name) for name in ours.split()],
        [getattr(key_layout, name) for name in theirs.split()],
        call,
        0.0 if dropout is None else float(dropout.p),
        seed,
    )


def _fields(layout: Layout) -> str:
    """The names of a layout's tensors."""
    return " ".join([name for name in Layout.FIELDS if getattr(layout, name) is not None])


@dataclass(frozen=True)
class _Call:
    """What the text of a call says."""

    attention: Attention | Adapter
    names: list[str]
    fields: list[str]
    key_fields: list[str]
    executor: str | None


@lru_cache(maxsize=256)
def _read(call: str) -> _Call:
    attention, names, fields, key_fields, executor = call.split("\n")
    parsed = parse(attention)
    if not isinstance(parsed, Attention | Adapter):
        raise InputError(f"compiled code holds {attention!r}, expected an attention")
    return _Call(parsed, names.split(), fields.split(), key_fields.split(), executor or None)


class _Layouts:
    """The layouts of the last few batches, found by what they hold.

    By contents and not by identity: compiled code writes into memory that it has used before without telling anybody.
    """

    def __init__(self) -> None:
        self.kept: tuple[Layout, ...] = ()

    def get(self, names: Sequence[str], tensors: Sequence[Tensor]) -> Layout:
        """The layout with these fields, with all that was derived from it."""
        given = dict(zip(names, tensors, strict=True))
        for layout in self.kept:
            if all(_same(getattr(layout, name), given.get(name)) for name in Layout.FIELDS):
                return layout
        # Tensors of inference mode would be of no use in training.
        with torch.inference_mode(False):
            fields = [given[name].detach().clone() if name in given else None for name in Layout.FIELDS]
        layout = Layout._trusted(fields)
        # One assignment, so that threads do not come between; the oldest is forgotten.
        self.kept = (layout, *self.kept[: _KEPT - 1])
        return layout


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)


_layouts = _Layouts()


def _layouts_of(
    call: _Call, layout: Sequence[Tensor], key_layout: Sequence[Tensor], wanted: bool = False
) -> tuple[Layout, Layout]:
    """The layouts of queries and of keys; of these very tensors where their gradients are wanted."""

    def get(names: list[str], tensors: Sequence[Tensor]) -> Layout:
        if not wanted:
            return _layouts.get(names, tensors)
        given = dict(zip(names, tensors, strict=True))
        return Layout._trusted([given.get(name) for name in Layout.FIELDS])

    ours = get(call.fields, layout)
    return ours, get(call.key_fields, key_layout) if call.key_fields else ours


def _compute(
    call: _Call, given: Sequence[Tensor], layouts: tuple[Layout, Layout], dropout: float, seed: Tensor | None
) -> Tensor:
    """`[t, h, e]` from queries, keys, values and the learned tensors."""
    q, k, v, *learned = given
    tensors = Tensors(q, k, v, dict(zip(call.names, learned, strict=True)))
    drop = None if seed is None else Dropout(dropout, int(seed))
    return compute(call.attention, tensors, *layouts, drop, call.executor)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    learned: list[Tensor],
    layout: list[Tensor],
    key_layout: list[Tensor],
    call: str,
    dropout: float,
    seed: Tensor | None,
) -> Tensor:
    read = _read(call)
    out = _compute(read, [q, k, v, *learned], _layouts_of(read, layout, key_layout), dropout, seed)
    return _fresh([out], [q, k, v, *learned])[0]


def _attend_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    learned: list[Tensor],
    layout: list[Tensor],
    key_layout: list[Tensor],
    call: str,
    dropout: float,
    seed: Tensor | None,
    wanted: list[bool],
) -> list[Tensor]:
    """The gradients of the tensors that are `wanted`, in the order of q, k, v, learned, layout, key_layout."""
    given = [q, k, v, *learned, *layout, *key_layout]
    with torch.enable_grad(), _recording():
        leaves = [x.detach().requires_grad_(want) for x, want in zip(given, wanted, strict=True)]
        ends = [3 + len(learned), 3 + len(learned) + len(layout)]
        read = _read(call)
        layouts = _layouts_of(read, leaves[ends[0] : ends[1]], leaves[ends[1] :], any(wanted[ends[0] :]))
        out = _compute(read, leaves[: ends[0]], layouts, dropout, seed)
        inputs = [leaf for leaf, want in zip(leaves, wanted, strict=True) if want]
        found = torch.autograd.grad(out, inputs, gradient, allow_unused=True, materialize_grads=True)
    return _fresh(found, [gradient, *given])


def _recording() -> Any:
    """A context in which autograd records, also where operators run below it (a `TorchDispatchMode`)."""
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in (torch._C.DispatchKey.AutogradFunctionality, torch._C.DispatchKey.ADInplaceOrView):
        excluded = excluded.remove(key)
    return torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)


def _fresh(results: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The results, contiguous, each in memory of its own, as torch asks of an operator."""
    taken = {x.untyped_storage().data_ptr() for x in inputs}
    fresh = []
    for x in results:
        x = x.detach().contiguous()
        x = x.clone() if x.untyped_storage().data_ptr() in taken else x
        taken.add(x.untyped_storage().data_ptr())
        fresh.append(x)
    return fresh


def _fake_attend(q: Tensor, k: Tensor, v: Tensor, *others: Any) -> Tensor:
    return q.new_empty(q.shape[0], q.shape[1], v.shape[2])


def _fake_attend_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    learned: list[Tensor],
    layout: list[Tensor],
    key_layout: list[Tensor],
    call: str,
    dropout: float,
    seed: Tensor | None,
    wanted: list[bool],
) -> list[Tensor]:
    given = [q, k, v, *learned, *layout, *key_layout]
    return [x.new_empty(x.shape) for x, want in zip(given, wanted, strict=True) if want]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    q, k, v, learned, layout, key_layout, call, dropout, seed = inputs
    ctx.save_for_backward(q, k, v, *learned, *layout, *key_layout, seed)
    ctx.numbers, ctx.call, ctx.dropout = (len(learned), len(layout), len(key_layout)), call, dropout


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    q, k, v, *others, seed = ctx.saved_tensors
    lists: list[list[Tensor]] = []
    for number in ctx.numbers:
        lists.append(others[:number])
        others = others[number:]
    # An empty list counts as one thing that wants no gradient.
    needs = [list(need) if isinstance(need, list) else [] for need in ctx.needs_input_grad[3:6]]
    wanted = [*ctx.needs_input_grad[:3], *(want for need in needs for want in need)]
    found = iter(
        torch.ops.regard.attend_backward(gradient, q, k, v, *lists, ctx.call, ctx.dropout, seed, wanted)
        if any(wanted)
        else ()
    )
    gradients = [next(found) if want else None for want in ctx.needs_input_grad[:3]]
    in_lists = [[next(found) if want else None for want in need] for need in needs]
    return (*gradients, *in_lists, None, None, None)


torch.library.define("regard::attend", f"({_INPUTS}) -> Tensor")
torch.library.define("regard::attend_backward", f"(Tensor gradient, {_INPUTS}, bool[] wanted) -> Tensor[]")
torch.library.impl("regard::attend", "CompositeExplicitAutograd", _attend)
torch.library.impl("regard::attend_backward", "CompositeExplicitAutograd", _attend_backward)
torch.library.register_fake("regard::attend", _fake_attend)
torch.library.register_fake("regard::attend_backward", _fake_attend_backward)
torch.library.register_autograd("regard::attend", _backward, setup_context=_keep)
