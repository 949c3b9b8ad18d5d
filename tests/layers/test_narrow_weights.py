"""Linear layers with weights of two bytes or one."""

import pytest
import torch
from torch import nn

from regard.errors import InputError
from regard.layers import narrow_weights
from regard.layers.attention import SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.layers.mixers import WindowedLinear
from regard.layers.narrow_weights import HalfLinear, Int8Linear, most_exact, narrow, slow_weights
from regard.sets import VectorSets

SHAPES = [(1, 1, 1), (1, 256, 768), (3, 5, 7), (64, 33, 17), (70, 16, 6000), (700, 48, 130)]


def layer(d: int, out: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(d + out)
    return nn.Linear(d, out, bias)


def by_the_formula(narrow: Int8Linear, x: torch.Tensor) -> torch.Tensor:
    """y_i = s_i c sum_k W'_ik x'_k + b_i in float64, with whole numbers that were rounded in float32."""
    c = (x.abs().amax(1, keepdim=True) / 127).double()
    whole = (x * torch.where(c > 0, 1 / c.float(), 0)).round().double()
    y = whole @ narrow.narrow.double().t() * c * narrow.scales.double()
    return y if narrow.bias is None else y + narrow.bias.double()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_int8_is_its_formula(shape, bias):
    rows, d, out = shape
    one = Int8Linear(layer(d, out, bias))
    x = torch.randn(rows, d) * torch.logspace(-3, 3, rows)[:, None]
    expected = by_the_formula(one, x)
    error = (one(x).double() - expected).abs()
    size = expected.abs() + (0 if one.bias is None else one.bias.detach().abs())
    assert (error <= 4 * torch.finfo(torch.float32).eps * size + 1e-30).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_without_numba_it_is_the_same_bit_by_bit(shape, monkeypatch):
    rows, d, out = shape
    one, x = Int8Linear(layer(d, out)), torch.randn(rows, d)
    x[0] = 0
    compiled = one(x)
    monkeypatch.setattr(narrow_weights, "available", lambda: False)
    assert torch.equal(one(x), compiled)


def test_sums_of_the_largest_numbers_are_exact():
    d = 4096
    linear = layer(d, 3)
    linear.weight.data = torch.tensor([1.0, -1.0, 0.5])[:, None].expand(3, d).clone()
    one = Int8Linear(linear)
    assert one.narrow.abs().max() == most_exact()
    torch.testing.assert_close(one(torch.ones(2, d)), linear(torch.ones(2, d)), rtol=1e-6, atol=1e-4)


def test_its_error_is_that_of_rounding():
    linear = layer(256, 64)
    x = torch.randn(1000, 256)
    y = linear(x)
    relative = ((Int8Linear(linear)(x) - y).norm() / y.norm()).item()
    assert 0.002 < relative < 0.015
    relative = ((HalfLinear(linear, torch.bfloat16)(x) - y).norm() / y.norm()).item()
    assert 0.0005 < relative < 0.005


@pytest.mark.parametrize("weights", ["int8", "bfloat16", "float16"])
def test_a_vector_means_the_same_in_any_batch(weights):
    one = nn.Sequential(layer(24, 40))
    narrow(one, weights)
    x = torch.randn(300, 24) * 10 ** torch.randn(300, 1)
    together = one(x)
    alone = torch.cat([one(row[None]) for row in x])
    if weights == "int8":
        assert torch.equal(together, alone)
    torch.testing.assert_close(together, alone, rtol=0.02, atol=1e-3)


def test_vectors_that_are_not_finite_spoil_their_own_rows_only():
    one, x = Int8Linear(layer(20, 30)), torch.randn(4, 20)
    expected = one(x)
    x[1, 3], x[2, 5] = torch.nan, torch.inf
    found = one(x)
    assert torch.equal(found[[0, 3]], expected[[0, 3]])
    assert not found[1].isfinite().any()
    assert not found[2].isfinite().any()


@pytest.mark.parametrize("shape", [(0, 4), (2, 3, 4), (4,)])
def test_leading_sizes_are_kept(shape):
    one = Int8Linear(layer(4, 6))
    assert one(torch.zeros(shape)).shape == (*shape[:-1], 6)
    assert one(torch.zeros(shape, dtype=torch.bfloat16)).dtype == torch.bfloat16
    torch.testing.assert_close(one(torch.zeros(shape)), one.bias.expand(*shape[:-1], 6))


@pytest.mark.parametrize(("weights", "tolerance"), [("int8", 0.05), ("bfloat16", 0.03), ("float16", 0.005)])
def test_an_encoder_stays_about_what_it_is(weights, tolerance):
    torch.manual_seed(0)
    blocks = [
        Block(SelfAttention(32, 4), FeedForward(32, 64), 32),
        Block(WindowedLinear(32, 1, 1), FeedForward(32, 64), 32),
    ]
    stack = Stack(blocks, 32).eval()
    sets = VectorSets.pack([torch.randn(n, 32) for n in (5, 0, 17)])
    parameters = sum(each.numel() for each in stack.parameters())
    with torch.no_grad():
        exact = stack(sets).values
        narrow(stack, weights)
        found = stack(sets).values
    assert not any(type(each) is nn.Linear for each in stack.modules())
    assert sum(each.numel() for each in stack.parameters()) == parameters
    assert 0 < (found - exact).norm() / exact.norm() < tolerance


def test_a_layer_in_two_places_stays_one():
    one = layer(4, 4)
    both = nn.Sequential(one, nn.Sequential(one))
    narrow(both, "int8")
    assert both[0] is both[1][0]


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="weights is 'int4', expected one of float32, bfloat16, float16, int8"):
        narrow(nn.Sequential(), "int4")
    with pytest.raises(InputError, match="a linear layer itself"):
        narrow(layer(2, 2), "int8")


def test_types_that_float32_outruns_are_told(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "avx512_bf16": False})
    assert slow_weights("bfloat16") == "this processor has no instructions for bfloat16: float32 is quicker"
    assert slow_weights("int8") is None
    assert slow_weights("float32") is None
