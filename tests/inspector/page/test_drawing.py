"""Every view as SVG: well-formed, with the numbers of the page."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from regard.data.speech import Sounds
from regard.errors import InputError
from regard.inspector.answers import Questions
from regard.inspector.beside import Otherwise
from regard.inspector.page.drawing import View, draw, views_of, with_pictures
from regard.inspector.position_maps import PositionMaps
from regard.inspector.sketch import Sketch
from regard.inspector.words import WordQuestions
from regard.vectors.words import WordVectors
from tests.inspector.page.test_page_in_a_browser import a_graph, a_picture, a_sound
from tests.inspector.test_inspection import a_run, an_example, asking

NAME = "{http://www.w3.org/2000/svg}"


def drawn(questions, name, **options):
    text = draw(questions, View(name, **options))
    assert "nan" not in text.lower().replace("nano", "")
    return ET.fromstring(text)


def numbers(root, tag="rect"):
    """What the titles of its shapes tell."""
    return [float(title.text.rpartition(":")[2]) for shape in root.iter(NAME + tag) for title in shape]


def texts(root):
    return [element.text for element in root.iter(NAME + "text")]


def weights(questions, **question):
    answer = questions.answer({"ask": "matrix", **question})
    return np.frombuffer(answer.buffers[0], "<f4").reshape(answer.content["shape"])


def test_a_matrix_and_lines_tell_the_weights(questions):
    cells = weights(questions, layer=1, head=1)
    found = np.array(numbers(drawn(questions, "matrix", layer=1, head=1))).reshape(6, 6)
    np.testing.assert_allclose(found, cells, atol=1e-6)
    found = numbers(drawn(questions, "lines", layer=1, head=1), "line")
    shown = cells[cells > cells.max() / 100]
    np.testing.assert_allclose(sorted(found), sorted(shown), atol=1e-6)


def test_one_vector_adds_up(questions):
    root = drawn(questions, "step", query=3)
    said = texts(root)
    assert "the weights sum to 1 (Softmax)" in said or any("the weights sum to 0.99999" in text for text in said)
    (apart,) = (text for text in said if "no number is further apart" in text)
    assert float(apart.rpartition(" ")[2]) < 1e-5


def test_heads_and_switching_off_have_numbers(questions):
    said = texts(drawn(questions, "heads", layer=1))
    assert sum(text.startswith("entropy ") for text in said) == 2
    said = texts(drawn(questions, "switch", layer=1, head=1))
    assert {"with everything", "without head 1 of layer 1"} <= set(said)
    found = questions.answer({"ask": "switched", "off": [{"layer": 1, "head": 1}]}).content["prediction"]
    for chance in found["probabilities"].values():
        assert f"{chance:.4f}" in said


@pytest.mark.parametrize("name", ["rollout", "gradient"])
def test_other_matrices(questions, name):
    answer = questions.answer({"ask": name, "layer": 1, **({"head": 1, "query": 0} if name == "gradient" else {})})
    found = numbers(drawn(questions, name, layer=1, head=1))
    np.testing.assert_allclose(found, np.frombuffer(answer.buffers[0], "<f4"), rtol=1e-5, atol=1e-9)


def test_side_by_side_has_a_difference_where_there_is_one():
    inspection = asking(a_run(), an_example(6)).inspection
    questions = Questions(inspection, Otherwise("Causal()", inspection))
    a, b = weights(questions), weights(questions, of="beside")
    found = np.array(numbers(drawn(questions, "compare"))).reshape(3, 6, 6)
    np.testing.assert_allclose(found, [a, b, np.where(np.isneginf(b), 0, b) - a], atol=1e-6)
    other = asking(a_run(), an_example(4, "another", tuple("wxyz"))).inspection
    questions = Questions(inspection, other)
    root = drawn(questions, "compare")
    assert len(numbers(root)) == 36 + 16
    assert set("wxyz") <= set(texts(root))


@pytest.mark.parametrize(
    ("example", "kind"),
    [(a_picture(), "rect"), (a_graph(), "circle"), (a_sound(), "rect")],
    ids=["picture", "graph", "sound"],
)
def test_weights_lie_in_their_places(example, kind):
    run = a_run(width_in=4)
    run.experiment.data = Sounds() if example.name == "a sound" else None
    samples = np.sin(np.arange(5000) / 20).astype(np.float32)
    questions = asking(run, example, samples=samples if example.name == "a sound" else None)
    assert "place" in views_of(questions)
    expected = weights(questions)[2]
    np.testing.assert_allclose(sorted(numbers(drawn(questions, "place", query=2), kind)), sorted(expected), atol=1e-6)


def test_pages_without_a_run():
    maps = PositionMaps("ALiBi()", 5)
    assert views_of(maps) == ("maps",)
    found = np.array(numbers(drawn(maps, "maps", map=1))).reshape(5, 5)
    assert found[0].tolist() == [0, -0.25, -0.5, -0.75, -1]
    words = WordQuestions(WordVectors(["a", "<b>", "c", "d"], np.eye(4)), "w.txt")
    assert {"a", "<b>", "c", "d"} <= set(texts(drawn(words, "words")))
    assert len(numbers(drawn(Questions(Sketch("Window(2, 1)", 12)), "matrix"))) == 144


def test_a_long_set_is_an_image():
    root = drawn(asking(a_run(), an_example(90)), "matrix")
    assert len(list(root.iter(NAME + "image"))) == 1
    with pytest.raises(InputError, match="there are 130 x 130 pairs, expected at most 120 x 120 for lines"):
        draw(asking(a_run(), an_example(130)), View("lines"))


def test_the_page_asks_for_pictures(questions):
    asks = with_pictures(questions)
    assert asks({"ask": "overview"}) == questions.answer({"ask": "overview"})
    answer = asks({"ask": "svg", "view": "compare", "layer": 0, "head": 0, "other": [1, 1, 0]})
    found = np.array(numbers(ET.fromstring(answer.content["svg"]))).reshape(3, 6, 6)
    np.testing.assert_allclose(found[1], weights(questions, layer=1, head=1), atol=1e-6)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"view": "matrx"}, "the view 'matrx' was asked for: did you mean 'matrix'"),
        ({"view": "place"}, "the view 'place' was asked for"),
        ({}, "view is 'None', expected a text"),
        ({"view": "matrix", "layer": 9}, "layer 9 was asked for, expected 0 to 1"),
        ({"view": "matrix", "layer": -1}, "layer -1 was asked for"),
        ({"view": "step", "query": 6}, "query 6 was asked for, expected 0 to 5"),
        ({"view": "compare", "other": [7, 0, 0]}, "layer 7 was asked for, expected 0 to 1"),
        ({"view": "compare", "other": [0, 0, 1]}, "expected a matrix of what stands beside"),
        ({"view": "compare", "other": "x"}, "other is 'x', expected a list of 3 numbers"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused(questions, question, sentence):
    with pytest.raises(InputError, match=sentence):
        with_pictures(questions)({"ask": "svg", **question})
