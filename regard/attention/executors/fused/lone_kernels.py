"""The kernels of `lone`: a query against the keys of its intervals, a whole row of scores at a time.

All arrays are flat; widths are multiples of 16. A unit is a query and a head on the way forward, a query and a key head on the way
back: a set has one query at most, so that no two units write the same key's gradient.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from regard.kernels.compiled import as_written, compiled
from regard.kernels.records import Stride
from regard.kernels.simd.lanes import exp, fill, fma, larger, load, max_heads, store, store_low, sum_heads
from regard.kernels.simd.rows import apart

__all__ = ["Sizes", "backward", "forward"]


class Sizes(NamedTuple):
    """Numbers that both kernels read, in an array of one record."""

    heads: int
    group: int
    """How many query heads share a key head."""
    d: int
    e: int
    most: int
    """Of keys that a query has."""
    scale: float
    q: Stride
    k: Stride
    v: Stride
    above: Stride = Stride()


@as_written
def _dots(s, to, x, at, k, first, step, count, width):
    """s_j = x . k_j for neighboring rows of k."""
    apart()
    for j in range(count):
        here = first + j * step
        found = load(x, at) * load(k, here)
        for c in range(16, width, 16):
            found = fma(load(x, at + c), load(k, here + c), found)
        store_low(s, to + j, sum_heads(found, 1), 1)


@as_written
def _sixty_four(out, to, s, of, v, first, step, count):
    a, b = load(out, to), load(out, to + 16)
    c, d = load(out, to + 32), load(out, to + 48)
    for j in range(count):
        here, weight = first + j * step, fill(out, s[of + j])
        a, b = fma(weight, load(v, here), a), fma(weight, load(v, here + 16), b)
        c, d = fma(weight, load(v, here + 32), c), fma(weight, load(v, here + 48), d)
    store(out, to, a)
    store(out, to + 16, b)
    store(out, to + 32, c)
    store(out, to + 48, d)


@as_written
def _sixteen(out, to, s, of, v, first, step, count):
    a = load(out, to)
    for j in range(count):
        a = fma(fill(out, s[of + j]), load(v, first + j * step), a)
    store(out, to, a)


@as_written
def _sum(out, to, s, of, v, first, step, count, width):
    """out += sum_j s_j v_j, for neighboring rows of v."""
    apart()
    c = 0
    while c + 64 <= width:
        _sixty_four(out, to + c, s, of, v, first + c, step, count)
        c += 64
    while c < width:
        _sixteen(out, to + c, s, of, v, first + c, step, count)
        c += 16


@as_written
def _spread(y, first, step, s, of, count, x, at, width):
    """y_j += s_j x, for neighboring rows of y."""
    apart()
    for j in range(count):
        here, weight = first + j * step, fill(y, s[of + j])
        for c in range(0, width, 16):
            store(y, here + c, fma(weight, load(x, at + c), load(y, here + c)))


@as_written
def _weights(s, count):
    """softmax of the first numbers of s, in their place; zeros behind them up to a whole vector."""
    apart()
    whole = (count + 15) // 16 * 16
    for j in range(count, whole):
        s[j] = -np.inf
    most = fill(s, -np.inf)
    for c in range(0, whole, 16):
        most = larger(load(s, c), most)
    most, total = max_heads(most, 1), fill(s, 0)
    for c in range(0, whole, 16):
        weight = exp(load(s, c) - most)
        total = total + weight
        store(s, c, weight)
    total = fill(s, 1) / sum_heads(total, 1)
    for c in range(0, whole, 16):
        store(s, c, load(s, c) * total)


@as_written
def _scaled(x, to, q, at, width, factor):
    for c in range(0, width, 16):
        store(x, to + c, load(q, at + c) * fill(x, factor))


@as_written
def _clear(x, first, width):
    for c in range(0, width, 16):
        store(x, first + c, fill(x, 0))


@compiled
def forward(first, last, out, q, k, v, lists, starts, stops, numbers):
    """out `[t, h, e]` for units `first <= n < last`; query t has the keys of the intervals from `lists[t]` to `lists[t + 1]`."""
    n = numbers[0]
    s, x = np.empty(n.most + 16, out.dtype), np.empty(n.d, out.dtype)
    for unit in range(first, last):
        row, head = unit // n.heads, unit % n.heads
        shared, to = head // n.group, unit * n.e
        _scaled(x, 0, q, row * n.q.row + head * n.q.head, n.d, n.scale)
        _clear(out, to, n.e)
        count = 0
        for i in range(lists[row], lists[row + 1]):
            keys = stops[i] - starts[i]
            _dots(s, count, x, 0, k, starts[i] * n.k.row + shared * n.k.head, n.k.row, keys, n.d)
            count += keys
        _weights(s, count)
        count = 0
        for i in range(lists[row], lists[row + 1]):
            keys = stops[i] - starts[i]
            _sum(out, to, s, count, v, starts[i] * n.v.row + shared * n.v.head, n.v.row, keys, n.e)
            count += keys


@compiled
def backward(first, last, d_q, d_k, d_v, q, k, v, above, lists, starts, stops, numbers):
    """d_q `[t, h, d]`, d_k `[u, g, d]` and d_v `[u, g, e]`, of which the latter two are zeros, from the gradient of the output."""
    n = numbers[0]
    key_heads = n.heads // n.group
    s, g, x = np.empty(n.most + 16, d_q.dtype), np.empty(n.most + 16, d_q.dtype), np.empty(n.d, d_q.dtype)
    for unit in range(first, last):
        row, shared = unit // key_heads, unit % key_heads
        for head in range(shared * n.group, (shared + 1) * n.group):
            _scaled(x, 0, q, row * n.q.row + head * n.q.head, n.d, n.scale)
            from_, to = row * n.above.row + head * n.above.head, (row * n.heads + head) * n.d
            _clear(d_q, to, n.d)
            count = 0
            for i in range(lists[row], lists[row + 1]):
                keys = stops[i] - starts[i]
                _dots(s, count, x, 0, k, starts[i] * n.k.row + shared * n.k.head, n.k.row, keys, n.d)
                _dots(g, count, above, from_, v, starts[i] * n.v.row + shared * n.v.head, n.v.row, keys, n.e)
                count += keys
            _weights(s, count)
            total = g.dtype.type(0)
            for j in range(count):
                total += s[j] * g[j]
            for j in range(count):
                g[j] = s[j] * (g[j] - total)
            count = 0
            for i in range(lists[row], lists[row + 1]):
                keys, theirs = stops[i] - starts[i], starts[i] * key_heads + shared
                _sum(d_q, to, g, count, k, starts[i] * n.k.row + shared * n.k.head, n.k.row, keys, n.d)
                _spread(d_k, theirs * n.d, key_heads * n.d, g, count, keys, x, 0, n.d)
                _spread(d_v, theirs * n.e, key_heads * n.e, s, count, keys, above, from_, n.e)
                count += keys
            _scaled(d_q, to, d_q, to, n.d, n.scale)
