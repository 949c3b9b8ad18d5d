"""Cross-entropy of many classes, in two passes over the scores on the CPU: one for the losses, one for the gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from regard.kernels import available
from regard.kernels.threads import cut, memory_of, share

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Losses", "cross_entropy", "losses", "slopes"]

# So many scores go to a thread at once.
_PART = 1 << 17
_TYPES = (torch.float32, torch.float64, torch.bfloat16)


class Losses(NamedTuple):
    """What is known of each row of scores: its smoothed loss, its own -log p, and log sum_c e^s_c; at least in float32."""

    losses: Float[Tensor, " n"]
    nats: Float[Tensor, " n"]
    whole: Float[Tensor, " n"]


def cross_entropy(
    scores: Float[Tensor, "n classes"], targets: Int[Tensor, " n"], smoothing: float = 0.0
) -> Float[Tensor, " n"]:
    """-(1 - s) log p_i[y_i] - s mean_c log p_i[c], with p_i = softmax(scores_i): torch's `cross_entropy`, row by row.

    The gradient is that of the type of the scores, and nothing as large as they are is kept or made beside it.

    Args:
        scores: of all classes; may be -inf where there is no smoothing. targets: y; there are no gaps.
        smoothing: s, as much of each target is spread over all classes.

    >>> cross_entropy(torch.tensor([[0.0, 0.0], [-torch.inf, 1.0]]), torch.tensor([0, 1]))
    tensor([0.6931, 0.0000])
    """
    if not _known(scores):
        return functional.cross_entropy(scores.to(_wide(scores)), targets, reduction="none", label_smoothing=smoothing)
    if not scores.requires_grad or not torch.is_grad_enabled():
        return losses(scores, targets, smoothing).losses
    found: Tensor = _CrossEntropy.apply(scores, targets, smoothing)
    return found


def losses(scores: Float[Tensor, "n classes"], targets: Int[Tensor, " n"], smoothing: float = 0.0) -> Losses:
    """The losses of `cross_entropy` and what they are made of; gradients go through operators alone.

    Raises:
        IndexError: a target that is no class.
    """
    if not _known(scores) or (scores.requires_grad and torch.is_grad_enabled()):
        return _in_operators(scores, targets, smoothing)
    from regard.layers import kernels

    scores, (rows, classes) = scores.contiguous(), scores.shape
    _check(targets, classes)
    wide = scores.new_empty(3, rows, dtype=_wide(scores))
    arrays = [memory_of(x) for x in (*wide, scores, targets.contiguous())]
    share(kernels.losses, cut(rows, classes, _PART), *arrays, classes, smoothing)
    return Losses(*wide)


def slopes(
    scores: Float[Tensor, "n classes"],
    targets: Int[Tensor, " n"],
    whole: Float[Tensor, " n"],
    smoothing: float = 0.0,
    above: Float[Tensor, " n"] | None = None,
    out: Float[Tensor, "n classes"] | None = None,
) -> Float[Tensor, "n classes"]:
    """The gradients of the losses by the scores, p - (1 - s) [c = y] - s / classes, each row times `above`.

    Args:
        scores, targets, smoothing: as in `cross_entropy`. whole: of `losses`. above: the gradient of each loss; None is 1.
        out: where they are written, of the type of the scores and perhaps their memory; None is new memory.
    """
    rows, classes = scores.shape
    above = torch.ones_like(whole) if above is None else above.to(whole.dtype).contiguous()
    out = torch.empty_like(scores) if out is None else out
    if not _known(scores) or not scores.is_contiguous():
        found = scores.to(whole.dtype).sub(whole[:, None]).exp_().sub_(smoothing / max(classes, 1))
        found[torch.arange(rows, device=targets.device), targets] -= 1 - smoothing
        return out.copy_(found.mul_(above[:, None]))
    from regard.layers import kernels

    arrays = [memory_of(x) for x in (out, scores, targets.contiguous(), whole, above)]
    share(kernels.slopes, cut(rows, classes, _PART), *arrays, classes, smoothing)
    return out


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        found = losses(scores, targets, smoothing)
        ctx.save_for_backward(scores, targets, found.whole)
        ctx.smoothing = smoothing
        return found.losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        scores, targets, whole = ctx.saved_tensors
        return slopes(scores, targets, whole, ctx.smoothing, gradients[0]), None, None


def _known(scores: Tensor) -> bool:
    return scores.device.type == "cpu" and scores.dtype in _TYPES and available() and not torch.compiler.is_compiling()


def _wide(scores: Tensor) -> torch.dtype:
    return torch.promote_types(scores.dtype, torch.float32)


def _check(targets: Tensor, classes: int) -> None:
    if not len(targets):
        return
    least, most = int(targets.min()), int(targets.max())
    if least < 0 or most >= classes:
        raise IndexError(f"targets are {least} to {most}, expected 0 to {classes - 1}")


def _in_operators(scores: Tensor, targets: Tensor, smoothing: float) -> Losses:
    scores = scores.to(_wide(scores))
    whole = scores.logsumexp(1)
    nats = whole - scores.gather(1, targets[:, None])[:, 0]
    smoothed = (1 - smoothing) * nats + smoothing * (whole - scores.mean(1)) if smoothing else nats
    return Losses(smoothed, nats, whole)
