"""x W^T + b by the kernels of `products`, with gradients; what they fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from regard.kernels import available
from regard.kernels.records import record
from regard.kernels.threads import memory_of, share

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["fits", "times_matrix"]

_TYPES = (torch.float32, torch.float64)
# Fewer rows than these are for torch: starting threads takes longer than the product.
_FEWEST = 64
# The gradients of a matrix are added up of at most so many parts, each of at least so many rows, whatever the number of threads.
_PARTS, _ROWS = 16, 256


def fits(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernels compute it, outside of what torch compiles."""
    if x.device.type != "cpu" or x.dtype not in _TYPES or x.shape[0] < _FEWEST:
        return False
    if weight.dtype != x.dtype or (bias is not None and bias.dtype != x.dtype):
        return False
    # Under autocast torch chooses the type; tensors that stand for others, and those of torch.func, are torch's as well.
    if torch.is_autocast_enabled("cpu") or is_in_torch_dispatch_mode() or torch._C._functorch.peek_interpreter_stack():
        return False
    if type(x) not in (Tensor, nn.Parameter) or not available():
        return False
    from regard.kernels.simd.processor import lanes

    wide = lanes(8 * x.dtype.itemsize)
    return weight.shape[0] % wide == 0 and weight.shape[1] % wide == 0


def times_matrix(
    x: Float[Tensor, "t d"], weight: Float[Tensor, "e d"], bias: Float[Tensor, " e"] | None
) -> Float[Tensor, "t e"]:
    """x W^T + b, for what `fits`.

    On the way back a kernel reads a tile of rows once for the gradients of x, W and b. The gradient of W is a sum over parts of
    the rows in one order, for any number of threads.
    """
    found: Tensor = _Product.apply(x, weight, bias)
    return found


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        from regard.kernels import products

        ctx.save_for_backward(x, weight)
        rows, (e, d) = x.shape[0], weight.shape
        y = x.new_empty(rows, e)
        # Each row is summed in the same order in whatever part it is.
        of_part = -(-rows // (4 * torch.get_num_threads() * products.TILE)) * products.TILE
        given = x.contiguous(), weight.t().contiguous(), x.new_empty(0) if bias is None else bias.contiguous()
        shape = _shape(rows, of_part, d, e, x.dtype)
        share(products.rows_times, range(-(-rows // of_part) + 1), *(memory_of(each) for each in (y, *given)), shape)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        asked = ctx.needs_input_grad
        if torch.is_grad_enabled():
            # Of gradients that have gradients: by operators that do.
            return (
                gradient @ weight if asked[0] else None,
                gradient.t() @ x if asked[1] else None,
                gradient.sum(0) if asked[2] else None,
            )
        return _back(x, weight, gradient, asked)


def _back(
    x: Tensor, weight: Tensor, gradient: Tensor, asked: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    from regard.kernels import products

    rows, (e, d) = x.shape[0], weight.shape
    parts = 1
    while parts < _PARTS and rows // (2 * parts) >= _ROWS:
        parts *= 2
    of_part = -(-rows // parts)
    made = (
        x.new_empty(rows if asked[0] else 0, d),
        x.new_empty(parts if asked[1] else 0, e, d),
        x.new_empty(parts if asked[2] else 0, e),
    )
    arrays = (*made, x.contiguous(), gradient.contiguous(), weight.contiguous())
    shape = _shape(rows, of_part, d, e, x.dtype, asked)
    share(products.rows_back, range(parts + 1), *(memory_of(each) for each in arrays), shape)
    d_x, d_w, d_bias = made
    return (
        d_x if asked[0] else None,
        (d_w[0] if parts == 1 else d_w.sum(0)) if asked[1] else None,
        (d_bias[0] if parts == 1 else d_bias.sum(0)) if asked[2] else None,
    )


def _shape(
    rows: int, of_part: int, d: int, e: int, dtype: torch.dtype, asked: tuple[bool, ...] = (False, False, False)
) -> Any:
    from regard.kernels.products import Shape
    from regard.kernels.simd.processor import lanes

    return record(Shape(rows, of_part, d, e, lanes(8 * dtype.itemsize), *map(int, asked)))
