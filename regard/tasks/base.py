"""What a task is, and the base of those that put a head on each vector or on each set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from regard.data.batch import Batch
from regard.data.examples import TargetKind
from regard.errors import InputError
from regard.layers.dropout import Dropout
from regard.layers.pooling import PoolName, pooling
from regard.sets import VectorSets
from regard.tasks.heads import CosineHead, SetJoin

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["HeadTask", "Task", "other_targets"]


# What has the readers of data give such targets.
_OPTIONS = {
    "numbers": ", or to be read with --data.numbers true (texts: --data.target number)",
    "sets of labels": ", or to be read with --data.target labels",
}


def other_targets(wanted: str, found: str) -> InputError:
    """The error of a task whose data has targets of another kind; both as `Encoding.described_targets` calls them."""
    way = _OPTIONS.get(wanted, "")
    return InputError(f"the task is about {wanted}, but the targets are {found}: the data needs another task{way}")


class Task(nn.Module, ABC):
    """What a model is asked for: an output from its hidden vectors, a loss, metrics, and written predictions.

    A task is made with its options, the width of the model's vectors and the encoding of the data. Every method is given the batch,
    so that targets may be one per vector, one per set, or sets of their own, and a pair's other set is at hand (`batch.context`).
    """

    target_kind: TargetKind
    """Which kind of targets it has: `Batch.target_values(kind)` or `Batch.target_sets` gives them, or refuses other data."""
    monitor: tuple[str, str]
    """The metric that tells which weights are the best, and whether by its "max" or "min"."""

    reports: ClassVar[tuple[str, ...]] = ()
    """The entries of `report`."""

    def read(self, batch: Batch) -> Batch:
        """The batch as the model reads it and as the output is made of: the same, where the task does not change its inputs.

        Losses, metrics and predictions are given the batch as it was.
        """
        return batch

    @abstractmethod
    def forward(self, hidden: VectorSets, batch: Batch) -> Any:
        """The output: a tensor, `VectorSets`, or tuples, lists and dictionaries of them.

        Args:
            hidden: the model's vectors, one set for each set of the batch.
            batch: without targets where predictions are made for new inputs. A task may look only at the places that have some.
        """

    def attach(self, model: nn.Module) -> None:
        """Take the model whose vectors the task is given, where it asks more of it than these; called once, before all else.

        Raises:
            InputError: a model that the task cannot work with.
        """

    def answer(self, hidden: VectorSets, batch: Batch) -> Any:
        """The output with what takes too long while training, such as sequences that the model writes id by id.

        It is computed where predictions are written or a part is evaluated.
        """
        return self(hidden, batch)

    def validation_answer(self, hidden: VectorSets, batch: Batch) -> Any:
        """`answer` as quickly as it can be had, from which validation computes corpus metrics while training; `answer` itself
        unless a task says otherwise."""
        return self.answer(hidden, batch)

    @abstractmethod
    def loss(self, output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of the losses of all targets that are not gaps, and their number, or the sum of their weights.

        Raises:
            InputError: targets of another kind, type or number than the output is for.
        """

    def target_count(self, output: Any, batch: Batch) -> Tensor:
        """How many targets `score` compares with; usually those that the loss is summed over."""
        return self.loss(output, batch)[1]

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """New metrics, which `score` updates."""

    @abstractmethod
    def score(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Update the metrics with the output; gaps are left out."""

    @abstractmethod
    def trivial(self, batch: Batch) -> Any:
        """The output of the best model that never looks at its input: `batch.inputs` may come without features."""

    def baselines(self, batch: Batch) -> dict[str, dict[str, float]]:
        """Metrics of further models to compare with, by the name of the model, from all targets of a part; see `trivial`."""
        return {}

    def shown(self) -> Mapping[str, Any]:
        """Pictures `[h, w]` or `[h, w, 3]` uint8 of what the task has learned so far, by name; written after each validation."""
        return {}

    @abstractmethod
    def predictions(self, output: Any, batch: Batch) -> list[dict[str, Any]]:
        """One JSON object for each set: its `name`, its prediction, and its target where there is one."""

    def report(self, predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What evaluation says beside metrics, from the written predictions of a part: `labels`, numbers for each label, or
        `confusion` (`regard.tasks.by_label`)."""
        return {}

    def observe(self, batch: Batch) -> None:
        """Learn what the task needs of the targets of the whole training part, into buffers that are saved with the weights.

        Called once, before training; `batch.inputs` comes without features.
        """

    def learner(self, base: type[Any]) -> type[Any]:
        """The class of the Lightning module that trains the task: `base`, or a subclass with a training of its own.

        `base` is `regard.train.learner.Learner`: it is made with (model, task, experiment, total_steps), and validation,
        metrics and checkpoints go on as usual in a subclass. One with several optimizers overrides `training_step` and
        `configure_optimizers`, sets `automatic_optimization = False`, divides its loss by `scaled`, which records it, and clips
        gradients itself. It steps one optimizer through Lightning, as `self.optimizers()` gives
        it, and the others as torch has them (`use_pl_optimizer=False`), so that a step remains one batch.
        """
        return base


class HeadTask(Task):
    """One output for each vector, or for each set where there is a `pool`: dropout, then a linear head or none.

    Where whole sets have numbers, these are joined to the pooled vectors (`regard.tasks.heads.SetJoin`).

    Args:
        width: of the vectors that the model gives.
        outputs: numbers that the head gives for each target.
        dropout: on the vectors that enter the head.
        pool: how the vectors of a set become one; None where each vector has its target.
        head: "none" where the vectors, pooled or not, are the outputs.
        set_width: how many numbers each whole set has.

    Raises:
        InputError: no head, and vectors that are not as wide as there are outputs.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        dropout: float,
        pool: PoolName | None,
        head: Literal["linear", "none"] = "linear",
        set_width: int = 0,
    ) -> None:
        super().__init__()
        self.pool = None if pool is None else pooling(pool, width)
        self.dropout = Dropout(dropout)
        pooled = width if self.pool is None else int(self.pool.width)  # type: ignore[arg-type]
        if head == "none" and pooled != outputs:
            raise InputError(
                f"task.head is 'none', and the {'vectors' if pool is None else 'pooled vectors'} have width {pooled} where the "
                f"task needs {outputs} outputs, expected equal numbers, or --task.head linear"
            )
        self.head: nn.Linear | CosineHead | nn.Identity
        self.head = nn.Linear(pooled, outputs) if head == "linear" else nn.Identity()
        self.target_kind: TargetKind = "vector" if pool is None else "set"
        self.join = SetJoin(pooled, set_width) if set_width and pool is not None else None

    def forward(self, hidden: VectorSets, batch: Batch) -> Tensor:
        """`[targets, outputs]`"""
        output: Tensor = self.head(self.dropout(self.read_out(hidden, batch.set_values)))
        return output

    def read_out(self, hidden: VectorSets, set_values: Tensor | None = None) -> Tensor:
        """`[targets, width]` what the head reads, before dropout: vectors, or one for each set, with the set's numbers."""
        vectors: Tensor = hidden.values if self.pool is None else self.pool(hidden)
        return vectors if self.join is None else self.join(vectors, set_values)

    def targets(self, batch: Batch) -> Tensor:
        """`[t, ...]` or `[s, ...]`

        Raises:
            InputError: there are none, or they are of another kind or type.
        """
        targets = batch.target_values("vector" if self.pool is None else "set")
        if targets.is_floating_point() != self._floating:
            known = ("labels", "numbers") if self._floating else ("numbers", "labels")
            raise other_targets(known[1], known[0])
        return targets

    def present(self, batch: Batch) -> Tensor:
        """True for each target, False for each gap, in the shape of the targets."""
        return self._present(self.targets(batch))

    def target_count(self, output: Tensor, batch: Batch) -> Tensor:
        return self.present(batch).sum()

    def score(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        targets = self.targets(batch)
        here = self._present(targets)
        # The metrics take no empty tensors.
        if here.any():
            metrics.update(*self._compared(output[here], targets[here]))

    def predictions(self, output: Tensor, batch: Batch) -> list[dict[str, Any]]:
        """One JSON object for each set: its `name` and its prediction, or a list `vectors` of one prediction each."""
        written = self._written(output, None if batch.targets is None else self.targets(batch), batch.unseen)
        if self.pool is not None:
            return [{"name": name} | prediction for name, prediction in zip(batch.names, written, strict=True)]
        predictions, first = [], 0
        for name, tokens, length in zip(batch.names, batch.tokens, batch.inputs.layout.lengths.tolist(), strict=True):
            vectors = written[first : first + length]
            if tokens is not None:
                vectors = [{"token": token} | vector for token, vector in zip(tokens, vectors, strict=True)]
            predictions.append({"name": name, "vectors": vectors})
            first += length
        return predictions

    def _checked(self, batch: Batch, shape: torch.Size) -> Tensor:
        """The targets, where the output has room for exactly them."""
        targets = self.targets(batch)
        if targets.shape != shape:
            described = f"{list(targets.shape)} targets for {list(shape)} outputs"
            raise InputError(
                f"the task has one target per {self.target_kind}, but found {described}: the data needs another task"
            )
        return targets

    _floating: bool
    """Whether targets are numbers."""

    @abstractmethod
    def _present(self, targets: Tensor) -> Tensor:
        """True for each target that is not a gap."""

    @abstractmethod
    def _compared(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions and targets as the metrics take them."""

    @abstractmethod
    def _written(self, output: Tensor, targets: Tensor | None, unseen: Sequence[str] = ()) -> list[dict[str, Any]]:
        """One JSON object for each output, with its target where there is one; `unseen` as in `Batch`."""
