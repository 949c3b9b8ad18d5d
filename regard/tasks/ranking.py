"""How well scores rank the examples that have a label above those that do not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision", "roc_auc"]


def roc_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve: the share of pairs of a positive and a negative that the scores order, ties half.

    Args:
        scores: `[n]`, not NaN. positive: `[n]`.

    Returns:
        NaN without positives or without negatives.

    >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # Equal scores share the mean of their ranks.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    hits = int(positive.sum())
    misses = len(positive) - hits
    if not hits or not misses:
        return float("nan")
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def average_precision(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """sum_n (R_n - R_{n-1}) P_n over the distinct scores as thresholds, from the highest on; NaN without positives.

    Args:
        scores: `[n]`, not NaN. positive: `[n]`.

    >>> round(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])), 4)
    0.8333
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order], dtype=np.float64)[last] if len(scores) else np.zeros(0)
    if not len(hits) or not hits[-1]:
        return float("nan")
    return float((np.diff(hits, prepend=0) * (hits / (last + 1))).sum() / hits[-1])
