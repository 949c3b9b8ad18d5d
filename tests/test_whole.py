"""Whole numbers by NumPy are those of torch."""

import pytest
import torch

from regard.sets.whole import insertions, repeated


def test_repeated_is_what_torch_gives():
    counts = torch.tensor([2, 0, 3, 1])
    assert torch.equal(repeated(torch.arange(4), counts), torch.repeat_interleave(torch.arange(4), counts))
    assert repeated(torch.arange(0), torch.arange(0)).tolist() == []


@pytest.mark.parametrize("right", [False, True])
def test_insertions_are_what_torch_gives(right):
    line, values = torch.tensor([1, 3, 3, 7]), torch.tensor([[0, 1, 3], [4, 7, 9]])
    assert torch.equal(insertions(line, values, right), torch.searchsorted(line, values, right=right))
    assert int(insertions(line, line[1])) == 1
    assert insertions(line[:0], values).unique().tolist() == [0]
