"""Labels: one for each vector or for each set, by cross-entropy or with an additive margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.data.examples import IGNORE
from regard.data.targets import label_of
from regard.errors import InputError
from regard.layers.pooling import PoolName
from regard.sets import VectorSets
from regard.tasks.base import HeadTask, other_targets
from regard.tasks.by_label import answered, confusion, label_scores
from regard.tasks.configs import PerPairLabel, PerSetLabel, PerVectorLabel, named_weights
from regard.tasks.heads import CosineHead, with_margin

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["LabelTask", "SetLabelTask"]


class LabelTask(HeadTask):
    """One of several labels: cross-entropy, accuracy, macro-F1, and of two labels the area under the ROC curve where it is wanted.

    A target that no training example has counts as wrong, and is left out of the loss.

    loss = - sum_i w[y_i] log softmax(output_i)[y_i] / sum_i w[y_i], with w = 1, weights by name, or where `class_weights` is
    "balanced" targets / (classes * targets of the class), so that the weights of all training targets have a mean of 1.

    Where examples are mixed while training, a target is the share of each label, and its loss the sum over labels, each times its
    share.
    """

    counts: Tensor
    monitor = ("accuracy", "max")

    reports = ("labels", "confusion")
    _floating = False

    def __init__(
        self,
        config: PerVectorLabel | PerSetLabel | PerPairLabel,
        width: int,
        encoding: Encoding,
        pool: PoolName | None = None,
    ) -> None:
        if not isinstance(encoding.targets, Labels):
            raise other_targets("labels", encoding.described_targets)
        labels = encoding.targets.names
        if len(labels) < 2:
            raise InputError(f"the training part has one label, {labels[0]!r}, expected at least 2 to choose from")
        if config.roc_auc and len(labels) != 2:
            raise InputError(f"task.roc_auc is true and there are {len(labels)} labels, expected two")
        outputs = len(labels) * (encoding.targets.copies if config.head == "none" else 1)
        super().__init__(width, outputs, config.dropout, pool, config.head, encoding.set_width)
        self.own_weights = named_weights(config.class_weights, labels)
        self.config = config
        self.labels = labels
        self.register_buffer("counts", torch.zeros(len(labels), dtype=torch.int64))

    def observe(self, batch: Batch) -> None:
        targets = self.targets(batch)
        known = self._label(targets[targets >= 0])
        self.counts.copy_(torch.bincount(known, minlength=len(self.labels)))

    @property
    def class_weights(self) -> Tensor | None:
        """`[classes]` or None: what the loss of each class is multiplied with; "balanced" is 0 for one without training targets."""
        if self.config.class_weights != "balanced":
            return None if self.own_weights is None else torch.tensor(self.own_weights, device=self.counts.device)
        weights = self.counts.sum() / (len(self.labels) * self.counts.clamp(min=1))
        return torch.where(self.counts > 0, weights, 0)

    def _present(self, targets: Tensor) -> Tensor:
        return targets != IGNORE

    def _label(self, targets: Tensor) -> Tensor:
        """Of targets that may be further classes of labels, the labels."""
        return torch.where(targets >= 0, targets % len(self.labels), targets)

    def targets(self, batch: Batch) -> Tensor:
        if _mixtures(batch) is not None:
            return batch.target_values(self.target_kind)  # type: ignore[arg-type]
        return super().targets(batch)

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        shares = _mixtures(batch)
        targets = self._checked(batch, output.shape[:-1] if shares is None else output.shape)
        smoothing, weights = self.config.label_smoothing, self.class_weights
        if weights is not None:
            # What is evaluated has left the device that the task is on.
            weights = weights.to(output.device)
        if shares is not None:
            # Smoothing would give an example without a label some of each.
            labeled = shares.sum(1) > 0
            of_these = output.float()[labeled], shares[labeled]
            total = cross_entropy(*of_these, weights, reduction="sum", label_smoothing=smoothing)
            return total, shares.sum() if weights is None else (shares * weights).sum()
        copies = output.shape[1] // len(self.labels)
        if copies == 1:
            targets = self._label(targets)
        elif weights is not None:
            weights = weights.repeat(copies)
        known = targets >= 0
        # Of a label that no training example has, no output can be raised.
        total = cross_entropy(
            output.float(), targets.where(known, IGNORE), weights, None, IGNORE, None, "sum", smoothing
        )
        return total, known.sum() if weights is None else weights[targets[known]].sum()

    def metrics(self) -> MetricCollection:
        # Here, so that a run that only predicts does not load them.
        from torchmetrics import Metric, MetricCollection

        from regard.tasks.multi_label_scores import RocAuc
        from regard.tasks.scores import LabelAccuracy, LabelF1

        classes = len(self.labels)
        metrics: dict[str, Metric | MetricCollection] = {
            "accuracy": LabelAccuracy(classes),
            "macro_f1": LabelF1(classes),
        }
        if self.config.roc_auc:
            metrics["roc_auc"] = RocAuc(0.5)
        return MetricCollection(metrics)

    def score(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        if not self.config.roc_auc:
            super().score(metrics, output, batch)
            return
        targets = self.targets(batch)
        here = self._present(targets)
        if here.any():
            predictions, answers = self._compared(output[here], targets[here])
            # No score ranks a label that no training example has.
            scores, known = (output[here][:, 1] - output[here][:, 0]).double(), answers >= 0
            ranked = {"labels": answers[known] * 0, "scores": scores[known], "positive": answers[known] == 1}
            metrics.update(predictions=predictions, targets=answers, **ranked)

    def _compared(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return output.argmax(-1), self._label(targets)

    def report(self, predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Precision, recall, F1, targets and predictions of each label, and which labels are taken for which."""
        pairs = answered(predictions)
        return {"labels": label_scores(pairs, self.labels), "confusion": confusion(pairs, self.labels)}

    def trivial(self, batch: Batch) -> Tensor:
        """The most frequent label of the training part."""
        return one_hot(self.counts.argmax(), len(self.labels)).float().expand(len(self.targets(batch)), -1)

    def _written(self, output: Tensor, targets: Tensor | None, unseen: Sequence[str] = ()) -> list[dict[str, Any]]:
        k = min(self.config.top, len(self.labels)) or 1
        probabilities, classes = output.float().softmax(-1).topk(k, dim=-1)
        answers = [None] * len(output) if targets is None else targets.tolist()
        written = []
        for values, ids, answer in zip(probabilities.tolist(), classes.tolist(), answers, strict=True):
            best = {self.labels[i]: p for i, p in zip(ids, values, strict=True)}
            prediction: dict[str, Any] = {"label": self.labels[ids[0]], "probability": values[0], "probabilities": best}
            if answer is not None and answer != IGNORE:
                prediction["target"] = label_of(answer, self.labels, unseen)
            written.append(prediction)
        return written


class SetLabelTask(LabelTask):
    """One of several labels for each set, from an embedding of the set.

    With the loss "am_softmax" the outputs are scaled cosines (`CosineHead`), and while training the target's must be larger by
    a margin, which grows from 0 over the first `margin_warm_up` steps.

    Where `Labels.copies` makes several classes of each label, there are outputs for all of them while training, and afterwards
    for the labels alone.
    """

    config: PerSetLabel
    steps: Tensor

    def __init__(self, config: PerSetLabel, width: int, encoding: Encoding) -> None:
        super().__init__(config, width, encoding, config.pool)
        copies = encoding.targets.copies if isinstance(encoding.targets, Labels) else 1
        assert self.pool is not None
        pooled, classes = int(self.pool.width), len(self.labels) * copies  # type: ignore[arg-type]
        self.cosine = config.loss == "am_softmax"
        self.width = config.hidden or pooled
        """Of the embeddings."""
        self.hidden = nn.Linear(pooled, config.hidden) if config.hidden else nn.Identity()
        if self.cosine:
            self.head = CosineHead(self.width, classes, config.scale)
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        elif config.head == "linear" and (config.hidden or copies > 1):
            self.head = nn.Linear(self.width, classes)

    def embed(self, sets: VectorSets, set_values: Tensor | None = None) -> Tensor:
        """`[s, width]` one vector for each set, which the classes are told apart by."""
        embedding: Tensor = self.hidden(self.dropout(self.read_out(sets, set_values)))
        return embedding

    def forward(self, hidden: VectorSets, batch: Batch) -> Tensor:
        vectors = self.embed(hidden, batch.set_values)
        output: Tensor = self.head(vectors if self.cosine or not self.config.hidden else vectors.relu())
        return output if self.training else output[:, : len(self.labels)]

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.cosine and self.training:
            if _mixtures(batch) is not None:
                found = "the task has the loss 'am_softmax', and the targets are shares of several labels"
                raise InputError(f"{found}, expected --task.loss cross_entropy, or examples that are not mixed")
            targets = self._checked(batch, output.shape[:-1])
            self.steps += 1
            grown = (self.steps / max(1, self.config.margin_warm_up)).clamp(max=1)
            output = with_margin(output.float(), targets, self.config.scale * self.config.margin * grown)
        return super().loss(output, batch)


def _mixtures(batch: Batch) -> Tensor | None:
    """`[s, labels]` the shares of labels where the examples of a batch are mixed, or None."""
    targets = batch.targets
    return targets if isinstance(targets, Tensor) and targets.is_floating_point() and targets.dim() == 2 else None
