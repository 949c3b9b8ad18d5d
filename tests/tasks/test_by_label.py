"""Numbers by label, against scikit-learn."""

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from regard.tasks.by_label import answered, confusion, label_scores


def drawn(count, names, seed=0):
    generator = np.random.default_rng(seed)
    return generator.choice(names, count).tolist(), generator.choice(names[1:], count).tolist()


def test_numbers_by_label_are_those_of_scikit_learn():
    truth, guess = drawn(200, ["x", "b", "a", "c"])
    found = label_scores(Counter(zip(truth, guess, strict=True)), ("b", "a", "c"))
    assert list(found) == ["b", "a", "c", "x"], "labels of the run first"
    precision, recall, f1, support = precision_recall_fscore_support(truth, guess, labels=list(found), zero_division=0)
    assert [row["recall"] for row in found.values()] == pytest.approx(recall)
    assert [row["f1"] for row in found.values()] == pytest.approx(f1)
    assert [row["support"] for row in found.values()] == support.tolist()
    assert [row["precision"] for row in found.values()][:3] == pytest.approx(precision[:3])
    assert found["x"]["precision"] is None, "x was never predicted"
    assert [row["predicted"] for row in found.values()] == [guess.count(name) for name in found]


def test_a_label_that_is_only_predicted_has_no_recall():
    assert label_scores({("a", "b"): 3}, ("a", "b"))["b"] == {
        "precision": 0.0,
        "recall": None,
        "f1": 0.0,
        "support": 0,
        "predicted": 3,
    }


def test_the_matrix_is_that_of_scikit_learn():
    truth, guess = drawn(300, ["x", "b", "a", "c"])
    found = confusion(Counter(zip(truth, guess, strict=True)), ("a", "b", "c"))
    assert found["labels"] == ["a", "b", "c", "x"]
    assert found["counts"] == confusion_matrix(truth, guess, labels=found["labels"]).tolist()
    assert found["left_out"] == 0
    assert sum(count for *_, count in found["confused"]) == sum(t != g for t, g in zip(truth, guess, strict=True))


def test_of_many_labels_the_most_confused_pairs_are_given():
    names = [f"l{n}" for n in range(60)]
    pairs = {(names[n], names[n + 1]): n + 1 for n in range(59)} | {("l0", "l0"): 1000}
    found = confusion(pairs, names)
    assert "counts" not in found
    assert found["confused"][:2] == [["l58", "l59", 59], ["l57", "l58", 58]]
    assert len(found["confused"]) == 30
    assert found["left_out"] == sum(range(1, 30))


def test_gaps_are_no_answers():
    sentences = [{"vectors": [{"label": "a", "target": "a"}, {"label": "b"}]}, {"vectors": []}]
    assert answered(sentences) == {("a", "a"): 1}
    assert answered([]) == {}
    assert label_scores({}, ("a",)) == {}
    assert confusion({}, ("a",)) == {"labels": [], "counts": [], "confused": [], "left_out": 0}
