"""Pairs of numbers turned by angles, in one pass over them on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regard.kernels import available
from regard.kernels.threads import cut, memory_of, share

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["rotated"]

_TYPES = (torch.float32, torch.float64, torch.bfloat16)


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.direction = direction
        return _along(x, cos, sin, direction)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        # Turning is linear, and its transpose turns back.
        return _Rotated.apply(gradients[0], *ctx.saved_tensors, -ctx.direction), None, None, None


def _along(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    from regard.layers import kernels

    rows, heads, width = x.shape
    if x.stride(2) != 1:
        x = x.contiguous()
    out = torch.empty(x.shape, dtype=x.dtype)
    bounds, steps = cut(rows, heads * width), (x.stride(0), x.stride(1))
    share(kernels.rotated, bounds, *map(memory_of, (out, x, cos, sin)), *steps, heads, width // 2, direction)
    return out


def _in_operators(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same by torch's operators, number by number."""
    wide = x.to(cos.dtype)
    a, b = wide[..., 0::2], wide[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


def rotated(
    x: Float[Tensor, "t h d"], cos: Float[Tensor, "t d/2"], sin: Float[Tensor, "t d/2"]
) -> Float[Tensor, "t h d"]:
    """(a cos - b sin, a sin + b cos) for each pair (a, b) of neighboring numbers of each row: turned by that row's angles.

    Computed in the type of the angles, and rounded to that of x once.

    Args:
        x: what is turned; d is even. cos, sin: of the angle of each row and pair, alike in all heads; at least as wide as x.

    >>> x = torch.tensor([[[1.0, 0.0, 0.0, 2.0]]])
    >>> rotated(x, torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([[[0., 1., 0., 2.]]])
    """
    known = x.device.type == "cpu" and x.dtype in _TYPES and cos.dtype == torch.promote_types(x.dtype, torch.float32)
    if not known or cos.requires_grad or torch.compiler.is_compiling() or not available():
        return _in_operators(x, cos[:, None], sin[:, None])
    found: Tensor = _Rotated.apply(x, cos.contiguous(), sin.contiguous(), 1)
    return found
