"""How a task did on each label: precision, recall and F1 by label, and which labels are confused with which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["MATRIX_LABELS", "answered", "confusion", "label_scores", "scores_of"]

MATRIX_LABELS = 30
"""The most labels that a whole confusion matrix is given for."""
_PAIRS = 30


def scores_of(hits: int, predicted: int, support: int) -> dict[str, float | int | None]:
    """Precision = hits / predicted, recall = hits / support, F1 = 2 hits / (predicted + support), and the last two numbers.

    None stands for a fraction of nothing.

    >>> scores_of(1, 2, 4)
    {'precision': 0.5, 'recall': 0.25, 'f1': 0.3333333333333333, 'support': 4, 'predicted': 2}
    """
    return {
        "precision": hits / predicted if predicted else None,
        "recall": hits / support if support else None,
        "f1": 2 * hits / (predicted + support) if predicted + support else None,
        "support": support,
        "predicted": predicted,
    }


def answered(predictions: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """How often each (target, predicted label) comes in written predictions, one for each set or a list for its vectors.

    >>> answered([{"label": "a", "target": "b"}, {"vectors": [{"label": "a", "target": "b"}, {"label": "a"}]}])
    Counter({('b', 'a'): 2})
    """
    entries = (entry for prediction in predictions for entry in prediction.get("vectors", (prediction,)))
    return Counter((entry["target"], entry["label"]) for entry in entries if "target" in entry)


def label_scores(pairs: Mapping[tuple[str, str], int], labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`scores_of` each label that is a target or was predicted: those of `labels` in order, then others.

    >>> label_scores({("a", "a"): 1, ("x", "a"): 1}, ("a", "b"))["x"]
    {'precision': None, 'recall': 0.0, 'f1': 0.0, 'support': 1, 'predicted': 0}
    """
    support, predicted = Counter[str](), Counter[str]()
    for (target, label), count in pairs.items():
        support[target] += count
        predicted[label] += count
    return {
        label: scores_of(pairs.get((label, label), 0), predicted[label], support[label])
        for label in _ordered(support.keys() | predicted.keys(), labels)
    }


def confusion(pairs: Mapping[tuple[str, str], int], labels: Sequence[str]) -> dict[str, Any]:
    """The confusion matrix of up to `MATRIX_LABELS` labels, and the pairs that are confused most often.

    Returns:
        `labels` and `counts`, where counts[i][j] is how often labels[j] was predicted where labels[i] was the target; absent for
        more labels. `confused`: the most frequent mistakes as [target, predicted label, count], and `left_out`, how many other
        mistakes there are.

    >>> confusion({("a", "a"): 4, ("a", "b"): 1, ("b", "a"): 2}, ("a", "b", "c"))
    {'labels': ['a', 'b'], 'counts': [[4, 1], [2, 0]], 'confused': [['b', 'a', 2], ['a', 'b', 1]], 'left_out': 0}
    """
    names = _ordered({name for pair in pairs for name in pair}, labels)
    place = {name: number for number, name in enumerate(names)}
    wrong = [(target, label, count) for (target, label), count in pairs.items() if target != label]
    mistakes = sorted(wrong, key=lambda entry: (-entry[2], place[entry[0]], place[entry[1]]))
    matrix: dict[str, Any] = {}
    if len(names) <= MATRIX_LABELS:
        matrix = {"labels": names, "counts": [[pairs.get((row, column), 0) for column in names] for row in names]}
    left_out = sum(count for _, _, count in mistakes[_PAIRS:])
    return matrix | {"confused": [[*mistake] for mistake in mistakes[:_PAIRS]], "left_out": left_out}


def _ordered(names: Iterable[str], labels: Sequence[str]) -> list[str]:
    place = {label: number for number, label in enumerate(labels)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))
