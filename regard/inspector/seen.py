"""The attentions of a model as a page shows them: what each is called, and what its queries and keys stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from regard.inspector.calls import Call

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
    """

    of: AxisName
    names: tuple[str, ...]


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
    inputs: Sequence[str],
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
        name = names.get(group[0].module, "attention") if group[0].module is not None else "attention"
        found.append(_seen(name, tuple(group), tuple(inputs), written, begin))
    return found


def _seen(
    name: str, calls: tuple[Call, ...], inputs: tuple[str, ...], written: Sequence[str] | None, begin: str
) -> Seen:
    first, queries = calls[0], sum(len(call.q) for call in calls)
    if first.key_layout is not first.layout:
        if written is not None:
            return Seen(
                name, calls, "cross", _axis("written", written, queries), _axis("read", inputs, first.key_layout.total)
            )
        pooled = Axis("pooled", tuple(f"pooled {n}" if queries > 1 else "pooled" for n in range(queries)))
        kind: Literal["pooling", "cross"] = "pooling" if queries <= first.layout.sets else "cross"
        axis = pooled if kind == "pooling" else _axis("numbers", (), queries)
        return Seen(name, calls, kind, axis, _axis("inputs", inputs, first.key_layout.total))
    if written is not None and "decoder" in name.split("."):
        before = (begin, *written[:-1]) if len(written) else ()
        axis = _axis("written", before, queries)
    else:
        axis = _axis("inputs" if written is None else "read", inputs, queries)
    return Seen(name, calls, "self", axis, axis)


def _axis(of: AxisName, names: Sequence[str], count: int) -> Axis:
    if len(names) == count:
        return Axis(of, tuple(names))
    return Axis("numbers", tuple(map(str, range(count))))
