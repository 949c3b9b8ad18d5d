"""Heads whose outputs are angles, and what joins numbers of a whole set to its pooled vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from regard.errors import InputError

__all__ = ["CosineHead", "SetJoin", "with_margin"]


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


class SetJoin(nn.Module):
    """relu(W [x; z] + b) of the pooled vector x of each set and the numbers z of the whole set.

    Args:
        width: of x, and of the result. numbers: how many numbers each set has.
    """

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.linear = nn.Linear(width + numbers, width)

    def forward(self, pooled: Tensor, values: Tensor | None) -> Tensor:
        """`[s, width]` for pooled vectors `[s, width]` and values `[s, numbers]`.

        Raises:
            InputError: sets without such numbers, or with others.
        """
        found = 0 if values is None else values.shape[1]
        if values is None or found != self.numbers:
            raise InputError(
                f"the sets have {found} numbers each, expected {self.numbers} for each set, as in training"
            )
        return self.linear(torch.cat([pooled, values.to(pooled.dtype)], dim=1)).relu()


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
