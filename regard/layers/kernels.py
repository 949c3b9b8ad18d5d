"""The compiled kernels of layers: dropout by a hash, pairs turned by angles, cross-entropy, depthwise convolution, int8."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import numpy as np

from regard.kernels import packing
from regard.kernels.compiled import as_written, compiled
from regard.kernels.simd.lanes import (
    exp,
    fill,
    keep,
    larger,
    load,
    load_wide,
    max_heads,
    of_number,
    store,
    store_as,
    sum_heads,
)

__all__ = ["depthwise", "depthwise_taps", "dropped", "from_sums", "losses", "rotated", "slopes", "to_int8"]


@as_written
def _sixteen(out, x, at, ids, number, low, high, least, factor):
    hashes = of_number(fill(ids, low), fill(ids, high), fill(ids, number) + load(ids, 0))
    store_as(out, at, keep(hashes, fill(ids, least), load_wide(x, at) * fill(factor, factor[0])))


def _dropped(begin, end, out, x, ids, low, high, least, factor):
    """out_i = factor x_i where the hash of i is at least `least`, else 0, for `begin <= i < end`; x has at least 16 numbers.

    out, x: bfloat16 as bits. low, high: the halves of the seed. ids: from 0 to 15, int32. factor: one number, as wide as products.
    """
    for at in range(begin, end - 15, 16):
        _sixteen(out, x, at, ids, at, low, high, least, factor)
    if (end - begin) % 16:
        # Writes some of them twice, the same.
        _sixteen(out, x, end - 16, ids, end - 16, low, high, least, factor)


dropped = compiled(_dropped, fast=False)


def _rotated(begin, end, out, x, cos, sin, row_step, head_step, heads, pairs, direction):
    """(a cos - d b sin, d a sin + b cos) of the pairs (a, b) of rows `begin <= r < end`, d the direction, 1 or -1; see `rotated`.

    out, x: bfloat16 as bits. row_step, head_step: how many numbers of x lie between rows, and between heads.
    """
    turn = cos.dtype.type(direction)
    for r in range(begin, end):
        for h in range(heads):
            to, there = 2 * pairs * (r * heads + h), r * row_step + h * head_step
            for i in range(pairs):
                a, b = packing.load(x, there + 2 * i), packing.load(x, there + 2 * i + 1)
                c, s = packing.load(cos, r * pairs + i), packing.load(sin, r * pairs + i) * turn
                packing.save(out, to + 2 * i, a * c - b * s)
                packing.save(out, to + 2 * i + 1, a * s + b * c)


rotated = compiled(_rotated, fast=False)


@as_written
def _first(x, room):
    """The first lane."""
    store(room, 0, x)
    return room[0]


@as_written
def _tail(room, x, at, n, other):
    """The last n numbers of a row, and other ones behind them, as 16 lanes."""
    for c in range(16):
        room[c] = packing.load(x, at + c) if c < n else other
    return load(room, 0)


def _losses(begin, end, losses, nats, whole, x, targets, classes, smoothing):
    """For rows `begin <= i < end` of scores x: the losses, -log p of the targets, and log sum_c e^x_c; see `cross_entropy`.

    x: bfloat16 as bits.
    """
    room = np.empty(16, losses.dtype)
    low = losses.dtype.type(-np.inf)
    whole_lanes = classes // 16 * 16
    left = classes - whole_lanes
    for i in range(begin, end):
        at = i * classes
        most, sums = fill(losses, low), fill(losses, 0)
        for c in range(at, at + whole_lanes, 16):
            y = load_wide(x, c)
            most, sums = larger(most, y), sums + y
        # Where a number is NaN, so is the sum.
        most = larger(most, _tail(room, x, at + whole_lanes, left, low))
        top = _first(max_heads(most, 1), room)
        total = fill(losses, 0)
        for c in range(at, at + whole_lanes, 16):
            total = total + exp(load_wide(x, c) - fill(losses, top))
        total = total + exp(_tail(room, x, at + whole_lanes, left, low) - fill(losses, top))
        whole[i] = top + np.log(_first(sum_heads(total, 1), room))
        nats[i] = whole[i] - packing.load(x, at + targets[i])
        losses[i] = nats[i]
        if smoothing > 0:
            sums = sums + _tail(room, x, at + whole_lanes, left, losses.dtype.type(0))
            mean = _first(sum_heads(sums, 1), room) / losses.dtype.type(classes)
            share = losses.dtype.type(smoothing)
            losses[i] = (losses.dtype.type(1) - share) * nats[i] + share * (whole[i] - mean)


losses = compiled(_losses, fast=False)


def _slopes(begin, end, out, x, targets, whole, above, classes, smoothing):
    """above_i (p_ic - s / classes - (1 - s) [c = y_i]) for rows `begin <= i < end`; out may be x. out, x: bfloat16 as bits."""
    room = np.empty(16, whole.dtype)
    whole_lanes = classes // 16 * 16
    spread = whole.dtype.type(smoothing / max(classes, 1))
    for i in range(begin, end):
        at, y = i * classes, i * classes + targets[i]
        factor, own = fill(whole, above[i]), packing.load(x, y)
        for c in range(at, at + whole_lanes, 16):
            store_as(out, c, (exp(load_wide(x, c) - fill(whole, whole[i])) - fill(whole, spread)) * factor)
        last = exp(_tail(room, x, at + whole_lanes, classes - whole_lanes, whole[i]) - fill(whole, whole[i]))
        store(room, 0, (last - fill(whole, spread)) * factor)
        for c in range(whole_lanes, classes):
            packing.save(out, at + c, room[c - whole_lanes])
        mine = _first(exp(fill(whole, own) - fill(whole, whole[i])), room)
        packing.save(out, y, (mine - spread - whole.dtype.type(1 - smoothing)) * above[i])


slopes = compiled(_slopes, fast=False)


@compiled
def depthwise(begin: int, end: int, out: Any, x: Any, taps: Any, left: int, first: Any, last: Any) -> None:
    """out_i = sum_r taps_r x_{i - left + r} over the rows of i's set."""
    for i in range(begin, end):
        row = out[i]
        row[:] = 0
        for j in range(max(first[i], i - left), min(last[i], i - left + taps.shape[0])):
            tap, other = taps[j - i + left], x[j]
            for c in range(row.shape[0]):
                row[c] += tap[c] * other[c]


@compiled
def depthwise_taps(
    begin: int, end: int, out: Any, gradient: Any, x: Any, left: int, first: Any, last: Any, rows: int
) -> None:
    """The taps' gradient, of each stretch of `rows` rows on its own: out_n,r = sum_i gradient_i x_{i - left + r}."""
    for n in range(begin, end):
        out[n] = 0
        for i in range(n * rows, min((n + 1) * rows, x.shape[0])):
            above = gradient[i]
            for j in range(max(first[i], i - left), min(last[i], i - left + out.shape[1])):
                tap, other = out[n, j - i + left], x[j]
                for c in range(tap.shape[0]):
                    tap[c] += above[c] * other[c]


def _to_int8(begin, end, out, scales, scale_bits, x, bits):
    """out_i = round(x_i / scales_i) with scales_i = max|x_i| / 127, for rows `begin <= i < end` of float32.

    scale_bits, bits: the memory of scales and x as int32, whose order is that of absolute values, with NaN above infinity.
    """
    for i in range(begin, end):
        largest = np.int32(0)
        for c in range(x.shape[1]):
            largest = max(largest, bits[i, c] & np.int32(0x7FFFFFFF))
        scale_bits[i] = largest
        scales[i] = scales[i] / np.float32(127)
        inverse = np.float32(0)
        # Rows of zeros, and those that are not finite, whose scale says so.
        if scales[i] > 0 and largest < np.int32(0x7F800000):
            inverse = np.float32(1) / scales[i]
        for c in range(x.shape[1]):
            out[i, c] = np.int8(np.int32(np.rint(x[i, c] * inverse)))


to_int8 = compiled(_to_int8, fast=False)


def _from_sums(begin, end, out, sums, scales, other_scales, added):
    """out_ij = sums_ij (scales_i other_scales_j) + added_j, for rows `begin <= i < end`."""
    for i in range(begin, end):
        for j in range(sums.shape[1]):
            out[i, j] = np.float32(sums[i, j]) * (scales[i] * other_scales[j]) + added[j]


from_sums = compiled(_from_sums, fast=False)
