"""`Model`: from a batch to hidden vectors, by a front, positions and a stack."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from regard.data.batch import Batch
from regard.layers.dropout import Dropout
from regard.layers.pooling import ClassVector
from regard.models.front import ModelFront
from regard.models.positions import ModelPositions
from regard.sets import VectorSets

__all__ = ["Model", "beginners"]


class Model(nn.Module):
    """stack(dropout(positions(front(batch)))): what every model is, whatever its pieces are.

    Args:
        front: from a batch to vectors.
        stack: from sets, and positions for each block or None, to sets of vectors of its `width`; it has a `context`.
        positions: None for none.
        class_vector: what puts a vector in front of each set, after positions, or None.
        dropout: on the vectors that enter the stack, while training.
    """

    def __init__(
        self,
        front: ModelFront,
        stack: nn.Module,
        positions: ModelPositions | None = None,
        class_vector: ClassVector | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.front = front
        self.positions = positions or ModelPositions()
        self.class_vector = class_vector or nn.Identity()
        self.dropout = Dropout(dropout)
        self.stack = stack

    @property
    def width(self) -> int:
        """Of the hidden vectors."""
        width: Any = self.stack.width
        return int(width)

    @property
    def step(self) -> int:
        """The number of vectors of a set that become one."""
        return self.front.step

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and after one its hidden vector depends on."""
        if isinstance(self.class_vector, ClassVector):
            return math.inf, math.inf
        reach: Any = self.stack.context
        before, after = reach
        first, last = self.front.context
        return before * self.step + first, after * self.step + self.step - 1 + last

    def forward(self, batch: Batch) -> VectorSets:
        """Hidden vectors of `batch.inputs`."""
        sets: VectorSets = self.class_vector(self.positions(self.front(batch)))
        per_block = self.positions.per_block(sets)
        hidden: VectorSets = self.stack(sets.with_values(self.dropout(sets.values)), per_block)
        return hidden


def beginners(model: nn.Module) -> list[Any]:
    """The pieces of a model that have something to do before training, such as reading word vectors, in `begin_training()`."""
    return [piece for piece in model.modules() if hasattr(piece, "begin_training")]
