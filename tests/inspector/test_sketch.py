"""A pattern without a run: who may attend to whom."""

import numpy as np
import pytest
import torch

from regard import Attention, Layout, attention_weights
from regard.attention import Causal
from regard.attention.pairs.drawing import matrix as drawn
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.inspector.answers import Questions
from regard.inspector.sketch import Sketch
from tests.inspector.test_inspection import matrix


@pytest.mark.parametrize("text", ["Window(2, 1) | First(1)", "~Causal()", "Edges()", "Near(1)", "RandomBlocks(2, 4)"])
def test_weights_are_alike_where_the_pattern_allows(text):
    questions = Questions(Sketch(text, 20))
    said = questions.answer({"ask": "overview"}).content
    assert "pairs" in said["plan"]
    seen = questions.inspection.seen[0]
    for head in range(seen.heads):
        cells, _ = matrix(questions, head=head)
        allowed = ~np.isneginf(cells)
        pattern, layout = parse(text).for_head(head), seen.calls[0].layout
        if not pattern.varies:
            np.testing.assert_array_equal(allowed, drawn(pattern, layout).bool())
        for row, mask in zip(cells, allowed, strict=True):
            if mask.any():
                np.testing.assert_allclose(row[mask], 1 / mask.sum(), rtol=1e-6)


def test_a_bias_is_a_picture_of_positions():
    cells, _ = matrix(Questions(Sketch("Attention(bias=ALiBi())", 12, heads=2)))
    assert (np.diff(cells[0]) < 0).all()


def test_heads_with_patterns_of_their_own_are_as_many():
    questions = Questions(Sketch("(Window(1, 1), Causal())", 6))
    assert questions.answer({"ask": "overview"}).content["layers"][0]["heads"] == 2
    assert np.isneginf(matrix(questions, head=1)[0][0, 1:]).all()


@pytest.mark.parametrize(
    ("text", "length", "sentence"),
    [
        ("Window(1, 1", 8, "Window"),
        ("Softmax()", 8, "is no pattern and no Attention, expected one such as"),
        ("Causal()", 0, "--length is 0, expected 1 to 8192"),
        ("Causal()", 8193, "--length is 8193, expected 1 to 8192"),
    ],
)
def test_what_is_none_is_refused(text, length, sentence):
    with pytest.raises(InputError, match=sentence):
        Sketch(text, length)


def test_nothing_can_be_switched_off():
    with pytest.raises(InputError, match="without a run, expected a run that predicts"):
        Questions(Sketch("Causal()", 4)).answer({"ask": "switched", "off": [{"layer": 0}]})


def test_vectors_of_ones_own_have_their_weights():
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 2, 3, generator=generator) for _ in range(3))
    words = ("I", "saw", "a", "saw")
    questions = Questions(Sketch("Causal()", 4, vectors=(q, k, v), names=words))
    overview = questions.answer({"ask": "overview"}).content
    assert (overview["zeros"], overview["axes"][0]["names"]) == (False, list(words))
    expected = attention_weights(Attention(pattern=Causal()), q, k, Layout.of_lengths([4])).dense()
    for head in range(2):
        cells, _ = matrix(questions, head=head)
        np.testing.assert_allclose(np.where(np.isneginf(cells), 0, cells), expected[head], atol=1e-6)
    with pytest.raises(InputError, match="4 queries, 4 keys, 3 values and 0 names, expected 4 of each"):
        Sketch("Causal()", 4, vectors=(q, k, v[:3]))
