"""Linear attention with elu(x) + 1 as features, forward and backward, a tile of rows at a time.

    S = sum_j phi(k_j) v_j^T        z = sum_j phi(k_j)        out_i = phi(q_i) S / phi(q_i) z

A part is a stretch of a set's rows, whose tiles are taken one after another, and of each tile all heads: what lies side by side in
memory is read once, and features and products stay in cache. The sums of parts are added up between the kernels. All arrays are
flat; `parts` is an array of records, and `numbers` one of a single record (`Part`, `Numbers`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from regard.kernels import packing
from regard.kernels.compiled import as_written, compiled
from regard.kernels.records import Stride
from regard.kernels.simd.emit import Kind, loop, place_of
from regard.kernels.simd.processor import ROWS
from regard.kernels.simd.rows import apart, at, dot, plus, product

__all__ = [
    "ROWS", "TILE", "Numbers", "Part", "added", "divided", "gradients_of_sums", "keys_back", "outer", "outputs", "phi",
    "queries_back", "slope", "sums_of_keys", "tile_rows", "times", "whole",
]  # fmt: skip

# Rows that are computed at once: their features, values and products stay in the first cache, or near to it.
TILE = 64


class Numbers(NamedTuple):
    """Whole numbers that all kernels read, in an array of one record."""

    lanes: int
    heads: int
    key_times: int
    """How many query heads share a key head."""
    d: int
    e: int
    q: Stride = Stride()
    k: Stride = Stride()
    v: Stride = Stride()
    above: Stride = Stride()
    """Of the gradient of the output."""


class Part(NamedTuple):
    """Rows from `begin` to `end` of the set whose sums are those at `place`."""

    place: int
    begin: int
    end: int


# log2(e) as a number and what float32 and float64 round off it.
_LOG2E = {
    32: (float(np.float32(math.log2(math.e))), 1.925963033500e-08),
    64: (math.log2(math.e), 2.0355273740931033e-17),
}


@as_written
def whole(x, step):
    """The smallest multiple of a step that is not less."""
    return (x + step - 1) // step * step


@intrinsic
def _features(context: Any, row: Any, vectors: Any) -> Any:
    kind = Kind(row.dtype)
    near, rest = _LOG2E[kind.bits]

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, vectors = args
        zero, one = kind.constant(0.0), kind.constant(1.0)

        def body(i: Any, carried: list[Any]) -> list[Any]:
            place = place_of(builder, kind, row, i)
            x = kind.load(builder, place)
            above = builder.fcmp_ordered(">", x, zero)
            below = builder.select(above, zero, x)
            # What rounding takes off the exponent is put back, or far below zero it would be as much as the exponent is large.
            power = builder.fmul(below, kind.constant(near))
            lost = kind.fma(builder, below, kind.constant(near), builder.fneg(power))
            lost = kind.fma(builder, below, kind.constant(rest), lost)
            # -inf loses nothing, and has no difference from itself.
            lost = builder.select(builder.fcmp_ordered("==", lost, lost), lost, zero)
            value = kind.exp(builder, power, base=2, large=False)
            value = kind.fma(builder, builder.fmul(value, kind.constant(math.log(2))), lost, value)
            kind.store(builder, builder.select(above, builder.fadd(x, one), value), place)
            return []

        loop(builder, vectors, [], body)
        return context.get_dummy_value()

    return types.void(row, types.intp), make


@intrinsic
def slope(context: Any, row: Any, phi: Any, vectors: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, features, vectors = args
        one = kind.constant(1.0)

        def body(i: Any, carried: list[Any]) -> list[Any]:
            place = place_of(builder, kind, row, i)
            phi = kind.load(builder, place_of(builder, kind, features, i))
            slope = builder.select(builder.fcmp_ordered(">", phi, one), one, phi)
            kind.store(builder, builder.fmul(kind.load(builder, place), slope), place)
            return []

        loop(builder, vectors, [], body)
        return context.get_dummy_value()

    return types.void(row, phi, types.intp), make


@as_written
def tile_rows(w, to, width, x, stride, first, head, rows, columns):
    """A head's rows of x from the first on; zeros fill them up to `width`."""
    base = first * stride.row + head * stride.head
    packing.pack_rows(w, to, width, x, base, stride.row, stride.column, rows, rows, columns, w.dtype.type(1))


@as_written
def phi(w, to, width, x, stride, first, head, rows, columns, lanes):
    """The same as features, elu(x) + 1: x + 1 above zero, exp(x) below. What fills them up to `width` is 1."""
    apart()
    tile_rows(w, to, width, x, stride, first, head, rows, columns)
    _features(at(w, to), rows * width // lanes)


@as_written
def divided(x, there, w, from_, columns, divisor):
    """A row of x as a row of w divided by a number."""
    for c in range(columns):
        packing.save(x, there + c, packing.load(w, from_ + c) / divisor)


@as_written
def _divide(w, row, width, divisor):
    for place in range(row, row + width):
        packing.save(w, place, packing.load(w, place) / divisor)


@as_written
def outer(c, c_at, c_width, w, a, a_width, b, b_width, rows, columns, lanes):
    """c += a^T b over the rows of a tile, for so many columns of a."""
    one = w.dtype.type(1)
    for r in range(0, columns, ROWS):
        product(
            at(c, c_at + r * c_width), c_width, at(w, a + r), 1, a_width, at(w, b), b_width, lanes, rows, c_width // lanes,
            lanes, 1, one,
        )  # fmt: skip


@as_written
def times(w, to, to_width, a, a_width, c, c_at, rows, columns, lanes):
    """A tile of rows of a times a matrix of `columns` rows."""
    one = w.dtype.type(1)
    for r in range(0, rows, ROWS):
        product(
            at(w, to + r * to_width), to_width, at(w, a + r * a_width), a_width, 1, at(c, c_at), to_width, lanes, columns,
            to_width // lanes, lanes, 0, one,
        )  # fmt: skip


@as_written
def gradients_of_sums(w, w_g, w_o, w_t, e_wide, above, stride, out, divisor, begin, head, heads, rows, e, lanes):
    """The gradients of a tile's sums, at w_g, and of what divides them, at w_t; w_o is for the output's rows."""
    first = begin * heads + head
    tile_rows(w, w_g, e_wide, above, stride, begin, head, rows, e)
    packing.pack_rows(w, w_o, e_wide, out, first * e, heads * e, 1, rows, rows, e, w.dtype.type(1))
    for r in range(rows):
        _divide(w, w_g + r * e_wide, e_wide, divisor[first + r * heads])
        total = dot(at(w, w_g + r * e_wide), at(w, w_o + r * e_wide), e_wide // lanes)
        packing.save(w, w_t + r, -total)


@as_written
def added(totals, z, w, w_x, width, rows, lanes):
    """A tile's rows, added to a row of totals."""
    for r in range(rows):
        plus(at(totals, z), at(w, w_x + r * width), width // lanes, w.dtype.type(1))


@compiled
def sums_of_keys(first_part, last_part, parts, k, v, sums, totals, numbers):
    """S and z of each part, [parts, g, d, e] in whole register tiles of whole vectors, and [parts, g, d] in whole vectors."""
    sizes = numbers[0]
    lanes, d, e = sizes.lanes, sizes.d, sizes.e
    key_heads = sizes.heads // sizes.key_times
    zero = totals.dtype.type(0)
    d_wide, e_wide = whole(d, lanes), whole(e, lanes)
    d_rows = whole(d, ROWS)
    w = np.zeros((TILE + ROWS) * (d_wide + e_wide), totals.dtype)
    w_x, w_y = 0, (TILE + ROWS) * d_wide
    for n in range(first_part, last_part):
        s, z = n * key_heads * d_rows * e_wide, n * key_heads * d_wide
        packing.fill(sums, s, s + key_heads * d_rows * e_wide, zero)
        packing.fill(totals, z, z + key_heads * d_wide, zero)
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for head in range(key_heads):
                phi(w, w_x, d_wide, k, sizes.k, begin, head, rows, d, lanes)
                tile_rows(w, w_y, e_wide, v, sizes.v, begin, head, rows, e)
                outer(sums, s + head * d_rows * e_wide, e_wide, w, w_x, d_wide, w_y, e_wide, rows, d, lanes)
                added(totals, z + head * d_wide, w, w_x, d_wide, rows, lanes)


@compiled
def outputs(first_part, last_part, parts, q, out, divisor, sums, totals, numbers):
    """out [t, h, e] and what divided it [t, h], from S and z of each set; z is 0 behind d."""
    sizes = numbers[0]
    lanes, heads, key_times, d, e = sizes.lanes, sizes.heads, sizes.key_times, sizes.d, sizes.e
    key_heads, kind = heads // key_times, divisor.dtype.type
    d_wide, e_wide = whole(d, lanes), whole(e, lanes)
    d_rows = whole(d, ROWS)
    w = np.zeros((TILE + ROWS) * (d_wide + e_wide), divisor.dtype)
    w_x, w_y = 0, (TILE + ROWS) * d_wide
    for n in range(first_part, last_part):
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for head in range(heads):
                state = parts[n].place * key_heads + head // key_times
                phi(w, w_x, d_wide, q, sizes.q, begin, head, rows, d, lanes)
                times(w, w_y, e_wide, w_x, d_wide, sums, state * d_rows * e_wide, rows, d, lanes)
                for r in range(rows):
                    total = dot(at(w, w_x + r * d_wide), at(totals, state * d_wide), d_wide // lanes)
                    if total == kind(0):
                        # Divided by infinity, zeros are zeros, and so are their gradients.
                        total = kind(np.inf)
                    place = (begin + r) * heads + head
                    divisor[place] = total
                    divided(out, place * e, w, w_y + r * e_wide, e, total)


@compiled
def queries_back(first_part, last_part, parts, q, above, out, divisor, turned, totals, d_q, d_sums, d_totals, numbers):
    """The gradient of q [t, h, d], and each part's of S and z, from that of out; `turned [sets, g, e, d]` is S transposed."""
    sizes = numbers[0]
    lanes, heads, key_times, d, e = sizes.lanes, sizes.heads, sizes.key_times, sizes.d, sizes.e
    key_heads, kind = heads // key_times, divisor.dtype.type
    one, zero = kind(1), kind(0)
    d_wide, e_wide = whole(d, lanes), whole(e, lanes)
    d_rows, e_rows = whole(d, ROWS), whole(e, ROWS)
    w = np.zeros((TILE + ROWS) * (2 * d_wide + 2 * e_wide + 1), divisor.dtype)
    w_x, w_dx = 0, (TILE + ROWS) * d_wide
    w_y, w_o = w_dx + (TILE + ROWS) * d_wide, w_dx + (TILE + ROWS) * (d_wide + e_wide)
    w_t = w_o + (TILE + ROWS) * e_wide
    for n in range(first_part, last_part):
        packing.fill(d_sums, n * key_heads * d_rows * e_wide, (n + 1) * key_heads * d_rows * e_wide, zero)
        packing.fill(d_totals, n * key_heads * d_wide, (n + 1) * key_heads * d_wide, zero)
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for head in range(heads):
                ours, state = n * key_heads + head // key_times, parts[n].place * key_heads + head // key_times
                phi(w, w_x, d_wide, q, sizes.q, begin, head, rows, d, lanes)
                gradients_of_sums(
                    w, w_y, w_o, w_t, e_wide, above, sizes.above, out, divisor, begin, head, heads, rows, e, lanes
                )
                times(w, w_dx, d_wide, w_y, e_wide, turned, state * e_rows * d_wide, rows, e, lanes)
                outer(d_sums, ours * d_rows * e_wide, e_wide, w, w_x, d_wide, w_y, e_wide, rows, d, lanes)
                for r in range(rows):
                    plus(at(d_totals, ours * d_wide), at(w, w_x + r * d_wide), d_wide // lanes, w[w_t + r])
                    plus(at(w, w_dx + r * d_wide), at(totals, state * d_wide), d_wide // lanes, w[w_t + r])
                slope(at(w, w_dx), at(w, w_x), rows * d_wide // lanes)
                packing.write_rows(d_q, (begin * heads + head) * d, heads * d, w, w_dx, d_wide, rows, d, one)


@compiled
def keys_back(first_part, last_part, parts, k, v, d_sums, turned, d_totals, d_k, d_v, numbers):
    """The gradients of k [u, g, d] and v [u, g, e] from those of S, also transposed (`turned`), and z of each set."""
    sizes = numbers[0]
    lanes, d, e = sizes.lanes, sizes.d, sizes.e
    key_heads, one = sizes.heads // sizes.key_times, d_sums.dtype.type(1)
    d_wide, e_wide = whole(d, lanes), whole(e, lanes)
    d_rows, e_rows = whole(d, ROWS), whole(e, ROWS)
    w = np.zeros((TILE + ROWS) * 2 * (d_wide + e_wide), d_sums.dtype)
    w_x, w_dx = 0, (TILE + ROWS) * d_wide
    w_y, w_dy = w_dx + (TILE + ROWS) * d_wide, w_dx + (TILE + ROWS) * (d_wide + e_wide)
    for n in range(first_part, last_part):
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for head in range(key_heads):
                state, place = parts[n].place * key_heads + head, begin * key_heads + head
                phi(w, w_x, d_wide, k, sizes.k, begin, head, rows, d, lanes)
                tile_rows(w, w_y, e_wide, v, sizes.v, begin, head, rows, e)
                times(w, w_dx, d_wide, w_y, e_wide, turned, state * e_rows * d_wide, rows, e, lanes)
                times(w, w_dy, e_wide, w_x, d_wide, d_sums, state * d_rows * e_wide, rows, d, lanes)
                for r in range(rows):
                    plus(at(w, w_dx + r * d_wide), at(d_totals, state * d_wide), d_wide // lanes, one)
                slope(at(w, w_dx), at(w, w_x), rows * d_wide // lanes)
                packing.write_rows(d_k, place * d, key_heads * d, w, w_dx, d_wide, rows, d, one)
                packing.write_rows(d_v, place * e, key_heads * e, w, w_dy, e_wide, rows, e, one)
