"""Sines and cosines of places, right to rounding at every place up to 2^53: no angle is ever larger than a turn.

    a = place / base^(2 i / width)        cos a and sin a for i = 0, 1, ..., ceil(width / 2) - 1

A place has 53 bits and an angle's rounding is relative, so that place times frequency, in float64 too, is wrong by whole turns long
before the last place. Here turns are counted: the place in two parts of 27 bits, the frequency per part in two numbers whose first
products are exact, and whole turns are taken off before anything is rounded.

    regard::sinusoids           (cos, sin) of places [t], in a type; an operator, so that traced code holds one node
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Num

__all__ = ["sinusoids"]

# Bits of the lower part of a place, and of the first number of a frequency: their products fill a float64 of 53 bits.
_PART, _FIRST = 27, 26
# Digits of frequencies: those of the largest place, and those of a float64.
_DIGITS = 60
_TURN = Decimal("6.28318530717958647692528676655900576839433879875021164194988918461563281")


def sinusoids(
    place: Num[Tensor, " t"], width: int, base: float, dtype: torch.dtype
) -> tuple[Float[Tensor, "t frequencies"], Float[Tensor, "t frequencies"]]:
    """`[t, ceil(width / 2)]` cosines and sines of place / base^(2 i / width).

    Args:
        place: whole numbers, or coordinates, which may need gradients.
        width: of the vectors that two numbers for each frequency make. base: above 0. dtype: of the result.

    >>> cos, sin = sinusoids(torch.tensor([0, 1_000_000_007]), 2, 10000.0, torch.float64)
    >>> cos[:, 0].tolist() == [1.0, math.cos(1_000_000_007)]
    True
    """
    if type(place) is Tensor and not place.requires_grad and not torch.compiler.is_compiling():
        # An operator written in Python is called in a tenth of a millisecond, as long as the table of a few places takes.
        return _sinusoids(place, width, base, dtype)
    found: tuple[Tensor, Tensor] = torch.ops.regard.sinusoids(place, width, base, dtype)
    return found


@lru_cache(maxsize=64)
def _frequencies(width: int, base: float, device: torch.device) -> Tensor:
    """`[5, frequencies]` float64: turns per place, then for each part of a place the number with exact products and the rest."""
    columns = []
    with localcontext() as context:
        context.prec = _DIGITS + abs(int(math.log10(base)))
        logarithm = Decimal(base).ln()
        for i in range(0, width, 2):
            turns = (-logarithm * i / width).exp() / _TURN
            column = [turns]
            for part in (turns % 1, turns * (1 << _PART) % 1):
                first = (part * (1 << _FIRST)).to_integral_value() / (1 << _FIRST)
                column += [first, part - first]
            columns.append([float(number) for number in column])
    return torch.tensor(columns, dtype=torch.float64).reshape(-1, 5).T.contiguous().to(device)


def _sinusoids(place: Tensor, width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    if place.device.type == "mps":
        # Without float64 there.
        cos, sin = _sinusoids(place.cpu(), width, base, dtype)
        return cos.to(place.device), sin.to(place.device)
    if place.device.type == "cpu" and place.numel() and not place.is_floating_point():
        low, high = (int(end) for end in place.aminmax())
        if high - low + 1 < place.numel():
            # Sets of a batch share places.
            table = _sinusoids(torch.arange(low, high + 1), width, base, dtype)
            cos, sin = (x.index_select(0, place - low) for x in table)
            return cos, sin
    angle = _turns(place, _frequencies(width, base, place.device)).mul_(2 * math.pi)
    return angle.cos().to(dtype), angle.sin_().to(dtype)


def _turns(place: Tensor, frequencies: Tensor) -> Tensor:
    """`[t, frequencies]` float64, between -1/2 and 1/2."""
    whole = place.double()[:, None]
    turns, first, second, far_first, far_second = frequencies
    beyond = None
    if place.is_floating_point():
        beyond, whole = whole - whole.floor(), whole.floor()
    far = (whole / (1 << _PART)).floor()
    near = whole - far * (1 << _PART)
    sum_ = near * first
    sum_.sub_(sum_.round()).addcmul_(near, second)
    # Few places are so far; on other devices looking would wait.
    if place.device.type != "cpu" or bool((far != 0).any()):
        exact = far * far_first
        sum_.add_(exact.sub_(exact.round())).addcmul_(far, far_second)
    if beyond is not None:
        sum_.addcmul_(beyond, turns)
    return sum_.sub_(sum_.round())


def _fake(place: Tensor, width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    shape = place.shape[0], (width + 1) // 2
    return place.new_empty(shape, dtype=dtype), place.new_empty(shape, dtype=dtype)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    place, width, base, _ = inputs
    ctx.save_for_backward(*output)
    ctx.width, ctx.base, ctx.dtype = width, base, place.dtype


def _backward(ctx: Any, of_cos: Tensor, of_sin: Tensor) -> tuple[Any, ...]:
    cos, sin = ctx.saved_tensors
    i = torch.arange(0, ctx.width, 2, device=cos.device, dtype=cos.dtype)
    of_angle = of_sin * cos - of_cos * sin
    return (of_angle * ctx.base ** (-i / ctx.width)).sum(1).to(ctx.dtype), None, None, None


torch.library.define("regard::sinusoids", "(Tensor place, int width, float base, ScalarType dtype) -> (Tensor, Tensor)")
torch.library.impl("regard::sinusoids", "CompositeExplicitAutograd", _sinusoids)
torch.library.register_fake("regard::sinusoids", _fake)
torch.library.register_autograd("regard::sinusoids", _backward, setup_context=_keep)
