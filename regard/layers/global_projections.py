"""`GlobalProjections`: queries, keys and values that only global vectors have (`regard.attention.adapters.globals`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from regard.attention.adapters.globals import Globals
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.sets import Layout
from regard.sets.continued import following, rows_of
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["GlobalProjections", "Split"]


class Split(NamedTuple):
    """The global vectors of a batch and the others.

    Args:
        globals, others: their rows. global_layout, other_layout: whose these are, at their places.
        order: in which order the rows of both, one after the other, are those of the batch.
    """

    globals: Int[Tensor, " g"]
    others: Int[Tensor, " o"]
    global_layout: Layout
    other_layout: Layout
    order: Int[Tensor, " t"]


@checked()
class GlobalProjections(nn.Module):
    """q' = W_q' x_i for i < first, k' = W_k' x_j, v' = W_v' x_j: what global queries ask and read, and what others read of global
    vectors where that is projected too.

    Args:
        adapter: how many vectors are global, and what has projections of its own.
        width_in: of the vectors. heads, key_heads, d: of the attention, and the width of a head.
        bias: whether the projections add a learned vector.
    """

    def __init__(self, adapter: Globals, width_in: int, heads: int, key_heads: int, d: int, bias: bool = True) -> None:
        super().__init__()
        self.adapter, self.d = adapter, d
        self.query = _linear(width_in, heads * d, bias)
        self.key, self.value = (_linear(width_in, key_heads * d, bias) for _ in range(2))
        self.out = _linear(heads * d, heads * d, bias) if adapter.projections == "pairs" else None
        """Of what the global vectors found, where it is not that of the others."""
        self.pairs = nn.ModuleDict()
        """What others read of global vectors, and these of one another, where both have projections of their own."""
        if adapter.projections == "pairs":
            for name in ("key_for_others", "value_for_others", "key_among", "value_among"):
                self.pairs[name] = _linear(width_in, key_heads * d, bias)

    def split(self, layout: Layout) -> Split:
        """Which vectors are global; kept by the layout.

        Raises:
            InputError: rows that are not in order of their places.
        """
        layout.check_rows_in_order("an attention with global vectors")
        found: Split = layout.kept(("global vectors", self.adapter.first), lambda: _split(layout, self.adapter.first))
        return found

    def forward(
        self, values: Float[Tensor, "t width"], split: Split
    ) -> tuple[Float[Tensor, "g h d"], Float[Tensor, "t k d"], Float[Tensor, "t k d"]]:
        """`[g, h, d]` the queries of the global vectors, and `[t, k, d]` the keys and values that they read."""
        globals_ = values.index_select(0, split.globals)
        k, v = self.key(values), self.value(values)
        if self.pairs:
            k = k.index_copy(0, split.globals, self.pairs["key_among"](globals_))
            v = v.index_copy(0, split.globals, self.pairs["value_among"](globals_))
        q, k, v = (each.unflatten(-1, (-1, self.d)) for each in (self.query(globals_), k, v))
        return q, k, v

    def for_others(
        self,
        values: Float[Tensor, "t width"],
        split: Split,
        k: Float[Tensor, "t k d"],
        v: Float[Tensor, "t k d"],
    ) -> tuple[Float[Tensor, "t k d"], Float[Tensor, "t k d"]]:
        """The keys and values that all other queries read, of those that the layer projects."""
        if not self.pairs:
            return k, v
        globals_ = values.index_select(0, split.globals)
        own = (self.pairs[f"{name}_for_others"](globals_).unflatten(-1, (-1, self.d)) for name in ("key", "value"))
        k, v = (each.index_copy(0, split.globals, new.to(each.dtype)) for each, new in zip((k, v), own, strict=True))
        return k, v


def _linear(width_in: int, width: int, bias: bool) -> nn.Linear:
    """Begins as the matrices of `SelfAttention`: Glorot uniform, the added vector at zero."""
    made = Linear(width_in, width, bias=bias)
    nn.init.xavier_uniform_(made.weight)
    if bias:
        nn.init.zeros_(made.bias)
    return made


def _split(layout: Layout, first: int) -> Split:
    starts, lengths = layout.places_of_sets[0], layout.lengths
    number = torch.minimum((first - starts).clamp(min=0), lengths)
    rows = rows_of(layout, torch.zeros_like(number), number), rows_of(layout, number, lengths - number)

    def those(chosen: Tensor, counts: Tensor, begin: Tensor) -> Layout:
        coords = None if layout.coords is None else layout.coords.index_select(0, chosen)
        return Layout._trusted([offsets_of(counts), coords, None, None, begin])

    first_ones, others = those(rows[0], number, starts), those(rows[1], lengths - number, starts + number)
    return Split(*rows, first_ones, others, following(first_ones, others))
