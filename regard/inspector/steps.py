"""One output vector of one head, step by step, as tensors that add up to what the model computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from regard.attention.pairs.pairs import Pairs
from regard.attention.verb import attention_weights
from regard.inspector.calls import Call

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

__all__ = ["Step", "step"]


@dataclass(frozen=True)
class Step:
    """How one head makes one output vector from the keys that its pattern allows.

        s_j = scale * product_j + bias_j        a_j = normalizer over the keys        out = sum_j a_j v_j

    Attributes:
        keys: the packed rows of the keys, in the order of packed rows. scale: the factor of the score, 1 where it has none.
        query: q. k, v: of each key; v with its value bias. product, bias, score, weight: of each key.
        out: the sum. model_out: what the model computed.
    """

    keys: Int[Tensor, " n"]
    scale: float
    query: Float[Tensor, " d"]
    k: Float[Tensor, "n d"]
    v: Float[Tensor, "n e"]
    product: Float[Tensor, " n"]
    bias: Float[Tensor, " n"]
    score: Float[Tensor, " n"]
    weight: Float[Tensor, " n"]
    out: Float[Tensor, " e"]
    model_out: Float[Tensor, " e"]


@torch.no_grad()
def step(call: Call, row: int, head: int) -> Step:
    """The steps of one head for one packed row of the queries of a call."""
    attention, heads = call.attention, call.q.shape[1]
    found = attention_weights(attention, call.q, call.k, call.layout, call.key_layout, call.parameters, rows=[row])
    pairs = Pairs(call.layout, call.key_layout, found.query, found.key)
    q = call.q[found.query]
    k, v = (x[found.key].repeat_interleave(heads // x.shape[1], dim=1) for x in (call.k, call.v))
    ends = [int(end) for x in (call.layout, call.key_layout) if x.total for end in x.index.aminmax()]
    spec = attention.for_heads(heads)
    parameters = spec.prepare(call.parameters, lambda: max(ends, default=0) - min(ends, default=0))
    product = spec.score(q, k, parameters, pairs)
    bias = torch.zeros_like(product)
    if spec.bias is not None:
        bias = bias + spec.bias_scale(q.shape[-1]) * spec.bias.score_bias(q, pairs, parameters)
        if spec.bias.has_values:
            v = v + spec.bias.value_bias(pairs, parameters)
    allowed = spec.allows(pairs).expand(-1, heads)[:, head]
    scale = spec.score.scaling(q.shape[-1])
    weight, v = found.values[allowed, head], v[allowed, head]
    return Step(
        found.key[allowed],
        scale,
        call.q[row, head],
        k[allowed, head],
        v,
        product[allowed, head] / scale,
        bias[allowed, head],
        (product + bias)[allowed, head],
        weight,
        (weight[:, None] * v).sum(0),
        call.out[row, head],
    )
