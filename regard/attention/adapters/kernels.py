"""The compiled kernel of adapters: a step of `LinearState`."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from regard.kernels.compiled import as_written, compiled
from regard.kernels.simd.lanes import exp, fill, fma, load, pick, store

__all__ = ["Sizes", "step"]


class Sizes(NamedTuple):
    """Of what a step reads: query heads for each key head, widths of features and values, and whether features are elu(x) + 1."""

    group: int
    features: int
    e: int
    elu: bool


@as_written
def _sixteen(out, f, x, at):
    row, one = load(x, at), fill(x, 1)
    store(out, f, pick(row, row + one, one, exp(row)))


@as_written
def _features(out, x, at, elu):
    """The features of a row, or the row itself where it is made of them."""
    whole = len(out) // 16 * 16 if elu else 0
    for f in range(0, whole, 16):
        _sixteen(out, f, x, at + f)
    for f in range(whole, len(out)):
        number = x[at + f]
        if elu:
            number = number + 1 if number > 0 else math.exp(number)
        out[f] = number


@as_written
def _remember(next_sums, sums, at, phi, v, v_at, e):
    """One row of S + phi v^T, from `at` on."""
    number = fill(v, phi)
    for c in range(0, e - 15, 16):
        store(next_sums, at + c, fma(number, load(v, v_at + c), load(sums, at + c)))
    if e % 16:
        # Writes some of them twice, the same.
        c = e - 16
        store(next_sums, at + c, fma(number, load(v, v_at + c), load(sums, at + c)))


@as_written
def _sum(out, sums, phi, at, out_at, e, total):
    """phi S / total for 16 columns of S."""
    found = fill(out, 0)
    for f in range(len(phi)):
        found = fma(fill(out, phi[f]), load(sums, at + f * e), found)
    store(out, out_at, found / fill(out, total))


def _step(begin, end, sizes, out, next_sums, next_totals, sums, totals, q, k, v):
    """One more vector for key heads `begin <= n < end`, of all sets, where values have at least 16 numbers; see `LinearState`.

    Args:
        out: [n, group, e], flat like the others. sums: [n, features, e], totals: [n, features], and the same of what comes after.
        q: [n, group, ...] and k: [n, ...], vectors or their features. v: [n, e].
    """
    m, e = sizes.features, sizes.e
    phi_k, phi_q = np.empty(m, sums.dtype), np.empty(m, sums.dtype)
    columns = -(-e // 16)
    for n in range(begin, end):
        _features(phi_k, k, n * m, sizes.elu)
        for f in range(m):
            next_totals[n * m + f] = totals[n * m + f] + phi_k[f]
            _remember(next_sums, sums, (n * m + f) * e, phi_k[f], v, n * e, e)
        for head in range(n * sizes.group, (n + 1) * sizes.group):
            _features(phi_q, q, head * m, sizes.elu)
            total = phi_q[0] * next_totals[n * m]
            for f in range(1, m):
                total += phi_q[f] * next_totals[n * m + f]
            # Scores that are all zero give zeros, as in `Sum`.
            if total == 0:
                total += np.inf
            for column in range(columns):
                c = min(16 * column, e - 16)
                _sum(out, next_sums, phi_q, n * m * e + c, head * e + c, e, total)


step = compiled(_step, fast=False)
