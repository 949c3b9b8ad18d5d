"""The best simple models beside ours: linear models and nearest neighbors on the same splits, by scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from benchmarks import graph_baselines
from regard.data.examples import IGNORE, Array, Example

__all__ = ["BASELINES"]

Parts = tuple[list[Example], list[Example]]


def _score(model: Any, train: tuple[Any, Array], test: tuple[Any, Array]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*train)
    return float(model.score(*test))


def _labels(examples: Sequence[Example]) -> Array:
    return np.concatenate([_target(each) for each in examples])


def _target(example: Example) -> Array:
    assert isinstance(example.target, np.ndarray), "a part of a published data set has targets"
    return np.atleast_1d(example.target)


def digits(parts: Parts) -> dict[str, float]:
    """On all pixels at once."""
    train, test = ((np.stack([each.values.ravel() for each in part]), _labels(part)) for part in parts)
    return {
        "logistic regression": _score(LogisticRegression(max_iter=2000), train, test),
        "nearest neighbor": _score(KNeighborsClassifier(1), train, test),
        "support vectors": _score(SVC(gamma="scale", C=10), train, test),
    }


def _word_features(words: Sequence[str], at: int) -> dict[str, Any]:
    """The word, its affixes and shape, and the two words around it."""
    word = words[at]
    lower = word.lower()
    found: dict[str, Any] = {
        "word": word,
        "lower": lower,
        "before": words[at - 1].lower() if at else "<begin>",
        "behind": words[at + 1].lower() if at + 1 < len(words) else "<end>",
        "first": at == 0,
        "capital": word[:1].isupper(),
        "all capitals": word.isupper(),
        "digit": any(c.isdigit() for c in word),
        "hyphen": "-" in word,
    }
    for n in range(1, 5):
        found[f"prefix {n}"], found[f"suffix {n}"] = lower[:n], lower[-n:]
    return found


def tagging(parts: Parts) -> dict[str, float]:
    """A linear model on affixes and the two words around."""

    features = [
        [_word_features(each.tokens or (), at) for each in part for at in range(len(each.tokens or ()))]
        for part in parts
    ]
    vectorizer = DictVectorizer(dtype=np.float32).fit(features[0])
    train, test = (vectorizer.transform(each) for each in features)
    for each in (train, test):
        # The linear model takes no wider ones.
        each.indices, each.indptr = each.indices.astype(np.int32), each.indptr.astype(np.int32)
    model = SGDClassifier(alpha=3e-6, max_iter=20, random_state=0)
    return {
        "linear model on affixes and neighbors": _score(model, (train, _labels(parts[0])), (test, _labels(parts[1])))
    }


def citation(parts: Parts) -> dict[str, float]:
    """A linear model on the words of each paper, and on those averaged over citations, twice."""

    def rows(values: Array) -> list[tuple[Array, Array]]:
        targets = [_target(each) for (each,) in parts]
        return [(values[target != IGNORE], target[target != IGNORE]) for target in targets]

    ((graph,), _) = parts
    assert graph.edges is not None
    values = graph.values
    for _ in range(2):
        total = np.zeros_like(values)
        np.add.at(total, graph.edges[0], values[graph.edges[1]])
        values = total / np.bincount(graph.edges[0], minlength=len(values))[:, None].clip(1)
    return {
        "logistic regression": _score(LogisticRegression(C=100, max_iter=1000), *rows(graph.values)),
        "logistic regression, averaged over citations": _score(LogisticRegression(C=100, max_iter=1000), *rows(values)),
    }


def speaker(parts: Parts) -> dict[str, float]:
    """On the mean and the deviation of every band over the utterance."""
    train, test = (
        (np.stack([np.concatenate([each.values.mean(0), each.values.std(0)]) for each in part]), _labels(part))
        for part in parts
    )
    return {
        "logistic regression on mean and deviation": _score(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)), train, test
        ),
        "nearest neighbor on mean and deviation": _score(
            make_pipeline(StandardScaler(), KNeighborsClassifier(1)), train, test
        ),
    }


_WORD = r"\w[\w']*|[^\w\s]"


_SVMS: dict[str, tuple[dict[str, Any], float]] = {
    "SVM on words": ({"token_pattern": _WORD}, 0.1),
    "SVM on words and pairs": ({"token_pattern": _WORD, "ngram_range": (1, 2)}, 0.3),
    "SVM on 2 to 5 characters": ({"analyzer": "char_wb", "ngram_range": (2, 5), "max_features": 300_000}, 0.3),
}


def texts(parts: Parts, characters: bool = True) -> dict[str, float]:
    """Linear models on words, on words and pairs of words, on these weighted as naive Bayes would, and on characters.

    An example's one token is its text.
    """
    train, test = ([each.tokens[0] for each in part if each.tokens] for part in parts)
    answers, expected = map(_labels, parts)
    found = {}
    for name, (options, strength) in _SVMS.items():
        if characters or "characters" not in name:
            vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True, **options)
            rows = vectorizer.fit_transform(train), vectorizer.transform(test)
            found[name] = _score(LinearSVC(C=strength), (rows[0], answers), (rows[1], expected))
    return found | {"NBSVM on words and pairs": _naive_bayes_svm(train, answers, test, expected)}


def _naive_bayes_svm(train: list[str], answers: Array, test: list[str], expected: Array) -> float:
    """Wang and Manning 2012, section 2.3, without its interpolation."""
    counter = CountVectorizer(token_pattern=_WORD, ngram_range=(1, 2), min_df=2, binary=True, dtype=np.float32)
    rows = counter.fit_transform(train), counter.transform(test)
    seen = [1 + np.asarray(rows[0][answers == label].sum(0)).ravel() for label in (0, 1)]
    ratio = np.log(seen[1] / seen[1].sum()) - np.log(seen[0] / seen[0].sum())
    weighted = [each.multiply(ratio).tocsr() for each in rows]
    return _score(LinearSVC(C=0.01), (weighted[0], answers), (weighted[1], expected))


BASELINES: dict[str, Callable[[Parts], dict[str, float]]] = {
    "digits": digits,
    "tagging": tagging,
    "citation": citation,
    "departments": graph_baselines.departments,
    "workers": graph_baselines.workers,
    "molecules-solubility": partial(graph_baselines.molecules, recipe="molecules-solubility"),
    "molecules-hydration": partial(graph_baselines.molecules, recipe="molecules-hydration"),
    "molecules-barrier": partial(graph_baselines.molecules, recipe="molecules-barrier"),
    "speaker": speaker,
    "sst2": texts,
    "imdb": partial(texts, characters=False),
    "imdb-bytes": partial(texts, characters=False),
}
