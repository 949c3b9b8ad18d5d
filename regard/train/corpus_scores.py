"""Metrics of the whole validation part, computed from what the model writes while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.data.batch import collate
from regard.data.examples import Dataset
from regard.tasks.corpus import CorpusMetric
from regard.train.experiment import Training
from regard.train.learner import Learner
from regard.train.scoring import in_order

__all__ = ["CorpusScores"]


class CorpusScores(Callback):
    """Adds corpus metrics to what validation found, every `training.corpus_every` validations and at the last one.

    They are those of `Task.validation_answer`, such as greedy decoding. Each process writes every so many-th batch of the part, and
    all processes find the same numbers.

    Args:
        part: the validation part, whose first `training.corpus_examples` examples count.
        metrics: at least one.
    """

    def __init__(self, part: Dataset, metrics: Sequence[CorpusMetric], options: Training) -> None:
        self.part, self.metrics, self.options = part, metrics, options
        lengths = list(part.lengths)
        self.batches = list(in_order(lengths[: options.corpus_examples or len(lengths)], options.batch_vectors))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        if not self._due(trainer):
            return
        parts = [self._records(pl_module, self.batches[trainer.global_rank :: trainer.world_size])]
        if trainer.world_size > 1:
            mine, parts = parts[0], [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, mine)
        for number, metric in enumerate(self.metrics):
            records = [record for part in parts for record in part[number]]
            pl_module.found[metric.name] = float(metric.value(records)) if records else float("nan")

    def _due(self, trainer: Trainer) -> bool:
        epoch, options = trainer.current_epoch + 1, self.options
        last = epoch == options.epochs or trainer.should_stop
        return last or epoch % (options.validate_every * options.corpus_every) == 0

    @torch.no_grad()
    def _records(self, learner: Learner, batches: Sequence[range]) -> Any:
        """For each metric the records of some batches; a prediction without a target has none."""
        found: list[list[Any]] = [[] for _ in self.metrics]
        for indices in batches:
            batch = collate([self.part[i] for i in indices])
            moved = learner.task.read(batch.to(learner.device))
            answer = learner.task.validation_answer(learner.model(moved), moved)
            predictions = learner.task.predictions(pytree.tree_map_only(Tensor, Tensor.cpu, answer), batch)
            for records, metric in zip(found, self.metrics, strict=True):
                records += [each for each in map(metric.record, predictions) if each is not None]
        return found
