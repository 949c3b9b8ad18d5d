"""Additive scores of tiles, and their gradients, with nothing held for a pair but its score.

    s_ij = sum_c w_c f(q_ic + k_jc)

with f = tanh or LeakyReLU. Of tanh the caller has taken exponentials, a (1 + low_a) = e^2q and b (1 + low_b) = e^2k, and a pair
needs no more:

    tanh(q + k) = m / (m + 2)        m = e^2q e^2k - 1 = (a b - 1) + a b (low_a + low_b)

in which the digits behind a and b keep m, and with it tanh, as exact near zero as elsewhere.

Columns lie in the lanes of a vector. Arrays are flat: a `[n, rows, d]`, b `[n, keys, d]`, with d a multiple of 16 and keys of 4;
tile n has the weights of head n mod heads and is written by nobody else. Where only the first `tiles` of b are given, tile n has
b[n mod tiles]. `mend` and `mend_back` do without exponentials where both vectors of a pair are too large for them, so that no
other vector has a part in what a pair gets.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

from regard.kernels.compiled import compiled, inlined
from regard.kernels.simd.emit import permuted
from regard.kernels.simd.lanes import LANES, fill, fma, load, pick, store, store_low, sum_heads, tanh
from regard.kernels.simd.processor import APPROXIMATES

__all__ = ["backward", "forward", "mend", "mend_back"]

# Keys whose vectors stay in the nearest cache while the rows of a tile pass by.
_KEYS = 128
intrinsic: Any = _intrinsic


def _part(function: Any) -> Any:
    return inlined(function, fast=True)


@intrinsic
def _tanh(typingctx: Any, a: Any, low_a: Any, b: Any, low_b: Any) -> Any:
    """tanh of exponentials; for float32 its quotient is an approximation of 14 bits and a step of Newton, where there is one."""
    kind = a.kind

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, low_x, y, low_y = args

        def at_most(z: Any) -> Any:
            # Compared to this, two is nothing. NaN is not larger, and stays.
            return builder.select(builder.fcmp_ordered(">", z, kind.constant(2.0**125)), kind.constant(2.0**125), z)

        more = kind.fma(builder, x, y, kind.constant(-1.0))
        m = at_most(kind.fma(builder, at_most(builder.fmul(x, y)), builder.fadd(low_x, low_y), more))
        t = builder.fadd(m, kind.constant(2.0))
        if not (APPROXIMATES and a.scalar == types.float32):
            return builder.fdiv(m, t)
        signature = ir.FunctionType(kind.vector, [kind.vector, kind.vector, ir.IntType(16)])
        approximate = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx512.rcp14.ps.512")
        r = builder.call(approximate, [t, kind.constant(0.0), ir.Constant(ir.IntType(16), 0xFFFF)])
        rest = kind.fma(builder, builder.fneg(t), r, kind.constant(1.0))
        return builder.fmul(m, kind.fma(builder, rest, r, r))

    return a(a, a, a, a), codegen


@intrinsic
def _complement(typingctx: Any, f: Any) -> Any:
    """1 - f^2, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        (x,) = args
        return f.kind.fma(builder, builder.fneg(x), x, f.kind.constant(1.0))

    return f(f), codegen


@intrinsic
def _four_sums(typingctx: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    """The sums of four vectors, in the first four lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b, c, d = args

        def halves(x: Any, y: Any, width: int) -> Any:
            """Runs of 2 width lanes, of x and then of y, become runs of width lanes, the sums of their halves."""
            low = [run + lane for run in range(0, 2 * LANES, 2 * width) for lane in range(width)]
            return builder.fadd(*(permuted(builder, x, [n + more for n in low], y) for more in (0, width)))

        sums = halves(halves(a, b, 8), halves(c, d, 8), 4)
        for width in (2, 1):
            sums = halves(sums, sums, width)
        return sums

    return x0(x0, x0, x0, x0), codegen


@_part
def _value(leaky, x, low_x, y, low_y, slope):
    if leaky:
        z = x + y
        return pick(z, z, z, z * slope)
    return _tanh(x, low_x, y, low_y)


@_part
def _slope(leaky, x, y, f, one, slope, slopes):
    """f'; at zero LeakyReLU has both `slopes`."""
    if leaky:
        return pick(x + y, one, slopes, slope)
    return _complement(f)


@_part
def _scores(leaky, s, at, a, low_a, row, b, low_b, key, w, head, d, slope):
    """s of one row and four keys."""
    y0 = y1 = y2 = y3 = fill(s, 0.0)
    lean = fill(s, slope)
    for c in range(0, d, LANES):
        x, low, z, i = load(a, row + c), load(low_a, row + c), load(w, head + c), key + c
        y0 = fma(z, _value(leaky, x, low, load(b, i), load(low_b, i), lean), y0)
        y1 = fma(z, _value(leaky, x, low, load(b, i + d), load(low_b, i + d), lean), y1)
        y2 = fma(z, _value(leaky, x, low, load(b, i + 2 * d), load(low_b, i + 2 * d), lean), y2)
        y3 = fma(z, _value(leaky, x, low, load(b, i + 3 * d), load(low_b, i + 3 * d), lean), y3)
    store_low(s, at, _four_sums(y0, y1, y2, y3), 4)


@_part
def _more_scores(leaky, s, at, keys, a, low_a, row, b, low_b, key, w, head, d, slope):
    """The same for two rows, so that no sum waits for itself."""
    y0 = y1 = y2 = y3 = fill(s, 0.0)
    z0 = z1 = z2 = z3 = fill(s, 0.0)
    lean = fill(s, slope)
    for c in range(0, d, LANES):
        z, i = load(w, head + c), key + c
        x, low, other, other_low = (
            load(a, row + c),
            load(low_a, row + c),
            load(a, row + d + c),
            load(low_a, row + d + c),
        )
        b0, b1, l0, l1 = load(b, i), load(b, i + d), load(low_b, i), load(low_b, i + d)
        y0, z0 = (
            fma(z, _value(leaky, x, low, b0, l0, lean), y0),
            fma(z, _value(leaky, other, other_low, b0, l0, lean), z0),
        )
        y1, z1 = (
            fma(z, _value(leaky, x, low, b1, l1, lean), y1),
            fma(z, _value(leaky, other, other_low, b1, l1, lean), z1),
        )
        b2, b3, l2, l3 = load(b, i + 2 * d), load(b, i + 3 * d), load(low_b, i + 2 * d), load(low_b, i + 3 * d)
        y2, z2 = (
            fma(z, _value(leaky, x, low, b2, l2, lean), y2),
            fma(z, _value(leaky, other, other_low, b2, l2, lean), z2),
        )
        y3, z3 = (
            fma(z, _value(leaky, x, low, b3, l3, lean), y3),
            fma(z, _value(leaky, other, other_low, b3, l3, lean), z3),
        )
    store_low(s, at, _four_sums(y0, y1, y2, y3), 4)
    store_low(s, at + keys, _four_sums(z0, z1, z2, z3), 4)


@_part
def _forward(leaky, begin, end, s, a, low_a, b, low_b, w, heads, tiles, rows, keys, d, slope):
    for n in range(begin, end):
        head, first = n % heads * d, n % tiles * keys
        for low in range(0, keys, _KEYS):
            high = min(low + _KEYS, keys)
            for i in range(0, rows - rows % 2, 2):
                row = n * rows + i
                for j in range(low, high, 4):
                    _more_scores(
                        leaky, s, row * keys + j, keys, a, low_a, row * d, b, low_b, (first + j) * d, w, head, d, slope
                    )  # fmt: skip
            for i in range(rows - rows % 2, rows):
                row = n * rows + i
                for j in range(low, high, 4):
                    _scores(leaky, s, row * keys + j, a, low_a, row * d, b, low_b, (first + j) * d, w, head, d, slope)


@compiled
def forward(begin, end, leaky, s, a, low_a, b, low_b, w, heads, tiles, rows, keys, d, slope):
    """Tiles `begin:end` of s `[n, rows, keys]`; if `leaky`, a and b are queries and keys themselves, and nothing is low."""
    if leaky:
        _forward(True, begin, end, s, a, low_a, b, low_b, w, heads, tiles, rows, keys, d, slope)
    else:
        _forward(False, begin, end, s, a, low_a, b, low_b, w, heads, tiles, rows, keys, d, slope)


@_part
def _gradients(leaky, g, at, a, low_a, row, b, low_b, key, d_key, count, d, d_a, d_b, d_w, place, slope):
    """Adds to d_a of one row, d_b of `count` keys and d_w, 16 columns of each."""
    one, lean, slopes = fill(a, 1.0), fill(a, slope), fill(a, 1.0 + slope)
    x, low, dx, dw = load(a, row), load(low_a, row), load(d_a, row), fill(a, 0.0)
    for j in range(count):
        y, above = load(b, key + j * d), fill(g, g[at + j])
        f = _value(leaky, x, low, y, load(low_b, key + j * d), lean)
        u = _slope(leaky, x, y, f, one, lean, slopes)
        dx = fma(above, u, dx)
        dw = fma(above, f, dw)
        store(d_b, d_key + j * d, fma(above, u, load(d_b, d_key + j * d)))
    store(d_a, row, dx)
    store(d_w, place, dw + load(d_w, place))


@_part
def _more_gradients(leaky, g, at, keys, a, low_a, row, b, low_b, key, d_key, count, d, d_a, d_b, d_w, place, slope):
    """The same for four rows."""
    one, lean, slopes = fill(a, 1.0), fill(a, slope), fill(a, 1.0 + slope)
    x0, x1, x2, x3 = load(a, row), load(a, row + d), load(a, row + 2 * d), load(a, row + 3 * d)
    l0, l1, l2, l3 = load(low_a, row), load(low_a, row + d), load(low_a, row + 2 * d), load(low_a, row + 3 * d)
    dx0, dx1, dx2, dx3 = load(d_a, row), load(d_a, row + d), load(d_a, row + 2 * d), load(d_a, row + 3 * d)
    dw0 = dw1 = fill(a, 0.0)
    for j in range(count):
        y, low, i = load(b, key + j * d), load(low_b, key + j * d), at + j
        g0, g1, g2, g3 = fill(g, g[i]), fill(g, g[i + keys]), fill(g, g[i + 2 * keys]), fill(g, g[i + 3 * keys])
        f0, f1 = _value(leaky, x0, l0, y, low, lean), _value(leaky, x1, l1, y, low, lean)
        f2, f3 = _value(leaky, x2, l2, y, low, lean), _value(leaky, x3, l3, y, low, lean)
        u0, u1 = _slope(leaky, x0, y, f0, one, lean, slopes), _slope(leaky, x1, y, f1, one, lean, slopes)
        u2, u3 = _slope(leaky, x2, y, f2, one, lean, slopes), _slope(leaky, x3, y, f3, one, lean, slopes)
        dx0, dx1, dx2, dx3 = fma(g0, u0, dx0), fma(g1, u1, dx1), fma(g2, u2, dx2), fma(g3, u3, dx3)
        dw0, dw1 = fma(g2, f2, fma(g0, f0, dw0)), fma(g3, f3, fma(g1, f1, dw1))
        store(d_b, d_key + j * d, fma(g2, u2, fma(g0, u0, load(d_b, d_key + j * d))) + fma(g3, u3, g1 * u1))
    store(d_a, row, dx0)
    store(d_a, row + d, dx1)
    store(d_a, row + 2 * d, dx2)
    store(d_a, row + 3 * d, dx3)
    store(d_w, place, load(d_w, place) + (dw0 + dw1))


@_part
def _backward(leaky, begin, end, g, a, low_a, b, low_b, d_a, d_b, d_w, tiles, rows, keys, d, slope):
    for n in range(begin, end):
        for j in range(0, keys, _KEYS):
            count = min(_KEYS, keys - j)
            for c in range(0, d, LANES):
                key, d_key, place = (n % tiles * keys + j) * d + c, (n * keys + j) * d + c, n * d + c
                for i in range(0, rows - rows % 4, 4):
                    row = n * rows + i
                    _more_gradients(
                        leaky, g, row * keys + j, keys, a, low_a, row * d + c, b, low_b, key, d_key, count, d,
                        d_a, d_b, d_w, place, slope,
                    )  # fmt: skip
                for i in range(rows - rows % 4, rows):
                    row = n * rows + i
                    _gradients(
                        leaky, g, row * keys + j, a, low_a, row * d + c, b, low_b, key, d_key, count, d,
                        d_a, d_b, d_w, place, slope,
                    )  # fmt: skip


@compiled
def backward(begin, end, leaky, g, a, low_a, b, low_b, d_a, d_b, d_w, tiles, rows, keys, d, slope):
    """Tiles `begin:end` of d_a = sum_j g f', d_b = sum_i g f' and d_w `[n, d]` = sum_ij g f, which come in as zeros.

    g `[n, rows, keys]` is the gradient of s; d_b `[n, keys, d]` has all tiles.
    """
    if leaky:
        _backward(True, begin, end, g, a, low_a, b, low_b, d_a, d_b, d_w, tiles, rows, keys, d, slope)
    else:
        _backward(False, begin, end, g, a, low_a, b, low_b, d_a, d_b, d_w, tiles, rows, keys, d, slope)


@compiled
def mend(begin, end, s, q, k, large_q, large_k, w, heads, tiles, rows, keys, d):
    """s of tiles `begin:end` by tanh itself, where the query and the key are both large."""
    for n in range(begin, end):
        first = n % tiles * keys
        for i in range(n * rows, (n + 1) * rows):
            if large_q[i]:
                for j in range(keys):
                    if large_k[first + j]:
                        y = fill(s, 0.0)
                        for c in range(0, d, LANES):
                            f = tanh(load(q, i * d + c) + load(k, (first + j) * d + c))
                            y = fma(load(w, n % heads * d + c), f, y)
                        store_low(s, i * keys + j, sum_heads(y, 1), 1)


@compiled
def mend_back(begin, end, g, q, k, large_q, large_k, d_q, d_k, d_w, tiles, rows, keys, d):
    """Adds what these pairs add to d_q = sum_j g tanh', d_k = sum_i g tanh' and d_w = sum_ij g tanh."""
    for n in range(begin, end):
        first = n % tiles * keys
        for i in range(n * rows, (n + 1) * rows):
            if large_q[i]:
                for j in range(keys):
                    if large_k[first + j]:
                        above, key = fill(q, g[i * keys + j]), (n * keys + j) * d
                        for c in range(0, d, LANES):
                            f = tanh(load(q, i * d + c) + load(k, (first + j) * d + c))
                            u = above * _complement(f)
                            store(d_q, i * d + c, load(d_q, i * d + c) + u)
                            store(d_k, key + c, load(d_k, key + c) + u)
                            store(d_w, n * d + c, fma(above, f, load(d_w, n * d + c)))
