"""The weights of one head as a rectangle: those of `attention_weights`, at the cost of that head and of the rows asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.attention.pairs.pairs import Pairs, Rows
from regard.attention.pairs.rows import Along
from regard.attention.spec.attention import Attention
from regard.attention.spec.pattern import Or, Pattern
from regard.attention.spec.patterns import Everyone
from regard.attention.verb import attention_weights
from regard.inspector.calls import Call

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["allowed_pairs", "at_once", "head_weights", "heads_weights"]

# A pattern that allows less than one in so many pairs is computed pair by pair.
_SPARSE = 8
# Numbers that scores of some rows may hold at once: so many stay in a processor's cache from one operation to the next.
_MOST = 1 << 20


def at_once(call: Call) -> int:
    """How many query rows to ask `head_weights` or `heads_weights` for, so that memory stays bounded."""
    attention, (_, heads, d) = call.attention, call.q.shape
    wide = attention.score.numbers_per_pair(d) + (d if attention.bias is not None else 0)
    return max(1, _MOST // max(1, call.key_layout.total * wide * (heads if attention.bias is not None else 1)))


@torch.no_grad()
def head_weights(call: Call, rows: Int[Tensor, " n"], head: int) -> Float[Tensor, "n u"]:
    """`[n, u]` the weights of one head in some packed query rows; -inf where the pattern hides the key."""
    heads = call.q.shape[1]
    if call.attention.bias is not None or heads == 1:
        return heads_weights(call, rows)[head]
    # A bias may depend on the number of heads, as ALiBi's slopes do; without one a head stands alone.
    spec = call.attention.for_heads(heads)
    pattern = spec.patterns[head if len(spec.patterns) > 1 else 0].for_head(head)
    key_head = head * call.k.shape[1] // heads
    one = replace(
        call,
        attention=replace(call.attention, pattern=pattern),
        q=call.q[:, head : head + 1],
        k=call.k[:, key_head : key_head + 1],
        v=call.v[:, key_head : key_head + 1],
        parameters=_of_head(call, head),
    )
    return heads_weights(one, rows)[0]


@torch.no_grad()
def heads_weights(call: Call, rows: Int[Tensor, " n"]) -> Float[Tensor, "h n u"]:
    """`[h, n, u]` the same of all heads."""
    if call.layout.sets != 1 or _sparse(call, rows):
        return _by_pairs(call, rows)
    heads = call.q.shape[1]
    spec = call.attention.for_heads(heads)
    ends = [int(end) for x in (call.layout, call.key_layout) if x.total for end in x.index.aminmax()]
    parameters = spec.prepare(call.parameters, lambda: max(ends, default=0) - min(ends, default=0))
    keys = torch.arange(call.key_layout.total)
    pairs = Pairs(call.layout, call.key_layout, rows[:, None], keys[None])
    k = call.k.repeat_interleave(heads // call.k.shape[1], dim=1)
    s = spec.tile(call.q[rows].transpose(0, 1), k.transpose(0, 1), pairs, parameters)
    s = s.to(torch.promote_types(s.dtype, torch.float32))
    # A mask of thousands of rows that hides nothing takes as long as their products.
    allowed = None if set(spec.patterns) == {Everyone()} else _expanded(spec, pairs, heads)
    if allowed is None or bool(allowed.all()):
        return spec.normalizer.weights(s, Along(-1, torch.full_like(s[..., :1], len(keys), dtype=torch.int64)))
    a = spec.normalizer.weights(s.masked_fill(~allowed, -torch.inf), Along(-1, allowed.sum(-1, keepdim=True)))
    return a.masked_fill(~allowed, -torch.inf)


def allowed_pairs(call: Call, rows: Int[Tensor, " n"], head: int) -> Bool[Tensor, "n u"]:
    """`[n, u]` which keys of its own set each query row may attend to."""
    keys = torch.arange(call.key_layout.total)
    pairs = Pairs(call.layout, call.key_layout, rows[:, None], keys[None])
    heads = call.q.shape[1]
    allowed = _expanded(call.attention.for_heads(heads), pairs, heads)[head]
    return allowed & (call.layout.set_of_row[rows][:, None] == call.key_layout.set_of_row[None])


def _expanded(spec: Attention, pairs: Pairs, heads: int) -> Bool[Tensor, "h n u"]:
    shape = *torch.broadcast_shapes(pairs.query_rows.shape, pairs.key_rows.shape), heads
    return spec.allows(pairs).expand(shape).movedim(-1, 0)


def _sparse(call: Call, rows: Tensor) -> bool:
    """Whether the pattern names so few keys of these rows that it pays to compute pair by pair."""
    layout, key_layout = call.layout, call.key_layout
    if layout.places is not None or key_layout.places is not None:
        return False
    union: Pattern = reduce(Or, dict.fromkeys(call.attention.for_heads(call.q.shape[1]).patterns))
    if union.asks:
        return False
    pairs = int(union.keys(Rows(rows, layout, key_layout)).counts().sum())
    return pairs * _SPARSE <= len(rows) * key_layout.total


def _by_pairs(call: Call, rows: Tensor) -> Tensor:
    """The weights of calls that attend in several sets, as adapters make, and of patterns with few pairs."""
    found = attention_weights(
        call.attention, call.q, call.k, call.layout, call.key_layout, call.parameters, rows=rows.unique()
    )
    heads, place = call.q.shape[1], torch.full((call.layout.total,), -1)
    place[rows] = torch.arange(len(rows))
    pairs = Pairs(call.layout, call.key_layout, found.query, found.key)
    allowed = call.attention.for_heads(heads).allows(pairs).expand(-1, heads)
    dense = torch.full((len(rows), call.key_layout.total, heads), -torch.inf, dtype=found.values.dtype)
    dense[place[found.query], found.key] = found.values.masked_fill(~allowed, -torch.inf)
    return dense.movedim(-1, 0)


def _of_head(call: Call, head: int) -> dict[str, Tensor]:
    """The learned tensors of one head: the axis of heads is the one whose length follows their number."""
    _, heads, d = call.q.shape
    ours, more = (call.attention.parameters(n, d, call.v.shape[-1]) for n in (heads, heads + 1))
    found = {}
    for name, tensor in call.parameters.items():
        axes = [n for n, (a, b) in enumerate(zip(ours[name], more[name], strict=True)) if a != b]
        found[name] = tensor.narrow(axes[0], head, 1) if axes else tensor
    return found
