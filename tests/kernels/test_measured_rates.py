"""The most that the processor can do: both kernels compute what they count, and no product is much quicker."""

import numpy as np
import pytest
import torch

from regard.kernels import rates
from regard.kernels.compiled import compiled
from regard.kernels.simd.lanes import LANES


@pytest.mark.parametrize(("kernel", "chains"), [(rates._eight, 8), (rates._five, 5)])
def test_every_chain_is_computed(kernel, chains):
    # x <- x y + x, three times, from x = 1 with y = 2: 27.
    out = torch.full((2, 8 * LANES), 2.0)
    out[:, :LANES] = 1.0
    memory = out.numpy().reshape(-1)
    compiled(kernel, fast=False)(0, 2, memory, 3)
    np.testing.assert_array_equal(out[:, : chains * LANES], np.full((2, chains * LANES), 27.0))


@pytest.mark.unpoisoned
def test_rates_are_those_of_a_processor(monkeypatch):
    monkeypatch.setattr(rates, "_STEPS", 1 << 14)
    assert 1 < rates.peak_rate(3) < 1e5
    assert 0.1 < rates.memory_rate(2, 1 << 20) < 1e4
    assert rates.matrix_rate(64, 3) > 0
