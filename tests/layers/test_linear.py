"""Linear layers by kernels of our own: torch's numbers, forward and backward, and the same bits for any number of threads."""

import numpy as np
import pytest
import torch
from torch.nn.functional import linear as by_torch

from regard.attention import costs
from regard.kernels import matrix
from regard.kernels.matrix import fits, times_matrix
from regard.kernels.simd import processor
from regard.layers import linear as linear_layers
from regard.layers.linear import Linear, linear

SHAPES = [(64, 16, 16), (65, 32, 48), (131, 48, 16), (700, 64, 192), (1030, 16, 64)]


def drawn(rows, d, e, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (rows, d), (e, d), (e,), (rows, e)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def results(multiply, x, weight, bias, above):
    """The output and the gradients of what has one."""
    given = [each for each in (x, weight, bias) if each is not None]
    for each in given:
        each.requires_grad_()
    y = multiply(x, weight, bias)
    return [y.detach(), *torch.autograd.grad(y, given, above)]


def written_out(x, weight, bias, above):
    """The same in numbers of 80 bits."""
    y = x @ weight.T + (0 if bias is None else bias)
    return [y, above @ weight, above.T @ x, *([] if bias is None else [above.sum(0)])]


@pytest.fixture(params=[matrix._NARROW, 0], ids=["narrow", "wide"])
def width(request, monkeypatch):
    """Takes all matrices for narrow ones, or for wide ones whose gradient is cut into blocks."""
    monkeypatch.setattr(matrix, "_NARROW", request.param)
    monkeypatch.setattr(matrix, "_BLOCK", 32)
    monkeypatch.setattr(matrix, "_NUMBERS", 1 << 10)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numbers_are_those_of_torch(shape, dtype, biased, width):
    x, weight, bias, above = drawn(*shape, dtype)
    bias = bias if biased else None
    wanted = written_out(
        *(None if each is None else each.numpy().astype(np.longdouble) for each in (x, weight, bias, above))
    )
    found, theirs = (results(multiply, x, weight, bias, above) for multiply in (times_matrix, by_torch))
    for ours, true, other in zip(found, wanted, theirs, strict=True):
        errors = [float(abs(each.numpy() - true).max()) for each in (ours, other)]
        assert errors[0] <= 4 * errors[1] + 2 * torch.finfo(dtype).eps * float(abs(true).max())


def test_a_wide_matrix():
    given = drawn(70, 640, 432)
    assert given[1].numel() > matrix._NARROW
    for ours, theirs in zip(results(times_matrix, *given), results(by_torch, *drawn(70, 640, 432)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_gradients_are_those_of_differences(width):
    x, weight, bias, _ = drawn(66, 16, 16, torch.float64)
    few = [each.requires_grad_() for each in (x, weight, bias)]
    assert torch.autograd.gradcheck(times_matrix, few, fast_mode=True)
    assert torch.autograd.gradgradcheck(times_matrix, few, fast_mode=True)


@pytest.mark.parametrize("asked", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_only_what_is_asked_for_has_a_gradient(asked, width):
    inputs = drawn(300, 32, 16)
    above = inputs.pop()
    for place in asked:
        inputs[place].requires_grad_()
    found = torch.autograd.grad(times_matrix(*inputs), [inputs[place] for place in asked], above)
    wanted = torch.autograd.grad(by_torch(*inputs), [inputs[place] for place in asked], above)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.fixture
def threads():
    """Sets how many there are, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_bits_do_not_depend_on_threads(threads, width):
    found = []
    for number in (1, 2, 3):
        threads(number)
        found.append(results(times_matrix, *drawn(3000, 48, 32)))
    assert all(torch.equal(*each) for other in found[1:] for each in zip(found[0], other, strict=True))


def test_a_row_has_the_same_bits_in_whatever_batch():
    x, weight, bias, _ = drawn(500, 32, 32)
    whole = times_matrix(x, weight, bias)
    assert torch.equal(times_matrix(x[100:171], weight, bias), whole[100:171])


def test_rows_that_are_not_contiguous_and_numbers_that_are_not_finite():
    x, weight, bias, above = drawn(130, 16, 16)
    turned = x.t().contiguous().t()
    assert torch.equal(times_matrix(turned, weight, bias), times_matrix(x, weight, bias))
    x[7, 3], x[8, 2] = torch.nan, torch.inf
    y = times_matrix(x, weight, bias)
    assert y[7].isnan().all()
    assert not y[8].isfinite().any()
    assert y[[6, 9]].isfinite().all()
    expanded = results(times_matrix, *drawn(130, 16, 16)[:3], above[:1].expand(130, -1))
    repeated = results(times_matrix, *drawn(130, 16, 16)[:3], above[:1].expand(130, -1).contiguous())
    assert all(torch.equal(*each) for each in zip(expanded, repeated, strict=True))


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.ones(63, 16), torch.ones(16, 16)),
        (torch.ones(64, 17), torch.ones(16, 17)),
        (torch.ones(64, 16), torch.ones(15, 16)),
        (torch.ones(64, 16, dtype=torch.bfloat16), torch.ones(16, 16, dtype=torch.bfloat16)),
        (torch.ones(64, 16), torch.ones(16, 16, dtype=torch.float64)),
    ],
    ids=["few rows", "odd in", "odd out", "bfloat16", "two types"],
)
def test_all_else_is_left_to_torch(x, weight):
    assert not fits(x, weight, None)


def test_a_matrix_whose_gradient_ends_within_a_tile_of_registers_is_left_to_torch(monkeypatch):
    """Where vectors hold two numbers, a tile still has four rows or eight."""
    monkeypatch.setattr(processor, "lanes", lambda bits: 128 // bits)
    x = torch.ones(64, 6, dtype=torch.float64)
    assert fits(x, torch.ones(8, 6, dtype=torch.float64), None)
    assert not fits(x, torch.ones(6, 6, dtype=torch.float64), None)


def test_autocast_and_functions_of_functions_are_left_to_torch():
    layer, x = Linear(16, 16), torch.ones(64, 16)
    assert fits(x, layer.weight, layer.bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    each = torch.func.vmap(torch.func.grad(lambda row: layer(row[None]).sum()))(x)
    torch.testing.assert_close(each, layer.weight.detach().sum(0).expand(64, -1))


def test_the_quicker_of_both_is_taken(monkeypatch):
    x, weight, bias, _ = drawn(300, 32, 32)
    monkeypatch.setattr(linear_layers, "_LEAST", 0)
    for share, expected in ((0.5, times_matrix), (1.5, by_torch)):
        monkeypatch.setattr(costs, "share_of_product", lambda share=share: share)
        assert torch.equal(linear(x, weight, bias), expected(x, weight, bias))


def test_small_products_are_torchs(monkeypatch):
    monkeypatch.setattr(costs, "share_of_product", lambda: 0.5)
    monkeypatch.setattr(linear_layers, "times_matrix", None)
    for shape in ((1100, 32, 32), (255, 512, 512)):
        assert linear(*drawn(*shape)[:3]).shape == (shape[0], shape[2])
