"""FLOATER: positions as the solution of a differential equation whose right-hand side is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.errors import InputError
from regard.layers.checks import checked
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Floater"]


@checked()
class Floater(nn.Module):
    """Position vectors of every block from one learned dynamical system (Liu et al. 2020, arXiv 2003.09229, sections 3.1 and 3.2).

        p_n(t) = p_n(s) + integral from s to t of h(tau, p_n(tau)) dtau       place i lies at t = span * i
        h(tau, p) = S'(tau) + W_2 tanh(W_1 p + b)

    S are the sinusoids of Vaswani et al. 2017. All blocks share h, and each block n learns where it begins, p_n(0). Here W_2 and
    p_n(0) - S(0) begin as zeros: a new FLOATER is the sinusoidal encoding in every block, and learns from there, which is the
    warm start of section 3.3. In the paper S' is left to the network.

    What block n reads is x + p_n instead of x, so that its queries, keys and values carry the biases W p_n (section 3.3). With
    `stack(sets, floater(layout, rows))` these vectors go to the mixers alone and not into the residual stream.

    S is known in closed form, so that only r = p - S is solved for, by the classical Runge-Kutta method with `steps` equal steps
    from each place to the next. Gradients are those of the steps taken, exact to rounding. Places have no end, and parameters do
    not grow with length. Time grows with the largest place of a batch: one step after another, each for all blocks at once.

    Args:
        width: d, of the vectors; even.
        layers: the number of blocks.
        hidden: rows of W_1; None means the width.
        span: of time, from a place to the next.
        steps: of the solver, from a place to the next.
        base: of the sinusoids.

    Raises:
        InputError: an odd width, or numbers below 1; (when called) a set that starts before place 0.

    >>> floater = Floater(8, layers=2)
    >>> floater(Layout.of_lengths([3, 2]), 5).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        width: int,
        layers: int,
        hidden: int | None = None,
        span: float = 0.1,
        steps: int = 1,
        base: float = 10000.0,
    ) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise InputError(f"Floater has width {width}, expected an even number: two for each sinusoid")
        self.width, self.span, self.steps, self.base = width, span, steps, base
        self.start = nn.Parameter(torch.zeros(layers, width))
        self.into = nn.Linear(width, hidden or width)
        self.out = nn.Linear(hidden or width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, layout: Layout, rows: int) -> Float[Tensor, "layers {rows} {self.width}"]:
        """What each block adds to each vector."""
        learned = self.start, self.into.weight, self.into.bias, self.out.weight
        return torch.ops.regard.floater(*learned, layout.order(rows), self.span, self.steps, self.base)

    def extra_repr(self) -> str:
        return f"{self.width}, layers={self.start.shape[0]}, span={self.span}, steps={self.steps}"


# With a(z) = tanh(z), y = W_1 r and M = (W_1 W_2)^T, the solver needs hidden vectors alone:
#     y' = a(W_1 S + b + y) M        r' = a(W_1 S + b + y) W_2^T
# so that all products with W_1 S and with W_2 are done for all steps at once, and a step is left with four small products.


def _march(drive: Tensor, y: Tensor, mixing: Tensor, step: float) -> Tensor:
    """`[n, 4, layers, hidden]`: the four tanh of each Runge-Kutta step, from W_1 S + b at ends and middles, `[2 n + 1, hidden]`."""
    taken = y.new_empty(drive.shape[0] // 2, 4, *y.shape)
    for k, a in enumerate(taken):
        middle = y + drive[2 * k + 1]
        torch.tanh(y + drive[2 * k], out=a[0])
        torch.tanh(torch.addmm(middle, a[0], mixing, alpha=step / 2), out=a[1])
        torch.tanh(torch.addmm(middle, a[1], mixing, alpha=step / 2), out=a[2])
        torch.tanh(torch.addmm(y + drive[2 * k + 2], a[2], mixing, alpha=step), out=a[3])
        y = torch.addmm(y, _weighted(a), mixing, alpha=step / 6)
    return taken


def _weighted(a: Tensor) -> Tensor:
    """a_1 + 2 a_2 + 2 a_3 + a_4, of the last axis but two."""
    first, second, third, fourth = a.unbind(-3)
    return first + 2 * (second + third) + fourth


def _march_back(taken: Tensor, asked: Tensor, mixing: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Gradients `[n, 4, layers, hidden]` of what stands inside the four tanh of each step, and `[n + 1, layers, hidden]` of y.

    `asked [n, layers, hidden]` is what the positions ask of the weighted sum of each step.
    """
    inside, back = torch.empty_like(taken), mixing.T.contiguous()
    slopes = 1 - taken.square()
    of_y = taken.new_zeros(len(taken) + 1, *taken.shape[2:])
    for k in range(len(taken) - 1, -1, -1):
        slope, gained, y = slopes[k], inside[k], of_y[k + 1]
        weighted = torch.addmm(asked[k], y, back, alpha=step / 6)
        twice = 2 * weighted
        torch.mul(weighted, slope[3], out=gained[3])
        torch.mul(torch.addmm(twice, gained[3], back, alpha=step), slope[2], out=gained[2])
        torch.mul(torch.addmm(twice, gained[2], back, alpha=step / 2), slope[1], out=gained[1])
        torch.mul(torch.addmm(weighted, gained[1], back, alpha=step / 2), slope[0], out=gained[0])
        torch.add(y, gained.sum(0), out=of_y[k])
    return inside, of_y


def _sinusoids(places: int, parts: int, width: int, base: float, like: Tensor) -> Tensor:
    """`[(places - 1) parts + 1, width]`: S at each place and at `parts - 1` times in between."""
    at = torch.arange((places - 1) * parts + 1, dtype=torch.float64, device=like.device) / parts
    angle = at[:, None] * base ** (-torch.arange(0, width, 2, dtype=torch.float64, device=like.device) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(like.dtype)


def _places(place: Tensor) -> int:
    """How many places there are, from 0 to the largest."""
    low, high = (int(x) for x in place.aminmax()) if place.numel() else (0, 0)
    if low < 0:
        raise InputError(f"a set starts at place {low}, expected 0 or more: FLOATER's positions begin at place 0")
    return high + 1


@torch.library.custom_op("regard::floater", mutates_args=())
def _floater(
    start: Tensor, into: Tensor, bias: Tensor, out: Tensor, place: Tensor, span: float, steps: int, base: float
) -> Tensor:
    """`[layers, t, d]` p_n at each place."""
    with torch.autocast(start.device.type, enabled=False):
        solved = _Solved([start, into, bias, out], place, span, steps, base)
        return solved.positions()[place].transpose(0, 1).contiguous().to(start.dtype)


# As many parameters as the formula has tensors and numbers: the schema of an operator is flat.
@torch.library.custom_op("regard::floater_backward", mutates_args=())
def _floater_backward(
    gradient: Tensor,
    start: Tensor,
    into: Tensor,
    bias: Tensor,
    out: Tensor,
    place: Tensor,
    span: float,
    steps: int,
    base: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of start, into, bias and out; the forward pass is computed once more."""
    with torch.autocast(start.device.type, enabled=False):
        solved = _Solved([start, into, bias, out], place, span, steps, base)
        given = gradient.transpose(0, 1).flatten(1).to(solved.start.dtype)
        # Unlike an index, an embedding sums its gradient in one fixed order.
        summed = torch.ops.aten.embedding_dense_backward(given, place, solved.places, -1, False)
        a, b, c, d = (x.to(start.dtype).contiguous() for x in solved.gradients(summed.unflatten(1, start.shape)))
        return a, b, c, d


class _Solved:
    """The steps of the solver from place 0 to the largest, in float32 or better, with what both passes need of them."""

    def __init__(self, learned: list[Tensor], place: Tensor, span: float, steps: int, base: float) -> None:
        exact = torch.promote_types(learned[0].dtype, torch.float32)
        self.start, self.into, self.bias, self.out = (x.detach().to(exact) for x in learned)
        self.places, self.steps, self.step = _places(place), steps, span / steps
        self.sinusoids = _sinusoids(self.places, 2 * steps, self.start.shape[1], base, self.start)
        self.mixing = self.out.T @ self.into.T
        drive = torch.addmm(self.bias, self.sinusoids, self.into.T)
        self.taken = _march(drive, self.start @ self.into.T, self.mixing, self.step)
        self.weighted = _weighted(self.taken)

    def positions(self) -> Tensor:
        """`[places, layers, d]`"""
        moved = self.weighted.cumsum(0)[self.steps - 1 :: self.steps] @ self.out.T
        r = torch.cat([self.start[None], self.start + self.step / 6 * moved])
        return self.sinusoids[:: 2 * self.steps, None] + r

    def gradients(self, given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of start, into, bias and out, for those of the positions, `[places, layers, d]`."""
        a, step = self.taken, self.step
        # Each step moves all positions behind it.
        behind = given.flip(0).cumsum(0).flip(0)
        total, behind = behind[0], behind[1:].repeat_interleave(self.steps, 0) * (step / 6)
        inside, of_y = _march_back(a, behind @ self.out, self.mixing, step)
        factors = step * inside.new_tensor([0.5, 0.5, 1.0])[:, None, None]
        of_mixing = _products(a[:, :3], factors * inside[:, 1:]) + _products(self.weighted, of_y[1:] * (step / 6))
        # The four tanh of a step read S at its beginning, twice in its middle, and at its end.
        by_time = inside.sum(2)
        ends, middles = self.sinusoids[::2], self.sinusoids[1::2]
        into = by_time[:, 0].T @ ends[:-1] + (by_time[:, 1] + by_time[:, 2]).T @ middles + by_time[:, 3].T @ ends[1:]
        into = into + of_y[0].T @ self.start + of_mixing.T @ self.out.T
        out = _products(behind, self.weighted) + (of_mixing @ self.into).T
        return total + of_y[0] @ self.into, into, by_time.sum((0, 1)), out


def _products(a: Tensor, b: Tensor) -> Tensor:
    """`[n, m]`: a^T b, over all axes but the last."""
    return a.flatten(0, -2).T @ b.flatten(0, -2)


@_floater.register_fake
def _fake(start: Tensor, into: Tensor, bias: Tensor, out: Tensor, place: Tensor, *others: Any) -> Tensor:
    return start.new_empty(start.shape[0], place.shape[0], start.shape[1])


@_floater_backward.register_fake
def _fake_backward(gradient: Tensor, *learned_and_others: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in learned_and_others[:4])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.numbers = inputs[5:]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    found = torch.ops.regard.floater_backward(gradient, *ctx.saved_tensors, *ctx.numbers)
    return (*found, None, None, None, None)


_floater.register_autograd(_backward, setup_context=_keep)
