"""Attention over compressed rows, as kernels: every pair that may attend is visited once a pass, and no pair is ever stored.

Heads lie innermost: a table holds `[rows, width / heads, heads]`, flat, `width` a multiple of 16, with 16 numbers behind the end.
A dot product for all heads is then one run of multiplications without any sum across lanes but the last, and a weight meets its
values by one repetition of lanes; see `regard.kernels.simd.lanes`. The number of heads is 1, 2, 4, 8 or 16.

    forward     per row: scores into scratch, the normalizer over them, the weighted sum of values
    backward    per row, in chunks of pairs: scores and gradients of weights anew, from both the gradients of scores, and their sums

The backward pass of the keys is that of the queries over the transposed rows, with the parts of (query, gradient above) and
(key, value) exchanged. `statistics [rows, 3, heads]` keep what the normalizer knew of a row: its shift, its factor and, for the
backward pass, delta = sum_j a_j da_j.

Both kernels are longer than other functions here, and the file with them: scores, normalizers, dropout and biases are run-time
choices outside of the inner loops, around scratch memory that each part would take as arguments.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from regard.kernels.compiled import as_written, compiled
from regard.kernels.simd.lanes import (
    exp,
    fill,
    fma,
    keep,
    larger,
    load,
    load64,
    load128,
    max_heads,
    of_key,
    of_row,
    pick,
    spread,
    store,
    store_low,
    sum_heads,
    tanh,
    tile64,
    tile128,
)

__all__ = [
    "DOT",
    "LEAKY",
    "RELU",
    "SEPARABLE",
    "SIGMOID",
    "SOFTMAX",
    "SUM",
    "TANH",
    "Form",
    "backward",
    "forward",
    "transpose",
]

DOT, SEPARABLE, LEAKY, TANH = range(4)
SOFTMAX, RELU, SIGMOID, SUM = range(4)

# Pairs whose vectors stay in the nearest cache between their two uses.
_CHUNK = 32

# Lanes hold instructions chosen by hand.
_kernel = partial(compiled, fast=False)


class Form(NamedTuple):
    """What a kernel computes: kinds of score and normalizer, sizes, slope of LeakyReLU, dropout (`least` hash, `kept` factor)."""

    score: int
    normalizer: int
    heads: int
    d: int
    e: int
    slope: float
    dropping: bool
    least: int
    kept: float


@as_written
def _leaky(x, slope):
    return pick(x, x, x, x * slope)


@as_written
def _products(to, row, at, table, columns, begin, n, width, heads):
    """to[p, h] = sum_x row[x, h] table[columns[begin + p], x, h]"""
    for p in range(n):
        other = np.int64(columns[begin + p]) * width
        y = load(row, at) * load(table, other)
        for x in range(16, width, 16):
            y = fma(load(row, at + x), load(table, other + x), y)
        store(to, p * heads, sum_heads(y, heads))


@as_written
def _add_weighted(to, at, weights, first, table, columns, begin, n, width, heads):
    """to[x, h] += sum_p weights[first + p, h] table[columns[begin + p], x, h], in registers for up to 128 numbers.

    The sum of many pairs is that of sums of few: callers take `_CHUNK` pairs at a time, or rounding would grow with their number.
    """
    x, first = 0, first * heads
    nothing = fill(to, 0.0)
    while x + 128 <= width:
        y = tile128(nothing)
        for p in range(n):
            other = np.int64(columns[begin + p]) * width + x
            y = fma(tile128(spread(load(weights, first + p * heads), heads)), load128(table, other), y)
        store(to, at + x, load128(to, at + x) + y)
        x += 128
    while x + 64 <= width:
        y = tile64(nothing)
        for p in range(n):
            other = np.int64(columns[begin + p]) * width + x
            y = fma(tile64(spread(load(weights, first + p * heads), heads)), load64(table, other), y)
        store(to, at + x, load64(to, at + x) + y)
        x += 64
    while x < width:
        y = nothing
        for p in range(n):
            other = np.int64(columns[begin + p]) * width + x
            y = fma(spread(load(weights, first + p * heads), heads), load(table, other), y)
        store(to, at + x, load(to, at + x) + y)
        x += 16


@as_written
def _scores(s, act, form, a, row, b, w, columns, begin, n):
    """s[p, h] for one row of a and rows `columns` of b; separable ones before LeakyReLU. act `[p, d]`: tanh of a chunk's sums."""
    heads, d = form.heads, form.d
    if form.score == DOT:
        _products(s, a, row * d, b, columns, begin, n, d, heads)
    elif form.score == SEPARABLE:
        mine = spread(load(a, row * heads), heads)
        for p in range(n):
            store(s, p * heads, mine + load(b, np.int64(columns[begin + p]) * heads))
    elif form.score == LEAKY:
        slope = fill(s, form.slope)
        for p in range(n):
            other = np.int64(columns[begin + p]) * d
            y = fill(s, 0.0)
            for x in range(0, d, 16):
                f = _leaky(load(a, row * d + x) + load(b, other + x), slope)
                y = fma(load(w, x), f, y)
            store(s, p * heads, sum_heads(y, heads))
    else:
        for p in range(n):
            other = np.int64(columns[begin + p]) * d
            y = fill(s, 0.0)
            for x in range(0, d, 16):
                f = tanh(load(a, row * d + x) + load(b, other + x))
                store(act, p % _CHUNK * d + x, f)
                y = fma(load(w, x), f, y)
            store(s, p * heads, sum_heads(y, heads))


@as_written
def _hashes(seeds, queries, keys):
    """The hashes of (seed, head, query row, key row), from those of the heads."""
    return of_key(of_row(seeds, queries), keys)


@_kernel
def forward(begin, end, form, offsets, columns, q, k, v, w, bias, seeds, out, statistics, weights):
    """Rows `begin:end` of out `[t, e]` and of the statistics, and, where there is room for them, the weights `[p, h]`."""
    heads, e = form.heads, form.e
    longest = 0
    for row in range(begin, end):
        longest = max(longest, offsets[row + 1] - offsets[row])
    s = np.empty(longest * heads + 16, q.dtype)
    ids = np.empty(longest * heads + 16 if form.dropping else 0, np.int32)
    act = np.empty(_CHUNK * form.d if form.score == TANH else 0, q.dtype)
    zero, one, slope = fill(q, 0.0), fill(q, 1.0), fill(q, form.slope)
    for row in range(begin, end):
        for x in range(0, e, 16):
            store(out, row * e + x, zero)
        first, n = offsets[row], offsets[row + 1] - offsets[row]
        if n == 0:
            store_low(statistics, row * 3 * heads, zero, heads)
            store_low(statistics, (row * 3 + 1) * heads, zero, heads)
            continue
        _scores(s, act, form, q, row, k, w, columns, first, n)
        numbers = n * heads
        if form.score == SEPARABLE:
            for x in range(0, numbers, 16):
                store(s, x, _leaky(load(s, x), slope))
        if bias.size:
            for x in range(numbers):
                s[x] += bias[first * heads + x]
        store(s, numbers, fill(q, -np.inf))
        shift, factor = zero, one
        if form.normalizer == SOFTMAX:
            shift = fill(q, -np.inf)
            for x in range(0, numbers, 16):
                shift = larger(shift, load(s, x))
            shift = max_heads(shift, heads)
            total = zero
            for x in range(0, numbers, 16):
                y = exp(load(s, x) - shift)
                total = total + y
                store(s, x, y)
            factor = one / sum_heads(total, heads)
        elif form.normalizer == SIGMOID:
            shift = fill(q, np.log(n))
            for x in range(0, numbers, 16):
                store(s, x, one / (one + exp(shift - load(s, x))))
        else:
            total = zero
            for x in range(0, numbers, 16):
                y = larger(zero, load(s, x))
                total = total + y
                store(s, x, y)
            if form.normalizer == RELU:
                factor = fill(q, 1.0 / n)
            else:
                total = sum_heads(total, heads)
                # Scores that are all zero give zero weights.
                factor = pick(total, one / total, zero, total)
        store_low(statistics, row * 3 * heads, shift, heads)
        store_low(statistics, (row * 3 + 1) * heads, factor, heads)
        if form.dropping:
            for p in range(n):
                store(ids, p * heads, fill(ids, columns[first + p]))
            kept, least = factor * fill(q, form.kept), fill(ids, form.least)
            query = fill(ids, row)
            for x in range(0, numbers, 16):
                hashed = _hashes(load(seeds, 0), query, load(ids, x))
                store(s, x, keep(hashed, least, load(s, x) * kept))
        else:
            for x in range(0, numbers, 16):
                store(s, x, load(s, x) * factor)
        if weights.size:
            for x in range(numbers):
                weights[first * heads + x] = s[x]
        for now in range(0, n, _CHUNK):
            _add_weighted(out, row * e, s, now, v, columns, first + now, min(_CHUNK, n - now), e, heads)


@as_written
def _gather(to, table, places, begin, n, heads):
    """to[p] = table[places[begin + p]], both `[..., h]`."""
    for p in range(n):
        for h in range(heads):
            to[p * heads + h] = table[np.int64(places[begin + p]) * heads + h]


@as_written
def _gradients(form, s, da, shift, factor, delta, bias, slopes, numbers, seeds, queries, keys, fixed):
    """From scores and gradients of weights, in place: `da` becomes the weights as summed, `s` the gradients of scores.

    `fixed` is 0 where the one row is the query, of number queries[0], and 1 where it is the key.
    """
    zero, one, slope = fill(s, 0.0), fill(s, 1.0), fill(s, form.slope)
    kept, least = fill(s, form.kept), fill(seeds, form.least)
    for x in range(0, numbers, 16):
        y, g, f = load(s, x), load(da, x), load(factor, x)
        if form.score == SEPARABLE:
            store(slopes, x, pick(y, one, one + slope, slope))
            y = _leaky(y, slope)
        if bias.size:
            y = y + load(bias, x)
        if form.normalizer == SOFTMAX:
            a = exp(y - load(shift, x)) * f
        elif form.normalizer == SIGMOID:
            a = one / (one + exp(load(shift, x) - y))
        else:
            a = larger(zero, y) * f
            f = pick(y, f, zero, zero)
        used = a
        if form.dropping:
            if fixed == 0:
                hashed = _hashes(load(seeds, 0), load(queries, 0), load(keys, x))
            else:
                hashed = _hashes(load(seeds, 0), load(queries, x), load(keys, 0))
            g, used = keep(hashed, least, g * kept), keep(hashed, least, a * kept)
        if form.normalizer == SOFTMAX:
            g = a * (g - load(delta, x))
        elif form.normalizer == SIGMOID:
            g = a * (one - a) * g
        elif form.normalizer == RELU:
            g = f * g
        else:
            g = f * (g - load(delta, x))
        store(da, x, used)
        store(s, x, g)


@_kernel
def backward(
    begin, end, form, transposed, offsets, columns, places, a, a_above, b, b_above, w, bias, above, seeds, statistics,
    d_a, d_above, d_bias, d_w, bounds,
):  # fmt: skip
    """Rows `begin:end` of the gradients of a table.

    Where `transposed` is 0, rows are queries: a, a_above are (q, gradient of the output), b, b_above are (k, v); written are d_a,
    the gradient of q, and, where there is room, that of the bias. Where it is 1, rows are keys: a, a_above are (k, v), b, b_above
    are (q, gradient of the output); written are d_a and d_above, the gradients of k and v. `above [p, h]` are gradients of the
    weights themselves, and `places` tell where each pair lies in the order of queries. d_w `[parts, d]` is the gradient of the
    weight of additive scores, and `bounds` are those of the parts.
    """
    heads, d, e = form.heads, form.d, form.e
    room = _CHUNK * heads + 16
    s, da, slopes = np.empty(room, a.dtype), np.empty(room, a.dtype), np.empty(room, a.dtype)
    shift, factor, delta = np.empty(room, a.dtype), np.empty(room, a.dtype), np.empty(room, a.dtype)
    some_bias = np.empty(room if bias.size else 0, a.dtype)
    some_above = np.empty(room, a.dtype)
    queries, keys = np.empty(room, np.int32), np.empty(room, np.int32)
    additive = form.score == LEAKY or form.score == TANH
    act = np.empty(_CHUNK * d if additive else 0, a.dtype)
    w_row = np.empty(d if additive else 0, a.dtype)
    own = np.arange(_CHUNK).astype(np.int32)
    zero, one, slope = fill(a, 0.0), fill(a, 1.0), fill(a, form.slope)
    part = 0
    while bounds[part + 1] <= begin:
        part += 1
    if d_w.size:
        for x in range(0, d, 16):
            store(d_w, part * d + x, zero)
    for row in range(begin, end):
        if form.score != SEPARABLE:
            for x in range(0, d, 16):
                store(d_a, row * d + x, zero)
        if transposed:
            for x in range(0, e, 16):
                store(d_above, row * e + x, zero)
        first, last = offsets[row], offsets[row + 1]
        if not transposed:
            at = row * 3 * heads
            mine = spread(load(statistics, at), heads)
            my_factor = spread(load(statistics, at + heads), heads)
            my_delta = spread(load(statistics, at + 2 * heads), heads)
            for x in range(0, min(_CHUNK, last - first) * heads, 16):
                store(shift, x, mine)
                store(factor, x, my_factor)
                store(delta, x, my_delta)
        store(keys if transposed else queries, 0, fill(queries, row))
        summed = zero
        if additive:
            for x in range(0, d, 16):
                store(w_row, x, zero)
        for now in range(first, last, _CHUNK):
            n = min(_CHUNK, last - now)
            numbers = n * heads
            if transposed:
                for p in range(n):
                    at = np.int64(columns[now + p]) * 3 * heads
                    store(shift, p * heads, load(statistics, at))
                    store(factor, p * heads, load(statistics, at + heads))
                    store(delta, p * heads, load(statistics, at + 2 * heads))
            if form.dropping:
                for p in range(n):
                    store(queries if transposed else keys, p * heads, fill(keys, columns[now + p]))
            _scores(s, act, form, a, row, b, w, columns, now, n)
            _products(da, a_above, row * e, b_above, columns, now, n, e, heads)
            if bias.size:
                if transposed:
                    _gather(some_bias, bias, places, now, n, heads)
                else:
                    for x in range(numbers):
                        some_bias[x] = bias[now * heads + x]
            if above.size:
                if transposed:
                    _gather(some_above, above, places, now, n, heads)
                else:
                    for x in range(numbers):
                        some_above[x] = above[now * heads + x]
                for x in range(0, numbers, 16):
                    store(da, x, load(da, x) + load(some_above, x))
            _gradients(form, s, da, shift, factor, delta, some_bias, slopes, numbers, seeds, queries, keys, transposed)
            if d_bias.size:
                for x in range(numbers):
                    d_bias[now * heads + x] = s[x]
            if transposed:
                _add_weighted(d_above, row * e, da, 0, b_above, columns, now, n, e, heads)
            if form.score == DOT:
                _add_weighted(d_a, row * d, s, 0, b, columns, now, n, d, heads)
            elif form.score == SEPARABLE:
                store(s, numbers, zero)
                for x in range(0, numbers, 16):
                    summed = summed + load(s, x) * load(slopes, x)
            else:
                if form.score == LEAKY:
                    for p in range(n):
                        other = np.int64(columns[now + p]) * d
                        for x in range(0, d, 16):
                            store(act, p * d + x, _leaky(load(a, row * d + x) + load(b, other + x), slope))
                if d_w.size:
                    _add_weighted(w_row, 0, s, 0, act, own, 0, n, d, heads)
                for p in range(n):
                    other = np.int64(columns[now + p]) * d
                    for x in range(0, d, 16):
                        f = load(act, p * d + x)
                        if form.score == TANH:
                            f = one - f * f
                        else:
                            f = pick(load(a, row * d + x) + load(b, other + x), one, one + slope, slope)
                        store(act, p * d + x, f)
                _add_weighted(d_a, row * d, s, 0, act, own, 0, n, d, heads)
        if form.score == SEPARABLE:
            store_low(d_a, row * heads, sum_heads(summed, heads), heads)
        elif additive:
            if d_w.size:
                for x in range(0, d, 16):
                    store(d_w, part * d + x, load(d_w, part * d + x) + load(w_row, x))
            for x in range(0, d, 16):
                store(d_a, row * d + x, load(d_a, row * d + x) * load(w, x))


@_kernel
def transpose(offsets, columns, ends, rows, places):
    """Compressed rows the other way round: for each column its pairs, in the order of rows.

    `ends` holds where each column begins, and then where it ends; written are the row of each pair and its place in `columns`.
    """
    for row in range(len(offsets) - 1):
        for p in range(offsets[row], offsets[row + 1]):
            column = columns[p]
            at = ends[column]
            rows[at] = row
            places[at] = p
            ends[column] = at + 1
