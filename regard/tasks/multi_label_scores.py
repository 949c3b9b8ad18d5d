"""Metrics of several labels at once, over the targets that are not gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from regard.tasks.ranking import average_precision, roc_auc

__all__ = ["AveragePrecision", "MacroF1", "MicroF1", "RocAuc"]


class _Answers(Metric):
    """The label, the score and the target of each answer, as three long columns, so that labels may have gaps.

    Args:
        threshold: the least probability that is a prediction.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    labels: Tensor
    scores: Tensor
    positive: Tensor

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        # Tensors and no lists: a process without an example would not take part when lists are gathered.
        self.add_state("labels", torch.zeros(0, dtype=torch.int64), dist_reduce_fx="cat")
        self.add_state("scores", torch.zeros(0, dtype=torch.float64), dist_reduce_fx="cat")
        self.add_state("positive", torch.zeros(0, dtype=torch.bool), dist_reduce_fx="cat")

    def update(self, labels: Tensor, scores: Tensor, positive: Tensor) -> None:
        """`[n]` the number of a label, its probability, and whether it is there."""
        self.labels = torch.cat([self.labels, labels])
        self.scores = torch.cat([self.scores, scores])
        self.positive = torch.cat([self.positive, positive])

    def compute(self) -> Tensor:
        raise NotImplementedError

    def _by_label(self) -> Iterator[tuple[Any, Any]]:
        """The scores and the targets of each label that has some."""
        labels = self.labels.cpu().numpy()
        order = np.argsort(labels, kind="stable")
        cuts = np.flatnonzero(np.diff(labels[order])) + 1
        columns = (np.split(each.cpu().numpy()[order], cuts) for each in (self.scores, self.positive))
        return zip(*columns, strict=True)

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
        return torch.tensor(defined.mean() if len(defined) else np.nan, device=self.scores.device)


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
