"""Accuracy and macro-F1 of labels, among them labels that no output stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics import Metric

from regard.data.examples import UNSEEN

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["LabelAccuracy", "LabelF1", "Nats"]


class _LabelCounts(Metric):
    """Counts by class: right predictions, predictions, targets; and the targets and the number of unseen labels.

    Args:
        classes: how many outputs there are.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    predicted: Tensor
    support: Tensor
    unseen_targets: Tensor
    unseen_labels: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        for name in ("hits", "predicted", "support"):
            self.add_state(name, torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("unseen_targets", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        # The labels of a part are numbered, so the highest number of any process says how many there are.
        self.add_state("unseen_labels", torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    def update(self, predictions: Int[Tensor, " n"], targets: Int[Tensor, " n"]) -> None:
        """Count predicted classes and their targets, of which the k-th unseen label is `UNSEEN - k`; no gaps."""
        known = targets >= 0
        right = targets[known & (predictions == targets)]
        self.hits += torch.bincount(right, minlength=self.classes)
        self.predicted += torch.bincount(predictions, minlength=self.classes)
        self.support += torch.bincount(targets[known], minlength=self.classes)
        self.unseen_targets += (~known).sum()
        if len(targets):
            self.unseen_labels = torch.maximum(self.unseen_labels, UNSEEN + 1 - targets.min())

    def compute(self) -> Tensor:
        raise NotImplementedError


class LabelAccuracy(_LabelCounts):
    """The fraction of targets that were predicted.

    >>> accuracy = LabelAccuracy(2)
    >>> accuracy.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, UNSEEN]))
    >>> f"{accuracy.compute():.4f}"
    '0.3333'
    """

    def compute(self) -> Tensor:
        """NaN without targets."""
        return self.hits.sum() / (self.support.sum() + self.unseen_targets)


class LabelF1(_LabelCounts):
    """The mean over labels of F1 = 2 hits / (predictions + targets); labels with neither predictions nor targets are left out.

    >>> f1 = LabelF1(3)
    >>> f1.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, UNSEEN]))
    >>> f"{f1.compute():.4f}"
    '0.2222'
    """

    def compute(self) -> Tensor:
        """NaN without targets."""
        counts = self.predicted + self.support
        scores = 2 * self.hits / counts.clamp(min=1)
        return scores.sum() / ((counts > 0).sum() + self.unseen_labels)


class Nats(Metric):
    """The mean of - log p(target), in nats.

    >>> nats = Nats()
    >>> nats.update(torch.tensor([1.0, 2.0]))
    >>> float(nats.compute())
    1.5
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, losses: Float[Tensor, " n"]) -> None:
        """Add the losses of some targets."""
        self.total += losses.double().sum()
        self.count += len(losses)

    def compute(self) -> Tensor:
        """NaN without targets."""
        return self.total / self.count
