"""Average precision of boxes while a training validates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics import Metric

from regard.tasks.average_precision import THRESHOLDS, average_precision

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["BoxPrecision", "BoxPrecision50"]


class BoxPrecision(Metric):
    """The mean over labels, and over IoU .5, .55, ..., .95, of average precision; a label that was never learned has 0.

    Args:
        labels: how many there are; what is beyond them was never learned.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    rows: list[Tensor]
    targets: list[Tensor]

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.labels = labels
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, rows: Float[Tensor, "n 12"], targets: Int[Tensor, " m"]) -> None:
        """Add pictures: for each box its label, its score and whether it is right at each threshold; the labels of all targets."""
        self.rows.append(rows)
        self.targets.append(targets)

    def compute(self) -> Tensor:
        """NaN without targets."""
        rows, targets = (
            torch.cat(list(each)) if isinstance(each, list) else each for each in (self.rows, self.targets)
        )
        there = targets.unique().tolist()
        values = []
        for label in there:
            own = rows[rows[:, 0] == label].numpy(force=True)
            values.append(
                average_precision(own[:, 1], own[:, 2:] > 0, int((targets == label).sum()))[self._levels].mean()
            )
        return torch.tensor(sum(values) / len(values) if values else torch.nan, dtype=torch.float64)

    _levels = slice(0, len(THRESHOLDS))


class BoxPrecision50(BoxPrecision):
    """The same at IoU .5 alone."""

    _levels = slice(0, 1)
