"""From a cosine to what a decision needs: a score normalized by a cohort, a probability, a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.speaker.rates import Trials, threshold_for

__all__ = ["Calibration", "adaptive_norm"]

Floats = NDArray[np.float64]


def adaptive_norm(scores: ArrayLike, ours: ArrayLike, theirs: ArrayLike, nearest: int = 300) -> Floats:
    """s' = ((s - mu_e) / sigma_e + (s - mu_t) / sigma_t) / 2, with the mean and deviation of each side's highest cohort scores.

    Source: Matejka et al. 2017, eq. 3 to 5 (adaptive s-norm, each side choosing its own cohort).

    Args:
        scores: `[n, m]` of n recordings against m.
        ours, theirs: `[n, c]` and `[m, c]`, the scores of each side against a cohort of c other speakers' recordings.
        nearest: how many of the highest cohort scores count; all where there are fewer.
    """
    s = np.asarray(scores, np.float64)
    parts = []
    for cohort, axis in ((np.asarray(ours, np.float64), 1), (np.asarray(theirs, np.float64), 0)):
        top = np.sort(cohort, axis=1)[:, -nearest:]
        mean, deviation = (np.expand_dims(each, axis) for each in (top.mean(1), np.maximum(top.std(1), 1e-6)))
        parts.append((s - mean) / deviation)
    normalized: Floats = (parts[0] + parts[1]) / 2
    return normalized


@dataclass(frozen=True)
class Calibration:
    """What a model's scores mean, learned from trials; it holds for speakers like those of the trials.

        probability = 1 / (1 + exp(-(slope s + offset)))

    Args:
        slope, offset: of the log odds that both recordings are of one speaker, where either answer is as likely beforehand.
        threshold: a score that reaches it is accepted.
        false_acceptance: the part of the trials of two speakers that reaches it.
    """

    slope: float
    offset: float
    threshold: float
    false_acceptance: float

    @classmethod
    def of(cls, trials: Trials, false_acceptance: float = 0.01) -> Calibration:
        """By logistic regression in which both kinds of trials weigh the same (Brummer and du Preez 2006, section 6).

        Raises:
            InputError: no trial of one of the two kinds.
        """
        from sklearn.linear_model import LogisticRegression

        threshold = threshold_for(trials.scores, trials.targets, false_acceptance)
        fitted = LogisticRegression(C=1e6, class_weight="balanced", max_iter=1000)
        fitted.fit(trials.scores[:, None], trials.targets)
        return cls(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]), threshold, false_acceptance)

    def probability(self, scores: ArrayLike) -> Floats:
        """That both recordings are of one speaker."""
        odds = self.slope * np.asarray(scores, np.float64) + self.offset
        return np.exp(-np.logaddexp(0, -odds))
