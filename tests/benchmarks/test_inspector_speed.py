"""The benchmark of the page looks at what it says that it looks at."""

from benchmarks.inspector import Row, questions_of


def test_the_model_has_the_size_that_is_said():
    questions = questions_of(5, layers=2, heads=3)
    content = questions.answer({"ask": "overview"}).content
    assert [layer["heads"] for layer in content["layers"]] == [3, 3]
    assert questions.answer({"ask": "matrix", "layer": 1, "head": 2}).content["shape"] == [5, 5]


def test_a_row_says_what_is_to_be_reached():
    assert str(Row("another head", 0.25, "s", 0.3)).endswith("0.250 s   (to reach: 0.3 s)")
    assert str(Row("size", 2.0, "MB")).endswith("2.000 MB")
