"""What the processor can do at most: fused multiply-adds of float32 in registers, and bytes that memory gives.

The rate of torch's own matrix product, "matrix GFLOP/s" in results, is no limit: MKL may take narrower instructions than there are.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from regard.kernels.compiled import compiled
from regard.kernels.simd import processor
from regard.kernels.simd.lanes import LANES, fma, load, store
from regard.kernels.threads import memory_of, share

__all__ = ["matrix_rate", "memory_rate", "peak_rate"]

# A chain of multiply-adds waits for its own result. Two units and four cycles need eight chains of whole vectors: 8 of 16 lanes
# are 8 registers with AVX-512, and 16 with AVX2, which has no more; there 5 of 16 lanes are 10 chains.
_STEPS = 1 << 23


def _eight(begin: int, end: int, out: np.ndarray, steps: int) -> None:  # pragma: no cover, compiled
    for part in range(begin, end):
        at = part * 8 * LANES
        x = load(out, at)
        a, b, c, d, e, f, g, h = x, x, x, x, x, x, x, x
        y = load(out, at + LANES)
        for _ in range(steps):
            a, b, c, d = fma(a, y, a), fma(b, y, b), fma(c, y, c), fma(d, y, d)
            e, f, g, h = fma(e, y, e), fma(f, y, f), fma(g, y, g), fma(h, y, h)
        store(out, at, a)
        store(out, at + LANES, b)
        store(out, at + 2 * LANES, c)
        store(out, at + 3 * LANES, d)
        store(out, at + 4 * LANES, e)
        store(out, at + 5 * LANES, f)
        store(out, at + 6 * LANES, g)
        store(out, at + 7 * LANES, h)


def _five(begin: int, end: int, out: np.ndarray, steps: int) -> None:  # pragma: no cover, compiled
    for part in range(begin, end):
        at = part * 8 * LANES
        x = load(out, at)
        a, b, c, d, e = x, x, x, x, x
        y = load(out, at + LANES)
        for _ in range(steps):
            a, b, c, d, e = fma(a, y, a), fma(b, y, b), fma(c, y, c), fma(d, y, d), fma(e, y, e)
        store(out, at, a)
        store(out, at + LANES, b)
        store(out, at + 2 * LANES, c)
        store(out, at + 3 * LANES, d)
        store(out, at + 4 * LANES, e)


def peak_rate(repeats: int = 9) -> float:
    """GFLOP/s of independent fused multiply-adds of float32 that touch no memory, on all of torch's threads, at best."""
    wide = processor.lanes(32) >= LANES
    kernel, chains = (compiled(_eight, fast=False), 8) if wide else (compiled(_five, fast=False), 5)
    threads = torch.get_num_threads()
    out = memory_of(torch.full((threads * 8 * LANES,), 1e-9))
    times = []
    for _ in range(repeats + 1):
        out[:] = 1e-9
        begin = time.perf_counter()
        share(kernel, list(range(threads + 1)), out, _STEPS)
        times.append(time.perf_counter() - begin)
    return 2 * chains * LANES * _STEPS * threads / min(times[1:]) / 1e9


def memory_rate(repeats: int = 5, size: int = 1 << 26) -> float:
    """GB/s of `a + b` into a third array, each of 256 MB: what is read and written, the median of several."""
    a, b, c = (torch.zeros(size) for _ in range(3))
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        torch.add(a, b, out=c)
        times.append(time.perf_counter() - begin)
    return 3 * 4 * size / statistics.median(times[1:]) / 1e9


def matrix_rate(size: int = 1024, repeats: int = 9) -> float:
    """GFLOP/s of torch's own float32 matrix product of this size, the median of several."""
    a = torch.randn(size, size)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begin)
    return 2 * size**3 / statistics.median(times) / 1e9
