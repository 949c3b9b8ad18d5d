"""The picture of who attends to whom: its numbers are the weights of what it shows."""

import pytest
import torch

from benchmarks.attended import SENTENCE, SYSTEMS, weights
from regard import Attention, Layout, attention_weights
from regard.attention.pairs.drawing import matrix
from regard.attention.vocabulary import parse


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_is_drawn(name):
    found = weights(SYSTEMS[name])
    assert found.shape == (len(SENTENCE), len(SENTENCE))
    assert found.isfinite().all()
    assert found.abs().sum() > 1


def test_weights_are_those_of_the_pattern():
    found = weights(SYSTEMS["Longformer, ETC"])
    assert torch.equal(found > 0, torch.as_tensor(matrix(parse(SYSTEMS["Longformer, ETC"]), len(SENTENCE)) > 0))
    assert torch.allclose(found.sum(1), torch.ones(len(SENTENCE)))


def test_weights_are_those_of_attention_weights(monkeypatch):
    vectors = torch.randn(len(SENTENCE), 1, 8)
    monkeypatch.setattr("benchmarks.attended._vectors", lambda: vectors)
    layout = Layout.of_lengths([len(SENTENCE)])
    expected = attention_weights(Attention(), 2 * 8**0.5 * vectors, vectors, layout).dense()[0]
    assert torch.allclose(weights("Attention()"), expected, atol=1e-6)
