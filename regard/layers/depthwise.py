"""Depthwise convolution along packed sets on the CPU: each set by itself, nothing padded, no neighbor gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.kernels.threads import share
from regard.layers import kernels
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["depthwise"]


# So many rows go to a thread at once; their partial sums are added in one fixed order.
_ROWS = 512


def _bounds(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each row's set, and one past the last."""
    owner = layout.set_of_row
    return layout.kept("first and last", lambda: (layout.offsets[owner].numpy(), layout.offsets[owner + 1].numpy()))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, taps: Tensor, layout: Layout, left: int) -> Tensor:
        values, taps = values.contiguous(), taps.contiguous()
        ctx.save_for_backward(values, taps)
        ctx.layout, ctx.left = layout, left
        return _along(values, taps, layout, left)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        values, taps = ctx.saved_tensors
        gradient, layout = gradient.contiguous(), ctx.layout
        to_values = to_taps = None
        if ctx.needs_input_grad[0]:
            to_values = _along(gradient, taps.flip(0).contiguous(), layout, len(taps) - 1 - ctx.left)
        if ctx.needs_input_grad[1]:
            parts = -(-layout.total // _ROWS)
            partial = taps.new_empty(parts, *taps.shape)
            arrays = (partial.numpy(), gradient.numpy(), values.numpy())
            share(kernels.depthwise_taps, range(parts + 1), *arrays, ctx.left, *_bounds(layout), _ROWS)
            to_taps = partial.sum(0)
        return to_values, to_taps, None, None


def _along(values: Tensor, taps: Tensor, layout: Layout, left: int) -> Tensor:
    out = torch.empty_like(values)
    bounds = [*range(0, layout.total, _ROWS), layout.total]
    share(
        kernels.depthwise, bounds, out.numpy(), values.detach().numpy(), taps.detach().numpy(), left, *_bounds(layout)
    )
    return out


def depthwise(
    values: Float[Tensor, "t d"], taps: Float[Tensor, "taps d"], layout: Layout, left: int
) -> Float[Tensor, "t d"]:
    """y_i = sum_r taps_r * x_{i - left + r}, number by number, with zeros beyond the ends of the set.

    Args:
        values: float32 or float64 on the CPU. taps: of the same type.
        layout: whose rows the values are. left: how many of the taps lie before the row.
    """
    out: Tensor = _Depthwise.apply(values, taps, layout, left)
    return out
