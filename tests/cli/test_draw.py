"""Pictures in the terminal show what the vectors hold."""

import numpy as np

from regard.cli.draw import draw, picture
from regard.data.examples import Example


def test_pixels_lie_where_their_coordinates_say():
    coords = np.array([[1, 0], [0, 1], [0, 0], [1, 1]], np.float32)
    assert picture(np.array([[1.0], [0.5], [0.0], [0.0]]), coords) == ["  ▒▒", "██  "]


def test_patches_are_unfolded_row_by_row():
    values = np.array([[1, 0, 0, 0], [0, 0, 0, 1]], np.float32)
    assert picture(values, np.array([[0, 0], [0, 1]], np.float32)) == ["██      ", "      ██"]


def test_colors_are_drawn_by_their_brightness():
    assert picture(np.ones((1, 12), np.float32), np.zeros((1, 2), np.float32)) == ["████", "████"]


def test_large_pictures_are_reduced():
    coords = np.stack(np.meshgrid(np.arange(64), np.arange(64), indexing="ij"), -1).reshape(-1, 2)
    drawn = picture((coords[:, :1] < 32).astype(np.float32), coords.astype(np.float32))
    assert drawn == ["█" * 64] * 16 + [" " * 64] * 16


def test_a_prediction_stands_beside_its_picture():
    example = Example(np.ones((1, 1), np.float32), None, "x", coords=np.zeros((1, 2), np.float32))
    prediction = {"name": "x", "label": "one", "probabilities": {"one": 0.75, "zero": 0.25}, "target": "zero"}
    assert draw(example, prediction, 9).splitlines() == [
        "x: one, which is wrong: zero",
        "██   one  0.750 ███████████████",
        "     zero 0.250 █████",
    ]


def test_numbers_and_sets_without_target_are_told():
    example = Example(np.ones((1, 1), np.float32), None, "x")
    assert draw(example, {"name": "x", "number": 2.5, "target": 3.0}, 9) == "x: 2.5 for 3"
    assert draw(example, {"name": "x", "label": "a"}, 9) == "x: a"


def test_predictions_of_other_tasks_are_shown_as_they_are_written():
    example = Example(np.ones((1, 1), np.float32), None, "x")
    assert draw(example, {"name": "x", "places": [[1.0, 2.0]]}, 9) == 'x: {"places": [[1.0, 2.0]]}'
    assert draw(example, {"name": "x", "text": "é", "target": "e"}, 9) == 'x: {"text": "é"} for "e"'


def test_of_many_vectors_those_with_targets_are_shown():
    vectors = [{"token": f"t{n}", "label": "a", "probability": 0.5} for n in range(9)]
    for each in vectors[4:]:
        each["target"] = "a"
    example = Example(np.ones((9, 1), np.float32), None, "x")
    assert draw(example, {"name": "x", "vectors": vectors}, 2).splitlines() == [
        "x",
        "  t4  0.500  a, which is right",
        "  t5  0.500  a, which is right",
        "  and 3 more",
    ]
    assert draw(example, {"name": "x", "vectors": []}, 2) == "x"
