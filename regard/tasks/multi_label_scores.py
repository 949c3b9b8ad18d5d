"""Metrics of several labels at once, over the targets that are not gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from regard.tasks.ranking import average_precision, roc_auc

__all__ = ["AveragePrecision", "MacroF1", "MicroF1", "RocAuc"]

_COLUMNS = {"labels": torch.int64, "scores": torch.float64, "positive": torch.bool}


class _Answers(Metric):
    """The label, the score and the target of each answer, as three long columns, so that labels may have gaps.

    Args:
        threshold: the least probability that is a prediction.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    labels: list[Tensor]
    scores: list[Tensor]
    positive: list[Tensor]

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        for name in _COLUMNS:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, labels: Tensor, scores: Tensor, positive: Tensor) -> None:
        """`[n]` the number of a label, its probability, and whether it is there."""
        self.labels.append(labels)
        self.scores.append(scores)
        self.positive.append(positive)

    def sync(self, *arguments: Any, **options: Any) -> None:
        """Gather the answers of all processes."""
        # A process without an answer would not take part, and the others would wait for it.
        for name, kind in _COLUMNS.items():
            if not len(getattr(self, name)):
                setattr(self, name, [torch.zeros(0, dtype=kind, device=self.device)])
        super().sync(*arguments, **options)

    def compute(self) -> Tensor:
        raise NotImplementedError

    def _by_label(self) -> Iterator[tuple[Any, Any]]:
        """The scores and the targets of each label that has some."""
        if not len(self.labels):
            return iter(())
        labels, scores, positive = (dim_zero_cat(getattr(self, name)).cpu().numpy() for name in _COLUMNS)
        order = np.argsort(labels, kind="stable")
        cuts = np.flatnonzero(np.diff(labels[order])) + 1
        whole = zip(np.split(scores[order], cuts), np.split(positive[order], cuts), strict=True)
        return ((its, there) for its, there in whole if len(its))

    def _counts(self) -> Any:
        """`[labels, 3]` hits, predictions and targets."""
        counts = []
        for scores, positive in self._by_label():
            chosen = scores >= self.threshold
            counts.append([(chosen & positive).sum(), chosen.sum(), positive.sum()])
        return np.array(counts, float).reshape(-1, 3)

    def _mean(self, values: Any) -> Tensor:
        defined = np.asarray(values, float)
        defined = defined[~np.isnan(defined)]
        return torch.tensor(defined.mean() if len(defined) else np.nan, device=self.device)


class MicroF1(_Answers):
    """2 hits / (predictions + targets), summed over all labels."""

    def compute(self) -> Tensor:
        """NaN with neither predictions nor targets."""
        hits, predicted, support = self._counts().sum(0)
        return self._mean([2 * hits / (predicted + support) if predicted + support else np.nan])


class MacroF1(_Answers):
    """The mean of F1 over labels that have predictions or targets."""

    def compute(self) -> Tensor:
        """NaN where no label has any."""
        counts = self._counts()
        total = counts[:, 1] + counts[:, 2]
        return self._mean((2 * counts[:, 0] / np.maximum(total, 1))[total > 0])


class _Ranked(_Answers):
    _measure: Callable[[Any, Any], float]

    def compute(self) -> Tensor:
        """NaN where it is not defined for any label."""
        return self._mean([type(self)._measure(scores, positive) for scores, positive in self._by_label()])


class RocAuc(_Ranked):
    """The mean of `roc_auc` over labels that have positive and negative targets."""

    _measure = staticmethod(roc_auc)


class AveragePrecision(_Ranked):
    """The mean of `average_precision` over labels that have positive targets."""

    _measure = staticmethod(average_precision)
