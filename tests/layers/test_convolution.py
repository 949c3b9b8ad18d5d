"""Convolution over packed sets against torch's own, set by set."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv1d, glu, pad, silu

from regard.layers.convolution import ConvolutionalStem, ConvolutionModule, Depthwise, Subsample, _with_gaps
from regard.layers.depthwise import depthwise
from regard.sets import Layout, VectorSets

LENGTHS = (5, 0, 1, 40, 0, 70, 3)


def sets_of(*lengths: int, width: int = 7) -> VectorSets:
    torch.manual_seed(1)
    return VectorSets.pack([torch.randn(n, width, dtype=torch.float64) for n in lengths])


@pytest.mark.parametrize(("left", "right"), [(2, 2), (0, 3), (4, 0), (0, 0), (30, 30)])
def test_depthwise_equals_torch_set_by_set(left, right):
    layer = Depthwise(7, left, right).double()
    sets = sets_of(*LENGTHS)
    out = layer(sets)
    for b, alone in enumerate(sets.unpack()):
        if len(alone):
            expected = conv1d(pad(alone.T[None], (left, right)), layer.taps.T[:, None], layer.bias, groups=7)[0].T
            torch.testing.assert_close(out[b].values, expected)


@pytest.mark.parametrize("left", [0, 3, 8])
def test_both_ways_agree_with_gradients(left):
    layout = Layout.of_lengths([*LENGTHS, 1200])
    x = torch.randn(layout.total, 7, dtype=torch.float64, requires_grad=True)
    taps = torch.randn(9, 7, dtype=torch.float64, requires_grad=True)
    found, expected = depthwise(x, taps, layout, left), _with_gaps(x, taps, layout, left)
    torch.testing.assert_close(found, expected)
    above = torch.randn_like(found)
    for mine, theirs in zip(
        torch.autograd.grad(found, (x, taps), above), torch.autograd.grad(expected, (x, taps), above), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.unpoisoned
def test_threads_repeat_themselves():
    layout = Layout.of_lengths([3000, 5, 2000])
    x, taps = torch.randn(layout.total, 16), torch.randn(31, 16, requires_grad=True)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = (torch.autograd.grad(depthwise(x, taps, layout, 15).square().sum(), taps)[0] for _ in range(2))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(first, second)


@pytest.mark.parametrize("mixer", [Depthwise(8, 3, 1), ConvolutionModule(8, 2, 2)], ids=lambda m: type(m).__name__)
def test_neighboring_sets_never_mix(mixer: nn.Module):
    mixer = mixer.double().eval()
    sets = sets_of(*LENGTHS, width=8)
    together = mixer(sets)
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, mixer(alone).values)
    spoilt = sets.values.clone()
    spoilt[sets.layout.set_of_row == 3] = torch.nan
    others = sets.layout.set_of_row != 3
    assert torch.equal(mixer(sets.with_values(spoilt)).values[others], together.values[others])


def test_the_module_is_the_formula():
    module = ConvolutionModule(8, 1, 1).double()
    (x,) = sets_of(6, width=8).unpack()
    y = glu(module.into(x), -1)
    y = conv1d(pad(y.T[None], (1, 1)), module.depthwise.taps.T[:, None], groups=8)[0].T + module.depthwise.bias
    expected = module.out(silu(module.norm(y)))
    torch.testing.assert_close(module(VectorSets.pack([x])).values, expected)


def test_subsampling_joins_frames_and_fills_the_last_with_zeros():
    layer = Subsample(2, 3, 4).double()
    sets = sets_of(9, 0, 4, width=2)
    out = layer(sets)
    assert out.layout.lengths.tolist() == [3, 0, 1]
    x = torch.cat([sets[0].values, torch.zeros(3, 2, dtype=torch.float64)])
    torch.testing.assert_close(out[0].values, layer.linear(x.view(3, 8)))
    torch.testing.assert_close(out[2].values, layer.linear(sets[2].values.view(1, 8)))


@pytest.mark.parametrize(("step", "reach"), [(1, 1), (2, 1), (3, 0), (2, 3)])
def test_a_convolutional_stem_is_torchs_convolution_with_a_step(step, reach):
    stem = ConvolutionalStem(2, 3, step, reach).double()
    torch.manual_seed(0)
    parts = [torch.randn(n, 2, dtype=torch.float64) for n in (5, 0, 1, 8)]
    sets = stem(VectorSets.pack(parts))
    taps = stem.linear.weight.view(3, step + 2 * reach, 2).transpose(1, 2)
    for values, found in zip(parts, sets.unpack(), strict=True):
        fill = -len(values) % step
        line = torch.nn.functional.pad(values.T, (reach, reach + fill))[None]
        if len(values):
            expected = torch.nn.functional.conv1d(line, taps, stem.linear.bias, stride=step)[0].T
            torch.testing.assert_close(found, torch.nn.functional.gelu(expected))
        assert len(found) == -(-len(values) // step)
