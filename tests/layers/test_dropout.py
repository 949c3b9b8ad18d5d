"""Dropout whose mask is a hash."""

import math

import pytest
import torch
from torch import Tensor

from regard.errors import InputError
from regard.layers.dropout import Dropout, dropout


def drawn(n: int, p: float, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(seed)
    return dropout(torch.ones(n, dtype=dtype), p)


@pytest.mark.parametrize("n", [15, 16, 17, 31, 32, 1000, (1 << 15) + 16, (1 << 15) + 17, 3 << 15])
def test_the_gradient_has_the_mask_of_the_result(n: int) -> None:
    x = torch.linspace(1, 2, n, dtype=torch.float64).requires_grad_()
    y = dropout(x, 0.25)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert set(gradient.unique().tolist()) <= {0.0, 1 / 0.75}
    assert torch.equal(y, gradient * x)
    assert 0 < (y == 0).sum() < n


def test_its_second_derivative_is_that_of_a_linear_map() -> None:
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)

    def squared(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return dropout(x, 0.3).square()

    assert torch.autograd.gradcheck(squared, x)
    assert torch.autograd.gradgradcheck(squared, x)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_as_many_fall_as_are_asked_for_one_by_one(p: float) -> None:
    n = 1 << 20
    zero, other = (drawn(n, p, seed) == 0 for seed in (0, 1))
    for what, rate in (
        (zero, p),
        (zero & other, p * p),
        (zero[1:] & zero[:-1], p * p),
        (zero[16:] & zero[:-16], p * p),
        (zero[1 << 15 :] & zero[: -(1 << 15)], p * p),
    ):
        # Five standard deviations of the mean of so many independent draws.
        assert abs(float(what.double().mean()) - rate) < 5 * (rate * (1 - rate) / len(what)) ** 0.5


def test_it_is_a_function_of_the_generator_and_not_of_the_threads() -> None:
    threads = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(drawn(200_000, 0.5, 7))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
    torch.manual_seed(7)
    first, second = (dropout(torch.ones(1000), 0.5) for _ in range(2))
    assert not torch.equal(first, second)


def test_both_types_drop_the_same() -> None:
    assert torch.equal(drawn(1000, 0.3) == 0, drawn(1000, 0.3, dtype=torch.float32) == 0)


@pytest.mark.parametrize("n", [1, 16, 37, 1000])
def test_numbers_of_16_bits_are_dropped_alike_and_rounded_once(n: int) -> None:
    x = torch.randn(n, dtype=torch.bfloat16)
    kept = drawn(n, 0.3, dtype=torch.float32) != 0
    torch.manual_seed(0)
    found = dropout(x, 0.3)
    assert torch.equal(found, (x.float() * (1 / 0.7)).where(kept, 0).bfloat16())
    assert not kept.all() or n == 1


def test_numbers_of_16_bits_that_are_not_finite_stay() -> None:
    x = torch.tensor([math.inf, -math.inf, math.nan] * 40, dtype=torch.bfloat16)
    torch.manual_seed(0)
    found = dropout(x, 0.5)
    assert torch.equal(found.isnan(), x.isnan() & (found != 0))
    assert torch.equal(found.isinf(), x.isinf() & (found != 0))


@pytest.mark.parametrize("values", [torch.ones(100, dtype=torch.float16), torch.ones(3, dtype=torch.float16)])
def test_other_types_are_dropped_by_torch(values: Tensor) -> None:
    torch.manual_seed(0)
    found = dropout(values, 0.5)
    torch.manual_seed(0)
    assert torch.equal(found, torch.nn.functional.dropout(values, 0.5))


@pytest.mark.parametrize("shape", [(), (5,), (0, 4), (3, 7), (9, 16)])
def test_traced_code_drops_the_same(shape: tuple[int, ...]) -> None:
    found = []
    for call in (dropout, torch.compile(dropout, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(4)
        x = torch.ones(shape, requires_grad=True)
        y = call(x, 0.5)
        found.append((y, *torch.autograd.grad((y * y).sum(), x)))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def test_values_that_are_not_contiguous_come_back_in_place() -> None:
    x = torch.arange(1.0, 101).view(10, 10).T
    y = dropout(x, 0.5)
    assert torch.equal(y, torch.where(y == 0, 0, 2 * x))


def test_the_layer_does_nothing_outside_of_training() -> None:
    layer, x = Dropout(0.5), torch.ones(100)
    assert layer.eval()(x) is x
    assert layer.train()(x) is not x
    assert Dropout(0.0)(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_a_probability_that_is_none_is_refused(p: float) -> None:
    with pytest.raises(InputError, match=r"dropout probability|Dropout has p -0\.1, expected at least 0"):
        Dropout(p)
