"""The meaning of attention: dense, one set after another, in any type, whatever its cost. All else is tested against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.attention.dropout import Dropout
from regard.attention.pairs.pairs import Pairs
from regard.attention.pairs.rows import Along
from regard.attention.spec.attention import Attention
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["reference"]


def reference(
    attention: Attention,
    q: Float[Tensor, "t h d"],
    k: Float[Tensor, "u g d"],
    v: Float[Tensor, "u g e"],
    layout: Layout,
    key_layout: Layout,
    parameters: Mapping[str, Float[Tensor, " ..."]],
    dropout: Dropout | None = None,
) -> Float[Tensor, "t h e"]:
    """`[t, h, e]` for q `[t, h, d]`, k `[u, g, d]`, v `[u, g, e]`; see `attend`."""
    heads = q.shape[1]
    attention = attention.for_heads(heads)
    # No two places are further apart than all that there are.
    ends = [int(end) for x in (layout, key_layout) if x.total for end in x.index.aminmax()]
    parameters = attention.prepare(parameters, lambda: max(ends, default=0) - min(ends, default=0))
    k, v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (k, v))
    out = q.new_zeros(q.shape[0], heads, v.shape[-1])
    for b in range(layout.sets):
        queries = torch.arange(*layout.offsets[b : b + 2].tolist(), device=q.device)
        keys = torch.arange(*key_layout.offsets[b : b + 2].tolist(), device=q.device)
        pairs = Pairs(layout, key_layout, queries[:, None], keys[None, :])
        allowed = attention.allows(pairs)
        s = attention.scores(q[queries][:, None], k[keys][None, :], pairs, parameters)
        s = s.masked_fill(~allowed, -torch.inf)
        a = attention.normalizer.weights(s, Along(1, allowed.sum(1, keepdim=True)))
        if dropout is not None:
            head = torch.arange(heads, device=q.device)
            # Rows are counted in order of their places.
            rows = layout.ranks[queries][:, None, None], key_layout.ranks[keys][None, :, None]
            a = a * dropout.factors(head, *rows, a.dtype)
        values = v[keys][None, :]
        if attention.bias is not None and attention.bias.has_values:
            values = values + attention.bias.value_bias(pairs, parameters)
        out = out.index_copy(0, queries, (a[..., None] * values).sum(1).to(out.dtype))
    return out
