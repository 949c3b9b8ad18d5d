"""Skip-gram and CBOW with negative sampling, compiled: one pass over a stretch of text, 16 numbers at a time.

The rows of both matrices are padded with zeros to a multiple of 16 numbers. Two threads may write to the same rows without a
lock (Hogwild, Niu et al. 2011): few rows are shared, and a lost update is one of very many. One thread is deterministic.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from regard.kernels.compiled import compiled, inlined
from regard.kernels.simd.lanes import exp, fill, fma, load, store, sum_heads

__all__ = ["COLUMNS", "ROUNDS", "Sums", "cbow", "skip_gram"]

COLUMNS = 16
"""Rows of the matrices are padded to a multiple of so many numbers."""
ROUNDS = 64
"""The loss is measured on every so many words."""


class Sums(NamedTuple):
    """What a pass adds up."""

    loss: float
    losses: int
    """How many pairs (for CBOW, words) the loss is the sum of."""
    words: int
    """How many words stayed."""


@inlined
def _mixed(state):
    """Bits from a counter: the finalizer of SplitMix64 (Steele et al. 2014)."""
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


_STEP = np.uint64(0x9E3779B97F4A7C15)


@inlined
def _below(bits, size):
    """A whole number below `size` from the upper 32 bits."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))


@inlined
def _unit(bits):
    """A number from 0 up to 1 from the lower 24 bits."""
    return np.float32(bits & np.uint64(0xFFFFFF)) * np.float32(2.0**-24)


@inlined
def _kept(ids, begin, end, keep, out, state):
    """The next stretch between two breaks, subsampled into `out`: how many words stayed, where it ends, the generator's state."""
    n = 0
    at = begin
    while at < end and ids[at] >= 0:
        word = ids[at]
        at += 1
        if keep[word] < np.float32(1.0):
            state += _STEP
            if _unit(_mixed(state)) >= keep[word]:
                continue
        out[n] = word
        n += 1
    return n, at, state


@inlined
def _draw(targets, wanted, word, share, alias, state):
    """targets = the word and negatives drawn by the alias method (Walker 1977), without those that are the word itself."""
    targets[0] = word
    n = 1
    for _ in range(wanted):
        state += _STEP
        bits = _mixed(state)
        negative = _below(bits, share.shape[0])
        if _unit(bits) >= share[negative]:
            negative = np.int64(alias[negative])
        if negative != word:
            targets[n] = negative
            n += 1
    return n, state


@inlined
def _scores(h, h_at, outputs, targets, n, width, scores):
    """scores_j = h . u_j"""
    for j in range(n):
        at = targets[j] * width
        total = fill(h, 0.0)
        for c in range(0, width, 16):
            total = fma(load(h, h_at + c), load(outputs, at + c), total)
        store(scores, j, sum_heads(total, 1))


@inlined
def _steps(scores, n, rate):
    """scores_j = rate (label_j - sigmoid(scores_j)), where the first label is 1 and the others are 0."""
    one = fill(scores, 1.0)
    for j in range(0, n, 16):
        x = load(scores, j)
        store(scores, j, fill(scores, -rate) / (one + exp(fill(scores, 0.0) - x)))
    scores[0] += rate


@inlined
def _softplus(x):
    """log(1 + e^x), also where e^x is too large."""
    return max(x, 0.0) + np.log1p(np.exp(-abs(x)))


@inlined
def _loss(scores, n):
    """-log sigmoid(s_0) - sum_j log sigmoid(-s_j), from the scores."""
    total = _softplus(-np.float64(scores[0]))
    for j in range(1, n):
        total += _softplus(np.float64(scores[j]))
    return total


@inlined
def _update(h, h_at, stays, to, to_at, outputs, targets, n, width, scores):
    """to = stays h + sum_j scores_j u_j, and then u_j = u_j + scores_j h."""
    for c in range(0, width, 16):
        hidden = load(h, h_at + c)
        change = fill(h, stays) * hidden
        for j in range(n):
            at = targets[j] * width + c
            u = load(outputs, at)
            step = fill(scores, scores[j])
            change = fma(step, u, change)
            store(outputs, at, fma(step, hidden, u))
        store(to, to_at + c, change)


@compiled
def skip_gram(begin, end, ids, keep, window, wanted, share, alias, rate, seed, inputs, outputs, width, sums):
    """One pass over ids[begin:end]: each word is predicted from each word of its window.

    Args:
        ids: the text. keep: `[v]` float32, how likely each word stays. window: the largest; each word draws its own.
        wanted: negatives of each pair. share, alias: `[v]`, their alias table. rate: of learning. seed: uint64.
        inputs, outputs: flat `[v * width]` float32. sums: an array of one record of `Sums`, which are added to.
    """
    state = seed
    kept = np.empty(end - begin, np.int32)
    targets = np.empty(wanted + 1, np.int64)
    scores = np.empty(wanted + 48, np.float32)
    at = begin
    while at < end:
        length, at, state = _kept(ids, at, end, keep, kept, state)
        at += 1
        sums[0].words += length
        for i in range(length):
            state += _STEP
            reach = 1 + _below(_mixed(state), window)
            word = np.int64(kept[i])
            for j in range(max(0, i - reach), min(length, i + reach + 1)):
                if j == i:
                    continue
                n, state = _draw(targets, wanted, word, share, alias, state)
                row = np.int64(kept[j]) * width
                _scores(inputs, row, outputs, targets, n, width, scores)
                if i % ROUNDS == 0:
                    sums[0].loss += _loss(scores, n)
                    sums[0].losses += 1
                _steps(scores, n, rate)
                _update(inputs, row, 1.0, inputs, row, outputs, targets, n, width, scores)


@compiled
def cbow(begin, end, ids, keep, window, wanted, share, alias, rate, seed, inputs, outputs, width, sums):
    """One pass over ids[begin:end]: each word is predicted from the mean of its window; arguments as of `skip_gram`."""
    state = seed
    kept = np.empty(end - begin, np.int32)
    targets = np.empty(wanted + 1, np.int64)
    scores = np.empty(wanted + 48, np.float32)
    mean = np.empty(width, np.float32)
    change = np.empty(width, np.float32)
    at = begin
    while at < end:
        length, at, state = _kept(ids, at, end, keep, kept, state)
        at += 1
        sums[0].words += length
        for i in range(length):
            state += _STEP
            reach = 1 + _below(_mixed(state), window)
            low, high = max(0, i - reach), min(length, i + reach + 1)
            if high - low == 1:
                continue
            part = np.float32(1.0) / np.float32(high - low - 1)
            for c in range(0, width, 16):
                total = fill(mean, 0.0)
                for j in range(low, high):
                    if j != i:
                        total = total + load(inputs, np.int64(kept[j]) * width + c)
                store(mean, c, total * fill(mean, part))
            n, state = _draw(targets, wanted, np.int64(kept[i]), share, alias, state)
            _scores(mean, 0, outputs, targets, n, width, scores)
            if i % ROUNDS == 0:
                sums[0].loss += _loss(scores, n)
                sums[0].losses += 1
            _steps(scores, n, rate)
            _update(mean, 0, 0.0, change, 0, outputs, targets, n, width, scores)
            for j in range(low, high):
                if j == i:
                    continue
                row = np.int64(kept[j]) * width
                for c in range(0, width, 16):
                    # The gradient of a mean: each of its words has its part of it.
                    store(inputs, row + c, fma(load(change, c), fill(change, part), load(inputs, row + c)))
