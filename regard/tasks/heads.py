"""Heads whose outputs are angles: cosines between a vector and one learned direction for each class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

__all__ = ["CosineHead", "with_margin"]


class CosineHead(nn.Module):
    """scale * cos(x, w_c): vectors and weights are normalized, and nothing is added (Wang et al. 2018, section 3.1).

    Args:
        width: of the vectors. classes: how many directions. scale: s of the paper.
    """

    def __init__(self, width: int, classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(classes, width)))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, classes]`"""
        return self.scale * linear(normalize(x), normalize(self.weight))


def with_margin(output: Tensor, targets: Tensor, margin: float | Tensor) -> Tensor:
    """The outputs with `margin` taken off each target's own: cross-entropy of it is the additive-margin softmax loss.

        L = - log( e^(s (cos_y - m)) / (e^(s (cos_y - m)) + sum_{c != y} e^(s cos_c)) )

    for outputs s cos_c and a margin s m (Wang et al. 2018, eq. 6).

    >>> with_margin(torch.zeros(2, 3), torch.tensor([1, -100]), 6.0).tolist()
    [[0.0, -6.0, 0.0], [0.0, 0.0, 0.0]]
    """
    here = targets >= 0
    own = torch.nn.functional.one_hot(targets.where(here, 0), output.shape[1]) * here[:, None]
    return output - margin * own
