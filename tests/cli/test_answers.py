"""Tables of predictions, whatever the task."""

import pytest

from regard import InputError
from regard.cli.answers import table


def test_several_labels_stand_in_one_cell():
    predictions = [
        {"name": "a", "labels": ["x", "y"], "probabilities": {"x": 0.9, "y": 0.6, "z": 0.1}},
        {"name": "b", "labels": [], "probabilities": {"x": 0.1, "y": 0.2, "z": 0.1}},
    ]
    assert list(table(predictions)) == [["Id", "Category"], ["a", "x;y"], ["b", ""]]
    assert list(table(predictions, ["x", "z"]))[1] == ["a", "x;y", 0.9, 0.1]


def test_numbers_per_set_and_per_vector():
    assert list(table([{"name": "a", "number": 0.5}])) == [["Id", "Category"], ["a", 0.5]]
    per_vector = [{"name": "g", "vectors": [{"token": "n1", "number": 1.0}, {"token": "n2", "number": 2.0}]}]
    assert list(table(per_vector)) == [
        ["Id", "Vector", "Token", "Category"],
        ["g", 0, "n1", 1.0],
        ["g", 1, "n2", 2.0],
    ]


def test_other_answers_are_no_table():
    with pytest.raises(InputError, match="predicts neither a label nor a number"):
        list(table([{"name": "a", "places": []}]))
