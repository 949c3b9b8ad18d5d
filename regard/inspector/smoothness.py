"""How alike the vectors of graphs have become: what deep graph networks lose, measured in three ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from regard.errors import InputError
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["angle_distance", "dirichlet_energy", "effective_rank"]


def dirichlet_energy(layout: Layout, x: Float[Tensor, "t d"]) -> float:
    """E = 1/t sum over edges (i, j) of |x_i / sqrt(1 + d_i) - x_j / sqrt(1 + d_j)|^2, d_i the number of i's neighbors.

    0 where each vector is its neighbors' but for the root of its degree, which is what a graph convolution makes of all vectors
    of a part in the end. It grows with the square of the vectors. Edges from a vector to itself count as no neighbor. Source: Rusch
    et al. 2023, eq. 3.

    Raises:
        InputError: a layout without edges.

    >>> layout = Layout(torch.tensor([0, 2]), edges=torch.tensor([[0, 1], [1, 0]]))
    >>> round(dirichlet_energy(layout, torch.tensor([[1.0], [3.0]])), 4)
    2.0
    """
    i, j = _edges(layout)
    x = x.detach().double()
    scaled = x / (1 + torch.bincount(i, minlength=layout.total)).sqrt()[:, None]
    return float((scaled[i] - scaled[j]).square().sum() / max(1, layout.total))


def angle_distance(layout: Layout, x: Float[Tensor, "t d"]) -> float:
    """MAD: the mean over edges (i, j) of 1 - cos(x_i, x_j), 0 where all neighbors point in one direction (Chen et al. 2020).

    An end that is a vector of zeros has the cosine 0 with every other. 0 where no two vectors are joined.

    Raises:
        InputError: a layout without edges.

    >>> layout = Layout(torch.tensor([0, 2]), edges=torch.tensor([[0, 1], [1, 0]]))
    >>> angle_distance(layout, torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    1.0
    """
    i, j = _edges(layout)
    if not len(i):
        return 0.0
    unit = torch.nn.functional.normalize(x.detach().double(), dim=1)
    return float((1 - (unit[i] * unit[j]).sum(1)).mean())


def effective_rank(x: Float[Tensor, "t d"]) -> float:
    """exp of the entropy of the singular values, divided by their sum: in how many directions vectors lie (Roy, Vetterli 2007).

    From 1, where all vectors are multiples of one, to the smaller of t and d; 0 where all are zeros.

    >>> round(effective_rank(torch.eye(3)), 6), round(effective_rank(torch.ones(3, 2)), 6)
    (3.0, 1.0)
    """
    values = torch.linalg.svdvals(x.detach().double())
    if not len(values) or not float(values[0]):
        return 0.0
    shares = values / values.sum()
    return float((-torch.special.xlogy(shares, shares).sum()).exp())


def _edges(layout: Layout) -> tuple[Tensor, Tensor]:
    if layout.edges is None:
        raise InputError("the sets have no edges, expected graphs: neighbors are compared along edges")
    i, j = layout.edges
    other = i != j
    return i[other], j[other]
