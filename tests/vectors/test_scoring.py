"""Neighbors, analogies and scores, on vectors whose answers are known."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from regard.errors import InputError
from regard.vectors.scoring import ANALOGIES, SIMILARITIES, analogies, read_analogies, similarity, total
from regard.vectors.words import WordVectors

WORDS = ["man", "king", "woman", "queen", "paris"]
PLANE = WordVectors(WORDS, np.array([[1, 0, 0.2], [1, 1, 0.2], [-1, 0, 0.2], [-1, 1, 0.2], [0, 0, 1]]))


def test_neighbors_are_by_cosine_and_not_the_word_itself():
    found = PLANE.nearest("king", 2)
    assert [word for word, _ in found] == ["man", "paris"]
    a, b = PLANE["king"], PLANE["man"]
    assert found[0][1] == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-6)
    assert len(PLANE.nearest("king", 99)) == 4
    assert PLANE.nearest("King", 1) == PLANE.nearest("king", 1)


def test_analogies_leave_out_their_questions_words():
    assert PLANE.analogy("man", "king", "woman", 1)[0][0] == "queen"
    assert {word for word, _ in PLANE.analogy("man", "king", "woman", 9)} == {"queen", "paris"}


def test_unknown_words_suggest_the_nearest():
    with pytest.raises(InputError, match="the word 'quen' has no vector among 5: did you mean 'queen'"):
        PLANE.nearest("quen")
    for words, matrix in ((["a"], np.ones((2, 2))), (["a", "a"], np.ones((2, 2))), (["a"], np.full((1, 2), np.nan))):
        with pytest.raises(InputError):
            WordVectors(words, matrix)


def test_similarity_is_spearman_over_what_is_covered(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("man\tKing\t9\nman woman 2\nqueen woman 7\n\nqueen elsewhere 10\nparis man 4\n")
    found = similarity(PLANE, path)
    cosines = [float(PLANE.unit[PLANE.id(a)] @ PLANE.unit[PLANE.id(b)]) for a, b in
               (("man", "king"), ("man", "woman"), ("queen", "woman"), ("paris", "man"))]  # fmt: skip
    assert found.value == pytest.approx(spearmanr(cosines, [9, 2, 7, 4]).statistic)
    assert (found.used, found.total, found.coverage) == (4, 5, 0.8)
    path.write_text("a b 1\nc d 2\n")
    assert math.isnan(similarity(PLANE, path).value)
    assert similarity(PLANE, path).coverage == 0
    # One-hot vectors of different words are equally far from one another: there is no order to agree with.
    path.write_text("man king 1\nman woman 2\n")
    assert math.isnan(similarity(WordVectors(WORDS, np.eye(5)), path).value)


def test_analogies_are_counted_by_kind(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text(
        ": royals\nman king woman queen\nwoman queen man king\nman king woman paris\nman king girl princess\n: none\na b c d\n"
    )
    found = analogies(PLANE, read_analogies(path))
    assert (found["royals"].value, found["royals"].used, found["royals"].total) == (2 / 3, 3, 4)
    assert math.isnan(found["none"].value)
    assert (total(found).value, total(found).used, total(found).total) == (2 / 3, 3, 5)
    # The same answers as one question at a time.
    for a, b, c, d in read_analogies(path).questions["royals"][:3]:
        assert (PLANE.analogy(a, b, c, 1)[0][0] == d) == (d != "paris")


@pytest.mark.parametrize("line", ["one two", "one two x", "one two 3 4", "one two nan"])
def test_broken_pairs_name_their_line(tmp_path, line):
    (tmp_path / "pairs.txt").write_text(f"a b 1\n{line}\n")
    with pytest.raises(InputError, match=r"pairs.txt, line 2, holds .* expected two words and a number"):
        similarity(PLANE, tmp_path / "pairs.txt")


def test_broken_questions_name_their_line(tmp_path):
    (tmp_path / "q.txt").write_text(": kind\na b c\n")
    with pytest.raises(InputError, match="line 2, holds 'a b c', expected four words"):
        read_analogies(tmp_path / "q.txt")
    (tmp_path / "q.txt").write_text(": kind\n")
    with pytest.raises(InputError, match="has no question"):
        read_analogies(tmp_path / "q.txt")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(InputError, match="is empty"):
        similarity(PLANE, tmp_path / "empty.txt")


def test_the_published_sets_have_their_sizes(data):
    folder = data / "word-vectors"
    sizes = {name: similarity(PLANE, folder / file).total for name, file in SIMILARITIES.items()}
    assert sizes == {"WordSim-353": 353, "SimLex-999": 999, "MEN": 3000, "RareWords": 2034}
    questions = read_analogies(folder / ANALOGIES)
    assert (len(questions.questions), sum(map(len, questions.questions.values()))) == (14, 19_544)
