"""Measures of over-smoothing against sums written out, and at their ends."""

import math

import pytest
import torch

from regard.errors import InputError
from regard.inspector.smoothness import angle_distance, dirichlet_energy, effective_rank
from regard.layers.adjacency import spread
from regard.sets import Layout


def path() -> Layout:
    both = [(0, 1), (1, 0), (1, 2), (2, 1), (2, 2)]
    return Layout(torch.tensor([0, 4]), edges=torch.tensor(both).T)


def test_sums_written_out() -> None:
    torch.manual_seed(0)
    x, degree = torch.randn(4, 3), [1, 2, 1, 0]
    pairs = [(0, 1), (1, 0), (1, 2), (2, 1)]
    energy = sum(
        float((x[i] / math.sqrt(1 + degree[i]) - x[j] / math.sqrt(1 + degree[j])).square().sum()) for i, j in pairs
    )
    assert dirichlet_energy(path(), x) == pytest.approx(energy / 4, rel=1e-6)
    cosines = [float(x[i] @ x[j] / x[i].norm() / x[j].norm()) for i, j in pairs]
    assert angle_distance(path(), x) == pytest.approx(1 - sum(cosines) / 4, rel=1e-6)


def test_many_convolutions_leave_no_energy_no_angle_and_one_direction() -> None:
    """D^-1/2 (A + I) D^-1/2 to the power of many is a projection on the roots of the degrees."""
    torch.manual_seed(0)
    layout = Layout(torch.tensor([0, 3]), edges=path().edges)
    x = torch.randn(3, 3, dtype=torch.float64)
    assert dirichlet_energy(layout, x) > 0.1
    assert angle_distance(layout, x) > 0.1
    assert effective_rank(x) > 2
    for _ in range(200):
        x = spread(layout, x, self_loops=True)
    assert dirichlet_energy(layout, x) < 1e-12
    assert angle_distance(layout, x) < 1e-12
    assert effective_rank(x) == pytest.approx(1, abs=1e-6)


def test_what_has_no_neighbors() -> None:
    alone = Layout(torch.tensor([0, 1]), edges=torch.zeros(2, 0).long())
    assert (dirichlet_energy(alone, torch.ones(1, 2)), angle_distance(alone, torch.ones(1, 2))) == (0, 0)
    assert effective_rank(torch.zeros(3, 2)) == 0
    assert angle_distance(path(), torch.zeros(4, 2)) == 1
    with pytest.raises(InputError, match="the sets have no edges, expected graphs"):
        dirichlet_energy(Layout.of_lengths([2]), torch.ones(2, 2))
