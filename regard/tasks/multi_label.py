"""Several labels at once for each set: a probability for each label, by binary cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import MetricCollection

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.data.label_sets import LabelSets
from regard.errors import InputError
from regard.tasks.base import HeadTask, other_targets
from regard.tasks.by_label import scores_of
from regard.tasks.configs import MultiLabel, named_weights
from regard.tasks.ranking import average_precision, roc_auc

__all__ = ["MultiLabelTask"]


class MultiLabelTask(HeadTask):
    """Several labels at once for each set: targets `[s, labels]` of 1, 0 and NaN, which are gaps.

    loss = - sum_ij (w_j y_ij log p_ij + (1 - y_ij) log(1 - p_ij)) / targets, with p = sigmoid(output) and w = 1, weights by name,
    or negatives / positives of the training part where `class_weights` is "balanced"; the mean of torch's
    `binary_cross_entropy_with_logits(pos_weight=w)`.

    A label that no training example has is a further column of the targets: its probability is 0, and it is left out of the loss.
    """

    positives: Tensor
    negatives: Tensor
    monitor = ("average_precision", "max")
    reports = ("labels",)
    _floating = True

    def __init__(self, config: MultiLabel, width: int, encoding: Encoding) -> None:
        targets = encoding.targets
        if not isinstance(targets, LabelSets):
            raise other_targets("sets of labels", encoding.described_targets)
        if not targets.names:
            raise InputError("no example of the training part has a label, expected at least one label to learn")
        super().__init__(width, len(targets.names), config.dropout, config.pool, config.head, encoding.set_width)
        self.config = config
        self.labels = targets.names
        self.own_weights = named_weights(config.class_weights, self.labels)
        for name in ("positives", "negatives"):
            self.register_buffer(name, torch.zeros(len(self.labels), dtype=torch.int64))

    def observe(self, batch: Batch) -> None:
        targets = self.targets(batch)
        self.positives.copy_((targets == 1).sum(0))
        self.negatives.copy_((targets == 0).sum(0))

    @property
    def positive_weights(self) -> Tensor | None:
        """`[labels]` or None: what the loss of each label's positive targets is multiplied with."""
        if self.config.class_weights == "balanced":
            return self.negatives.clamp(min=1) / self.positives.clamp(min=1)
        return None if self.own_weights is None else torch.tensor(self.own_weights)

    def _present(self, targets: Tensor) -> Tensor:
        return ~targets.isnan()

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = self.targets(batch)
        if targets.dim() != 2 or len(targets) != len(output) or targets.shape[1] < len(self.labels):
            described = f"{list(targets.shape)} targets for {list(output.shape)} outputs"
            raise InputError(f"the task has a target for each label of each set, but found {described}")
        targets = targets[:, : len(self.labels)]
        here, weights = self._present(targets), self.positive_weights
        if weights is not None:
            weights = weights.to(output.device).expand_as(output)[here]
        loss = binary_cross_entropy_with_logits(
            output[here].float(), targets[here], reduction="sum", pos_weight=weights
        )
        return loss, here.sum()

    def metrics(self) -> MetricCollection:
        from regard.tasks.multi_label_scores import AveragePrecision, MacroF1, MicroF1, RocAuc

        kinds = {
            "micro_f1": MicroF1,
            "macro_f1": MacroF1,
            "roc_auc": RocAuc,
            "average_precision": AveragePrecision,
        }
        return MetricCollection({name: kind(self.config.threshold) for name, kind in kinds.items()})

    def score(self, metrics: Any, output: Tensor, batch: Batch) -> None:
        targets = self.targets(batch)
        here = self._present(targets)
        columns = torch.arange(targets.shape[1], device=targets.device).expand_as(targets)
        scores = self._probabilities(output, targets.shape[1])
        if here.any():
            metrics.update(columns[here], scores[here], targets[here] == 1)

    def _probabilities(self, output: Tensor, columns: int) -> Tensor:
        """`[s, columns]` float64, 0 for labels that no output stands for."""
        probabilities = output.double().sigmoid()
        return torch.nn.functional.pad(probabilities, (0, columns - len(self.labels)))

    def _compared(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def trivial(self, batch: Batch) -> Tensor:
        """How often the training part has each label."""
        share = self.positives / (self.positives + self.negatives).clamp(min=1)
        return share.double().logit().expand(len(self.targets(batch)), -1)

    def _written(self, output: Tensor, targets: Tensor | None, unseen: Sequence[str] = ()) -> list[dict[str, Any]]:
        written: list[dict[str, Any]] = []
        for row in self._probabilities(output, len(self.labels)).tolist():
            chosen = [name for name, value in zip(self.labels, row, strict=True) if value >= self.config.threshold]
            written.append({"labels": chosen, "probabilities": dict(zip(self.labels, row, strict=True))})
        for prediction, row in zip(written, [] if targets is None else targets.tolist(), strict=targets is not None):
            names = (*self.labels, *unseen)
            prediction["target"] = [name for name, value in zip(names, row, strict=True) if value == 1]
            gaps = [name for name, value in zip(names, row, strict=True) if value != value]
            prediction |= {"gaps": gaps} if gaps else {}
        return written

    def report(self, predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Precision, recall, F1, targets and predictions of each label at the threshold, and how its probabilities rank."""
        answered = [prediction for prediction in predictions if "target" in prediction]
        names = [*self.labels, *sorted({name for each in answered for name in each["target"]} - set(self.labels))]
        labels = {}
        for name in names:
            known = [each for each in answered if name not in each.get("gaps", ())]
            truth = np.array([name in each["target"] for each in known], bool)
            chosen = np.array([name in each["labels"] for each in known], bool)
            scores = np.array([each["probabilities"].get(name, 0.0) for each in known])
            ranks = {"roc_auc": roc_auc(scores, truth), "average_precision": average_precision(scores, truth)}
            labels[name] = scores_of(int((truth & chosen).sum()), int(chosen.sum()), int(truth.sum())) | {
                kind: None if np.isnan(value) else value for kind, value in ranks.items()
            }
        return {"labels": labels}
