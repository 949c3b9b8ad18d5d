"""Attention by place alone, and the convolution that it can compute: Cordonnier et al. 2020, theorem 1."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import Quadratic
from regard.attention.spec.patterns import Everyone, Near, Pattern
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.layers.checks import checked
from regard.layers.grids import Grid, rectangles
from regard.layers.linear import Linear
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["CenteredAttention", "ConvolutionAsAttention", "convolution_as_attention"]

# A power of two, so that its products with whole numbers are exact; exp(-1024) is 0 in float64 too.
_SHARP = 1024.0


@checked()
class CenteredAttention(nn.Module):
    """y_i = W [z_i1; ...; z_ih] + b with z_ih = sum_j softmax_j(-a_h |p_j - p_i - c_h|^2) x_j, p the coordinates.

    Attention that asks where a vector lies and never what it holds: queries and keys are zero, the score is the bias `Quadratic`,
    and all heads share their values, the vectors themselves (Cordonnier et al. 2020, equation 9 and theorem 1). The centers c and
    the sharpness a are learned: `attend.learned["bias_centers"]` `[h, n]` and `attend.learned["bias_sharpness"]` `[h]`. Centers
    are drawn from the normal distribution, and the sharpness begins at 1.

    Args:
        width_in: of the vectors. heads: how many places are looked at.
        width: of the result; None means that of the vectors.
        coordinates: how many the vectors have.
        pattern: which vectors a query may attend to; None means all of its set.
        bias: whether b is added.

    >>> layer = CenteredAttention(4, heads=9, width=8)
    >>> coords = torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0))
    >>> layer(VectorSets.pack([torch.ones(6, 4)], coords=[coords]))
    VectorSets(values [6, 8] float32, 1 sets)
    """

    def __init__(
        self,
        width_in: int,
        heads: int,
        width: int | None = None,
        coordinates: int = 2,
        pattern: Pattern | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.width, self.heads = width or width_in, heads
        self.context = float("inf"), float("inf")
        attention = Attention(pattern=Everyone() if pattern is None else pattern, bias=Quadratic(coordinates))
        self.attend = Attend(attention, heads, 1, width_in)
        nn.init.normal_(self.attend.learned["bias_centers"])
        nn.init.ones_(self.attend.learned["bias_sharpness"])
        self.out = Linear(heads * width_in, self.width, bias=bias)

    def forward(self, sets: VectorSets) -> VectorSets:
        return sets.with_values(self._mixed(sets.values, sets.layout))

    def _mixed(
        self, values: Float[Tensor, "u d"], layout: Layout, key_layout: Layout | None = None
    ) -> Float[Tensor, "t e"]:
        """`[t, width]` for queries of a layout and vectors of the same or of another one."""
        q = values.new_zeros(layout.total, self.heads, 1)
        k = values.new_zeros(values.shape[0], 1, 1)
        return self.out(self.attend(q, k, values[:, None], layout, key_layout).flatten(1))


class _Steps(NamedTuple):
    """How the taps of a convolution lie along one axis.

    Args:
        taps, stride, dilation: as torch has them.
        before, after: cells of padding.
    """

    taps: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def reach(self) -> int:
        """From the first tap to the last."""
        return self.dilation * (self.taps - 1)

    @property
    def middle(self) -> int:
        """From the first tap to the cell that a query stands for."""
        return self.reach // 2

    @property
    def centers(self) -> list[int]:
        """Where the taps lie, seen from the query."""
        return [tap * self.dilation - self.middle for tap in range(self.taps)]

    @property
    def radius(self) -> int:
        """How far from the query the vector lies that a tap reads, at most; the padding may move a query out of its picture."""
        outside = max(0, self.before - self.middle, self.after - (self.reach - self.middle))
        return self.reach - self.middle + outside

    def queries(self, size: Tensor) -> Tensor:
        """How many queries there are for so many cells, none for none."""
        return torch.where(size > 0, (size + self.before + self.after - self.reach - 1) // self.stride + 1, 0)


@checked()
class ConvolutionAsAttention(CenteredAttention):
    """The self-attention that equals a convolution of pictures: a head per tap, whose center is the tap's shift.

    Made by `convolution_as_attention`; the sets must be whole rectangles, of any sizes. Where the convolution keeps the size of
    pictures, the sets keep their layout; else the results lie row by row, with rows and columns counted from 0.

    Args:
        width_in: of the vectors. width: of the result. rows, columns: how the taps lie along each axis.
        zeros: whether the padding is of zeros, vectors that can be attended to; else no vector lies beyond the border, and the
            nearest one inside is read.
        pattern: which vectors a query may attend to; None means those that some tap reads.
        bias: whether the convolution adds one.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        rows: _Steps,
        columns: _Steps,
        zeros: bool,
        pattern: Pattern | None = None,
        bias: bool = True,
    ) -> None:
        near = Near(float(max(rows.radius, columns.radius))) if pattern is None else pattern
        super().__init__(width_in, rows.taps * columns.taps, width, 2, near, bias)
        self.axes, self.zeros = (rows, columns), zeros

    def forward(self, sets: VectorSets) -> VectorSets:
        layout, name = sets.layout, type(self).__name__
        grid = rectangles(layout, name)
        queries, out = layout.kept((name, self.axes), lambda: self._queries(layout, grid))
        out = layout if out is None else out
        queries = layout if queries is None else queries
        if not self.zeros:
            return VectorSets(self._mixed(sets.values, queries, layout if queries is not layout else None), out)
        keys, place = layout.kept((name, self.axes, "zeros"), lambda: self._enlarged(layout, grid))
        values = sets.values.new_zeros(keys.total, sets.values.shape[1]).index_copy(0, place, sets.values)
        return VectorSets(self._mixed(values, queries, keys), out)

    def _queries(self, layout: Layout, grid: Grid) -> tuple[Layout | None, Layout | None]:
        """The layout of the queries, in coordinates of the pictures, and that of the results; None where they are the pictures'."""
        size = torch.stack([steps.queries(grid.size[:, axis]) for axis, steps in enumerate(self.axes)], 1)
        least = [max(1, steps.reach + 1 - steps.before - steps.after) for steps in self.axes]
        small = ((size < 1) & (grid.size > 0)).any(1)
        if small.any():
            b = int(small.nonzero()[0])
            found, expected = (" x ".join(str(n) for n in sizes) for sizes in (grid.size[b].tolist(), least))
            raise InputError(
                f"set {b} is a picture of {found} cells, expected at least {expected} for this convolution"
            )
        stays = all(steps.stride == 1 and steps.before == steps.middle for steps in self.axes)
        if stays and torch.equal(size, grid.size):
            return None, None
        offsets, cell = _cells(size)
        owner = torch.repeat_interleave(torch.arange(layout.sets, device=layout.device), offsets.diff())
        stride, shift = (
            cell.new_tensor(numbers)
            for numbers in zip(*((steps.stride, steps.middle - steps.before) for steps in self.axes), strict=True)
        )
        return Layout(offsets, (cell * stride + shift + grid.first[owner]).double()), Layout(offsets, cell.float())

    def _enlarged(self, layout: Layout, grid: Grid) -> tuple[Layout, Tensor]:
        """The layout of the pictures with their padding, and `[t]` the row there of each vector."""
        before, both = (
            grid.size.new_tensor(numbers)
            for numbers in zip(*((steps.before, steps.before + steps.after) for steps in self.axes), strict=True)
        )
        size = torch.where(grid.size > 0, grid.size + both, 0)
        offsets, cell = _cells(size)
        owner = torch.repeat_interleave(torch.arange(layout.sets, device=layout.device), offsets.diff())
        keys = Layout(offsets, (cell - before + grid.first[owner]).double())
        inner, b = grid.cell + before, layout.set_of_row
        return keys, offsets[b] + inner[:, 0] * size[b, 1] + inner[:, 1]

    def extra_repr(self) -> str:
        return f"rows={self.axes[0]}, columns={self.axes[1]}, zeros={self.zeros}"


def _cells(size: Tensor) -> tuple[Tensor, Tensor]:
    """`[s + 1]` offsets of rectangles of these sizes `[s, 2]`, and `[t, 2]` their rows and columns, row by row."""
    numbers = size.prod(1)
    offsets = torch.cat([numbers.new_zeros(1), numbers.cumsum(0)])
    place = torch.arange(int(offsets[-1]), device=size.device) - torch.repeat_interleave(offsets[:-1], numbers)
    columns = torch.repeat_interleave(size[:, 1], numbers)
    return offsets, torch.stack([place // columns, place % columns], 1)


def convolution_as_attention(
    conv: nn.Conv2d, sharpness: float = _SHARP, pattern: Pattern | None = None
) -> ConvolutionAsAttention:
    """The self-attention over rows and columns that computes what a convolution of pictures computes.

        y_i = sum_r W_r x_(i + r) + b  =  sum_h W_h sum_j softmax_j(-a |p_j - p_i - r_h|^2) x_j + b

    Each tap r becomes a head with its center at r, whose slice of the output projection is the tap's matrix. With the default
    sharpness the softmax is 1 for the nearest vector and 0 for all others, in every type, so that the two are equal to the rounding
    of their sums, gradients too. Beyond the border the nearest vector is the border's own: that is `padding_mode="replicate"`. For
    "zeros" the keys are the picture with its padding around it. With a small sharpness each head sees a neighborhood, and its
    center gets gradients: the version that is learned.

    Args:
        conv: any kernel, stride, dilation, padding and groups; the zeros between groups become numbers like the others.
        sharpness: a, of all heads.
        pattern: which vectors a query may attend to; None means those that some tap reads, `Everyone()` is the paper's.

    Raises:
        InputError: no `torch.nn.Conv2d`, or one that has not seen its input yet; another padding mode than "replicate" and "zeros".

    Source: Cordonnier et al. 2020, theorem 1 and lemma 1 and 2.

    >>> conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate")
    >>> layer = convolution_as_attention(conv)
    >>> coords, x = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0)), torch.randn(4, 5)
    >>> found = layer(VectorSets.pack([x.reshape(20, 1)], coords=[coords])).values.reshape(4, 5)
    >>> torch.allclose(found, conv(x[None, None])[0, 0], atol=1e-6)
    True
    """
    if not isinstance(conv, nn.Conv2d):
        raise InputError(f"a {type(conv).__name__} was given, expected a torch.nn.Conv2d")
    if isinstance(conv.weight, UninitializedParameter):
        raise InputError(f"a {type(conv).__name__} without weights was given, expected one that has seen an input")
    if conv.padding_mode not in ("replicate", "zeros"):
        raise InputError(f"the convolution has padding_mode {conv.padding_mode!r}, expected 'replicate' or 'zeros'")
    rows, columns = (_steps(conv, axis) for axis in (0, 1))
    layer = ConvolutionAsAttention(
        conv.in_channels,
        conv.out_channels,
        rows,
        columns,
        conv.padding_mode == "zeros",
        pattern,
        conv.bias is not None,
    ).to(conv.weight)
    with torch.no_grad():
        layer.attend.learned["bias_centers"].copy_(torch.tensor(list(product(rows.centers, columns.centers))))
        layer.attend.learned["bias_sharpness"].fill_(sharpness)
        layer.out.weight.copy_(_whole(conv).permute(0, 2, 3, 1).flatten(1))
        if conv.bias is not None:
            layer.out.bias.copy_(conv.bias)
    return layer.train(conv.training)


def _steps(conv: nn.Conv2d, axis: int) -> _Steps:
    taps, stride, dilation = conv.kernel_size[axis], conv.stride[axis], conv.dilation[axis]
    if conv.padding == "same":
        before = dilation * (taps - 1) // 2
        return _Steps(taps, stride, dilation, before, dilation * (taps - 1) - before)
    padding = 0 if isinstance(conv.padding, str) else conv.padding[axis]
    return _Steps(taps, stride, dilation, padding, padding)


def _whole(conv: nn.Conv2d) -> Tensor:
    """`[width, width_in, rows, columns]`: the taps with zeros between groups."""
    groups, width_in = conv.groups, conv.in_channels // conv.groups
    weight = conv.weight.new_zeros(conv.out_channels, conv.in_channels, *conv.kernel_size)
    for g, taps in enumerate(conv.weight.detach().chunk(groups)):
        weight[g * len(taps) : (g + 1) * len(taps), g * width_in : (g + 1) * width_in] = taps
    return weight
