"""The layers without memory that self-attention is compared with: each vector alone, and each vector with its neighbors.

A mixer says in `context` how many vectors before and behind one it looks at; those with memory are in `recurrent`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from regard.layers.checks import checked
from regard.layers.linear import Linear, linear
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["Convolution", "Pointwise", "WindowedLinear"]


@checked()
class Pointwise(nn.Module):
    """y_i = W x_i + b: fully connected, every vector by itself.

    Args:
        width_in: of the vectors. width: of the result; None means the same.
    """

    def __init__(self, width_in: int, width: int | None = None) -> None:
        super().__init__()
        self.width = width or width_in
        self.context = 0.0, 0.0
        self.linear = Linear(width_in, self.width)

    def forward(self, sets: VectorSets) -> VectorSets:
        return sets.with_values(self.linear(sets.values))


@checked(left=0, right=0)
class WindowedLinear(nn.Module):
    """y_i = W [x_{i - left}; ...; x_{i + right}] + b, with zeros beyond the ends of the set: neighboring frames joined.

    The window may be wider than every set: neighbors that no set of the batch has are neither gathered nor multiplied, but W has
    (left + right + 1) * width_in * width numbers all the same.

    Args:
        width_in: of the vectors.
        left, right: how many neighbors before and behind.
        width: of the result; None means that of the vectors.
    """

    def __init__(self, width_in: int, left: int, right: int, width: int | None = None) -> None:
        super().__init__()
        self.width, self.left, self.right = width or width_in, left, right
        self.context = float(left), float(right)
        self.linear = Linear((left + right + 1) * width_in, self.width)

    def forward(self, sets: VectorSets) -> VectorSets:
        layout, values = sets.layout, sets.values
        layout.check_rows_in_order("a window")
        left, right, weight = self.left, self.right, self.linear.weight
        if not torch.compiler.is_compiling() and max(left, right) >= layout.longest:
            left, right = (min(side, max(0, layout.longest - 1)) for side in (left, right))
            within = weight.unflatten(1, (-1, values.shape[1]))[:, self.left - left : self.left + right + 1]
            weight = within.flatten(1)
        rows = neighbors(layout, left, right, values.shape[0])
        padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
        joined = padded.index_select(0, rows.flatten()).view(rows.shape[0], weight.shape[1])
        return sets.with_values(linear(joined, weight, self.linear.bias))


@checked(left=0, right=0)
class Convolution(nn.Module):
    """y_i = sum_r W_r x_{i + step r} + b for -left <= r <= right, with zeros beyond the ends of the set.

    With `step` 1 it is the function of `WindowedLinear`, computed without joining the neighbors; a larger `step` leaves out vectors
    between the taps, so that few blocks reach far (Waibel et al. 1989, time-delay networks; Yu and Koltun 2016, eq. 2, dilation).

    Args:
        width_in: of the vectors.
        left, right: how many taps before and behind.
        width: of the result; None means that of the vectors.
        step: from one tap to the next, at least 1.

    Raises:
        InputError: fewer than no taps, or a step below 1.

    >>> layer = Convolution(8, 1, 1, width=4, step=2)
    >>> layer(VectorSets.pack([torch.ones(3, 8), torch.ones(1, 8)]))
    VectorSets(values [4, 4] float32, 2 sets)
    """

    def __init__(self, width_in: int, left: int, right: int, width: int | None = None, step: int = 1) -> None:
        super().__init__()
        self.width, self.left, self.right, self.step = width or width_in, left, right, step
        self.context = float(left * step), float(right * step)
        taps = left + right + 1
        bound = 1 / math.sqrt(taps * width_in)
        self.taps = nn.Parameter(torch.empty(self.width, width_in, taps).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(self.width))

    def forward(self, sets: VectorSets) -> VectorSets:
        values, layout = sets.values, sets.layout
        layout.check_rows_in_order("a convolution")
        # All sets along one line, with zeros between them and at its ends.
        before, behind = self.left * self.step, self.right * self.step
        rows, gap = values.shape[0], max(before, behind)
        line = values.new_zeros(before + rows + gap * layout.sets + behind + 1, values.shape[1])
        place = torch.arange(rows, device=values.device) + gap * layout.owners(rows)
        line = line.index_copy(0, place + before, values)
        out = conv1d(line.T[None], self.taps, self.bias, dilation=self.step)
        return sets.with_values(out[0].T.index_select(0, place))

    def extra_repr(self) -> str:
        return f"left={self.left}, right={self.right}, width={self.width}, step={self.step}"


def neighbors(layout: Layout, left: int, right: int, rows: int) -> Int[Tensor, "{rows} {left}+{right}+1"]:
    """The rows around each of the t rows, t where they would lie outside of its set; kept by the layout."""
    return layout.kept(("neighbors", left, right), lambda: _new_neighbors(layout, left, right, rows))


def _new_neighbors(layout: Layout, left: int, right: int, rows: int) -> Tensor:
    around = torch.arange(rows, device=layout.device)[:, None] + torch.arange(-left, right + 1, device=layout.device)
    owner = layout.owners(rows)
    begin, end = layout.offsets[owner][:, None], layout.offsets[owner + 1][:, None]
    return torch.where((around >= begin) & (around < end), around, rows)
