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

__all__ = ["fits", "gradient_of_inputs", "gradient_of_matrix", "times_matrix"]

_TYPES = (torch.float32, torch.float64)
# Fewer rows than these are for torch: starting threads takes longer than the product.
_FEWEST = 64
# The gradients of a matrix are added up of at most so many parts, each of at least so many rows, whatever the number of threads.
_PARTS, _ROWS = 16, 256
# With more numbers of the matrix than these, so many gradients of it, and itself, do not stay in the cache at once.
_NARROW = 1 << 18
# Rows of the gradient of a matrix that stay in the cache. Numbers of a matrix that a thread turns at once.
_BLOCK, _NUMBERS = 128, 1 << 16


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
    from regard.kernels.simd.processor import ROWS, lanes

    # Rows of a matrix's gradient are computed so many at once as a tile of registers has.
    wide = lanes(8 * x.dtype.itemsize)
    return weight.shape[0] % max(wide, ROWS) == 0 and weight.shape[1] % wide == 0


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
        from regard.kernels.simd.processor import lanes

        ctx.save_for_backward(x, weight)
        wide, (e, d) = lanes(8 * x.dtype.itemsize), weight.shape
        columns, panels = weight.new_empty(weight.numel()), e // wide
        each = max(1, _NUMBERS // (wide * d))
        share(
            products.turned,
            [*range(0, panels, each), panels],
            memory_of(columns),
            memory_of(weight.contiguous()),
            d,
            wide,
        )
        return _times(x, columns, bias, d, e, next=wide, side=wide * d)

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
    if weight.numel() > _NARROW:
        return (
            gradient_of_inputs(weight, gradient) if asked[0] else None,
            gradient_of_matrix(x, gradient) if asked[1] else None,
            gradient.sum(0) if asked[2] else None,
        )
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
    shape = _shape(x, of_part, d, e, **dict(zip(("of_x", "of_w", "of_bias"), map(int, asked), strict=True)))
    share(products.rows_back, range(parts + 1), *map(memory_of, arrays), shape)
    d_x, d_w, d_bias = made
    return (
        d_x if asked[0] else None,
        (d_w[0] if parts == 1 else d_w.sum(0)) if asked[1] else None,
        (d_bias[0] if parts == 1 else d_bias.sum(0)) if asked[2] else None,
    )


def _times(x: Tensor, w: Tensor, bias: Tensor | None, d: int, e: int, **along: int) -> Tensor:
    """x w + bias, for w `[d, e]` as `Shape` says how its vectors lie; by default row after row."""
    from regard.kernels import products

    rows = x.shape[0]
    y = x.new_empty(rows, e)
    # Each row is summed in the same order in whatever part it is.
    of_part = -(-rows // (4 * torch.get_num_threads() * products.TILE)) * products.TILE
    given = y, x.contiguous(), w, x.new_empty(0) if bias is None else bias.contiguous()
    share(products.rows_times, _steps(rows, of_part), *map(memory_of, given), _shape(x, of_part, d, e, **along))
    return y


def gradient_of_inputs(weight: Float[Tensor, "e d"], gradient: Float[Tensor, "t e"]) -> Float[Tensor, "t d"]:
    """That of x, from that of x W^T, for what `fits`."""
    return _times(gradient, weight.contiguous(), None, *weight.shape)


def gradient_of_matrix(x: Float[Tensor, "t d"], gradient: Float[Tensor, "t e"]) -> Float[Tensor, "e d"]:
    """That of W, from that of x W^T, for what `fits`: a block of its rows for each thread in turn, which stays in the cache."""
    from regard.kernels import products

    d, e = x.shape[1], gradient.shape[1]
    d_w = x.new_empty(e, d)
    arrays = d_w, x.contiguous(), gradient.contiguous()
    share(products.weights_back, _steps(e, _BLOCK), *map(memory_of, arrays), _shape(x, _BLOCK, d, e))
    return d_w


def _steps(number: int, step: int) -> range:
    """The bounds of so many parts of `step`, of which the last may be less."""
    return range(-(-number // step) + 1)


def _shape(x: Tensor, of_part: int, d: int, e: int, **more: int) -> Any:
    from regard.kernels.products import Shape
    from regard.kernels.simd.processor import lanes

    wide = lanes(8 * x.dtype.itemsize)
    along = {"next": e, "side": wide, "of_x": 0, "of_w": 0, "of_bias": 0}
    return record(Shape(rows=x.shape[0], of_part=of_part, d=d, e=e, lanes=wide, **along | more))
