"""Numbers: one for each vector or for each set."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, mse_loss

from regard.data.batch import Batch
from regard.data.encoding import Encoding, Numbers
from regard.layers.pooling import PoolName
from regard.sets import VectorSets
from regard.tasks.base import HeadTask, other_targets
from regard.tasks.configs import PerSetNumber, PerVectorNumber

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["NumberTask", "SetNumberTask"]


class NumberTask(HeadTask):
    """One number. Targets come as z = (number - mean) / deviation of the training part; what is reported is in the
    numbers' own units.

    loss = sum_i (output_i - z_i)^2, or Huber's: half of that up to a distance of 1, |output_i - z_i| - 1/2 past it.
    """

    monitor = ("mse", "min")
    _floating = True

    def __init__(
        self,
        config: PerVectorNumber | PerSetNumber,
        width: int,
        encoding: Encoding,
        pool: PoolName | None = None,
    ) -> None:
        targets = encoding.targets
        if not isinstance(targets, Numbers):
            raise other_targets("numbers", encoding.described_targets)
        super().__init__(width, 1, config.dropout, pool, set_width=encoding.set_width)
        self.config = config
        self.mean, self.deviation = targets.mean, targets.deviation

    def forward(self, hidden: VectorSets, batch: Batch) -> Tensor:
        """`[targets]` standardized numbers."""
        return super().forward(hidden, batch).squeeze(-1)

    def _present(self, targets: Tensor) -> Tensor:
        return ~targets.isnan()

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = self._checked(batch, output.shape)
        here = self._present(targets)
        distance = huber_loss if self.config.loss == "huber" else mse_loss
        return distance(output[here].float(), targets[here].float(), reduction="sum"), here.sum()

    def metrics(self) -> MetricCollection:
        # Here, so that a run that only predicts does not load them.
        from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

        from regard.tasks.determination import R2

        metrics = MetricCollection(
            {
                "mse": MeanSquaredError(),
                "rmse": MeanSquaredError(squared=False),
                "mae": MeanAbsoluteError(),
                "r2": R2(),
            }
        )
        # Sums of squares of numbers far from zero lose everything in float32.
        for metric in metrics.values():
            metric.set_dtype(torch.float64)
        return metrics

    def _compared(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self._own_units(output), self._own_units(targets)

    def trivial(self, batch: Batch) -> Tensor:
        """The mean of the training part."""
        return torch.zeros_like(self.targets(batch))

    def _own_units(self, standardized: Tensor) -> Tensor:
        return standardized.double() * self.deviation + self.mean

    def _written(self, output: Tensor, targets: Tensor | None, unseen: Sequence[str] = ()) -> list[dict[str, Any]]:
        written = [{"number": number} for number in self._own_units(output).tolist()]
        if targets is not None:
            for prediction, target in zip(written, self._own_units(targets).tolist(), strict=True):
                if not isnan(target):
                    prediction["target"] = target
        return written


class SetNumberTask(NumberTask):
    """One number for each set."""

    def __init__(self, config: PerSetNumber, width: int, encoding: Encoding) -> None:
        super().__init__(config, width, encoding, config.pool)
