"""How good word vectors are: agreement with people on similar words, and analogies answered; always with what was covered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError
from regard.files import read_lines
from regard.vectors.words import WordVectors

__all__ = ["ANALOGIES", "SIMILARITIES", "Analogies", "Score", "analogies", "read_analogies", "similarity", "total"]

SIMILARITIES: Mapping[str, str] = {
    "WordSim-353": "EN-WS-353-ALL.txt",
    "SimLex-999": "EN-SIMLEX-999.txt",
    "MEN": "EN-MEN-TR-3k.txt",
    "RareWords": "EN-RW-STANFORD.txt",
}
"""Sets of word pairs with people's judgments, and their files in the data set `word-vectors`."""
ANALOGIES = "questions-words.txt"
"""The analogy set's file in the data set `word-vectors`."""

_QUESTIONS = 512  # at a time


@dataclass(frozen=True)
class Score:
    """`value` (Spearman's rank correlation, or accuracy) over `used` of `total` pairs or questions: those whose words have vectors.

    NaN where fewer than two pairs, or no question, can be used.
    """

    value: float
    used: int
    total: int

    @property
    def coverage(self) -> float:
        return self.used / self.total if self.total else 0.0


def similarity(vectors: WordVectors, path: Path) -> Score:
    """Spearman's rank correlation of cosines with people's judgments, over pairs whose words both have vectors.

    Args:
        path: lines of two words and a number, with tabs or spaces between them.

    Raises:
        InputError: a line of another form, or none; the sentence names it.
    """
    from scipy.stats import spearmanr

    rows, judged, total = [], [], 0
    for number, line in read_lines(path):
        parts = line.split()
        if not parts:
            continue
        try:
            first, second, judgment = parts[0], parts[1], float(parts[2])
            if len(parts) != 3 or not math.isfinite(judgment):
                raise ValueError
        except (IndexError, ValueError):
            raise InputError(f"{path}, line {number}, holds {line[:60]!r}, expected two words and a number") from None
        total += 1
        pair = vectors.find(first), vectors.find(second)
        if None not in pair:
            rows.append(pair)
            judged.append(judgment)
    if not total:
        raise InputError(f"{path} is empty, expected lines of two words and a number")
    if len(set(judged)) < 2:
        return Score(math.nan, len(rows), total)
    left, right = np.array(rows, np.int64).T
    cosines = (vectors.unit[left] * vectors.unit[right]).sum(1)
    value = math.nan if np.ptp(cosines) == 0 else float(spearmanr(cosines, judged).statistic)
    return Score(value, len(rows), total)


@dataclass(frozen=True)
class Analogies:
    """Questions a : b = c : d by their kind."""

    questions: Mapping[str, tuple[tuple[str, str, str, str], ...]]

    def words(self) -> dict[str, tuple[str, ...]]:
        """The words of each kind, in the order of their first appearance."""
        return {
            kind: tuple(dict.fromkeys(word for question in questions for word in question))
            for kind, questions in self.questions.items()
        }


def read_analogies(path: Path) -> Analogies:
    """Lines of four words; a line `: kind` begins each kind.

    Raises:
        InputError: a line of another form, or no question; the sentence names it.
    """
    questions: dict[str, list[tuple[str, str, str, str]]] = {}
    kind = ""
    for number, line in read_lines(path):
        parts = line.split()
        if parts[:1] == [":"] and len(parts) > 1:
            kind = " ".join(parts[1:])
        elif len(parts) == 4:
            questions.setdefault(kind, []).append((parts[0], parts[1], parts[2], parts[3]))
        elif parts:
            raise InputError(f"{path}, line {number}, holds {line[:60]!r}, expected four words, or ': kind'")
    if not questions:
        raise InputError(f"{path} has no question, expected lines of four words")
    return Analogies({kind: tuple(each) for kind, each in questions.items()})


def analogies(vectors: WordVectors, given: Analogies) -> dict[str, Score]:
    """The accuracy of 3CosAdd on each kind, over questions whose four words have vectors; a, b and c are no answers."""
    scores = {}
    for kind, questions in given.questions.items():
        found = [tuple(vectors.find(word) for word in question) for question in questions]
        rows = np.array([row for row in found if None not in row], np.int64).reshape(-1, 4)
        right = sum(_answered(vectors.unit, rows[n : n + _QUESTIONS]) for n in range(0, len(rows), _QUESTIONS))
        scores[kind] = Score(right / len(rows) if len(rows) else math.nan, len(rows), len(questions))
    return scores


def _answered(unit: Array, rows: Array) -> int:
    a, b, c, d = rows.T
    cosines = (unit[b] - unit[a] + unit[c]) @ unit.T
    here = np.arange(len(rows))
    for given in (a, b, c):
        cosines[here, given] = -np.inf
    return int((cosines.argmax(1) == d).sum())


def total(scores: Mapping[str, Score]) -> Score:
    """All kinds together."""
    used = sum(score.used for score in scores.values())
    right = sum(score.value * score.used for score in scores.values() if score.used)
    return Score(right / used if used else math.nan, used, sum(score.total for score in scores.values()))
