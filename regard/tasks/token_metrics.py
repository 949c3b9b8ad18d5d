"""Metrics of ids that are told one after another, each from those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics import Metric

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

__all__ = ["Perplexity", "TokenAccuracy"]


class _OfTokens(Metric):
    is_differentiable = False
    full_state_update = False
    nats: Tensor
    right: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nats", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("right", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, nats: Float[Tensor, " n"], right: Bool[Tensor, " n"]) -> None:
        """Add targets: -log p of each, and whether it has the highest score."""
        self.nats += nats.double().sum()
        self.right += right.sum()
        self.count += len(nats)


class Perplexity(_OfTokens):
    """exp(mean -log p) of the targets.

    >>> perplexity = Perplexity()
    >>> perplexity.update(torch.tensor([2.0, 4.0]).log(), torch.tensor([True, False]))
    >>> f"{perplexity.compute():.4f}"
    '2.8284'
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """NaN without targets."""
        return (self.nats / self.count).exp()


class TokenAccuracy(_OfTokens):
    """The fraction of targets that have the highest score.

    >>> accuracy = TokenAccuracy()
    >>> accuracy.update(torch.tensor([2.0, 4.0]).log(), torch.tensor([True, False]))
    >>> f"{accuracy.compute():.4f}"
    '0.5000'
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        """NaN without targets."""
        return self.right / self.count
