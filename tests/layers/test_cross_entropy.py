"""Cross-entropy of many classes: the kernels beside torch's operators."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from regard.layers.cross_entropy import _in_operators, cross_entropy, losses, slopes

TYPES = [torch.float32, torch.float64, torch.bfloat16]


def drawn(rows: int, classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    scores = (3 * torch.randn(rows, classes, dtype=torch.float64)).to(dtype).requires_grad_()
    return scores, torch.randint(0, classes, (rows,)), torch.randn(rows, dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("rows", "classes"), [(0, 5), (1, 1), (3, 7), (4, 16), (5, 33), (40, 9000)])
@pytest.mark.parametrize("dtype", TYPES)
def test_losses_and_gradients_are_torchs(dtype: torch.dtype, rows: int, classes: int, smoothing: float) -> None:
    scores, targets, above = drawn(rows, classes, dtype)
    found = cross_entropy(scores, targets, smoothing)
    exact = scores.detach().double().requires_grad_()
    true = functional.cross_entropy(exact, targets, reduction="none", label_smoothing=smoothing)
    wide = torch.promote_types(dtype, torch.float32)
    assert found.dtype == wide
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if wide == torch.float32 else {"rtol": 1e-13, "atol": 1e-13}
    torch.testing.assert_close(found.double(), true, **tolerance)
    (ours,) = torch.autograd.grad(found, scores, above.to(wide))
    (theirs,) = torch.autograd.grad(true, exact, above)
    assert ours.dtype == dtype
    if dtype == torch.bfloat16:
        tolerance = {"rtol": 2**-8, "atol": 1e-7}
    torch.testing.assert_close(ours.double(), theirs, **tolerance)


@pytest.mark.parametrize("dtype", TYPES)
def test_operators_say_the_same(dtype: torch.dtype) -> None:
    scores, targets, _ = drawn(6, 50, dtype)
    for ours, theirs in zip(losses(scores.detach(), targets, 0.2), _in_operators(scores, targets, 0.2), strict=True):
        torch.testing.assert_close(ours, theirs.detach())


def test_gradients_may_take_the_memory_of_the_scores() -> None:
    scores, targets, _ = drawn(6, 50, torch.float32)
    scores = scores.detach()
    whole = losses(scores, targets, 0.1).whole
    apart = slopes(scores, targets, whole, 0.1)
    assert slopes(scores, targets, whole, 0.1, out=scores) is scores
    assert torch.equal(apart, scores)
    turned = drawn(6, 50, torch.float32)[0].detach().T.contiguous().T
    torch.testing.assert_close(slopes(turned, targets, whole, 0.1), apart)


def test_scores_that_are_not_finite() -> None:
    """A class of score -inf has no part in it; a NaN, or an infinite score, spoils its own row alone."""
    inf = torch.inf
    scores = torch.zeros(5, 20, requires_grad=True)
    with torch.no_grad():
        scores[0, 3:] = -inf
        scores[1, 17] = math.nan
        scores[2, 0] = inf
        scores[3, 2] = -inf
    targets = torch.tensor([1, 1, 1, 2, 1])
    found = cross_entropy(scores, targets)
    true = functional.cross_entropy(scores, targets, reduction="none")
    torch.testing.assert_close(found, true, equal_nan=True)
    rows = torch.tensor([0, 4])
    ours, theirs = (torch.autograd.grad(each[rows].sum(), scores)[0][rows] for each in (found, true))
    torch.testing.assert_close(ours, theirs)


def test_large_scores_do_not_overflow() -> None:
    scores = torch.tensor([[1e4, -1e4, 1e4 - 1]])
    assert cross_entropy(scores, torch.tensor([1])).item() == pytest.approx(2e4, rel=1e-4)


def test_the_threads_change_nothing() -> None:
    scores, targets, above = drawn(300, 2000, torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            each = cross_entropy(scores, targets, 0.1)
            found.append((each, *torch.autograd.grad(each, scores, above.float())))
    finally:
        torch.set_num_threads(before)
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("target", [-1, 4])
def test_a_target_that_is_no_class_is_refused(target: int) -> None:
    with pytest.raises(IndexError, match=f"targets are {target} to {target}, expected 0 to 3"):
        cross_entropy(torch.zeros(1, 4), torch.tensor([target]))
