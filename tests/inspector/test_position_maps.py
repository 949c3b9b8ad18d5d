"""Positions without a run: the maps hold what the layers and the biases compute."""

import math

import numpy as np
import pytest

from regard.errors import InputError
from regard.inspector.position_maps import PositionMaps, is_position


def maps(text, length):
    questions = PositionMaps(text, length)
    titles = [each["title"] for each in questions.answer({"ask": "overview"}).content["maps"]]
    found = []
    for n in range(len(titles)):
        answer = questions.answer({"ask": "map", "map": n})
        found.append(np.frombuffer(answer.buffers[0], "<f4").reshape(answer.content["shape"]))
    return titles, found


def test_sines_are_those_of_the_paper():
    _, (added, products) = maps("Sinusoidal(4)", 6)
    expected = [[f(place / 10000 ** (i / 2)) for i in (0, 1) for f in (math.sin, math.cos)] for place in range(6)]
    np.testing.assert_allclose(added, expected, atol=1e-6)
    np.testing.assert_allclose(products, added @ added.T, atol=1e-6)


def test_turned_vectors_agree_by_their_distance_alone():
    titles, (product, *pairs) = maps("Rotary()", 9)
    assert len(titles) == 4
    for n in range(9):
        np.testing.assert_allclose(np.diagonal(product, n), product[0, n], atol=1e-6)
    np.testing.assert_allclose(np.diagonal(product), 1, atol=1e-6)
    np.testing.assert_allclose(pairs[0][0], np.cos(np.arange(9)) / 32, atol=1e-6)


def test_a_bias_is_shown_head_by_head():
    titles, found = maps("ALiBi()", 5)
    assert len(titles) == len(found) == 8
    apart = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    for head, values in enumerate(found):
        np.testing.assert_allclose(values, -apart * 2.0 ** -(head + 1), atol=1e-6)


def test_places_on_a_grid():
    _, (_, products) = maps("Sinusoidal(8, coordinates=2)", 9)
    assert products[0, 1] == pytest.approx(products[0, 3])


@pytest.mark.parametrize(
    ("text", "length", "sentence"),
    [
        ("Shaw(4)", 8, "learns bias_keys, bias_values, expected a bias that learns nothing"),
        ("Window(2, 2)", 8, "is no position, expected Sinusoidal"),
        ("Rotary()", 0, "--length is 0, expected 1 to 512 for positions"),
        ("Rotary()", 513, "--length is 513, expected 1 to 512 for positions"),
        ("Rotary(coordinates=0.5)", 8, "coordinates is 0.5, expected 1 to 8"),
        ("Rotary(base=1)", 8, "base is 1, expected a number above 1"),
        ("Sinusoidal(100000000)", 8, "width is 100000000, expected 1 to 1024"),
        ("Sinusoidal(7)", 8, "width 7, expected a multiple of 2"),
        ("Sinusoidal('x')", 8, "width is 'x', expected 1 to 1024"),
    ],
)
def test_what_is_none_is_refused(text, length, sentence):
    with pytest.raises(InputError, match=sentence):
        PositionMaps(text, length)


def test_patterns_and_attentions_are_no_positions():
    texts = ["Causal()", "Attention(bias=ALiBi())", "~Causal()", "runs/ALiBi", "T5()"]
    assert [is_position(text) for text in texts] == [False, False, False, False, True]
    questions = PositionMaps("Rotary()", 3)
    with pytest.raises(InputError, match="map 4 was asked for, expected 0 to 3: there are 4 maps"):
        questions.answer({"ask": "map", "map": 4})
    with pytest.raises(InputError, match="'matrix' was asked, expected one of overview, place, map"):
        questions.answer({"ask": "matrix"})
