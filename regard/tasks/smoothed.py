"""Cross-entropy of many classes straight from hidden vectors: the scores of all classes are never held at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from regard.layers.cross_entropy import losses, slopes

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["TokenScores", "smoothed_cross_entropy", "token_scores"]

# How many scores are computed together: few enough that they stay in the caches between one pass over them and the next.
_SCORES = 1 << 20


def smoothed_cross_entropy(
    hidden: Float[Tensor, "n d"], output: Float[Tensor, "classes d"], targets: Int[Tensor, " n"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """sum_i -(1 - s) log p_i[y_i] - s mean_c log p_i[c], with p_i = softmax(W h_i): what torch's `cross_entropy` sums.

    Gradients are computed with the scores, some rows at a time, so that memory grows with hidden vectors and classes, and not with
    their product.

    Args:
        hidden: h. output: W. targets: y; there are no gaps. smoothing: s, as much of each target is spread over all classes.
    """
    total: Tensor = _Smoothed.apply(hidden, output, targets, smoothing)
    return total


class TokenScores(NamedTuple):
    """What is known of each target: its smoothed loss, its own -log p in nats, and the class of the highest score."""

    losses: Float[Tensor, " n"]
    nats: Float[Tensor, " n"]
    best: Int[Tensor, " n"]


@torch.no_grad()
def token_scores(
    hidden: Float[Tensor, "n d"], output: Float[Tensor, "classes d"], targets: Int[Tensor, " n"], smoothing: float = 0.0
) -> TokenScores:
    """The terms of `smoothed_cross_entropy` one by one, without gradients."""
    parts = []
    for h, y in _parts(hidden, targets, len(output)):
        scores = linear(h, output)
        found = losses(scores, y, smoothing)
        parts.append((found.losses, found.nats, scores.argmax(1)))
    if not parts:
        none = hidden.new_zeros(0)
        return TokenScores(none, none, targets.new_zeros(0))
    return TokenScores(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _parts(hidden: Tensor, targets: Tensor, classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    rows = max(1, _SCORES // max(1, classes))
    return zip(hidden.split(rows), targets.split(rows), strict=True) if len(hidden) else iter(())


class _Smoothed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, output: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        of_output, of_hidden, learns = torch.zeros_like(output), [], any(ctx.needs_input_grad)
        for h, y in _parts(hidden, targets, len(output)):
            scores = linear(h, output)
            found = losses(scores, y, smoothing)
            total += found.losses.sum()
            if learns:
                slope = slopes(scores, y, found.whole, smoothing, out=scores).to(h.dtype)
                of_hidden.append(torch.mm(slope, output).to(h.dtype))
                of_output += torch.mm(slope.T, h)
        if learns:
            ctx.save_for_backward(torch.cat(of_hidden) if of_hidden else torch.zeros_like(hidden), of_output)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_hidden, of_output = ctx.saved_tensors
        gradient = gradients[0]
        return of_hidden * gradient.to(of_hidden.dtype), of_output * gradient.to(of_output.dtype), None, None
