"""Labels of pairs of sets: two towers with the same weights, and a head on what both made."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.sets import VectorSets
from regard.tasks.configs import PerPairLabel
from regard.tasks.label import LabelTask

__all__ = ["PairLabelTask"]


class PairLabelTask(LabelTask):
    """One of several labels for each pair of sets, of which neither sees the other before both are pooled.

        x_1, x_2 = pool(model(first)), pool(model(second))
        output = W_2 relu(W_1 [x_1; x_2; x_1 * x_2; x_1 - x_2] + b_1) + b_2

    Source: Tay et al. 2021, section 2.2.3 and appendix A.3; the code that they published joins x_1 and x_2 alone.

    Raises:
        InputError: data that are no pairs.
    """

    def __init__(self, config: PerPairLabel, width: int, encoding: Encoding) -> None:
        if encoding.context is None:
            raise InputError("the task is about pairs and the data has none, expected data such as of DocumentPairs")
        super().__init__(config, width, encoding, config.pool)
        assert self.pool is not None
        pooled = int(self.pool.width)  # type: ignore[arg-type]
        self.hidden = nn.Linear(4 * pooled, config.hidden)
        self.head = nn.Linear(config.hidden, len(self.labels))

    def read(self, batch: Batch) -> Batch:
        """All first sets, and then all second ones, as the sets that the model reads."""
        if batch.context is None:
            whose = batch.names[0] if batch.names else "the batch"
            raise InputError(f"{whose} has no second set, expected pairs")
        return replace(batch, inputs=VectorSets.concatenate([batch.inputs, batch.context]), context=None)

    def forward(self, hidden: VectorSets, batch: Batch) -> Tensor:
        """`[s, labels]` of the vectors of 2 s sets."""
        assert self.pool is not None
        first, second = self.dropout(self.pool(hidden)).chunk(2)
        joined = torch.cat([first, second, first * second, first - second], dim=1)
        output: Tensor = self.head(self.hidden(joined).relu())
        return output
