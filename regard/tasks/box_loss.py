"""The loss of a set of boxes: queries are first matched with boxes, so that the order of boxes means nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from regard.layers.boxes import generalized_iou
from regard.tasks.configs import PerSetBoxes

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Told", "focal_loss", "label_costs", "matched", "set_loss", "spans"]

_ALPHA, _GAMMA = 0.25, 2.0  # Lin et al. 2017, section 5.1


class Told(NamedTuple):
    """What queries tell: `[t, labels]`, or one more for none, and `[t, 4]`."""

    logits: Float[Tensor, "t c"]
    boxes: Float[Tensor, "t 4"]


def focal_loss(logits: Float[Tensor, "*b"], there: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """-a (1 - p)^2 log p where a label is there and -(1 - a) p^2 log(1 - p) where it is not, with p = sigmoid and a = 1/4."""
    chance = logits.sigmoid()
    found = _ALPHA * (1 - chance) ** _GAMMA * -logsigmoid(logits)
    missed = (1 - _ALPHA) * chance**_GAMMA * -logsigmoid(-logits)
    return there * found + (1 - there) * missed


def label_costs(options: PerSetBoxes, logits: Float[Tensor, "t c"]) -> Float[Tensor, "t labels"]:
    """What it costs to match a query with a box of each label: -p, or what focal loss says for the label less what against it."""
    if options.loss == "cross_entropy":
        return -logits.softmax(-1)[:, :-1]
    return focal_loss(logits, torch.ones_like(logits)) - focal_loss(logits, torch.zeros_like(logits))


@torch.no_grad()
def matched(
    options: PerSetBoxes, told: Told, labels: Int[Tensor, " m"], boxes: Float[Tensor, "m 4"]
) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    """The queries of a picture that get a box, and which: the assignment of the lowest cost (Carion et al. 2020, eq. 1).

    cost = label_cost * label_costs + place_weight |b - b'|_1 - overlap_weight GIoU(b, b'). Where there are more boxes than queries
    the rest are left over.
    """
    from scipy.optimize import linear_sum_assignment

    ours = told.boxes[:, None].float()
    cost = options.label_cost * label_costs(options, told.logits.float())[:, labels]
    cost = cost + options.place_weight * (ours - boxes).abs().sum(-1)
    cost = cost - options.overlap_weight * generalized_iou(ours, boxes)
    rows, columns = linear_sum_assignment(cost.cpu().nan_to_num(1e6, 1e6, -1e6).numpy())
    return torch.as_tensor(rows, device=boxes.device), torch.as_tensor(columns, device=boxes.device)


def set_loss(
    options: PerSetBoxes, told: Told, rows: Int[Tensor, " k"], labels: Int[Tensor, " k"], boxes: Float[Tensor, "k 4"]
) -> Float[Tensor, ""]:
    """The sum over boxes of what queries tell of them; `rows` are the queries that were matched.

    Cross-entropy is a weighted mean over all queries, times the number of boxes, so that the sum divided by it is DETR's loss.
    """
    logits, ours = told.logits.float(), told.boxes[rows].float()
    places = (ours - boxes).abs().sum() * options.place_weight
    overlaps = (1 - generalized_iou(ours, boxes)).sum() * options.overlap_weight
    if options.loss == "focal":
        there = torch.zeros_like(logits)
        there[rows, labels] = 1
        return focal_loss(logits, there).sum() + places + overlaps
    classes = torch.full_like(logits[:, 0], logits.shape[1] - 1, dtype=torch.int64)
    classes[rows] = labels
    weights = torch.ones_like(logits[0])
    weights[-1] = options.none_weight
    mean = cross_entropy(logits, classes, weights) if len(logits) else logits.sum()
    return mean * max(1, len(labels)) + places + overlaps


def spans(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Where each of several runs begins and ends.

    >>> spans([2, 0, 3])
    [(0, 2), (2, 2), (2, 5)]
    """
    found, first = [], 0
    for length in lengths:
        found.append((first, first + length))
        first += length
    return found
