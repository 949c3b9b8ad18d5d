"""Linear layers whose weights take a half or a quarter of the memory, for models that are trained: bfloat16, float16 or int8."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from regard.attention.costs import slow_type
from regard.errors import InputError
from regard.kernels import available
from regard.kernels.threads import cut, share
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.layers.weight_types import Weights

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["HalfLinear", "Int8Linear", "most_exact", "narrow", "slow_weights"]

# The sums of so many are computed at once.
_SUMS = 1 << 18


@checked()
class HalfLinear(nn.Module):
    """W x + b with W and x rounded to a type of two bytes, products summed in float32, results rounded to that type once more.

    Args:
        layer: whose weights it takes. dtype: torch.bfloat16 or torch.float16.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.narrow = nn.Parameter(layer.weight.detach().to(dtype), requires_grad=False)
        self.bias = _of_bias(layer)

    @property
    def weight(self) -> Float[Tensor, "out d"]:
        """W in float32."""
        return self.narrow.float()

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b out"]:
        found = linear(x.to(self.narrow.dtype), self.narrow).to(x.dtype)
        return found if self.bias is None else found + self.bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, weights={self.narrow.dtype}"


@checked()
class Int8Linear(nn.Module):
    """W x + b by products of whole numbers: y_i = s_i c sum_k W'_ik x'_k + b_i, with W_ik about s_i W'_ik and x_k about c x'_k.

    x' are whole numbers from -127 to 127, and c = max|x| / 127 for each vector by itself, so that what else is in a batch changes
    nothing. s_i = max|W_i| / n for each row of W, and W' from -n to n, where n is `most_exact()`. The sums are exact.

    Args:
        layer: whose weights it takes.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        most = most_exact()
        weight = layer.weight.detach().float()
        scales = weight.abs().amax(1) / most if weight.numel() else weight.new_zeros(len(weight))
        whole = (weight / scales.where(scales > 0, 1)[:, None]).round().clamp(-most, most)
        self.narrow = nn.Parameter(whole.to(torch.int8), requires_grad=False)
        self.scales: Tensor
        self.register_buffer("scales", scales)
        self.bias = _of_bias(layer)

    @property
    def weight(self) -> Float[Tensor, "out d"]:
        """The weights that are computed with, in float32."""
        return self.narrow.float() * self.scales[:, None]

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b out"]:
        if not x.numel():
            return linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))
        rows = x.detach().reshape(-1, self.in_features).float().contiguous()
        compute = _compiled if available() else _in_operators
        found = compute(rows, self.narrow, self.scales, self.bias)
        return found.to(x.dtype).view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, weights=int8"


def _of_bias(layer: nn.Linear) -> nn.Parameter | None:
    return None if layer.bias is None else nn.Parameter(layer.bias.detach().float(), requires_grad=False)


def _compiled(rows: Tensor, narrow: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    """What `Int8Linear` computes, for rows in float32."""
    from regard.layers.kernels import from_sums, to_int8

    (t, d), out = rows.shape, len(narrow)
    whole, of_rows, found = torch.empty(t, d, dtype=torch.int8), torch.empty(t), torch.empty(t, out)
    share(to_int8, cut(t, d), *(x.numpy() for x in (whole, of_rows, of_rows.view(torch.int32))), *_both(rows))
    # As many at a time as leave their sums in cache.
    step = max(64, _SUMS // out)
    sums = torch.empty(min(t, step), out, dtype=torch.int32)
    added = scales.new_zeros(out) if bias is None else bias.detach()
    columns = scales.numpy(), added.numpy()
    for at in range(0, t, step):
        some = slice(at, min(at + step, t))
        n = some.stop - at
        torch._int_mm(whole[some], narrow.t(), out=sums[:n])
        share(from_sums, cut(n, out), found[some].numpy(), sums.numpy(), of_rows[some].numpy(), *columns)
    return found


def _both(rows: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """The numbers, and their bits."""
    numbers = rows.numpy()
    return numbers, numbers.view("int32")


def _in_operators(rows: Tensor, narrow: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    """The same by torch's operators, bit by bit, where Numba is not installed."""
    of_rows = rows.abs().amax(1, keepdim=True) / 127
    whole = (rows * torch.where(of_rows > 0, 1 / of_rows, 0)).nan_to_num(0, 0, 0).round().to(torch.int8)
    found = torch._int_mm(whole, narrow.t()).float() * (of_rows * scales)
    return found if bias is None else found + bias


@cache
def most_exact() -> int:
    """The largest n for which products of whole numbers up to 127 with such up to n are summed exactly here: 127 or 64.

    Processors with instructions for products of whole numbers (AVX-512 VNNI, AVX-VNNI, AMX) sum 127 times 127; others add two
    products in 16 bits first, where larger ones do not fit.
    """
    depth = 512
    for most in (127, 64):
        signs = torch.where(torch.arange(depth) % 3 == 0, -1, 1)
        x = torch.stack([torch.full((depth,), 127), signs * 127]).to(torch.int8)
        narrow = torch.stack([torch.full((depth,), most), torch.full((depth,), -most), signs * most]).to(torch.int8)
        exact = x.long() @ narrow.long().t()
        if all(torch.equal(torch._int_mm(x.repeat(n, 1), narrow.t()), exact.int().repeat(n, 1)) for n in (1, 32)):
            return most
    raise InputError("this build of torch sums products of int8 inexactly, expected one whose sums are exact")


def narrow(module: nn.Module, weights: Weights) -> None:
    """Give the weights of every `torch.nn.Linear` inside a module another type; it can no longer be trained then.

    Tables of vectors, norms, convolutions and what attention itself computes stay as they are.

    Raises:
        InputError: another type than these, or a module that is a linear layer itself.

    >>> layers = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    >>> narrow(layers, "int8")
    >>> layers
    Sequential(
      (0): Int8Linear(in_features=4, out_features=2, weights=int8)
      (1): ReLU()
    )
    """
    if weights not in get_args(Weights):
        raise InputError(f"weights is {weights!r}, expected one of {', '.join(get_args(Weights))}")
    if type(module) in (nn.Linear, Linear):
        raise InputError("the module is a linear layer itself, expected one that holds such, or Int8Linear(layer)")
    if weights == "float32":
        return
    # By identity, so that a layer which stands in two places stays one.
    made: dict[int, nn.Module] = {}
    for one in list(module.modules()):
        for name, child in list(one.named_children()):
            if isinstance(child, nn.Linear) and type(child) in (nn.Linear, Linear):
                if id(child) not in made:
                    made[id(child)] = (
                        Int8Linear(child) if weights == "int8" else HalfLinear(child, getattr(torch, weights))
                    )
                setattr(one, name, made[id(child)])


def slow_weights(weights: Weights) -> str | None:
    """Why a model with weights of this type is no quicker than one in float32 where it is computed here, in a sentence, or None."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return slow_type(getattr(torch, weights), device) if weights in ("bfloat16", "float16") else None
