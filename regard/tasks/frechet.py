"""The Fréchet distance of two sets of features, by which pictures that a model writes are compared with those of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics import Metric

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["FrechetDistance", "frechet_distance"]


def frechet_distance(
    mean: Float[Tensor, " d"],
    covariance: Float[Tensor, "d d"],
    other_mean: Float[Tensor, " d"],
    other_covariance: Float[Tensor, "d d"],
) -> Float[Tensor, ""]:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of two normal distributions (Heusel et al. 2017, eq. 6), in float64.

    The root's trace is that of (C^(1/2) C' C^(1/2))^(1/2), which is symmetric.

    >>> one, two = torch.eye(2), 4 * torch.eye(2)
    >>> float(frechet_distance(torch.zeros(2), one, torch.ones(2), two))
    4.0
    """
    mean, covariance, other_mean, other_covariance = (
        each.double() for each in (mean, covariance, other_mean, other_covariance)
    )
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    inner = root @ other_covariance @ root
    trace = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=0).sqrt().sum()
    return (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * trace


class FrechetDistance(Metric):
    """`frechet_distance` between the features of real pictures and of others, with their means and unbiased covariances.

    Args:
        width: of the features.

    >>> distance = FrechetDistance(2)
    >>> features = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])
    >>> distance.update(features, features + 1)
    >>> round(float(distance.compute()), 6)
    2.0
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    counts: Tensor
    sums: Tensor
    products: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(2, width, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("products", torch.zeros(2, width, width, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, real: Float[Tensor, "n d"], written: Float[Tensor, "m d"]) -> None:
        """Add the features of some pictures of both kinds, of either any number."""
        for n, features in enumerate((real.double(), written.double())):
            self.counts[n] += len(features)
            self.sums[n] += features.sum(0)
            self.products[n] += features.T @ features

    def compute(self) -> Tensor:
        """NaN with fewer than two pictures of a kind."""
        if self.counts.min() < 2:
            return self.sums.new_tensor(torch.nan)
        means = self.sums / self.counts[:, None]
        outer = means[:, :, None] * means[:, None] * self.counts[:, None, None]
        covariances = (self.products - outer) / (self.counts[:, None, None] - 1)
        return frechet_distance(means[0], covariances[0], means[1], covariances[1])
