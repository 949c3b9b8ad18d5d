"""What adapters share that give every head sets of its own: a head of a set becomes a set of one head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from regard.attention.adapters.base import Adapter
from regard.attention.spec.patterns import Causal, Everyone
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped
    from torch import Tensor

    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["check_order_alone", "fold", "folded", "in_places", "of_unit_length", "unfold"]


def check_order_alone(adapter: Adapter, learned: bool = False) -> None:
    """Refuse an attention that reads more of a layout than which vectors are later.

    Args:
        learned: whether scores may have learned tensors, which each head has for itself.

    Raises:
        InputError: another pattern than `Everyone()` or `Causal()`, a bias, a score by place or edge, or learned tensors.
    """
    attention, name = adapter.attention, type(adapter).__name__
    if attention.pattern not in (Everyone(), Causal()):
        raise InputError(
            f"{name} has pattern {attention.pattern!r}, expected Everyone() or Causal(): it chooses the keys"
        )
    if attention.bias is not None:
        raise InputError(
            f"{name} has bias {attention.bias!r}, expected none: keys lie in another order than in their set"
        )
    score = attention.score
    if score.placed or score.reads_edges or (score.parameters(1, 1) and not learned):
        expected = "one that reads queries and keys alone" if learned else "one without learned tensors, such as Dot()"
        raise InputError(f"{name} has score {score!r}, expected {expected}")


def in_places(tensors: Tensors, layout: Layout) -> tuple[Tensors, Layout]:
    """The tensors with the rows of each set in order of their places and as many key heads as heads, and their layout."""
    q, order = tensors.q, layout.row_order
    shared = q.shape[1] // tensors.k.shape[1]
    k, v = (x if shared == 1 else x.repeat_interleave(shared, dim=1) for x in (tensors.k, tensors.v))
    if order is not None:
        q, k, v = (x.index_select(0, order) for x in (q, k, v))
    return replace(tensors, q=q, k=k, v=v), layout.in_order()


def folded(layout: Layout, heads: int) -> Layout:
    """The layout of `fold`: set b of head a is set `a sets + b`; nothing but the lengths is left of the layout."""
    from regard.sets import Layout

    return layout.kept(("folded", heads), lambda: Layout.of_lengths(layout.lengths.repeat(heads)))


def fold(x: Shaped[Tensor, "t h d"]) -> Shaped[Tensor, "th 1 d"]:
    """Vectors of t rows and h heads as those of h t rows and one head."""
    return x.transpose(0, 1).flatten(0, 1).unsqueeze(1)


def unfold(x: Shaped[Tensor, "th 1 d"], heads: int) -> Shaped[Tensor, "t h d"]:
    """What `fold` made such vectors of."""
    return x.squeeze(1).unflatten(0, (heads, -1)).transpose(0, 1)


def of_unit_length(x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
    """x / |x|, zero where x is."""
    from torch.nn.functional import normalize

    return normalize(x, dim=-1)
