"""Behind a stem vectors lie on squares of the picture, and nothing is said of places where that is not known."""

import numpy as np
import pytest

from regard.data.encoding import Encoding, Grid, Labels
from regard.data.examples import Example
from regard.inspector.answers import Questions
from regard.inspector.inspection import Inspection
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks import PerSetLabel
from regard.train.kinds import build, build_model


def asking(layers=1, **front):
    """About a picture of 8 x 8 pixels, of which a stem of two stages makes 2 x 2 vectors."""
    encoding = Encoding(Labels(("no", "yes")), width=1, grid=Grid(2, (8, 8)))
    options = Front(stem="convolution2d", stages=(8,), **front)
    encoder = Encoder(8, layers, 2, 8, positions=Positions("none"), front=options)
    model = build_model(encoder, None, encoding).eval()
    task = build(PerSetLabel(pool="attention"), model.width, encoding).eval()
    task.attach(model)
    return Questions(Inspection(model, task, a_picture(8)))


def a_picture(side):
    coords = np.stack(np.divmod(np.arange(side * side), side), 1).astype(np.float32)
    return Example(np.random.default_rng(0).random((side * side, 1), np.float32), None, "a picture", coords=coords)


@pytest.mark.parametrize("layers", [0, 2])
def test_a_vector_lies_on_its_square(layers):
    questions = asking(layers)
    found = questions.answer({"ask": "place"}).content
    assert (found["patch"], found["places"]) == (4, [[0, 0], [0, 1], [1, 0], [1, 1]])
    axes = questions.answer({"ask": "overview"}).content["axes"]
    assert axes[-1 if layers == 0 else 0]["spans"] == [[0, 1], [1, 2], [2, 3], [3, 4]]


def test_beside_a_class_vector_no_place_is_named():
    questions = asking(class_vector=True)
    assert all(not axis["spans"] for axis in questions.answer({"ask": "overview"}).content["axes"])
