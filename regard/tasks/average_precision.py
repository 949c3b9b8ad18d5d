"""Average precision of boxes, as COCO defines it and pycocotools computes it, from what each picture contributes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from regard.data.examples import Array
from regard.tasks.corpus import CorpusMetric

__all__ = ["BOX_METRICS", "THRESHOLDS", "average_precision", "hits", "mean_average_precision"]

THRESHOLDS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
"""From which IoU on a box is found, in turn."""

MOST = 100
"""So many boxes of a label in a picture are counted, those of the highest scores."""

_RECALLS = np.linspace(0, 1, 101)
_TINY = float(np.spacing(1))


def _overlaps(boxes: Array, targets: Array) -> Array:
    """`[n, m]` IoU of boxes `[n, 4]` and `[m, 4]`: left, top, right, bottom."""
    low, high = np.maximum(boxes[:, None, :2], targets[:, :2]), np.minimum(boxes[:, None, 2:], targets[:, 2:])
    inside = (high - low).clip(0).prod(2)
    areas = [(each[:, 2:] - each[:, :2]).prod(1) for each in (boxes, targets)]
    union = areas[0][:, None] + areas[1] - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def hits(boxes: Array, scores: Array, targets: Array) -> tuple[Array, Array]:
    """Of the boxes of one label in one picture: `[n]` their scores, falling, and `[n, 10]` which are right at each threshold.

    Box after box, by falling score, takes the target that it overlaps most among those left, if by as much as the threshold.

    >>> boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 1.8]])
    >>> hits(boxes, np.array([0.3, 0.9]), np.array([[0, 0, 2, 2.0]]))[1][:, [0, 8, 9]].astype(int).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    order = np.argsort(-scores, kind="stable")[:MOST]
    boxes, scores = boxes[order].astype(np.float64), scores[order]
    found = np.zeros((len(boxes), len(THRESHOLDS)), bool)
    overlaps = _overlaps(boxes, targets.astype(np.float64))
    for level, threshold in enumerate(THRESHOLDS):
        left = np.ones(len(targets), bool)
        for n in range(len(boxes)) if len(targets) else ():
            among = np.where(left, overlaps[n], -1.0)
            # Of equals the last one, as pycocotools takes it.
            best = len(among) - 1 - int(among[::-1].argmax())
            if among[best] >= min(threshold, 1 - 1e-10):
                found[n, level] = True
                left[best] = False
    return scores, found


def average_precision(scores: Array, found: Array, targets: int) -> Array:
    """`[10]` for each threshold the mean over 101 recalls of the highest precision that is had at such a recall or a higher one.

    Args:
        scores: `[n]` of all boxes of a label, picture after picture. found: `[n, 10]` which are right. targets: how many there are.

    >>> float(average_precision(np.array([0.9, 0.8]), np.array([[True] * 10, [False] * 10]), 2)[0].round(4))
    0.505
    """
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(found[order], 0, dtype=np.float64)
    precision = right / (np.arange(1, len(order) + 1)[:, None] + _TINY)
    precision = np.maximum.accumulate(precision[::-1], 0)[::-1]
    values = np.zeros(len(THRESHOLDS))
    for level in range(len(THRESHOLDS)):
        place = np.searchsorted(right[:, level] / targets, _RECALLS, side="left")
        there = place < len(order)
        values[level] = precision[place[there], level].sum() / len(_RECALLS)
    return values


def mean_average_precision(parts: Iterable[Mapping[str, tuple[Array, Array, int]]]) -> dict[str, Array]:
    """`[10]` average precision for each label that has targets, of what `records` gives for each picture."""
    gathered: dict[str, list[tuple[Array, Array, int]]] = {}
    for part in parts:
        for label, entry in part.items():
            gathered.setdefault(label, []).append(entry)
    found = {}
    for label, entries in gathered.items():
        targets = sum(count for _, _, count in entries)
        if targets:
            scores, right = (np.concatenate([entry[n] for entry in entries]) for n in (0, 1))
            found[label] = average_precision(scores, right, targets)
    return found


def _record(prediction: Mapping[str, Any]) -> dict[str, tuple[Array, Array, int]] | None:
    """For each label of a picture the scores of its boxes, which are right, and how many there are."""
    if "target" not in prediction:
        return None
    record = {}
    for label in {each["label"] for each in (*prediction["boxes"], *prediction["target"])}:
        boxes = [each for each in prediction["boxes"] if each["label"] == label]
        targets = [each["box"] for each in prediction["target"] if each["label"] == label]
        ends = (np.array(each, np.float64).reshape(-1, 4) for each in ([each["box"] for each in boxes], targets))
        scores = np.array([each["score"] for each in boxes], np.float64)
        found, wanted = ends
        record[label] = (*hits(found, scores, wanted), len(targets))
    return record


def _mean(records: Sequence[Any], levels: slice) -> float:
    values = [float(each[levels].mean()) for each in mean_average_precision(records).values()]
    return math.fsum(values) / len(values) if values else math.nan


BOX_METRICS = (
    CorpusMetric("map_50", _record, lambda records: _mean(records, slice(0, 1))),
    CorpusMetric("map", _record, lambda records: _mean(records, slice(None))),
)
"""Mean average precision over labels at IoU .5, and over IoU .5, .55, ..., .95."""
