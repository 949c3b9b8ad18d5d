"""The tests' own surroundings: that poison is there, and that it goes where it is not wanted."""

import pytest
import torch

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_that_nobody_wrote_is_nan(dtype):
    like = torch.ones(5, dtype=dtype)
    fresh = [
        torch.empty(5, dtype=dtype),
        torch.empty_like(like),
        like.new_empty(5),
        torch.empty_strided((5,), (1,), dtype=dtype),
        torch.ones(2, dtype=dtype).resize_(5)[2:],
    ]
    assert all(values.isnan().all() for values in fresh)


def test_an_operator_that_reads_unwritten_memory_is_caught():
    out = torch.empty(4)
    out[:3] = 1
    assert out.sum().isnan()


def test_unwritten_integers_are_far_outside_every_index():
    assert (torch.empty(5, dtype=torch.int64) == torch.iinfo(torch.int64).max).all()


@pytest.mark.unpoisoned
def test_a_test_can_ask_for_what_production_does():
    assert not torch.are_deterministic_algorithms_enabled()


def test_one_thread():
    assert torch.get_num_threads() == 1
