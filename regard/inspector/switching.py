"""What becomes of a prediction when a head is silent, or when a key cannot be attended to: the experiment beside the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Pattern
from regard.attention.verb import attend
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.sets import Layout

if TYPE_CHECKING:
    from regard.attention.pairs.pairs import Intervals, Rows

__all__ = ["Off", "Unless", "switched_off"]


@dataclass(frozen=True)
class Off:
    """What is switched off in one attention.

    Attributes:
        module: the attention. head: None for all.
        query, key: places in the set; without a key the head gives zeros, with a key alone no query may attend to it, with both
            that one pair is hidden.
    """

    module: Attend
    head: int | None = None
    query: int | None = None
    key: int | None = None


@dataclass(frozen=True, repr=False)
class Unless(Pattern):
    """All pairs but those of one key, and of one query alone where it is told.

    Args:
        key: its place in its set. query: None for all.
    """

    key: int
    query: int | None = None

    def allows(self, i: Any, j: Any, pairs: Any = None) -> Any:
        hidden = j == self.key
        return (hidden if self.query is None else hidden & (i == self.query)) ^ True

    def keys(self, rows: Rows) -> Intervals:
        end = torch.full_like(rows.index, self.key + 1)
        if self.query is not None:
            end = torch.where(rows.index == self.query, end, self.key)
        return ~rows.between(torch.full_like(end, self.key), end)


@contextmanager
def switched_off(changes: Sequence[Off]) -> Iterator[None]:
    """Within it, the modules compute without what is switched off.

    Raises:
        InputError: a key of an adapter, or of keys that grow from step to step.
    """
    modules: dict[nn.Module, list[Off]] = {}
    for change in changes:
        if change.key is not None and not isinstance(change.module.attention, Attention):
            text = change.module.attention.text
            raise InputError(f"a key of {text} was to be switched off, expected an Attention, or a head to switch off")
        modules.setdefault(change.module, []).append(change)
    hooks = [module.register_forward_hook(_without(offs), with_kwargs=True) for module, offs in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _without(changes: Sequence[Off]) -> Any:
    def hook(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], out: Tensor) -> Tensor:
        assert isinstance(module, Attend)
        if any(change.key is not None for change in changes):
            if len(given) > 5 or named.get("state") is not None:
                raise InputError("a key of sets that grow was to be switched off, expected whole sets")
            out = _attended(module, changes, *given, **named)
        silent = [change.head for change in changes if change.key is None]
        if silent:
            heads = torch.arange(out.shape[1]) if None in silent else torch.tensor(silent)
            out = out.index_fill(1, heads, 0)
        return out

    return hook


def _attended(
    module: Attend,
    changes: Sequence[Off],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    key_layout: Layout | None = None,
) -> Tensor:
    attention, heads = module.attention, q.shape[1]
    assert isinstance(attention, Attention)
    patterns = list(attention.patterns) if len(attention.patterns) > 1 else list(attention.patterns) * heads
    for change in changes:
        if change.key is not None:
            hide = Unless(change.key, change.query)
            for head in range(heads) if change.head is None else [change.head]:
                patterns[head] = patterns[head] & hide
    learned = {name: tensor.to(q.dtype) for name, tensor in module.learned.items()}
    spec = replace(attention, pattern=tuple(patterns))
    return attend(spec, q, k, v, layout, key_layout, learned)
