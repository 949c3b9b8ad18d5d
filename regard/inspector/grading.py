"""What evaluation wrote about a part, read back: how a run did on each example, by each of its metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import InputError
from regard.files import opened
from regard.inspector.compare import CorpusOutcome, Outcome
from regard.tasks.corpus import CorpusMetric
from regard.tasks.ranking import roc_auc

__all__ = ["Graded", "grade"]

Answers = list[tuple[Any, Any]]

# The square of a larger error is no number any more.
_LARGEST = 1e150


@dataclass(frozen=True)
class Graded:
    """The predictions of a run on a test part, and what they answer.

    Args:
        outcomes: by metric, how the run did: "accuracy" or "mse" where targets are labels or numbers, "roc_auc" where that is
            wanted, then the task's own metrics of whole parts.
        test: the name of each set with its targets, in order: what runs must share to be compared.
        unit: what a unit is, "set" or "target".
    """

    outcomes: Mapping[str, Outcome | CorpusOutcome]
    test: tuple[tuple[str, tuple[Any, ...]], ...]
    unit: str


def grade(path: Path, metrics: Sequence[CorpusMetric] = (), ranked: bool = False) -> Graded:
    """Read the predictions that evaluation wrote: a JSON object per set.

    Args:
        metrics: of whole parts, as the run's task names them.
        ranked: whether the area under the ROC curve is one of them, where predictions have the probabilities of two labels.

    Raises:
        InputError: a missing file, a line that is no prediction, or a file without any target.
    """
    sets: list[tuple[str, tuple[Any, ...]]] = []
    answers: list[Answers] = []
    records: list[list[Any]] = [[] for _ in metrics]
    ranks: list[_Ranked] = []
    for name, pairs, whole, line in _predictions(path, bool(metrics)):
        try:
            entries = [metric.record(whole) for metric in metrics]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise _no_prediction(path, line) from None
        for kept, entry in zip(records, entries, strict=True):
            if entry is not None:
                kept.append(entry)
        if pairs:
            answers.append(pairs)
            ranks.append(_ranked(whole) if ranked else [])
        if pairs or any(entry is not None for entry in entries):
            targets = [target for _, target in pairs] if pairs else [json.dumps(whole.get("target"), sort_keys=True)]
            sets.append((name, tuple(targets)))
    unit = "set" if len(sets) > 1 else "target"
    outcomes: dict[str, Outcome | CorpusOutcome] = {}
    if answers or not any(records):
        outcome = _of_targets(path, answers, unit)
        outcomes["accuracy" if outcome.labels else "mse"] = outcome
    if ranked and all(len(found) == len(pairs) for found, pairs in zip(ranks, answers, strict=True)):
        by_unit = ranks if unit == "set" else [[each] for found in ranks for each in found]
        outcomes[_ROC_AUC.name] = CorpusOutcome(_ROC_AUC, (by_unit,))
    for metric, kept in zip(metrics, records, strict=True):
        if kept:
            outcomes[metric.name] = CorpusOutcome(metric, (kept,))
    return Graded(outcomes, tuple(sets), unit)


_Ranked = list[tuple[float, bool]]


def _ranked(prediction: Mapping[str, Any]) -> _Ranked:
    """Of each target, the probability of one of two labels, and whether the target is that one; none without probabilities."""
    found = []
    for entry in prediction.get("vectors", [prediction]):
        probabilities = entry.get("probabilities", {})
        if "target" in entry and len(probabilities) == 2 and entry["target"] in probabilities:
            label = max(probabilities)
            found.append((float(probabilities[label]), entry["target"] == label))
    return found


def _area(records: Sequence[_Ranked]) -> float:
    pairs = [pair for found in records for pair in found]
    return roc_auc(np.array([score for score, _ in pairs]), np.array([right for _, right in pairs], bool))


_ROC_AUC = CorpusMetric("roc_auc", _ranked, _area)


def _of_targets(path: Path, answers: Sequence[Answers], unit: str) -> Outcome:
    """The outcome of targets that are labels or numbers, by set or by target."""
    kinds = {isinstance(target, str) for pairs in answers for _, target in pairs}
    if len(kinds) != 1:
        raise InputError(f"{path} holds {'labels and numbers' if kinds else 'no target'}, expected targets of one kind")
    scores = [[float(a == b) if isinstance(b, str) else (a - b) ** 2 for a, b in pairs] for pairs in answers]
    if unit == "target":
        columns = np.array(scores[0]), np.ones(len(scores[0]))
    else:
        columns = np.array([sum(numbers) for numbers in scores]), np.array([len(numbers) for numbers in scores], float)
    return Outcome(*columns, labels=kinds.pop())


def _predictions(path: Path, whole_parts: bool) -> Iterator[tuple[str, Answers, dict[str, Any], int]]:
    """Each set's name, (answer, target) of each target that is a label or a number, all that is written, and the line.

    Other targets are for metrics of whole parts.
    """
    try:
        with opened(path) as file:
            lines = file.read().decode().split("\n")
    except (OSError, InputError):
        raise InputError(f"{path} is missing or cannot be read: `regard evaluate {path.parent}` writes it") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8, expected what evaluation wrote") from None
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, 1):
        try:
            whole = json.loads(line)
            written = [entry for entry in whole.get("vectors", [whole]) if "target" in entry]
            if whole_parts:
                written = [entry for entry in written if "label" in entry or "number" in entry]
            pairs = [(entry["label"] if "label" in entry else entry["number"], entry["target"]) for entry in written]
            name = whole["name"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise _no_prediction(path, number) from None
        if not isinstance(name, str) or not all(_comparable(*pair) for pair in pairs):
            raise _no_prediction(path, number)
        yield name, pairs, whole, number


def _comparable(answer: object, target: object) -> bool:
    """Whether both are labels, or both are finite numbers."""
    if isinstance(answer, str) and isinstance(target, str):
        return True
    numbers = [each for each in (answer, target) if isinstance(each, (int, float)) and not isinstance(each, bool)]
    return len(numbers) == 2 and all(abs(number) < _LARGEST for number in numbers)


def _no_prediction(path: Path, line: int) -> InputError:
    return InputError(f"{path}, line {line}, is no prediction, expected what evaluation wrote")
