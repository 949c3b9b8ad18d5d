"""`Remember`: keys from before are kept while a set grows, so that no vector is computed twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.attention.adapters.base import Adapter, Attends, Call
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["Remember"]


@dataclass(frozen=True, repr=False)
class Remember(Adapter):
    """An attention that looks back only, so that a set can grow: the vectors to come change nothing of those that are there.

    On whole sets it is the attention itself. For sets that grow, `states.begin` gives the state from which each call goes on:
    keys and values (`KeyValues`), of which a window forgets those that it has left behind, or the sums of linear attention
    (`LinearState`).

    Args:
        attention: one whose patterns allow no later key, whatever is to come, and that reads no edges.

    Raises:
        InputError: an attention that looks ahead, or whose weights change while a set grows.

    >>> from regard.attention import Attention, Window
    >>> Remember(Attention(pattern=Window(64, 0)))
    Remember(attention=Attention(pattern=Window(left=64, right=0)))
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        attention, name = self.attention, type(self).__name__
        if attention.extent[1] > 0:
            raise InputError(
                f"{name} has attention {attention!r}, which looks at later vectors, "
                "expected patterns that do not, such as Causal() or Window(64, 0)"
            )
        if any(pattern.reads_number for pattern in attention.patterns):
            raise InputError(
                f"{name} has attention {attention!r}, whose blocks are drawn anew when a set grows, expected others"
            )
        if attention.reads_edges:
            raise InputError(f"{name} has attention {attention!r}, which reads edges, expected one that reads none")

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call]:
        return [Call("whole sets", self.attention, layout, key_layout)]

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        return verb(self.attention, tensors, layout, key_layout, dropout)
