"""The coefficient of determination of numbers, defined for any number of targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.regression import R2Score

__all__ = ["R2"]


class R2(R2Score):
    """R2 = 1 - sum of squared errors / sum of squared deviations from the mean of the targets.

    NaN where fewer than two targets leave nothing to explain, instead of an exception.
    """

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else torch.full_like(self.residual, torch.nan)
