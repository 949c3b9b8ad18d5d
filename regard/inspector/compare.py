"""Runs side by side: each one's metric with an interval, and a paired test between runs on the same test part.

What is resampled is the set (a sentence, an utterance), because targets within a set are not independent; where the
whole test part is one set, as in a graph, it is the target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from regard.tasks.corpus import CorpusMetric

__all__ = [
    "CorpusOutcome",
    "Outcome",
    "Verdict",
    "holm",
    "interval",
    "mcnemar",
    "mean",
    "paired",
    "sign_flips",
    "wilson",
]

_RESAMPLES = 10_000
_CORPUS_RESAMPLES = 1_000  # each of them computes the metric anew
_CHUNK = 2**22  # entries of one block of resamples
_Z = 1.959963984540054  # the 97.5 % point of the normal distribution

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """How one run, or the mean of several seeds, did on each unit (set or target) of a test part.

    Args:
        sums: `[u]` the number of right labels of each unit, or its sum of squared errors.
        counts: `[u]` the number of targets of each unit, at least 1.
        labels: whether targets are labels; otherwise they are numbers.
        seeds: how many runs `sums` is the mean of.
    """

    sums: Floats
    counts: Floats
    labels: bool = True
    seeds: int = 1

    @property
    def metric(self) -> float:
        """Accuracy, or the mean squared error: sum of `sums` / sum of `counts`."""
        return float(self.sums.sum() / self.counts.sum())

    @property
    def units(self) -> int:
        """How many."""
        return len(self.sums)

    @property
    def binary(self) -> bool:
        """Whether each unit is simply right or wrong: one label each, of one run."""
        return self.labels and self.seeds == 1 and bool((self.counts == 1).all())


@dataclass(frozen=True)
class CorpusOutcome:
    """What a metric of whole parts is computed from, for one run, or for several seeds whose values are averaged.

    Args:
        measure: the metric.
        records: of each run, that of each example, in the same order.
    """

    measure: CorpusMetric
    records: tuple[Sequence[Any], ...]

    binary: ClassVar[bool] = False

    @property
    def units(self) -> int:
        """How many examples."""
        return len(self.records[0])

    @property
    def metric(self) -> float:
        """Of all examples."""
        return self.resampled(range(len(self.records[0])))

    def resampled(self, examples: Iterable[int]) -> float:
        """Of some examples, any of them several times; the mean over seeds."""
        drawn = list(examples)
        return math.fsum(self.measure.value([run[i] for i in drawn]) for run in self.records) / len(self.records)


@dataclass(frozen=True)
class Verdict:
    """One run against another.

    Args:
        difference: first metric minus second.
        low: lower end of the difference's 95 % interval.
        high: upper end.
        p: how often a difference as large as this one appears where the runs are alike.
        method: the test's name.
    """

    difference: float
    low: float
    high: float
    p: float
    method: str


def mean(outcomes: Sequence[Outcome | CorpusOutcome]) -> Outcome | CorpusOutcome:
    """Several seeds as one: the mean unit by unit, or the mean of what a metric of whole parts gives for each."""
    single = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    if single:
        sums = np.mean([outcome.sums for outcome in single], axis=0)
        return replace(single[0], sums=sums, seeds=len(single))
    corpora = [outcome for outcome in outcomes if isinstance(outcome, CorpusOutcome)]
    return replace(corpora[0], records=tuple(run for outcome in corpora for run in outcome.records))


def interval(outcome: Outcome | CorpusOutcome, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the metric over the choice of test units.

    Units that are right or wrong get Wilson's interval, which stays honest where all are right; others the percentiles
    of a bootstrap: units drawn with replacement, sum of `sums` / sum of `counts` of each draw, or the metric of whole parts of it.
    """
    if isinstance(outcome, CorpusOutcome):
        return _percentiles(np.array([outcome.resampled(drawn) for drawn in _examples(outcome, seed)]))
    if outcome.binary:
        return wilson(int(outcome.sums.sum()), len(outcome.sums))
    return _percentiles(_bootstrap((outcome.sums, outcome.counts), seed))


def paired(first: Outcome | CorpusOutcome, second: Outcome | CorpusOutcome, seed: int = 0) -> Verdict:
    """The paired comparison of two runs over the same units in the same order.

    Units that are right or wrong: McNemar's exact test. Otherwise a permutation test that swaps the two runs' results
    unit by unit. The interval of the difference is a bootstrap that draws the same units for both runs. Where a side is
    the mean of several seeds the question is about these trained models, not about seeds that were never tried.

    A metric of whole parts is no sum over units. There p is how often the difference changes its sign among the draws of that
    bootstrap, twice (Koehn 2004), the observed one counted in.
    """
    if isinstance(first, CorpusOutcome) and isinstance(second, CorpusOutcome):
        return _paired_bootstrap(first, second, seed)
    assert isinstance(first, Outcome)
    assert isinstance(second, Outcome)
    differences = first.sums - second.sums
    low, high = _percentiles(_bootstrap((differences, first.counts), seed))
    if first.binary and second.binary:
        p, method = mcnemar(int((differences > 0).sum()), int((differences < 0).sum())), "McNemar, exact"
    else:
        p, method = sign_flips(differences, seed), f"permutation, {_RESAMPLES:,} sign flips"
    return Verdict(first.metric - second.metric, low, high, p, method)


def _paired_bootstrap(first: CorpusOutcome, second: CorpusOutcome, seed: int) -> Verdict:
    draws = _examples(first, seed)
    differences = np.array([first.resampled(drawn) - second.resampled(drawn) for drawn in draws])
    # A draw of one label alone has no area under the curve.
    differences = differences[np.isfinite(differences)]
    low, high = _percentiles(differences)
    tail = 1 + min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    p = min(1.0, 2 * tail / (1 + len(differences)))
    return Verdict(first.metric - second.metric, low, high, p, f"paired bootstrap, {len(differences):,} draws")


def _examples(outcome: CorpusOutcome, seed: int) -> list[list[int]]:
    """The examples of each draw with replacement: the same for every run of a test part."""
    count = len(outcome.records[0])
    return np.random.default_rng(seed).integers(0, count, (_CORPUS_RESAMPLES, count)).tolist()


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927).

    >>> [round(end, 3) for end in wilson(360, 360)]
    [0.989, 1.0]
    """
    share, z2 = right / count, _Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact two-sided p: the units that only one of two runs got right are fair coins where runs are alike.

    >>> mcnemar(5, 5), mcnemar(0, 0), round(mcnemar(10, 2), 4)
    (1.0, 1.0, 0.0386)
    """
    coins = only_first + only_second
    tail = sum(math.comb(coins, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**coins)


def sign_flips(differences: Floats, seed: int = 0) -> float:
    """The two-sided p of a paired permutation test: how often random signs give a sum as far from zero.

    Counts the observed signs as one of the draws, so p is never 0.

    >>> sign_flips(np.zeros(3))
    1.0
    """
    moved = differences[differences != 0]
    if len(moved) == 0:
        return 1.0
    # Sums of floats in another order differ in their last bits, which must not decide what is as large.
    observed = abs(moved.sum()) * (1 - 1e-9)
    generator = np.random.default_rng(seed)
    extreme = 0
    for draws in _chunks(len(moved)):
        signs = generator.integers(0, 2, (draws, len(moved)), dtype=np.int8)
        sums = 2 * (signs @ moved) - moved.sum()
        extreme += int((np.abs(sums) >= observed).sum())
    return (1 + extreme) / (1 + _RESAMPLES)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's correction of several p values (Holm 1979): holds whatever the dependence between them.

    >>> [round(p, 3) for p in holm([0.04, 0.01, 0.5])]
    [0.08, 0.03, 0.5]
    """
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, n in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[n]))
        adjusted[n] = highest
    return adjusted


def _bootstrap(columns: tuple[Floats, Floats], seed: int) -> Floats:
    """`[r]` the ratio of sums of two columns over units drawn with replacement."""
    above, below = columns
    generator = np.random.default_rng(seed)
    ratios = []
    for draws in _chunks(len(above)):
        drawn = generator.integers(0, len(above), (draws, len(above)))
        ratios.append(above[drawn].sum(axis=1) / below[drawn].sum(axis=1))
    return np.concatenate(ratios)


def _percentiles(draws: Floats) -> tuple[float, float]:
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _chunks(units: int) -> list[int]:
    """Sizes of blocks of resamples that keep each block small in memory."""
    size = max(1, _CHUNK // units)
    full, rest = divmod(_RESAMPLES, size)
    return [size] * full + [rest] * (rest > 0)
