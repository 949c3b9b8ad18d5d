"""Head, loss, metrics and written predictions of each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import isnan
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, huber_loss, mse_loss, one_hot
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.regression import R2Score

from regard.data.batch import Batch
from regard.data.encoding import Labels, Numbers
from regard.data.examples import IGNORE
from regard.errors import InputError
from regard.layers.dropout import Dropout
from regard.layers.pooling import PoolName, pooling
from regard.sets import VectorSets
from regard.tasks.heads import CosineHead, with_margin

if TYPE_CHECKING:
    from regard.tasks.configs import PerSetLabel, PerSetNumber, PerVectorLabel, PerVectorNumber

__all__ = ["LabelTask", "NumberTask", "SetLabelTask", "Task"]


class Task(nn.Module, ABC):
    """What a model is asked for: one output per vector, or one per set where there is a `pool`.

    Args:
        width: of the vectors that the model gives.
        outputs: numbers that the head gives for each target.
        dropout: on the vectors that enter the head.
        pool: how the vectors of a set become one; None where each vector has its target.
    """

    monitor: tuple[str, str]

    def __init__(self, width: int, outputs: int, dropout: float, pool: PoolName | None) -> None:
        super().__init__()
        self.pool = None if pool is None else pooling(pool, width)
        self.dropout = Dropout(dropout)
        pooled = width if self.pool is None else int(self.pool.width)  # type: ignore[arg-type]
        self.head: nn.Linear | CosineHead = nn.Linear(pooled, outputs)

    @property
    def unit(self) -> str:
        """Whose targets they are: "vector" or "set"."""
        return "vector" if self.pool is None else "set"

    def forward(self, sets: VectorSets) -> Tensor:
        """`[targets, outputs]`, from the model's vectors."""
        vectors = sets.values if self.pool is None else self.pool(sets)
        output: Tensor = self.head(self.dropout(vectors))
        return output

    def observe(self, targets: Tensor) -> None:
        """Learns what it needs from `targets [n]`, all of the training part, into buffers that are saved with the weights.

        Called once, before training.
        """

    @abstractmethod
    def present(self, targets: Tensor) -> Tensor:
        """`[targets]` True where there is a target."""

    @abstractmethod
    def loss(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the losses of all targets that are there, and how many they are.

        Raises:
            InputError: targets of another kind or number than the outputs.
        """

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """New metrics, which `score` feeds."""

    def score(self, metrics: MetricCollection, output: Tensor, targets: Tensor) -> None:
        """Counts the outputs in; the targets that are not there are left out."""
        here = self.present(targets)
        # The metrics take no empty tensors.
        if here.any():
            metrics.update(*self._compared(output[here], targets[here]))

    @abstractmethod
    def _compared(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions and targets as the metrics take them."""

    @abstractmethod
    def trivial(self, targets: Tensor) -> Tensor:
        """What the best model that never looks at its input would put out for as many targets."""

    @abstractmethod
    def _written(self, output: Tensor, targets: Tensor | None) -> list[dict[str, Any]]:
        """One JSON object for each output, with its target where there is one."""

    def predictions(self, output: Tensor, batch: Batch) -> list[dict[str, Any]]:
        """One JSON object for each set: its `name` and its prediction, or a list `vectors` of one prediction each."""
        written = self._written(output, batch.targets)
        names = batch.names
        if self.pool is not None:
            return [{"name": name} | each for name, each in zip(names, written, strict=True)]
        found, first = [], 0
        for b, length in enumerate(batch.inputs.layout.lengths.tolist()):
            vectors = written[first : first + length]
            tokens = batch.tokens[b]
            if tokens is not None:
                vectors = [{"token": token} | each for token, each in zip(tokens, vectors, strict=True)]
            found.append({"name": names[b], "vectors": vectors})
            first += length
        return found

    def _check(self, output: Tensor, targets: Tensor, floating: bool) -> None:
        if targets.shape != output.shape[:1]:
            found = f"{list(targets.shape)} targets for {output.shape[0]} outputs"
            raise InputError(f"the task has one target per {self.unit}, but found {found}: the data needs another task")
        if targets.is_floating_point() != floating:
            found, wanted = ("labels", "numbers") if floating else ("numbers", "labels")
            raise InputError(f"the task is about {wanted}, but the targets are {found}: the data needs another task")


class LabelTask(Task):
    """One of several labels: cross-entropy, accuracy, macro-F1.

    loss = - sum_i w[y_i] log softmax(output_i)[y_i], with w = 1, or targets / (classes * targets of the class) where
    `class_weights` is "balanced", so that the weights of all training targets have a mean of 1.
    """

    counts: Tensor
    monitor = ("accuracy", "max")

    def __init__(
        self,
        config: PerVectorLabel | PerSetLabel,
        width: int,
        targets: Labels | Numbers | None,
        pool: PoolName | None = None,
    ) -> None:
        if not isinstance(targets, Labels):
            raise InputError("the task is about labels, but the targets are numbers: the data needs another task")
        labels = targets.names
        if len(labels) < 2:
            raise InputError(f"the training part has one label, {labels[0]!r}, expected at least 2 to choose from")
        super().__init__(width, len(labels), config.dropout, pool)
        self.config = config
        self.labels = labels
        self.register_buffer("counts", torch.zeros(len(labels), dtype=torch.int64))

    def observe(self, targets: Tensor) -> None:
        if targets.is_floating_point():
            raise InputError("the task is about labels, but the targets are numbers: the data needs another task")
        known = self._label(targets[self.present(targets)])
        self.counts.copy_(torch.bincount(known, minlength=len(self.labels)))

    @property
    def class_weights(self) -> Tensor | None:
        """`[classes]` or None: what the loss of each class is multiplied with; 0 for a class without training targets."""
        if self.config.class_weights is None:
            return None
        weights = self.counts.sum() / (len(self.labels) * self.counts.clamp(min=1))
        return torch.where(self.counts > 0, weights, 0)

    def present(self, targets: Tensor) -> Tensor:
        return targets != IGNORE

    def _label(self, targets: Tensor) -> Tensor:
        """Of targets that may be further classes of labels, the labels."""
        return torch.where(self.present(targets), targets % len(self.labels), targets)

    def loss(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self._check(output, targets, floating=False)
        smoothing, weights, copies = (
            self.config.label_smoothing,
            self.class_weights,
            output.shape[1] // len(self.labels),
        )
        if copies == 1:
            targets = self._label(targets)
        elif weights is not None:
            weights = weights.repeat(copies)
        total = cross_entropy(output.float(), targets, weights, None, IGNORE, None, "sum", smoothing)
        return total, self.present(targets).sum()

    def metrics(self) -> MetricCollection:
        classes = len(self.labels)
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False),
                "macro_f1": MulticlassF1Score(classes, average="macro", validate_args=False),
            }
        )

    def _compared(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return output.argmax(-1), self._label(targets)

    def trivial(self, targets: Tensor) -> Tensor:
        """The most frequent label of the training part."""
        return one_hot(self.counts.argmax(), len(self.labels)).float().expand(len(targets), -1)

    def _written(self, output: Tensor, targets: Tensor | None) -> list[dict[str, Any]]:
        k = min(self.config.top, len(self.labels)) or 1
        probabilities, classes = output.float().softmax(-1).topk(k, dim=-1)
        answers = [None] * len(output) if targets is None else targets.tolist()
        found = []
        for values, ids, answer in zip(probabilities.tolist(), classes.tolist(), answers, strict=True):
            best = {self.labels[i]: p for i, p in zip(ids, values, strict=True)}
            each: dict[str, Any] = {"label": self.labels[ids[0]], "probability": values[0], "probabilities": best}
            if answer is not None and answer != IGNORE:
                each["target"] = self.labels[answer]
            found.append(each)
        return found


class SetLabelTask(LabelTask):
    """One of several labels for each set, from an embedding of the set.

    With the loss "am_softmax" the outputs are scaled cosines (`CosineHead`), and while training the target's must be larger by
    a margin, which grows from 0 over the first `margin_warm_up` steps.

    Where `Labels.copies` makes several classes of each label, there are outputs for all of them while training, and afterwards
    for the labels alone.
    """

    config: PerSetLabel
    steps: Tensor

    def __init__(self, config: PerSetLabel, width: int, targets: Labels | Numbers | None) -> None:
        super().__init__(config, width, targets, config.pool)
        copies = targets.copies if isinstance(targets, Labels) else 1
        pooled, classes = self.head.weight.shape[1], len(self.labels) * copies
        self.cosine = config.loss == "am_softmax"
        self.width = config.hidden or pooled
        """Of the embeddings."""
        self.hidden = nn.Linear(pooled, config.hidden) if config.hidden else nn.Identity()
        if self.cosine:
            self.head = CosineHead(self.width, classes, config.scale)
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        elif config.hidden or copies > 1:
            self.head = nn.Linear(self.width, classes)

    def embed(self, sets: VectorSets) -> Tensor:
        """`[s, width]` one vector for each set, which the classes are told apart by."""
        assert self.pool is not None
        embedding: Tensor = self.hidden(self.dropout(self.pool(sets)))
        return embedding

    def forward(self, sets: VectorSets) -> Tensor:
        vectors = self.embed(sets)
        output: Tensor = self.head(vectors if self.cosine or not self.config.hidden else vectors.relu())
        return output if self.training else output[:, : len(self.labels)]

    def loss(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self.cosine and self.training:
            self._check(output, targets, floating=False)
            self.steps += 1
            grown = (self.steps / max(1, self.config.margin_warm_up)).clamp(max=1)
            output = with_margin(output.float(), targets, self.config.scale * self.config.margin * grown)
        return super().loss(output, targets)


class NumberTask(Task):
    """One number. Targets come as z = (number - mean) / deviation of the training part; what is reported is in the
    numbers' own units.

    loss = sum_i (output_i - z_i)^2, or Huber's: half of that up to a distance of 1, |output_i - z_i| - 1/2 past it.
    """

    monitor = ("mse", "min")

    def __init__(
        self,
        config: PerVectorNumber | PerSetNumber,
        width: int,
        targets: Labels | Numbers | None,
        pool: PoolName | None = None,
    ) -> None:
        if not isinstance(targets, Numbers):
            raise InputError("the task is about numbers, but the targets are labels: the data needs another task")
        super().__init__(width, 1, config.dropout, pool)
        self.config = config
        self.mean, self.deviation = targets.mean, targets.deviation

    def forward(self, sets: VectorSets) -> Tensor:
        """`[targets]` standardized numbers."""
        return super().forward(sets).squeeze(-1)

    def present(self, targets: Tensor) -> Tensor:
        return ~targets.isnan()

    def loss(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self._check(output, targets, floating=True)
        here = self.present(targets)
        distance = huber_loss if self.config.loss == "huber" else mse_loss
        return distance(output[here].float(), targets[here].float(), reduction="sum"), here.sum()

    def metrics(self) -> MetricCollection:
        found = MetricCollection({"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": _R2Score()})
        # Sums of squares of numbers far from zero lose everything in float32.
        for metric in found.values():
            metric.set_dtype(torch.float64)
        return found

    def _compared(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self._own_units(output), self._own_units(targets)

    def trivial(self, targets: Tensor) -> Tensor:
        """The mean of the training part."""
        return torch.zeros_like(targets)

    def _own_units(self, standardized: Tensor) -> Tensor:
        return standardized.double() * self.deviation + self.mean

    def _written(self, output: Tensor, targets: Tensor | None) -> list[dict[str, Any]]:
        found = [{"number": number} for number in self._own_units(output).tolist()]
        if targets is not None:
            for each, target in zip(found, self._own_units(targets).tolist(), strict=True):
                if not isnan(target):
                    each["target"] = target
        return found


class _R2Score(R2Score):
    """R2 that is NaN where fewer than two targets leave nothing to explain, instead of an exception."""

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else torch.full_like(self.residual, torch.nan)
