"""Pairs of numbers turned by angles: the kernel beside torch's operators."""

import pytest
import torch
from torch import Tensor

from regard.layers.positions import Rotary
from regard.layers.rotation import _in_operators, rotated
from regard.sets import Layout

TYPES = [torch.float32, torch.float64, torch.bfloat16]


def angles(rows: int, pairs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    angle = torch.randn(rows, pairs, dtype=torch.promote_types(dtype, torch.float32))
    return angle.cos(), angle.sin()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "heads", "width"), [(0, 2, 4), (1, 1, 2), (7, 3, 10), (700, 4, 64)])
def test_the_kernel_gives_what_operators_give_bit_by_bit(dtype: torch.dtype, rows: int, heads: int, width: int) -> None:
    torch.manual_seed(0)
    # Queries lie beside keys and values.
    joint = torch.randn(rows, 3 * heads, width, dtype=dtype, requires_grad=True)
    cos, sin = angles(rows, width // 2, dtype)
    weights = torch.randn(rows, heads, width, dtype=dtype)
    found = []
    for turn in (rotated, lambda x, c, s: _in_operators(x, c[:, None], s[:, None])):
        y = turn(joint[:, heads : 2 * heads], cos, sin)
        assert y.dtype == dtype
        found.append((y.detach(), *torch.autograd.grad(y, joint, weights)))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", TYPES)
def test_turned_vectors_keep_their_lengths_and_turn_back(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, (cos, sin) = torch.randn(50, 2, 32, dtype=dtype), angles(50, 16, dtype)
    y = rotated(x, cos, sin)
    tolerance = {"rtol": 0.02, "atol": 0.02} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1), **tolerance)
    torch.testing.assert_close(rotated(y, cos, -sin), x, **tolerance)


def test_numbers_that_do_not_lie_side_by_side_are_turned_as_well() -> None:
    x, (cos, sin) = torch.randn(4, 6, 5).transpose(1, 2), angles(4, 3, torch.float32)
    assert torch.equal(rotated(x, cos, sin), rotated(x.contiguous(), cos, sin))


def test_its_derivatives_are_those_of_a_linear_map() -> None:
    x, (cos, sin) = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True), angles(3, 2, torch.float64)
    assert torch.autograd.gradcheck(lambda x: rotated(x, cos, sin).sin(), x)
    assert torch.autograd.gradgradcheck(lambda x: rotated(x, cos, sin).sin(), x)


def test_the_threads_change_nothing() -> None:
    x, (cos, sin) = torch.randn(3000, 4, 64), angles(3000, 32, torch.float32)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(rotated(x, cos, sin))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_gradients_reach_coordinates() -> None:
    coordinates = torch.randn(5, 1, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 1, 4, dtype=torch.float64, requires_grad=True)

    def turned(coordinates: Tensor, x: Tensor) -> Tensor:
        return Rotary(coordinates=1)(x, Layout(torch.tensor([0, 2, 5]), coords=coordinates))

    assert torch.autograd.gradcheck(turned, (coordinates, x))


def test_narrow_numbers_are_turned_by_exact_angles() -> None:
    """At place 5,000 an angle rounded to 8 binary digits, or its sine, would be anything."""
    layout, x = Layout.of_lengths([6000]), torch.randn(6000, 1, 8)
    exact = Rotary()(x.double(), layout)
    narrow = Rotary()(x.bfloat16(), layout).double()
    turned = Rotary()(x.bfloat16().double(), layout)
    assert (narrow - turned).abs().max() <= turned.abs().max() * 2**-8
    torch.testing.assert_close(narrow, exact, rtol=0, atol=0.03)
