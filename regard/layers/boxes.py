"""Boxes `[..., 4]`: center (x, y), width and height; how much two of them overlap, and how far they are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["corners", "generalized_iou", "iou", "unbounded"]

_EPSILON = 1e-5  # how near to 0 and 1 a number may be that a logit is taken of


def corners(boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Left, top, right and bottom of boxes.

    >>> corners(torch.tensor([0.5, 0.5, 0.5, 1.0])).tolist()
    [0.25, 0.0, 0.75, 1.0]
    """
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], -1)


def iou(a: Float[Tensor, "*#b 4"], b: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b"]:
    """Intersection over union of boxes that broadcast against each other; 0 where both have no area.

    >>> float(iou(torch.tensor([0.5, 0.5, 1.0, 1.0]), torch.tensor([1.0, 0.5, 1.0, 1.0])))
    0.3333333432674408
    """
    return _overlap(a, b)[0]


def generalized_iou(a: Float[Tensor, "*#b 4"], b: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b"]:
    """IoU - (hull - union) / hull, with the smallest box around both as their hull (Rezatofighi et al. 2019).

    It lies between -1 and 1 and, unlike IoU, says how far boxes are apart that do not touch.

    >>> float(generalized_iou(torch.tensor([0.5, 0.5, 1.0, 1.0]), torch.tensor([3.5, 0.5, 1.0, 1.0])))
    -0.5
    """
    overlap, union, hull = _overlap(a, b)
    return overlap - (hull - union) / hull.clamp(min=torch.finfo(hull.dtype).tiny)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """IoU, and the areas of the union and of the hull."""
    ours, theirs = corners(a), corners(b)
    low, high = torch.maximum(ours[..., :2], theirs[..., :2]), torch.minimum(ours[..., 2:], theirs[..., 2:])
    inside = (high - low).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - inside
    first, last = torch.minimum(ours[..., :2], theirs[..., :2]), torch.maximum(ours[..., 2:], theirs[..., 2:])
    return inside / union.clamp(min=torch.finfo(union.dtype).tiny), union, (last - first).prod(-1)


def unbounded(values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The logits of numbers between 0 and 1, which are moved off both ends by 1e-5."""
    return values.clamp(_EPSILON, 1 - _EPSILON).logit()
