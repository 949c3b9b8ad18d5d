"""The compiled kernel of decoding: of each row of scores the largest, and the logarithm of the sum of all exponentials."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numpy as np

from regard.kernels.compiled import as_written, compiled
from regard.kernels.simd.lanes import exp, fill, larger, load, max_heads, store_low, sum_heads
from regard.kernels.simd.rows import apart

__all__ = ["STRETCH", "largest"]

STRETCH = 64
"""Neighboring numbers of a row whose largest is looked at first."""


@as_written
def _tops(tops, x, at, stretches):
    """The largest number of each stretch of a row; of all of them where one is NaN."""
    apart()
    for n in range(stretches):
        here = at + n * STRETCH
        first = larger(load(x, here), load(x, here + 16))
        store_low(tops, n, max_heads(larger(first, larger(load(x, here + 32), load(x, here + 48))), 1), 1)


@as_written
def _exponentials(total, x, at, whole, most):
    """The sum of e^(x - most) over a row's whole stretches."""
    apart()
    a, b = fill(x, 0), fill(x, 0)
    for c in range(at, at + whole, 32):
        a, b = a + exp(load(x, c) - fill(x, most)), b + exp(load(x, c + 16) - fill(x, most))
    store_low(total, 0, sum_heads(a + b, 1), 1)


@as_written
def _insert(values, places, to, last, number, place):
    """A number larger than the last, among falling ones from `to` to `last`, behind its equals."""
    j = last
    while j > to and number > values[j - 1]:
        values[j], places[j] = values[j - 1], places[j - 1]
        j -= 1
    values[j], places[j] = number, place


@as_written
def _bound(tops, order, numbers, n):
    """What at least n numbers of a row reach: the nth largest of its stretches' largest; -inf where there are fewer."""
    if n > len(tops):
        return numbers.dtype.type(-np.inf)
    numbers[:] = -np.inf
    for place in range(len(tops)):
        if tops[place] > numbers[n - 1]:
            _insert(numbers, order, 0, n - 1, tops[place], place)
    return numbers[n - 1]


def _largest(begin, end, values, places, sums, x, width, k, hidden):
    """For rows `begin <= i < end` of x `[rows, width]`, flat like the others.

    Args:
        values, places: `[rows, k]` the largest in falling order, of equal ones the first first; -inf and 0 where there are no more.
        sums: `[rows]` log sum_j e^x_ij. hidden: places that do not count among the largest.
    """
    stretches = width // STRETCH
    whole = stretches * STRETCH
    tops, total = np.empty(stretches, x.dtype), np.zeros(1, x.dtype)
    # Some of the numbers above the bound may be hidden.
    enough = k + len(hidden)
    numbers, order = np.empty(enough, x.dtype), np.empty(enough, np.int64)
    for row in range(begin, end):
        at, to = row * width, row * k
        _tops(tops, x, at, stretches)
        most = x.dtype.type(-np.inf)
        for n in range(stretches):
            most = max(most, tops[n])
        for c in range(whole, width):
            most = max(most, x[at + c])
        total[0] = 0
        _exponentials(total, x, at, whole, most)
        for c in range(whole, width):
            total[0] += math.exp(x[at + c] - most)
        sums[row] = most + math.log(total[0])
        for j in range(k):
            values[to + j] = -np.inf
            places[to + j] = 0
        last, bound = to + k - 1, _bound(tops, order, numbers, enough)
        for n in range(stretches + 1):
            if n < stretches and not (tops[n] >= bound and tops[n] > values[last]):
                continue
            for c in range(n * STRETCH, min((n + 1) * STRETCH, width)):
                number = x[at + c]
                if not (number >= bound and number > values[last]):
                    continue
                counts = True
                for h in hidden:
                    counts = counts and h != c
                if counts:
                    _insert(values, places, to, last, number, c)


largest = compiled(_largest, fast=False)
