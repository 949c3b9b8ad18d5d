"""The attentions of a model as a page shows them: what each is called, and what its queries and keys stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from regard.inspector.calls import Call
from regard.inspector.explain import joined
from regard.models.model import Places
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["Axis", "Seen", "seen_in"]

AxisName = Literal["inputs", "read", "written", "pooled", "numbers"]


@dataclass(frozen=True)
class Axis:
    """What the queries, or the keys, of an attention stand for.

    Attributes:
        of: "inputs" of a model, what is "read" or "written" by one that writes sequences, the one vector of a set that is "pooled",
            or "numbers" where nothing is known of them.
        names: of each, in order.
        spans: of each the first input that it stands for and the one after the last; none where that is not known.
    """

    of: AxisName
    names: tuple[str, ...]
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Seen:
    """One attention of a model, as it read one example.

    Attributes:
        module: its name in the model. calls: one, or one for each id that was written.
        kind: "self", "cross" or "pooling". queries, keys: what they stand for.
    """

    module: str
    calls: tuple[Call, ...]
    kind: Literal["self", "cross", "pooling"]
    queries: Axis
    keys: Axis

    @property
    def heads(self) -> int:
        return int(self.calls[0].q.shape[1])

    @property
    def attention(self) -> str:
        return repr(self.calls[0].attention)

    def rows(self) -> list[tuple[int, int]]:
        """For each query, in the order of `queries`, which call it belongs to, and its packed row there."""
        if len(self.calls) > 1:
            return [(n, row) for n, call in enumerate(self.calls) for row in range(len(call.q))]
        return [(0, row) for row in _in_order(self.calls[0].layout.index)]

    def columns(self) -> Int[Tensor, " keys"]:
        """The packed rows of the keys, in the order of `keys`."""
        return torch.tensor(_in_order(self.calls[0].key_layout.index), dtype=torch.int64)


def _in_order(index: Tensor) -> list[int]:
    return [int(row) for row in torch.argsort(index, stable=True)]


def seen_in(
    model: nn.Module,
    calls: Sequence[Call],
    inputs: Places,
    written: Sequence[str] | None = None,
    begin: str = "",
) -> list[Seen]:
    """The attentions of some modules, in the order in which they first attend.

    Args:
        model: what holds the modules. calls: as `record` gives them.
        inputs: what each vector of the model, or of its encoder, stands for.
        written: the ids that are written, of a model that writes; None of others. begin: what stands before the first.
    """
    names = {module: name for name, module in model.named_modules()}
    groups: list[list[Call]] = []
    for call in calls:
        known = next((group for group in groups if group[0].module is call.module), None)
        # The calls of an adapter are attentions of their own; those of a decoder that steps are one.
        if known is not None and known[0].key_layout.total == call.key_layout.total and len(call.q) == 1:
            known.append(call)
        else:
            groups.append([call])
    found = []
    for group in groups:
        module = group[0].module
        name = "attention" if module is None else names.get(module, "attention")
        found.append(_seen(name, tuple(group), inputs, written, begin))
    return found


def _seen(name: str, calls: tuple[Call, ...], inputs: Places, written: Sequence[str] | None, begin: str) -> Seen:
    call = calls[0]
    read: AxisName = "inputs" if written is None else "read"
    rows = [(call.layout, row) for call in calls for row in _in_order(call.layout.index)]
    made = call.queries is not None or call.keys is not None
    if call.key_layout is call.layout or made:
        if written is not None and "decoder" in name.split("."):
            before = (begin, *written[:-1]) if written else ()
            queries = keys = _named("written", before, len(rows))
            return Seen(name, calls, "self", queries, keys)
        queries = _axis(read, call.layout, call.queries, inputs)
        keys = _axis(read, call.key_layout, call.keys, inputs)
        return Seen(name, calls, call.kind, queries, keys)
    keys = _axis(read, call.key_layout, call.keys, inputs)
    if written is not None:
        return Seen(name, calls, "cross", _named("written", written, len(rows)), keys)
    if call.kind == "pooling":
        pooled = tuple(f"pooled {n}" if len(rows) > 1 else "pooled" for n in range(len(rows)))
        return Seen(name, calls, "pooling", Axis("pooled", pooled), keys)
    return Seen(name, calls, "cross", _named("numbers", (), len(rows)), keys)


def _axis(of: AxisName, layout: Layout, made: Sequence[range] | None, inputs: Places) -> Axis:
    """What the rows of a layout stand for, in order: vectors of the model, or what an adapter made of several."""
    rows = _in_order(layout.index)
    if made is not None:
        several = joined(inputs, made)
        places = [several[row] for row in rows]
    elif not rows or int(layout.index.max()) < len(inputs):
        places = [inputs[int(layout.index[row])] for row in rows]
    else:
        return _named("numbers", (), len(rows))
    return Axis(of, tuple(place.name for place in places), tuple((p.inputs.start, p.inputs.stop) for p in places))


def _named(of: AxisName, names: Sequence[str], count: int) -> Axis:
    if len(names) == count:
        return Axis(of, tuple(names))
    return Axis("numbers", tuple(map(str, range(count))))
