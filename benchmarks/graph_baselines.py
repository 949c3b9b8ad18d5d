"""The best simple models for graphs and molecules: spectra, averages over neighbors, and trees on sums over atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from regard.data.encoding import Numbers
from regard.data.examples import IGNORE, Array, Example
from regard.recipes import RECIPES

__all__ = ["departments", "molecules", "workers"]

Parts = tuple[list[Example], list[Example]]


def departments(parts: Parts) -> dict[str, float]:
    """The most frequent department of one's correspondents, and a linear model on eigenvectors of who wrote to whom."""
    (train,), (test,) = parts
    matrix = _adjacency(train)
    known, answers = _targets(train), _targets(test)
    here, asked = known != IGNORE, answers != IGNORE
    votes = matrix[:, here] @ np.eye(known.max() + 1)[known[here]]
    root = np.sqrt(matrix.sum(1).clip(1))
    _, vectors = np.linalg.eigh(matrix / root[:, None] / root)
    spectrum = vectors[:, -64:] * np.sqrt(len(matrix))
    model = LogisticRegression(C=0.1, max_iter=2000).fit(spectrum[here], known[here])
    return {
        "most frequent among neighbors": float((votes.argmax(1) == answers)[asked].mean()),
        "logistic regression on 64 eigenvectors": float(model.score(spectrum[asked], answers[asked])),
    }


def workers(parts: Parts) -> dict[str, float]:
    """Boosted trees and a linear model on what the recipe reads: features, degrees, and their means over neighbors, as ranks.

    The size of the trees was chosen by the validation parts of the first two masks.
    """
    (train,), (test,) = parts
    known, answers = _targets(train), _targets(test)
    here, asked = known != IGNORE, answers != IGNORE
    # As many means over neighbors, and over their neighbors, follow.
    own = train.values.shape[1] // 3
    trees = HistGradientBoostingClassifier(max_iter=80, learning_rate=0.07, min_samples_leaf=40, random_state=0)
    models: dict[str, tuple[Any, Array]] = {
        "boosted trees": (trees, train.values[:, :own]),
        "boosted trees, with means over neighbors": (trees, train.values),
        "logistic regression, with means over neighbors": (LogisticRegression(max_iter=2000), train.values),
    }
    found = {}
    for name, (model, values) in models.items():
        model.fit(values[here], known[here])
        found[name] = float(roc_auc_score(answers[asked], model.predict_proba(values[asked])[:, 1]))
    return found


def molecules(parts: Parts, recipe: str) -> dict[str, float]:
    """Trees on sums and means of what the atoms' vectors hold, and numbers of the whole: what a recipe reads, without bonds."""
    encoding = RECIPES[recipe].experiment().data.fit()
    rows, answers = [np.stack([_summed(each) for each in part]) for part in parts], [_each(part) for part in parts]
    if not isinstance(encoding.targets, Numbers):
        model = HistGradientBoostingClassifier(random_state=0).fit(rows[0], answers[0])
        return {
            "boosted trees on sums over atoms": float(roc_auc_score(answers[1], model.predict_proba(rows[1])[:, 1]))
        }
    found = {}
    models: dict[str, Any] = {
        "random forest on sums over atoms": RandomForestRegressor(300, random_state=0),
        "boosted trees on sums over atoms": HistGradientBoostingRegressor(random_state=0),
    }
    for name, model in models.items():
        errors = model.fit(rows[0], answers[0]).predict(rows[1]) - answers[1]
        found[name] = float(np.sqrt((errors**2).mean()) * encoding.targets.deviation)
    return found


def _summed(example: Example) -> Array:
    whole = [] if example.set_values is None else [example.set_values]
    return np.concatenate([example.values.sum(0), example.values.mean(0), [len(example.values)], *whole])


def _each(part: list[Example]) -> Array:
    return np.array([np.asarray(example.target).item() for example in part])


def _targets(example: Example) -> Array:
    assert isinstance(example.target, np.ndarray)
    return example.target


def _adjacency(graph: Example) -> Array:
    assert graph.edges is not None
    matrix = np.zeros((len(graph.values), len(graph.values)))
    matrix[graph.edges[0], graph.edges[1]] = 1
    np.fill_diagonal(matrix, 0)
    return matrix
