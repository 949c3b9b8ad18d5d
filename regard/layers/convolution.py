"""Convolution along a set's order, and the module of the Conformer around it; no set ever mixes with its neighbor."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu, glu, pad, silu

from regard.kernels import available
from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.linear import Linear
from regard.sets import Layout, VectorSets

__all__ = ["ConvolutionModule", "ConvolutionalStem", "Depthwise", "Subsample"]


@checked(left=0, right=0)
class Depthwise(nn.Module):
    """y_i = sum_r w_r * x_{i + r} + b for -left <= r <= right, number by number, with zeros beyond the ends of the set.

    Args:
        width: of the vectors.
        left, right: how many neighbors before and behind.
    """

    def __init__(self, width: int, left: int, right: int) -> None:
        super().__init__()
        self.width, self.left, self.right = width, left, right
        bound = 1 / math.sqrt(left + right + 1)
        self.taps = nn.Parameter(torch.empty(left + right + 1, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, sets: VectorSets) -> VectorSets:
        values, layout = sets.values, sets.layout
        layout.check_rows_in_order("a convolution")
        taps = self.taps.to(values.dtype)
        plain = values.device.type != "cpu" or values.dtype not in (torch.float32, torch.float64)
        if plain or torch.compiler.is_compiling() or not available():
            out = _with_gaps(values, taps, layout, self.left)
        else:
            from regard.layers.depthwise import depthwise

            out = depthwise(values, taps, layout, self.left)
        return sets.with_values(out + self.bias)


def _with_gaps(values: Tensor, taps: Tensor, layout: Layout, left: int) -> Tensor:
    """The same by torch's convolution, along all sets with zeros between them."""
    right = taps.shape[0] - 1 - left
    gap = max(left, right)
    place = torch.arange(layout.total, device=values.device) + gap * layout.set_of_row
    line = values.new_zeros(layout.total + gap * layout.sets, values.shape[1]).index_copy(0, place, values)
    out = conv1d(pad(line.T[None], (left, right)), taps.T[:, None], groups=values.shape[1])
    return out[0].T.index_select(0, place)


@checked(left=0, right=0)
class ConvolutionModule(nn.Module):
    """W_2 silu(norm(depthwise(glu(W_1 x)))): the convolution module of the Conformer (Gulati et al. 2020, section 2.2, figure 2).

    Where the paper normalizes over the batch, this normalizes each vector (layer norm), so that a set's result never depends
    on what else is in the batch, nor on frames that a stream has not brought yet.

    Args:
        width: of the vectors. left, right: neighbors of the depthwise convolution. dropout: behind W_2, while training.
    """

    def __init__(self, width: int, left: int, right: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.into = Linear(width, 2 * width)
        self.depthwise = Depthwise(width, left, right)
        self.norm = nn.LayerNorm(width)
        self.out = Linear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, sets: VectorSets) -> VectorSets:
        sets = self.depthwise(sets.with_values(glu(self.into(sets.values), -1)))
        return sets.with_values(self.dropout(self.out(silu(self.norm(sets.values)))))


@checked(reach=0)
class Subsample(nn.Module):
    """z_n = W [x_{step n - reach}; ...; x_{step n + step - 1 + reach}] + b: `step` frames become one, with zeros beyond the ends.

    Args:
        width_in: of the vectors. width: of the result. step: how many vectors become one.
        reach: how many neighbors on each side of those are joined as well.
    """

    def __init__(self, width_in: int, width: int, step: int, reach: int = 0) -> None:
        super().__init__()
        self.width, self.step, self.reach = width, step, reach
        self.linear = Linear((step + 2 * reach) * width_in, width)

    def forward(self, sets: VectorSets) -> VectorSets:
        layout, step, reach = sets.layout, self.step, self.reach
        layout.check_rows_in_order("a layer that joins neighboring vectors")
        fewer, rows = layout.kept(("subsample", step, reach), lambda: _neighboring(layout, step, reach))
        values = torch.cat([sets.values, sets.values.new_zeros(1, sets.values.shape[1])])
        joined = values.index_select(0, rows.flatten()).view(fewer.total, self.linear.in_features)
        return VectorSets(self.linear(joined), fewer)


@checked(reach=0)
class ConvolutionalStem(Subsample):
    """z_n = gelu(W [x_{step n - reach}; ...; x_{step n + step - 1 + reach}] + b): a convolution whose windows overlap.

    It is a convolution of step + 2 reach taps that moves by `step`; with a reach of 0 they are patches.

    Args:
        width_in, width, step, reach: as in `Subsample`.

    >>> stem = ConvolutionalStem(8, 4, step=2, reach=1)
    >>> stem(VectorSets.pack([torch.ones(3, 8), torch.ones(0, 8)]))
    VectorSets(values [2, 4] float32, 2 sets)
    """

    def forward(self, sets: VectorSets) -> VectorSets:
        joined = super().forward(sets)
        return joined.with_values(gelu(joined.values))


def _neighboring(layout: Layout, step: int, reach: int) -> tuple[Layout, Tensor]:
    """The layout of a vector per `step` of a set, and `[t, step + 2 reach]` their rows, one past the last where there is none."""
    fewer = Layout.of_lengths((layout.lengths + step - 1) // step)
    first, end = layout.offsets[fewer.set_of_row][:, None], layout.offsets[fewer.set_of_row + 1][:, None]
    rows = first + fewer.index[:, None] * step + torch.arange(-reach, step + reach, device=layout.device)
    if layout.starts is not None:
        fewer = Layout(fewer.offsets, starts=layout.starts // step)
    return fewer, torch.where((rows >= first) & (rows < end), rows, layout.total)
