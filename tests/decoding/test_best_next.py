"""The best next ids by the kernel, which must be those of the plain operators."""

import pytest
import torch

from regard.decoding import stepper
from regard.decoding.stepper import Limits, best, best_next, next_log_probabilities
from regard.errors import InputError


def limits(rows: int, forbidden: tuple[int, ...] = (0, 1, 70), least: int = 1) -> Limits:
    return Limits(begin=1, end=2, forbidden=forbidden, longest=torch.full((rows,), 9), least=least)


def plainly(logits: torch.Tensor, some: Limits, length: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    return best(next_log_probabilities(logits, some, length, range(len(logits))), k)


@pytest.fixture
def kernel(monkeypatch):
    """Whether the kernel has given the answer."""
    given = []
    by_kernel = stepper._by_kernel
    monkeypatch.setattr(stepper, "_by_kernel", lambda *a: given.append(by_kernel(*a)) or given[-1])
    return lambda: given[-1] is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("width", "k"), [(71, 1), (64, 5), (200, 64), (1000, 10), (6001, 10), (128, 3)])
@pytest.mark.parametrize("digits", [1, 6])
@pytest.mark.parametrize("length", [0, 1])
def test_equals_the_plain_operators(width, k, digits, length, dtype, kernel):
    """With one digit many numbers are equal, of which the first comes first; an end that may not come yet is hidden."""
    logits = (3 * torch.randn(9, width, generator=torch.Generator().manual_seed(width), dtype=dtype)).round(
        decimals=digits
    )
    some = limits(9, (0, 1, 63) if width == 64 else (0, 1, 70))
    values, ids = best_next(logits, some, length, range(9), k)
    assert kernel()
    expected = plainly(logits, some, length, k)
    assert torch.equal(ids, expected[1])
    torch.testing.assert_close(values, expected[0])


def test_hidden_numbers_may_be_the_largest_of_all(kernel):
    logits = torch.zeros(3, 256)
    logits[:, [0, 1, 2, 70]] = 100.0
    logits[:, 200] = 1.0
    values, ids = best_next(logits, limits(3), 0, range(3), 4)
    assert kernel()
    assert ids.tolist() == [[200, 3, 4, 5]] * 3
    torch.testing.assert_close(values, plainly(logits, limits(3), 0, 4)[0])


@pytest.mark.parametrize("allowed", [0, 2])
def test_fewer_that_may_come_than_are_asked_for(allowed, kernel):
    logits = torch.full((2, 100), -torch.inf)
    logits[:, 50 : 50 + allowed] = 1.0
    values, ids = best_next(logits, limits(2), 0, range(2), 5)
    assert not kernel()
    assert (values > -torch.inf).sum(1).tolist() == [allowed] * 2
    assert torch.equal(ids, plainly(logits, limits(2), 0, 5)[1])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [3, 64, 99])
def test_what_is_no_number_is_refused_with_its_place(number, place):
    logits = torch.zeros(3, 100)
    logits[1, place] = number
    with pytest.raises(InputError, match=f"the score of id {place} at place 4 of set 7 is {number}"):
        best_next(logits, limits(3), 4, [5, 7, 9], 2)


def test_a_row_gets_the_same_bits_in_every_batch(monkeypatch):
    logits = torch.randn(7, 500, generator=torch.Generator().manual_seed(0))
    together = best_next(logits, limits(7), 1, range(7), 6)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    by_threads = best_next(logits, limits(7), 1, range(7), 6)
    alone = [best_next(logits[n : n + 1], limits(1), 1, [n], 6) for n in range(7)]
    for place in (0, 1):
        assert torch.equal(together[place], by_threads[place])
        assert torch.equal(together[place], torch.cat([one[place] for one in alone]))


def test_what_the_kernel_leaves_to_operators(kernel):
    logits = torch.randn(2, 100)
    for given, k in ((logits.half(), 2), (logits, 65), (logits.requires_grad_(), 2), (torch.zeros(0, 100), 2)):
        values, ids = best_next(given, limits(len(given)), 1, range(len(given)), k)
        assert not kernel()
        assert values.shape == ids.shape == (len(given), k)
