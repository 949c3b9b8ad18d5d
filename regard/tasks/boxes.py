"""Sets of labeled boxes: each query of a model tells one box or none, and a matching says which it ought to have told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.data.targets import label_of
from regard.errors import InputError
from regard.layers.boxes import corners
from regard.models.box_decoder import DetrModel
from regard.sets import VectorSets
from regard.tasks.average_precision import THRESHOLDS, hits, mean_average_precision
from regard.tasks.base import Task, other_targets
from regard.tasks.box_loss import Told, matched, set_loss, spans
from regard.tasks.configs import BOX_METRICS, PerSetBoxes

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["BoxTask"]

Output = dict[str, Any]
_RARE = 0.01  # the probability of each label at first, where each has a sigmoid


class BoxTask(Task):
    """A set of labeled boxes for each set: loss = sum over boxes of (labels + place_weight |b - b'|_1 + overlap_weight (1 - GIoU)).

    Boxes b' are matched with queries first (`regard.tasks.box_loss`). While training the loss is the mean over the decoder's
    blocks, each with a matching of its own, and noisy targets, which are not matched, add the mean over their groups.

    The output holds `logits` `[blocks, t, c]`, `boxes` `[blocks, t, 4]` and `queries`, how many of the rows of a set are matched.
    """

    target_kind = "sets"
    monitor = ("map_50", "max")
    reports = ("labels",)
    pictures: Tensor
    share: Tensor
    middle: Tensor

    def __init__(self, config: PerSetBoxes, width: int, encoding: Encoding) -> None:
        super().__init__()
        inner = encoding.targets
        if not isinstance(inner, Encoding) or not isinstance(inner.targets, Labels) or inner.grid.coords != 4:
            raise other_targets("sets of boxes", encoding.described_targets)
        self.config, self.labels = config, inner.labels
        focal = config.loss == "focal"
        self.classify = nn.Linear(width, len(self.labels) + (not focal))
        if focal:
            nn.init.constant_(self.classify.bias, float(torch.tensor(_RARE).logit()))
        self.register_buffer("share", torch.zeros(len(self.labels)))
        self.register_buffer("middle", torch.full((len(self.labels), 4), 0.5))
        # Not as a part of the task: the model has its own place in files.
        self._attached: list[DetrModel] = []

    def attach(self, model: nn.Module) -> None:
        if not isinstance(model, DetrModel):
            raise InputError(
                f"the task writes boxes and the model is {type(model).__name__}, expected one such as Detr"
            )
        self._attached = [model]

    @property
    def queries(self) -> int:
        """How many boxes the model gives."""
        if not self._attached:
            raise InputError("the task has no model yet, expected `attach(model)` first")
        return self._attached[0].queries

    def observe(self, batch: Batch) -> None:
        """How many pictures have each label, and the mean of its boxes.

        Raises:
            InputError: a picture with more boxes than the model has queries.
        """
        targets = self._targets(batch)
        most = int(targets.layout.lengths.max()) if len(targets) else 0
        if most > self.queries:
            found = f"a training picture has {most} boxes, and the model {self.queries} queries"
            raise InputError(f"{found}, expected at least as many: --model.queries {most}")
        for label in range(len(self.labels)):
            own = targets.values == label
            if own.any():
                self.middle[label] = _places(targets)[own].mean(0)
                self.share[label] = len(targets.layout.set_of_row[own].unique()) / len(targets)

    def forward(self, hidden: VectorSets, batch: Batch) -> Output:
        blocks = max(1, len(hidden) // max(1, len(batch)))
        assert hidden.coords is not None
        logits = self.classify(hidden.values)
        return {
            "logits": logits.view(blocks, -1, logits.shape[1]),
            "boxes": hidden.coords.view(blocks, -1, 4),
            "queries": self.queries,
        }

    def loss(self, output: Output, batch: Batch) -> tuple[Tensor, Tensor]:
        targets, queries = self._targets(batch), int(output["queries"])
        # What no output stands for cannot be learned.
        known = targets.values >= 0
        lengths = [int(known[first:last].sum()) for first, last in spans(targets.layout.lengths.tolist())]
        labels, boxes = targets.values[known], _places(targets)[known]
        extra = output["boxes"].shape[1] - queries * len(batch)
        groups = extra // max(1, len(labels))
        rows = spans([queries + groups * length for length in lengths])
        own = torch.cat([torch.arange(first, first + queries) for first, _ in rows]).to(boxes.device)
        noisy = torch.cat([torch.arange(first + queries, last) for first, last in rows]).to(boxes.device)
        again = [torch.arange(first, last).repeat(groups) for first, last in spans(lengths)]
        given = torch.cat(again).to(boxes.device)
        total = output["boxes"].new_zeros(())
        for logits, places in zip(output["logits"], output["boxes"], strict=True):
            told = Told(logits[own], places[own])
            query, target = self._matches(told, queries, lengths, labels, boxes)
            total = total + set_loss(self.config, told, query, labels[target], boxes[target])
            if groups:
                further, all_of_them = Told(logits[noisy], places[noisy]), torch.arange(len(noisy), device=boxes.device)
                total = total + set_loss(self.config, further, all_of_them, labels[given], boxes[given]) / groups
        return total / len(output["boxes"]), torch.tensor(len(labels), device=boxes.device)

    def _matches(
        self, told: Told, queries: int, lengths: Sequence[int], labels: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Which query of all pictures gets which box of all."""
        rows: list[Tensor] = []
        columns: list[Tensor] = []
        for n, (first, last) in enumerate(spans(lengths)):
            part = Told(*(each[n * queries : (n + 1) * queries] for each in told))
            query, target = matched(self.config, part, labels[first:last], boxes[first:last])
            rows.append(query + n * queries)
            columns.append(target + first)
        return torch.cat(rows), torch.cat(columns)

    def target_count(self, output: Output, batch: Batch) -> Tensor:
        return torch.tensor(len(self._targets(batch).values))

    def metrics(self) -> MetricCollection:
        # Here, so that a run that only predicts does not load them.
        from torchmetrics import MetricCollection

        from regard.tasks.box_metrics import BoxPrecision, BoxPrecision50

        count = len(self.labels)
        return MetricCollection({"map_50": BoxPrecision50(count), "map": BoxPrecision(count)}, compute_groups=False)

    def score(self, metrics: MetricCollection, output: Output, batch: Batch) -> None:
        targets = self._targets(batch)
        wanted = targets.values.numpy(force=True)
        places = corners(_places(targets).double()).numpy(force=True)
        rows = [np.zeros((0, 2 + len(THRESHOLDS)))]
        told = self._told(output, len(batch))
        for (labels, scores, boxes, _), (first, last) in zip(told, spans(targets.layout.lengths.tolist()), strict=True):
            for label in np.unique(labels):
                own, theirs = labels == label, places[first:last][wanted[first:last] == label]
                ranked, right = hits(boxes[own], scores[own], theirs)
                rows.append(np.concatenate([np.full((len(ranked), 1), label), ranked[:, None], right], 1))
        metrics.update(torch.from_numpy(np.concatenate(rows)).to(targets.device), targets.values)

    def trivial(self, batch: Batch) -> Output:
        """For each label one box, the mean of those of the training part, as likely as there are pictures with the label."""
        count, sets = len(self.labels), len(self._targets(batch))
        share = self.share.clamp(1e-6, 1 - 1e-6)
        logits = torch.full((count, self.classify.out_features), -30.0)
        logits.diagonal().copy_(share.logit())
        if self.config.loss == "cross_entropy":
            logits[:, -1] = 0.0
        return {"logits": logits.repeat(1, sets, 1), "boxes": self.middle.repeat(1, sets, 1), "queries": count}

    def _told(self, output: Output, sets: int) -> list[tuple[Any, Any, Any, Any]]:
        """For each set the label, score, ends of the box and number of each query of the last block, by falling score."""
        logits, boxes = output["logits"][-1].double(), corners(output["boxes"][-1].double())
        chances = logits.softmax(-1)[:, :-1] if self.config.loss == "cross_entropy" else logits.sigmoid()
        scores, labels = chances.max(-1)
        told: list[tuple[Any, Any, Any, Any]] = []
        queries = int(output["queries"])
        step = len(scores) // max(1, sets)
        for n in range(sets):
            rows = slice(n * step, n * step + queries)
            order = scores[rows].argsort(descending=True, stable=True)
            chosen = (each[rows][order].numpy(force=True) for each in (labels, scores, boxes))
            told.append((*chosen, order.numpy(force=True)))
        return told

    def predictions(self, output: Output, batch: Batch) -> list[dict[str, Any]]:
        """One JSON object for each set: `boxes`, each with `label`, `score`, `box` and `query`, and `counts` above the threshold.

        A box is left, top, right and bottom, in pixels of the picture, or as parts of it where its size is not known.
        """
        written = []
        sizes = batch.pixels or (None,) * len(batch)
        targets = [None] * len(batch) if batch.targets is None else self._written_targets(batch, sizes)
        for (labels, scores, boxes, numbers), name, size, target in zip(
            self._told(output, len(batch)), batch.names, sizes, targets, strict=True
        ):
            told = [
                {"label": self.labels[label], "score": float(score), "box": _ends(box, size), "query": int(number)}
                for label, score, box, number in zip(labels, scores, boxes, numbers, strict=True)
            ]
            sure = [each["label"] for each in told if each["score"] >= self.config.threshold]
            counts = {label: sure.count(label) for label in self.labels}
            prediction: dict[str, Any] = {"name": name, "counts": counts, "boxes": told}
            written.append(prediction | ({} if target is None else {"target": target}))
        return written

    def _written_targets(self, batch: Batch, sizes: Sequence[tuple[int, int] | None]) -> list[list[dict[str, Any]]]:
        targets = self._targets(batch)
        ends, written = corners(_places(targets).double()).numpy(force=True), []
        for (first, last), size in zip(spans(targets.layout.lengths.tolist()), sizes, strict=True):
            ids = targets.values[first:last].tolist()
            written.append(
                [
                    {"label": label_of(label, self.labels, batch.unseen), "box": _ends(box, size)}
                    for label, box in zip(ids, ends[first:last], strict=True)
                ]
            )
        return written

    def report(self, predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`labels`: of each label the average precision at IoU .5 and over all thresholds, and how many boxes have it."""
        records = [record for record in map(BOX_METRICS[0].record, predictions) if record is not None]
        found = mean_average_precision(records)
        return {
            "labels": {
                label: {
                    "average_precision_50": float(values[0]),
                    "average_precision": float(values.mean()),
                    "targets": sum(record[label][2] for record in records if label in record),
                }
                for label, values in found.items()
            }
        }

    def _targets(self, batch: Batch) -> VectorSets:
        targets = batch.target_sets
        if targets.coords is None or targets.coords.shape[1] != 4 or targets.values.is_floating_point():
            raise other_targets("sets of boxes", "other sets")
        return targets


def _places(targets: VectorSets) -> Tensor:
    assert targets.coords is not None
    return targets.coords


def _ends(box: Any, size: tuple[int, int] | None) -> list[float]:
    """The ends of a box to a thousandth of a pixel, or to a millionth of the picture."""
    if size is None:
        return [round(float(end), 6) for end in box]
    return [round(float(end) * side, 3) for end, side in zip(box, size * 2, strict=True)]
