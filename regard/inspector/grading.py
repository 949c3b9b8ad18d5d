"""What evaluation wrote about a part, read back: how a run did on each example, by each of its metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import InputError
from regard.inspector.compare import CorpusOutcome, Outcome
from regard.tasks.corpus import CorpusMetric

__all__ = ["Graded", "grade"]

Answers = list[tuple[Any, Any]]


@dataclass(frozen=True)
class Graded:
    """The predictions of a run on a test part, and what they answer.

    Args:
        outcomes: by metric, how the run did: "accuracy" or "mse" where targets are labels or numbers, then the task's own metrics
            of whole parts.
        test: the name of each set with its targets, in order: what runs must share to be compared.
        unit: what a unit is, "set" or "target".
    """

    outcomes: Mapping[str, Outcome | CorpusOutcome]
    test: tuple[tuple[str, tuple[Any, ...]], ...]
    unit: str


def grade(path: Path, metrics: Sequence[CorpusMetric] = ()) -> Graded:
    """Read the predictions that evaluation wrote: a JSON object per set.

    Args:
        metrics: of whole parts, as the run's task names them.

    Raises:
        InputError: a missing file, a line that is no prediction, or a file without any target.
    """
    sets: list[tuple[str, tuple[Any, ...]]] = []
    answers: list[Answers] = []
    records: list[list[Any]] = [[] for _ in metrics]
    for name, pairs, whole in _predictions(path, bool(metrics)):
        entries = [metric.record(whole) for metric in metrics]
        for kept, entry in zip(records, entries, strict=True):
            if entry is not None:
                kept.append(entry)
        if pairs:
            answers.append(pairs)
        if pairs or any(entry is not None for entry in entries):
            targets = [target for _, target in pairs] if pairs else [json.dumps(whole.get("target"), sort_keys=True)]
            sets.append((name, tuple(targets)))
    unit = "set" if len(sets) > 1 else "target"
    outcomes: dict[str, Outcome | CorpusOutcome] = {}
    if answers or not any(records):
        outcome = _of_targets(path, answers, unit)
        outcomes["accuracy" if outcome.labels else "mse"] = outcome
    for metric, kept in zip(metrics, records, strict=True):
        if kept:
            outcomes[metric.name] = CorpusOutcome(metric, (kept,))
    return Graded(outcomes, tuple(sets), unit)


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


def _predictions(path: Path, whole_parts: bool) -> Iterator[tuple[str, Answers, dict[str, Any]]]:
    """Each set's name, (answer, target) of each of its targets that is a label or a number, and all that is written of it.

    Other targets are for metrics of whole parts.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise InputError(f"{path} is missing or cannot be read: `regard evaluate {path.parent}` writes it") from None
    for number, line in enumerate(lines, 1):
        try:
            whole = json.loads(line)
            written = [entry for entry in whole.get("vectors", [whole]) if "target" in entry]
            if whole_parts:
                written = [entry for entry in written if "label" in entry or "number" in entry]
            pairs = [(entry["label"] if "label" in entry else entry["number"], entry["target"]) for entry in written]
            name = whole["name"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path}, line {number}, is no prediction, expected what evaluation wrote") from None
        yield name, pairs, whole
