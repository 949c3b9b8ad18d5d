"""Word vectors in a page: what is asked is what `WordVectors` gives."""

import numpy as np
import pytest

from regard.errors import InputError
from regard.inspector.words import WordQuestions
from regard.vectors.words import WordVectors

WORDS = ("man", "king", "woman", "queen", "<b>", "猫")


@pytest.fixture
def vectors():
    return WordVectors(WORDS, np.array([[1.0, 0], [1, 1], [-1, 0], [-1, 1], [0.2, -1], [0, -1]]))


def test_neighbors_and_analogies(vectors):
    questions = WordQuestions(vectors, "w.txt", ["King"])
    overview = questions.answer({"ask": "overview"}).content
    assert (overview["input"], overview["chosen"]) == ("6 words, 2 numbers each", ["king"])
    near = questions.answer({"ask": "nearest", "word": "king"}).content
    assert near == {"word": "king", "near": vectors.nearest("king", 20)}
    found = questions.answer({"ask": "analogy", "a": "man", "b": "king", "c": "woman"}).content
    assert found["near"][0][0] == "queen"


def test_a_plane_keeps_the_distances_of_two_numbers(vectors):
    questions = WordQuestions(vectors, "w.txt")
    answer = questions.answer({"ask": "plane", "words": list(WORDS)})
    places = np.frombuffer(answer.buffers[0], "<f4").reshape(-1, 2)
    for x, y in zip((places, vectors.unit), (places[::-1], vectors.unit[::-1]), strict=True):
        assert x.shape == y.shape
    distances = [np.linalg.norm(x[:, None] - x, axis=2) for x in (places, vectors.unit)]
    np.testing.assert_allclose(*distances, atol=1e-5)


def test_a_file_holds_the_words_that_are_chosen(vectors):
    questions = WordQuestions(vectors, "w.txt", ["man", "猫"])
    asked = list(questions.all())
    assert [each["word"] for each in asked if each["ask"] == "nearest"] == ["man", "猫"]
    for question in asked:
        questions.answer(question)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"ask": "nearest", "word": "kng"}, "the word 'kng' has no vector among 6"),
        ({"ask": "nearest"}, "word is 'None', expected a text of at most 1,000 characters"),
        ({"ask": "nearest", "word": ""}, "word is '', expected a text"),
        ({"ask": "nearest", "word": "a" * 2000}, "expected a text of at most 1,000"),
        ({"ask": "analogy", "a": "man", "b": 3, "c": "man"}, "b is '3', expected a text"),
        ({"ask": "plane", "words": ["man"]}, "a plane of 1 words was asked for, expected at least 2"),
        ({"ask": "plane", "words": "man"}, "words is 'man', expected a list of at most 300 texts"),
    ],
)
def test_what_is_not_there_is_refused(vectors, question, sentence):
    with pytest.raises(InputError, match=sentence):
        WordQuestions(vectors, "w.txt").answer(question)


def test_few_words_are_refused():
    with pytest.raises(InputError, match=r"w.txt has 2 words, expected at least 3"):
        WordQuestions(WordVectors(["a", "b"], np.eye(2)), "w.txt")
