"""Linear layers: by torch's product, or by kernels that read rows once for all they are needed for, whichever is quicker here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.attention import calibration, costs
from regard.kernels.matrix import fits, times_matrix

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Linear", "linear"]


# With fewer rows than these, fewer products of two numbers for each thread, or more numbers of the matrix, torch was measured to be
# as quick, or quicker.
_ROWS, _LEAST, _MOST = 256, 1 << 25, 1 << 20
# Of torch's time, what the kernels must take less than to be worth it.
_SHARE = 0.97


class Linear(nn.Linear):
    """x W^T + b, as `torch.nn.Linear`, whose weights and names it has; computed by `linear`.

    >>> import torch
    >>> layer = Linear(2, 1)
    >>> layer(torch.ones(3, 2)).shape
    torch.Size([3, 1])
    """

    def forward(self, input: Float[Tensor, "*b d"]) -> Float[Tensor, "*b e"]:  # noqa: A002
        return linear(input, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*b d"], weight: Float[Tensor, "e d"], bias: Float[Tensor, " e"] | None = None
) -> Float[Tensor, "*b e"]:
    """x W^T + b.

    Large products of float32 or float64 on a CPU, of widths that fill vectors of the processor, go through kernels of our own where
    these were measured to be quicker (`regard calibrate`); all else is torch's.
    """
    # What decides most calls comes first; a compiler is not asked for sizes, which it would hold fast.
    if torch.compiler.is_compiling() or x.dim() != 2 or x.shape[0] < _ROWS or weight.numel() > _MOST:
        return functional.linear(x, weight, bias)
    if x.shape[0] * weight.numel() < _LEAST * torch.get_num_threads():
        return functional.linear(x, weight, bias)
    if fits(x, weight, bias) and _quicker(x, weight):
        return times_matrix(x, weight, bias)
    return functional.linear(x, weight, bias)


def _quicker(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels were measured to be quicker: on processors of the class, and for long products on this one."""
    if costs.seconds_of_product(x.shape[0] * weight.numel()) < calibration.WORTH:
        return costs.share_of_product() < _SHARE
    from regard.attention.planning import EXECUTORS

    return calibration.current(EXECUTORS).factors.get("linear", costs.share_of_product()) < _SHARE
