"""Biases: values worked by hand, and that their quick forms say the same as their meaning."""

import pytest
import torch

from regard.attention.biases import ALiBi
from regard.attention.pairs import Pairs
from regard.sets import Layout

from .catalogue import BIASES

BY_DISTANCE = [bias for bias in BIASES if bias is not None and bias.of_distance]


@pytest.mark.parametrize("bias", BY_DISTANCE, ids=repr)
@pytest.mark.parametrize("reach", [0, 1, 5, 40])
def test_the_bias_by_distance_is_that_of_the_pairs(bias, reach):
    heads, layout = 3, Layout.of_lengths([41])
    learned = {name: torch.randn(shape).double() for name, shape in bias.parameters(heads, 4, 4).items()}
    table = bias.by_distance(heads, reach, learned)
    assert table.shape == (heads, 2 * reach + 1)
    rows = torch.arange(41)
    pairs = Pairs(layout, layout, rows[:, None], rows)
    expected = bias.score_bias(torch.zeros(41, 1, heads, 4, dtype=torch.float64), pairs, learned)
    near = (rows - rows[:, None]).abs() <= reach
    place = (rows - rows[:, None] + reach)[near]
    torch.testing.assert_close(table[:, place], expected[near].T)


def test_a_bias_that_reads_more_than_the_distance_has_no_such_table():
    for bias in (bias for bias in BIASES if bias is not None and not bias.of_distance):
        assert bias.by_distance(2, 3, {}) is None
    assert ALiBi(coordinates=True).by_distance(2, 3, {}) is None
