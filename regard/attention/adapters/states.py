"""`begin`: the state of sets that are about to grow."""

from __future__ import annotations

import torch

from regard.attention.adapters.base import State
from regard.attention.adapters.key_values import KeyValues
from regard.attention.adapters.linear_state import LinearState
from regard.attention.adapters.remember import Remember
from regard.attention.spec.patterns import Causal
from regard.attention.spec.scores import Kernel

__all__ = ["begin"]


def begin(
    remember: Remember,
    sets: int,
    key_heads: int,
    d: int,
    e: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> State:
    """The state of sets that have no vector yet: the smallest from which the attention can go on.

    Args:
        remember: what attends. sets: how many there are. key_heads: of keys and values.
        d: width of a head's keys. e: of its values, d where None. dtype, device: of the vectors to come.

    >>> from regard.attention import Attention
    >>> begin(Remember(Attention(pattern=Causal())), sets=2, key_heads=1, d=4).layout
    Layout(2 sets, 0 vectors)
    """
    attention = remember.attention
    sums = isinstance(attention.score, Kernel) and attention.patterns == (Causal(),)
    empty = LinearState.empty if sums else KeyValues.empty
    return empty(attention, sets, key_heads, d, d if e is None else e, dtype, device)
