"""A set whose attention would take hours is refused before anything is computed, and one with few pairs is not."""

import pytest
import torch
from torch import nn

from regard.attention import Attention, Causal, Everyone, Window
from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.train.pairs import MOST_PAIRS, check_pairs, pairs_of


class Lengths:
    """A part whose examples are too long to be made."""

    def __init__(self, *lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        return type("Long", (), {"name": f"text {index}"})()


def checked(attention, *lengths, step=1, device="cpu"):
    model = nn.Sequential(SelfAttention(8, 2, attention))
    model.step = step
    check_pairs(model, Lengths(*lengths), torch.device(device))


@pytest.mark.parametrize("pattern", [Everyone(), Causal(), Window(2_000_000, 0)])
def test_a_text_of_a_million_words_is_refused_by_its_name(pattern):
    with pytest.raises(InputError, match=r"text 1 has 1,000,000 vectors, and .* 1,000,000,000,000 pairs"):
        checked(Attention(pattern=pattern), 3, 1_000_000, 92_681)


def test_what_has_few_pairs_is_taken():
    checked(Attention(), 92_681, 0)
    checked(Attention())
    checked(Attention(pattern=Window(64, 64)), 10_000_000)
    checked(Attention(), 1_000_000, step=11)
    checked(Attention(), 1_000_000, device="cuda")


def test_the_bound_is_one_of_pairs():
    assert pairs_of(Attention(), 92_681) <= MOST_PAIRS < pairs_of(Attention(), 92_682)
