"""The generator and the discriminator of the self-attention GAN, as layers over sets of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from regard.data.batch import Batch
from regard.errors import InputError
from regard.layers.convolution2d import Convolution2d
from regard.layers.pooled_attention import PooledAttention2d
from regard.layers.pooling import Sum
from regard.layers.resized2d import BlockMean2d, Repeated2d
from regard.models.model import check_batch
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Discriminator", "GanModel", "Generator"]


def _convolution(width_in: int, width: int) -> Convolution2d:
    convolution = Convolution2d(width_in, 1, width)
    spectral_norm(convolution, "taps")
    return convolution


def _linear(width_in: int, width: int, bias: bool = True) -> nn.Linear:
    linear = nn.Linear(width_in, width, bias)
    spectral_norm(linear)
    return linear


def _attention(width: int) -> PooledAttention2d:
    layer = PooledAttention2d(width)
    for name in ("query", "key", "value", "out"):
        spectral_norm(getattr(layer, name))
    return layer


class _LabelNorm(nn.Module):
    """gain_y (x - mean) / deviation + bias_y over the vectors of a batch, with a gain and a bias of each label y."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.gain, self.bias = (nn.Parameter(torch.full((max(1, labels), width), each)) for each in (1.0, 0.0))

    def forward(self, sets: VectorSets, labels: Tensor | None) -> VectorSets:
        gain, bias = self.gain[:1], self.bias[:1]
        if labels is not None:
            of_row = labels[sets.layout.set_of_row]
            gain, bias = self.gain[of_row], self.bias[of_row]
        return sets.with_values(self.norm(sets.values) * gain + bias)


class _Up(nn.Module):
    """conv(relu(norm(conv(repeated(relu(norm(x))))))) + W repeated(x), with twice the rows and columns."""

    def __init__(self, width_in: int, width: int, labels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_LabelNorm(width_in, labels), _LabelNorm(width, labels)])
        self.convolutions = nn.ModuleList([_convolution(width_in, width), _convolution(width, width)])
        self.short, self.larger = _linear(width_in, width), Repeated2d()

    def forward(self, sets: VectorSets, labels: Tensor | None) -> VectorSets:
        inner = self.larger(_relu(self.norms[0](sets, labels)))
        inner = self.convolutions[1](_relu(self.norms[1](self.convolutions[0](inner), labels)))
        short = self.larger(sets.with_values(self.short(sets.values)))
        return inner.with_values(inner.values + short.values)


class _Down(nn.Module):
    """mean(conv(relu(conv(relu(x))))) + W mean(x), with half the rows and columns, or as many."""

    def __init__(self, width_in: int, width: int, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.convolutions = nn.ModuleList([_convolution(width_in, width), _convolution(width, width)])
        self.short, self.smaller = _linear(width_in, width), BlockMean2d() if halves else nn.Identity()

    def forward(self, sets: VectorSets) -> VectorSets:
        # The first block reads pixels.
        inner = self.convolutions[0](sets if self.first else _relu(sets))
        inner = self.smaller(self.convolutions[1](_relu(inner)))
        short = self.smaller(sets)
        return inner.with_values(inner.values + self.short(short.values))


def _relu(sets: VectorSets) -> VectorSets:
    return sets.with_values(sets.values.relu())


class Generator(nn.Module):
    """Pictures between 0 and 1 from noise, and from labels where it knows some.

    Args:
        widths: of the vectors that it begins with, and after each doubling of rows and columns.
        noise: how many numbers.
        begin: rows and columns of what it begins with.
        channels: of a picture.
        labels: how many it knows.
        attention: whether there is self-attention, before the last doubling.
    """

    def __init__(
        self, widths: Sequence[int], noise: int, begin: tuple[int, int], channels: int, labels: int, attention: bool
    ) -> None:
        super().__init__()
        self.noise, self.begin, self.labels = noise, begin, labels
        self.enter = _linear(noise, widths[0] * math.prod(begin))
        self.stages = nn.ModuleList(_Up(wide, narrow, labels) for wide, narrow in pairwise(widths))
        self.attention = _attention(widths[-2]) if attention else nn.Identity()
        self.norm, self.leave = _LabelNorm(widths[-1], 0), _convolution(widths[-1], channels)
        self._layouts: dict[tuple[int, torch.device], Layout] = {}

    def forward(self, noise: Float[Tensor, "s noise"], labels: Int[Tensor, " s"] | None) -> VectorSets:
        """One picture for each row of noise, as a set of its pixels row by row."""
        layout = self._layout(len(noise), noise.device)
        noise = noise.to(self.leave.bias.dtype)
        sets = VectorSets(self.enter(noise).view(layout.total, -1), layout)
        for n, stage in enumerate(self.stages):
            if n + 1 == len(self.stages):
                sets = self.attention(sets)
            sets = stage(sets, labels if self.labels else None)
        pixels = self.leave(_relu(self.norm(sets, None)))
        return pixels.with_values((pixels.values.tanh() + 1) / 2)

    def _layout(self, sets: int, device: torch.device) -> Layout:
        """Kept, so that what layers find out about it is found out once."""
        if (sets, device) not in self._layouts:
            if len(self._layouts) > 8:
                self._layouts.clear()
            cells = torch.cartesian_prod(*(torch.arange(float(side), device=device) for side in self.begin))
            offsets = torch.arange(sets + 1, device=device) * len(cells)
            self._layouts[sets, device] = Layout(offsets, coords=cells.repeat(sets, 1))
        return self._layouts[sets, device]


class Discriminator(nn.Module):
    """A vector for each picture, and the score that it is one of the data: w . x + b, and V_y . x where it knows the label y.

    Source: Miyato and Koyama 2018 (the projection), Zhang et al. 2018.

    Args:
        widths: of the vectors after each halving of rows and columns.
        channels: of a picture.
        labels: how many it knows.
        attention: whether there is self-attention, after the first halving.
    """

    def __init__(self, widths: Sequence[int], channels: int, labels: int, attention: bool) -> None:
        super().__init__()
        self.width, self.labels = widths[-1], labels
        entering: Sequence[int] = [channels, *widths[:-1]]
        self.stages = nn.ModuleList(
            _Down(before, width, halves=True, first=n == 0)
            for n, (before, width) in enumerate(zip(entering, widths, strict=True))
        )
        self.attention = _attention(widths[0]) if attention else nn.Identity()
        self.last, self.pool = _Down(self.width, self.width, halves=False), Sum(self.width)
        self.real = _linear(self.width, 1)
        self.of_label = _linear(self.width, labels, bias=False) if labels else None

    def forward(self, pictures: VectorSets) -> Float[Tensor, "s width"]:
        """`[s, width]` a vector for each picture between 0 and 1."""
        sets = pictures.with_values(2 * pictures.values - 1)
        for n, stage in enumerate(self.stages):
            sets = stage(sets)
            if n == 0:
                sets = self.attention(sets)
        pooled: Tensor = self.pool(_relu(self.last(sets)))
        return pooled

    def score(self, vectors: Float[Tensor, "s width"], labels: Int[Tensor, " s"] | None) -> Float[Tensor, " s"]:
        """`[s]` above 0 where a picture seems to be one of the data.

        Raises:
            InputError: no labels, where it knows some.
        """
        scores: Tensor = self.real(vectors)[:, 0]
        if self.of_label is None:
            return scores
        if labels is None:
            raise InputError("the discriminator judges pictures by their label, expected one for each")
        of_label: Tensor = self.of_label(vectors).gather(1, labels[:, None])[:, 0]
        return scores + of_label


class GanModel(nn.Module):
    """A generator and a discriminator; what a batch gives is the discriminator's vector of each of its pictures, a set of one.

    Args:
        extent: rows and columns of a picture.
    """

    options: Any = None
    """The options that made it."""

    def __init__(self, generator: Generator, discriminator: Discriminator, extent: tuple[int, int]) -> None:
        super().__init__()
        self.generator, self.discriminator, self.extent = generator, discriminator, extent
        self.context = math.inf, math.inf

    @property
    def width(self) -> int:
        """Of the discriminator's vectors."""
        return self.discriminator.width

    def forward(self, batch: Batch) -> VectorSets:
        check_batch(batch)
        inputs = batch.inputs
        cells = math.prod(self.extent)
        wrong = (inputs.layout.lengths != cells).nonzero()
        if len(wrong):
            b = int(wrong[0])
            name = batch.names[b] if batch.names else f"set {b}"
            found = f"{name} has {int(inputs.layout.lengths[b])} pixels"
            raise InputError(f"{found}, expected {self.extent[0]} x {self.extent[1]}: pictures of one size")
        return _singles(self.discriminator(inputs))


def _singles(vectors: Tensor) -> VectorSets:
    return VectorSets(vectors, Layout(torch.arange(len(vectors) + 1, device=vectors.device)))
