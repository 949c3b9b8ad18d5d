"""What goes into the attentions of a model and comes out of them, recorded while it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from regard.attention.adapters.base import Adapter
from regard.attention.dropout import Dropout
from regard.attention.problem import Tensors
from regard.attention.spec.attention import Attention
from regard.attention.verb import attend
from regard.layers.attention import Attend
from regard.sets import Layout

__all__ = ["Call", "record"]


@dataclass(frozen=True)
class Call:
    """One call of `attend`: what went in and what came out.

    Args:
        module: that made it; None outside of a model.
        queries, keys: the places of what an adapter made each query, and each key, of, none for vectors that a layer has learned;
            None where all are vectors of the sets.
    """

    attention: Attention
    q: Tensor
    k: Tensor
    v: Tensor
    layout: Layout
    key_layout: Layout
    parameters: dict[str, Tensor]
    out: Tensor
    module: Attend | None = None
    queries: Sequence[range] | None = None
    keys: Sequence[range] | None = None

    @property
    def kind(self) -> Literal["self", "cross", "pooling"]:
        """Whether queries are of the same vectors as the keys, of others, or one of each set."""
        if self.key_layout is self.layout or self.queries is not None or self.keys is not None:
            return "cross" if self.module is not None and len(self.module.learned_vectors) == 1 else "self"
        return "pooling" if len(self.q) <= self.layout.sets else "cross"


def record(model: nn.Module, compute: Callable[[], object]) -> list[Call]:
    """Every call of `attend` that a model makes while something is computed, in order; an adapter makes several."""
    calls: list[Call] = []

    def keep(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> None:
        assert isinstance(module, Attend)
        q, k, v, layout, *rest = given
        tensors, key_layout = Tensors(q, k, v, module.parameters_of_attention), rest[0] if rest else layout
        whole = layout, key_layout

        def verb(
            attention: Attention,
            tensors: Tensors,
            layout: Layout,
            key_layout: Layout | None = None,
            dropout: Dropout | None = None,
        ) -> Tensor:
            q, k, v, learned = tensors.q, tensors.k, tensors.v, dict(tensors.parameters)
            out = attend(attention, q, k, v, layout, key_layout, learned, dropout=dropout)
            keys = layout if key_layout is None else key_layout
            made = (_made_of(module.attention, *pair) for pair in ((layout, whole[0]), (keys, whole[1])))
            calls.append(Call(attention, q, k, v, layout, keys, learned, out, module, *made))
            return out

        if isinstance(module.attention, Adapter):
            module.attention.by_pairs(verb, tensors, layout, key_layout)
        else:
            queries = [range(0)] * layout.total if "queries" in module.learned_vectors else None
            keys = [range(0)] * key_layout.total if "keys" in module.learned_vectors else None
            learned = dict(module.learned)
            calls.append(Call(module.attention, q, k, v, layout, key_layout, learned, out, module, queries, keys))

    hooks = [module.register_forward_hook(keep) for module in model.modules() if isinstance(module, Attend)]
    try:
        model.eval()
        with torch.no_grad():
            compute()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _made_of(attention: Attention | Adapter, layout: Layout, whole: Layout) -> Sequence[range] | None:
    """What the vectors of a call were made of, out of all those that the adapter was given."""
    return attention.made_of(whole) if isinstance(attention, Adapter) and layout is not whole else None
