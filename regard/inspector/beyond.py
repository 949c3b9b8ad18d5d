"""Two numbers of a pair beside its weight: attention rollout, and the weight times its gradient. Neither is an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.attention.pairs.pairs import Pairs
from regard.attention.spec.attention import Attention
from regard.errors import InputError
from regard.inspector.calls import Call
from regard.inspector.seen import Seen
from regard.inspector.weights import heads_weights
from regard.layers.attention import Attend
from regard.sets import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float

__all__ = ["MOST", "gradients", "rollout", "whole_weights"]

MOST = 1024
"""Queries, or keys, of what is computed for all pairs of all heads at once."""


def rollout(weights: Sequence[Float[Tensor, "h n n"]]) -> Float[Tensor, "n n"]:
    """R = B_l ... B_1 with B_k = (A_k + I) / 2 and A_k the mean over the heads of layer k, each row divided by its sum.

    It takes every layer for a mean of vectors and of what they were, and forgets all that projections, values and feed-forward
    networks do. Source: Abnar and Zuidema 2020, section 3.

    Args:
        weights: of each layer, the first one first.

    >>> rollout([torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])]).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    found = torch.eye(weights[0].shape[-1], dtype=weights[0].dtype)
    for a in weights:
        mean = a.mean(0)
        total = mean.sum(1, keepdim=True)
        mean = mean / torch.where(total == 0, 1, total)
        mixed = (mean + torch.eye(len(mean), dtype=mean.dtype)) / 2
        found = (mixed / mixed.sum(1, keepdim=True)) @ found
    return found


@torch.no_grad()
def whole_weights(seen: Seen) -> Float[Tensor, "h n u"]:
    """The weights of all heads, queries and keys in order; 0 where the pattern hides a pair.

    Raises:
        InputError: more than `MOST` queries or keys.
    """
    queries, keys = len(seen.queries.names), len(seen.keys.names)
    if max(queries, keys) > MOST:
        raise InputError(f"there are {queries} x {keys} pairs, expected at most {MOST} x {MOST} for this view")
    parts = [heads_weights(call, torch.arange(len(call.q))) for call in seen.calls]
    found = torch.cat(parts, 1)
    if len(seen.calls) == 1:
        found = found[:, [row for _, row in seen.rows()]]
    return found.masked_fill(found.isneginf(), 0)[:, :, seen.columns()]


def gradients(call: Call, compute: Callable[[], Tensor]) -> Float[Tensor, "h n u"]:
    """`[h, n, u]`: a_ij times dy / da_ij, in packed rows: to first order what y loses where the weight becomes 0, others unchanged.

    Args:
        call: of the attention, in the computation of y. compute: y, one number.

    Raises:
        InputError: an adapter, or an attention that is called several times.
    """
    module = call.module
    if module is None or not isinstance(module.attention, Attention):
        raise InputError("gradients of weights were asked of an adapter, expected an Attention")
    made: list[Tensor] = []

    def hook(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor:
        assert isinstance(module, Attend)
        weights, out = _attended(module, *given[:5])
        made.append(weights)
        return out

    handle = module.register_forward_hook(hook)
    try:
        with torch.enable_grad():
            y = compute()
            if len(made) != 1:
                raise InputError("gradients of weights were asked of an attention that steps, expected one call of it")
            (gradient,) = torch.autograd.grad(y, made)
    finally:
        handle.remove()
    return (made[0] * gradient).detach()


def _attended(
    module: Attend, q: Tensor, k: Tensor, v: Tensor, layout: Layout, key_layout: Layout | None = None
) -> tuple[Tensor, Tensor]:
    """The weights `[h, n, u]`, as a leaf, and what comes of them."""
    keys = layout if key_layout is None else key_layout
    assert isinstance(module.attention, Attention)
    learned = {name: tensor.detach() for name, tensor in module.learned.items()}
    q, k, v = (x.detach() for x in (q, k, v))
    call = Call(module.attention, q, k, v, layout, keys, learned, v)
    weights = heads_weights(call, torch.arange(layout.total))
    weights = weights.masked_fill(weights.isneginf(), 0).requires_grad_()
    out = weights @ v.repeat_interleave(q.shape[1] // v.shape[1], dim=1).transpose(0, 1)
    spec = module.attention.for_heads(q.shape[1])
    if spec.bias is not None and spec.bias.has_values:
        ends = [int(end) for x in (layout, keys) if x.total for end in x.index.aminmax()]
        parameters = spec.prepare(learned, lambda: max(ends, default=0) - min(ends, default=0))
        pairs = Pairs(layout, keys, torch.arange(layout.total)[:, None], torch.arange(keys.total)[None])
        out = out + spec.bias.tile_value_bias(weights, pairs, parameters)
    return weights, out.transpose(0, 1)
