"""Dropout on vectors whose mask is a hash, so that none is stored and drawing it costs next to nothing on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.attention import dropout as weights
from regard.kernels import available
from regard.kernels.threads import memory_of, share
from regard.layers.checks import checked

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Dropout", "dropout"]

_LANES = 16
# So many numbers go to a thread at once.
_PART = 1 << 15
_TYPES = (torch.float32, torch.float64, torch.bfloat16)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, seed: int, p: float) -> Tensor:
        ctx.seed, ctx.p = seed, p
        return _along(values, seed, p)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # A linear map whose transpose it is itself.
        return _Dropout.apply(gradients[0], ctx.seed, ctx.p), None, None


def _along(values: Tensor, seed: int, p: float) -> Tensor:
    if not available():
        return _in_operators(values, seed, p)
    from regard.layers.kernels import dropped

    if (n := values.numel()) < _LANES:
        return _along(functional.pad(values.flatten(), (0, _LANES - n)), seed, p)[:n].view_as(values)
    values = values.contiguous()
    out = torch.empty_like(values)
    bounds = [*range(0, max(1, n - _LANES), _PART), n]
    ids = torch.arange(_LANES, dtype=torch.int32)
    factor = torch.tensor([1 / (1 - p)], dtype=torch.promote_types(values.dtype, torch.float32))
    arrays = [memory_of(x) for x in (out, values, ids)]
    share(dropped, bounds, *arrays, seed & 0xFFFFFFFF, seed >> 32, weights.Dropout(p).least, factor.numpy())
    return out


def _in_operators(values: Tensor, seed: int, p: float) -> Tensor:
    """The same by torch's operators, bit by bit, where Numba is not installed."""
    dropout = weights.Dropout(p, seed)
    hashes = dropout.of_heads(torch.arange(values.numel())).view(values.shape)
    # A number beside a tensor is as wide as products of the tensor's type are; those of bfloat16 are rounded once.
    return (values * (1 / (1 - p))).where(hashes >= dropout.least, 0)


@torch.library.custom_op("regard::dropout", mutates_args=(), device_types="cpu")
def _traced(values: Tensor, seed: Tensor, p: float) -> Tensor:
    """The same for code that torch traces."""
    # Small ones come back as a view of a longer one, which is no result for an operator.
    return _along(values, int(seed), p).clone() if values.numel() < _LANES else _along(values, int(seed), p)


@_traced.register_fake
def _(values: Tensor, seed: Tensor, p: float) -> Tensor:
    return torch.empty_like(values, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.p = inputs[2]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    return torch.ops.regard.dropout(gradient, *ctx.saved_tensors, ctx.p), None, None


_traced.register_autograd(_backward, setup_context=_keep)


def dropout(values: Float[Tensor, "*b"], p: float) -> Float[Tensor, "*b"]:
    """x / (1 - p) with probability 1 - p, and 0 otherwise, each number by itself (Srivastava et al. 2014, section 4).

    On the CPU the choice is a hash of (seed, place), whose seed comes from torch's generator: the same after
    `torch.manual_seed`, whatever the number of threads, compiled or not. On other devices and for other types than float32,
    float64 and bfloat16 it is torch's own.

    Args:
        values: of any shape. p: the probability to drop, 0 <= p < 1.

    >>> sorted(set(dropout(torch.ones(1000), 0.5).tolist()))
    [0.0, 2.0]
    """
    if values.device.type != "cpu" or values.dtype not in _TYPES:
        return functional.dropout(values, p)
    seed = weights.Dropout.draw(p).seed
    if torch.compiler.is_compiling():
        return _traced(values, torch.as_tensor(seed), p)
    found: Tensor = _Dropout.apply(values, seed, p)
    return found


@checked()
class Dropout(nn.Module):
    """`dropout` while training, nothing otherwise. Args: p: the probability to drop, 0 <= p < 1."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = weights.Dropout(p).p

    def forward(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return dropout(values, self.p) if self.training and self.p else values

    def extra_repr(self) -> str:
        return f"p={self.p}"
