"""The arithmetic of kernels on vectors: as exact as it says, NaN and infinity where they belong."""

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from numba.extending import intrinsic as _intrinsic

from regard.attention.dropout import Dropout
from regard.kernels.simd import lanes

# Its results are functions of compiled code, whose first parameter is not the caller's.
intrinsic: Any = _intrinsic


@intrinsic
def _exp2(typingctx: Any, x: Any) -> Any:
    return x(x), lambda context, builder, sig, args: x.kind.exp(builder, *args, base=2)


@njit
def _each(x: Any, y: Any, function: int, heads: int) -> None:  # pragma: no cover
    for at in range(0, len(x), 16):
        if function == 0:
            lanes.store(y, at, lanes.exp(lanes.load(x, at)))
        elif function == 1:
            lanes.store(y, at, lanes.tanh(lanes.load(x, at)))
        elif function == 2:
            lanes.store(y, at, lanes.sum_heads(lanes.load(x, at), heads))
        elif function == 3:
            lanes.store(y, at, lanes.max_heads(lanes.load(x, at), heads))
        elif function == 4:
            lanes.store(y, at, lanes.spread(lanes.load(x, at), heads))
        elif function == 6:
            lanes.store(y, at, _exp2(lanes.load(x, at)))
        else:
            lanes.store_low(y, at, lanes.load(x, at), heads)


def applied(x: np.ndarray, function: int, heads: int = 16) -> np.ndarray:
    y = np.full_like(x, 7)
    _each(x, y, function, heads)
    return y


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 2.0), (np.float64, 8.0)])
@pytest.mark.parametrize(("function", "meant", "far"), [(0, np.exp, 87.0), (1, np.tanh, 12.0), (6, np.exp2, 125.0)])
def test_functions_err_by_a_few_units_of_the_last_place(function, meant, far, dtype, most):
    x = np.concatenate([np.linspace(-far, far, 1 << 16), np.linspace(-1e-3, 1e-3, 1 << 10)]).astype(dtype)
    true = meant(x.astype(np.float64))
    error = np.abs(applied(x, function) - true) / np.maximum(np.abs(true), np.finfo(dtype).tiny)
    assert error.max() <= most * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_at_the_ends(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30, -800.0, 800.0] * 2, dtype)
    assert np.array_equal(applied(x, 0)[:8], [np.nan, np.inf, 0, 1, np.inf, 0, 0, np.inf], equal_nan=True)
    assert np.array_equal(applied(2 * x, 6)[:8], [np.nan, np.inf, 0, 1, np.inf, 0, 0, np.inf], equal_nan=True)
    assert np.array_equal(applied(x, 1)[:8], [np.nan, 1, -1, 0, 1, -1, -1, 1], equal_nan=True)


@pytest.mark.parametrize("heads", [1, 2, 4, 8, 16])
def test_lanes_of_heads(heads):
    x = np.random.default_rng(0).integers(-9, 9, 32).astype(np.float32)
    by_head = x.reshape(2, 16 // heads, heads)
    assert np.array_equal(
        applied(x, 2, heads).reshape(by_head.shape), np.broadcast_to(by_head.sum(1, keepdims=True), by_head.shape)
    )
    assert np.array_equal(
        applied(x, 3, heads).reshape(by_head.shape), np.broadcast_to(by_head.max(1, keepdims=True), by_head.shape)
    )
    assert np.array_equal(applied(x, 4, heads).reshape(by_head.shape), np.broadcast_to(by_head[:, :1], by_head.shape))
    low = applied(x, 5, heads).reshape(2, 16)
    assert np.array_equal(low[:, :heads], x.reshape(2, 16)[:, :heads])
    assert (low[:, heads:] == 7).all()


@njit
def _hashed(seeds: Any, query: int, key: int, least: int, y: Any) -> None:  # pragma: no cover
    x = lanes.mix(lanes.mix(lanes.mix(lanes.load(seeds, 0) ^ lanes.fill(seeds, query))) ^ lanes.fill(seeds, key))
    lanes.store(y, 0, lanes.keep(x, lanes.fill(seeds, least), lanes.fill(y, 1.0)))


def test_the_hash_is_that_of_dropout():
    drop = Dropout(0.4, seed=123456789012345)
    heads = torch.arange(16)
    seeds, y = drop.of_heads(heads).numpy(), np.empty(16, np.float32)
    for query, key in ((0, 0), (3, 70_000), (123_456, 7)):
        _hashed(seeds, query, key, drop.least, y)
        meant = drop.factors(heads, torch.tensor(query), torch.tensor(key), torch.float32) > 0
        assert np.array_equal(y > 0, meant.numpy())
