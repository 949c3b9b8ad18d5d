"""The Fréchet distance against SciPy's square root of a matrix, and of features against the formula on all of them."""

import numpy as np
import pytest
import scipy.linalg
import torch

from regard.tasks.frechet import FrechetDistance, frechet_distance


def by_scipy(real, written):
    (m, n), (c, d) = ([f(x) for x in (real, written)] for f in (lambda x: x.mean(0), lambda x: np.cov(x.T)))
    root = scipy.linalg.sqrtm(c @ d)
    return ((m - n) ** 2).sum() + np.trace(c + d - 2 * root.real)


def features(count, width, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + seed


@pytest.mark.parametrize(("count", "width"), [(50, 4), (400, 32), (20, 16)])
def test_it_is_the_formula_with_scipys_root(count, width):
    real, written = features(count, width, 1), features(count + 7, width, 2)
    distance = FrechetDistance(width)
    for a, b in zip(np.array_split(real, 3), np.array_split(written, 3), strict=True):
        distance.update(torch.from_numpy(a), torch.from_numpy(b))
    assert float(distance.compute()) == pytest.approx(by_scipy(real, written), rel=1e-8)


def test_the_same_features_have_no_distance_and_it_is_symmetric():
    real, written = (torch.from_numpy(features(60, 8, n)) for n in (1, 2))
    found = []
    for pair in ((real, real), (real, written), (written, real)):
        distance = FrechetDistance(8)
        distance.update(*pair)
        found.append(float(distance.compute()))
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] == pytest.approx(found[2], rel=1e-9)


def test_a_covariance_without_an_inverse_is_no_obstacle():
    flat = torch.diag(torch.tensor([4.0, 0.0, 1.0]))
    found = frechet_distance(torch.zeros(3), flat, torch.zeros(3), torch.diag(torch.tensor([1.0, 9.0, 0.0])))
    assert float(found) == pytest.approx((2 - 1) ** 2 + 9 + 1)


def test_too_few_pictures_have_none():
    distance = FrechetDistance(2)
    distance.update(torch.zeros(3, 2), torch.zeros(1, 2))
    assert torch.isnan(distance.compute())
