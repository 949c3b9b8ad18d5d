"""Error rates of a verification: misses and false acceptances, and what is read off them.

A trial compares two recordings; it is accepted where its score reaches a threshold. A miss is a trial of one speaker that is
refused, a false acceptance one of two speakers that is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.errors import InputError
from regard.speaker.vectors import cosines

__all__ = ["Rates", "Trials", "at_threshold", "equal_error_rate", "interval", "minimum_cost", "rates", "threshold_for"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """Scored trials between recordings of known speakers.

    Args:
        scores: `[n]`, the higher the more alike.
        speakers, others: `[n]` whose the two recordings of each trial are; a trial whose two agree is a target trial.
    """

    scores: Floats
    speakers: NDArray[Any]
    others: NDArray[Any]

    def __post_init__(self) -> None:
        shapes = {np.shape(each) for each in (self.scores, self.speakers, self.others)}
        if len(shapes) > 1 or np.ndim(self.scores) != 1:
            raise InputError(f"trials have shapes {sorted(shapes)}, expected one score and two speakers for each")

    @property
    def targets(self) -> NDArray[np.bool_]:
        """`[n]` whether both recordings are of one speaker."""
        same: NDArray[np.bool_] = self.speakers == self.others
        return same

    @classmethod
    def of_pairs(
        cls,
        embeddings: ArrayLike,
        speakers: Sequence[str],
        score: Callable[[ArrayLike, ArrayLike], Floats] = cosines,
    ) -> Trials:
        """Every two recordings, once, scored by the cosine of their vectors `[n, d]`, or otherwise.

        >>> trials = Trials.of_pairs([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], ["a", "a", "b"])
        >>> trials.scores.tolist(), trials.targets.tolist()
        ([1.0, 0.0, 0.0], [True, False, False])
        """
        names, (first, second) = np.asarray(speakers), np.triu_indices(len(speakers), 1)
        return cls(score(embeddings, embeddings)[first, second], names[first], names[second])


@dataclass(frozen=True)
class Rates:
    """`miss[k]` and `false_acceptance[k]`, the parts of each kind of trial that go wrong at `thresholds[k]`, which rise."""

    thresholds: Floats
    miss: Floats
    false_acceptance: Floats


def rates(scores: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None) -> Rates:
    """The error rates at every threshold that changes a decision: at each score, and above all of them.

    Args:
        scores: `[n]`. targets: `[n]`, True where both recordings are of one speaker. weights: `[n]`, 1 where None.

    Raises:
        InputError: no trial of one of the two kinds, or a score that is no number.

    >>> found = rates([0.1, 0.4, 0.6], [False, True, True])
    >>> found.miss.tolist(), found.false_acceptance.tolist()
    ([0.0, 0.0, 0.5, 1.0], [1.0, 0.0, 0.0, 0.0])
    """
    s, same = np.asarray(scores, np.float64), np.asarray(targets, bool)
    w = np.ones_like(s) if weights is None else np.asarray(weights, np.float64)
    if np.isnan(s).any():
        raise InputError(f"the score of trial {int(np.isnan(s).argmax())} is NaN, expected a number")
    totals = [float(w[same].sum()), float(w[~same].sum())]
    if min(totals) <= 0:
        kind = "of one speaker" if totals[0] <= 0 else "of two speakers"
        raise InputError(f"there is no trial {kind}, expected at least 1 of each kind")
    thresholds, place = np.unique(s, return_inverse=True)
    refused = [np.zeros(len(thresholds) + 1) for _ in range(2)]
    for sums, kind_mask in zip(refused, (same, ~same), strict=True):
        sums[1:] = np.bincount(place[kind_mask], w[kind_mask], len(thresholds)).cumsum()
    accepted = np.maximum(totals[1] - refused[1], 0)
    return Rates(np.append(thresholds, np.inf), refused[0] / totals[0], accepted / totals[1])


def at_threshold(found: Rates, threshold: float) -> tuple[float, float]:
    """The parts that are missed and falsely accepted where scores must reach this threshold.

    >>> at_threshold(rates([0.1, 0.4, 0.6, 0.9], [False, True, False, True]), 0.5)
    (0.5, 0.5)
    """
    k = int(np.searchsorted(found.thresholds, threshold))
    return float(found.miss[k]), float(found.false_acceptance[k])


def equal_error_rate(found: Rates) -> float:
    """Where misses and false acceptances are as frequent, on straight lines between the thresholds.

    >>> equal_error_rate(rates([0.1, 0.4, 0.2, 0.6], [False, False, True, True]))
    0.5
    """
    gap = found.miss - found.false_acceptance
    k = int((gap >= 0).argmax())
    if gap[k] == 0 or k == 0:
        return float(found.miss[k])
    part = -gap[k - 1] / (gap[k] - gap[k - 1])
    return float(found.miss[k - 1] + part * (found.miss[k] - found.miss[k - 1]))


def minimum_cost(found: Rates, prior: float = 0.01, miss_cost: float = 1.0, false_cost: float = 1.0) -> float:
    """The smallest detection cost over all thresholds, divided by that of the better of "accept all" and "refuse all".

        C = c_miss p P_miss + c_fa (1 - p) P_fa        minDCF = min C / min(c_miss p, c_fa (1 - p))

    Source: NIST speaker recognition evaluation plan 2016, section 3.1.

    Args:
        prior: p, how likely a trial is of one speaker. miss_cost, false_cost: c_miss and c_fa.
    """
    cost = miss_cost * prior * found.miss + false_cost * (1 - prior) * found.false_acceptance
    return float(cost.min() / min(miss_cost * prior, false_cost * (1 - prior)))


def threshold_for(scores: ArrayLike, targets: ArrayLike, false_acceptance: float) -> float:
    """The lowest threshold at which at most this part of the trials of two speakers is accepted.

    >>> threshold_for([0.1, 0.2, 0.3, 0.4, 0.9], [False, False, False, False, True], 0.25)
    0.4
    """
    found = rates(scores, targets)
    return float(found.thresholds[int((found.false_acceptance <= false_acceptance).argmax())])


def interval(
    trials: Trials, statistic: Any = equal_error_rate, confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """A bootstrap interval of a statistic of the rates: speakers, not trials, are drawn with replacement.

    A trial of two speakers counts as often as the product of how often each was drawn, one of a single speaker as often as
    that speaker was: trials of one voice are no independent evidence.

    Args:
        statistic: from `Rates` to a number. confidence: of the interval. draws, seed: of the bootstrap.
    """
    names, places = np.unique(np.concatenate([trials.speakers, trials.others]), return_inverse=True)
    first, second = np.split(places, 2)
    generator, same = np.random.default_rng(seed), trials.targets
    values: list[float] = []
    while len(values) < draws:
        times = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names)).astype(np.float64)
        weights = times[first] * np.where(same, 1.0, times[second])
        if (times > 0).sum() > 1 and weights[same].any() and weights[~same].any():
            values.append(statistic(rates(trials.scores, same, weights)))
        elif len(names) < 2:
            raise InputError("all trials are of one speaker, expected at least 2 for an interval")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
