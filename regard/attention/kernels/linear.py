"""Linear attention with elu(x) + 1 as features, forward and backward, a tile of rows at a time.

    S = sum_j phi(k_j) v_j^T        z = sum_j phi(k_j)        out_i = phi(q_i) S / phi(q_i) z

A part is a stretch of a set's rows, whose tiles are taken one after another, and of each tile all heads: what lies side by side in
memory is read once, and features and products stay in cache. The sums of parts are added up between the kernels. All arrays are
flat; `parts [n, 3]` has the place of its set's sums, its first row, and the one behind its last; `sizes` and `strides` are numbers
in the order of `Sizes` and of the arguments before them that may have gaps.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from regard.attention.kernels import packing
from regard.attention.kernels import vectors as vec
from regard.attention.kernels.compiled import as_written, compiled
from regard.attention.kernels.vectors import Kind, loop, place_of

__all__ = [
    "Sizes", "causal_keys_back", "causal_outputs", "causal_queries_back", "keys_back", "outputs", "queries_back", "sums_of_keys",
]  # fmt: skip

ROWS = vec.ROWS
at, product = vec.at, vec.product
# Rows that are computed at once: their features, values and products stay in the first cache, or near to it.
_TILE = 64


class Sizes(NamedTuple):
    """Whole numbers that both kernels read."""

    lanes: int
    heads: int
    key_times: int
    """How many query heads share a key head."""
    d: int
    e: int


# log2(e) as a number and what float32 and float64 round off it.
_LOG2E = {
    32: (float(np.float32(math.log2(math.e))), 1.925963033500e-08),
    64: (math.log2(math.e), 2.0355273740931033e-17),
}


@intrinsic
def _features(context: Any, row: Any, vectors: Any) -> Any:
    kind = Kind(row.dtype)
    near, rest = _LOG2E[kind.bits]

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        zero, one = kind.constant(0.0), kind.constant(1.0)

        def body(i: Any, kept: list[Any]) -> list[Any]:
            place = place_of(builder, kind, given[0], i)
            x = kind.load(builder, place)
            above = builder.fcmp_ordered(">", x, zero)
            below = builder.select(above, zero, x)
            # What rounding takes off the exponent is put back, or far below zero it would be as much as the exponent is large.
            power = builder.fmul(below, kind.constant(near))
            lost = kind.fma(builder, below, kind.constant(near), builder.fneg(power))
            lost = kind.fma(builder, below, kind.constant(rest), lost)
            # -inf loses nothing, and has no difference from itself.
            lost = builder.select(builder.fcmp_ordered("==", lost, lost), lost, zero)
            value = kind.exp2(builder, power, capped=False)
            value = kind.fma(builder, builder.fmul(value, kind.constant(math.log(2))), lost, value)
            kind.store(builder, builder.select(above, builder.fadd(x, one), value), place)
            return []

        loop(builder, given[1], [], body)
        return context.get_dummy_value()

    return types.void(row, types.intp), make


@intrinsic
def _slope(context: Any, row: Any, phi: Any, vectors: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        one = kind.constant(1.0)

        def body(i: Any, kept: list[Any]) -> list[Any]:
            place = place_of(builder, kind, given[0], i)
            phi = kind.load(builder, place_of(builder, kind, given[1], i))
            slope = builder.select(builder.fcmp_ordered(">", phi, one), one, phi)
            kind.store(builder, builder.fmul(kind.load(builder, place), slope), place)
            return []

        loop(builder, given[2], [], body)
        return context.get_dummy_value()

    return types.void(row, phi, types.intp), make


@as_written
def _phi(w, to, width, x, base, row_step, step, rows, columns, lanes):
    """Rows of x as their features, elu(x) + 1: x + 1 above zero, exp(x) below. What fills them up to `width` is 1."""
    vec.apart()
    packing.pack_rows(w, to, width, x, base, row_step, step, rows, rows, columns, w.dtype.type(1))
    _features(at(w, to), rows * width // lanes)


@as_written
def _divided(x, there, w, from_, columns, divisor):
    """A row of x as a row of w divided by a number."""
    for c in range(columns):
        packing.save(x, there + c, packing.load(w, from_ + c) / divisor)


@as_written
def _divide(w, row, width, divisor):
    for place in range(row, row + width):
        packing.save(w, place, packing.load(w, place) / divisor)


@as_written
def _outer(c, c_at, c_width, w, a, a_width, b, b_width, rows, columns, lanes):
    """c += a^T b over the rows of a tile, for so many columns of a."""
    one = w.dtype.type(1)
    for r in range(0, columns, ROWS):
        product(
            at(c, c_at + r * c_width), c_width, at(w, a + r), 1, a_width, at(w, b), b_width, lanes, rows, c_width // lanes,
            lanes, 1, one,
        )  # fmt: skip


@as_written
def _times(w, to, to_width, a, a_width, c, c_at, rows, columns, lanes):
    """A tile of rows of a times a matrix of `columns` rows."""
    one = w.dtype.type(1)
    for r in range(0, rows, ROWS):
        product(
            at(w, to + r * to_width), to_width, at(w, a + r * a_width), a_width, 1, at(c, c_at), to_width, lanes, columns,
            to_width // lanes, lanes, 0, one,
        )  # fmt: skip


@as_written
def _panels(w, to, from_, width, rows, lanes):
    """A tile's rows as columns, `lanes` rows side by side; rows that fill up the last ones hold anything."""
    packing.pack_columns(w, to, lanes, from_, width, (rows + lanes - 1) // lanes)


@as_written
def _all_pairs(w, to, a, width, panels, rows, columns, lanes, lowest):
    """The products of a tile's rows of a with those that `_panels` turned, up to each row's own; zeros behind it.

    `lowest`: where each row's own `addend` is, which every product gets; -1 for none.
    """
    one = w.dtype.type(1)
    vectors = (rows + lanes - 1) // lanes
    for r in range(0, rows, ROWS):
        product(
            at(w, to + r * _TILE), _TILE, at(w, a + r * width), width, 1, at(w, panels), lanes, width * lanes, columns, vectors,
            lanes, 0, one,
        )  # fmt: skip
    for r in range(rows):
        row = to + r * _TILE
        if lowest >= 0:
            addend = packing.load(w, lowest + r)
            for place in range(row, row + r + 1):
                packing.save(w, place, packing.load(w, place) + addend)
        packing.fill(w, row + r + 1, row + vectors * lanes, w.dtype.type(0))


@as_written
def _below(w, to, to_width, a, b, rows, lanes, add):
    """A tile of all pairs times rows of b: of a register tile's rows, those up to its last one."""
    one = w.dtype.type(1)
    for r in range(0, rows, ROWS):
        product(
            at(w, to + r * to_width), to_width, at(w, a + r * _TILE), _TILE, 1, at(w, b), to_width, lanes, min(r + ROWS, rows),
            to_width // lanes, lanes, add, one,
        )  # fmt: skip


@as_written
def _above(w, to, to_width, a, b, rows, lanes):
    """The same with all pairs transposed, from each register tile's first row on; added."""
    one = w.dtype.type(1)
    for r in range(0, rows, ROWS):
        product(
            at(w, to + r * to_width), to_width, at(w, a + r * _TILE + r), 1, _TILE, at(w, b + r * to_width), to_width, lanes,
            rows - r, to_width // lanes, lanes, 1, one,
        )  # fmt: skip


@compiled
def sums_of_keys(first_part, last_part, parts, k, v, sums, totals, sizes, strides):
    """S and z of each part, [parts, g, d, e] in whole register tiles of whole vectors, and [parts, g, d] in whole vectors."""
    lanes, d, e = sizes[0], sizes[3], sizes[4]
    key_heads = sizes[1] // sizes[2]
    one, zero = totals.dtype.type(1), totals.dtype.type(0)
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    d_rows = (d + ROWS - 1) // ROWS * ROWS
    w = np.zeros((_TILE + ROWS) * (d_wide + e_wide), totals.dtype)
    w_x, w_y = 0, (_TILE + ROWS) * d_wide
    for n in range(first_part, last_part):
        s, z = n * key_heads * d_rows * e_wide, n * key_heads * d_wide
        packing.fill(sums, s, s + key_heads * d_rows * e_wide, zero)
        packing.fill(totals, z, z + key_heads * d_wide, zero)
        for begin in range(parts[n, 1], parts[n, 2], _TILE):
            rows = min(_TILE, parts[n, 2] - begin)
            for head in range(key_heads):
                _phi(w, w_x, d_wide, k, begin * strides[0] + head * strides[1], strides[0], strides[2], rows, d, lanes)
                packing.pack_rows(
                    w,
                    w_y,
                    e_wide,
                    v,
                    begin * strides[3] + head * strides[4],
                    strides[3],
                    strides[5],
                    rows,
                    rows,
                    e,
                    one,
                )
                _outer(sums, s + head * d_rows * e_wide, e_wide, w, w_x, d_wide, w_y, e_wide, rows, d, lanes)
                for r in range(rows):
                    vec.plus(at(totals, z + head * d_wide), at(w, w_x + r * d_wide), d_wide // lanes, one)


@compiled
def outputs(first_part, last_part, parts, q, out, divisor, sums, totals, sizes, strides):
    """out [t, h, e] and what divided it [t, h], from S and z of each set; z is 0 behind d."""
    lanes, heads, key_times, d, e = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    key_heads, kind = heads // key_times, divisor.dtype.type
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    d_rows = (d + ROWS - 1) // ROWS * ROWS
    w = np.zeros((_TILE + ROWS) * (d_wide + e_wide), divisor.dtype)
    w_x, w_y = 0, (_TILE + ROWS) * d_wide
    for n in range(first_part, last_part):
        for begin in range(parts[n, 1], parts[n, 2], _TILE):
            rows = min(_TILE, parts[n, 2] - begin)
            for head in range(heads):
                state = parts[n, 0] * key_heads + head // key_times
                _phi(w, w_x, d_wide, q, begin * strides[0] + head * strides[1], strides[0], strides[2], rows, d, lanes)
                _times(w, w_y, e_wide, w_x, d_wide, sums, state * d_rows * e_wide, rows, d, lanes)
                for r in range(rows):
                    total = vec.dot(at(w, w_x + r * d_wide), at(totals, state * d_wide), d_wide // lanes)
                    if total == kind(0):
                        # Divided by infinity, zeros are zeros, and so are their gradients.
                        total = kind(np.inf)
                    place = (begin + r) * heads + head
                    divisor[place] = total
                    _divided(out, place * e, w, w_y + r * e_wide, e, total)


@compiled
def queries_back(
    first_part, last_part, parts, q, above, out, divisor, turned, totals, d_q, d_sums, d_totals, sizes, strides
):
    """The gradient of q [t, h, d], and each part's of S and z, from that of out; `turned [sets, g, e, d]` is S transposed."""
    lanes, heads, key_times, d, e = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    key_heads, kind = heads // key_times, divisor.dtype.type
    one, zero = kind(1), kind(0)
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    d_rows, e_rows = (d + ROWS - 1) // ROWS * ROWS, (e + ROWS - 1) // ROWS * ROWS
    w = np.zeros((_TILE + ROWS) * 2 * (d_wide + e_wide), divisor.dtype)
    w_x, w_dx = 0, (_TILE + ROWS) * d_wide
    w_y, w_o = w_dx + (_TILE + ROWS) * d_wide, w_dx + (_TILE + ROWS) * (d_wide + e_wide)
    for n in range(first_part, last_part):
        packing.fill(d_sums, n * key_heads * d_rows * e_wide, (n + 1) * key_heads * d_rows * e_wide, zero)
        packing.fill(d_totals, n * key_heads * d_wide, (n + 1) * key_heads * d_wide, zero)
        for begin in range(parts[n, 1], parts[n, 2], _TILE):
            rows = min(_TILE, parts[n, 2] - begin)
            for head in range(heads):
                ours, state = n * key_heads + head // key_times, parts[n, 0] * key_heads + head // key_times
                _phi(w, w_x, d_wide, q, begin * strides[0] + head * strides[1], strides[0], strides[2], rows, d, lanes)
                packing.pack_rows(
                    w,
                    w_y,
                    e_wide,
                    above,
                    begin * strides[3] + head * strides[4],
                    strides[3],
                    strides[5],
                    rows,
                    rows,
                    e,
                    one,
                )
                packing.pack_rows(w, w_o, e_wide, out, (begin * heads + head) * e, heads * e, 1, rows, rows, e, one)
                for r in range(rows):
                    _divide(w, w_y + r * e_wide, e_wide, divisor[(begin + r) * heads + head])
                _times(w, w_dx, d_wide, w_y, e_wide, turned, state * e_rows * d_wide, rows, e, lanes)
                _outer(d_sums, ours * d_rows * e_wide, e_wide, w, w_x, d_wide, w_y, e_wide, rows, d, lanes)
                for r in range(rows):
                    of_total = -vec.dot(at(w, w_y + r * e_wide), at(w, w_o + r * e_wide), e_wide // lanes)
                    vec.plus(at(d_totals, ours * d_wide), at(w, w_x + r * d_wide), d_wide // lanes, of_total)
                    vec.plus(at(w, w_dx + r * d_wide), at(totals, state * d_wide), d_wide // lanes, of_total)
                _slope(at(w, w_dx), at(w, w_x), rows * d_wide // lanes)
                packing.write_rows(d_q, (begin * heads + head) * d, heads * d, w, w_dx, d_wide, rows, d, one)


@compiled
def keys_back(first_part, last_part, parts, k, v, d_sums, turned, d_totals, d_k, d_v, sizes, strides):
    """The gradients of k [u, g, d] and v [u, g, e] from those of S, also transposed (`turned`), and z of each set."""
    lanes, d, e = sizes[0], sizes[3], sizes[4]
    key_heads, one = sizes[1] // sizes[2], d_sums.dtype.type(1)
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    d_rows, e_rows = (d + ROWS - 1) // ROWS * ROWS, (e + ROWS - 1) // ROWS * ROWS
    w = np.zeros((_TILE + ROWS) * 2 * (d_wide + e_wide), d_sums.dtype)
    w_x, w_dx = 0, (_TILE + ROWS) * d_wide
    w_y, w_dy = w_dx + (_TILE + ROWS) * d_wide, w_dx + (_TILE + ROWS) * (d_wide + e_wide)
    for n in range(first_part, last_part):
        for begin in range(parts[n, 1], parts[n, 2], _TILE):
            rows = min(_TILE, parts[n, 2] - begin)
            for head in range(key_heads):
                state, place = parts[n, 0] * key_heads + head, begin * key_heads + head
                _phi(w, w_x, d_wide, k, begin * strides[0] + head * strides[1], strides[0], strides[2], rows, d, lanes)
                packing.pack_rows(
                    w,
                    w_y,
                    e_wide,
                    v,
                    begin * strides[3] + head * strides[4],
                    strides[3],
                    strides[5],
                    rows,
                    rows,
                    e,
                    one,
                )
                _times(w, w_dx, d_wide, w_y, e_wide, turned, state * e_rows * d_wide, rows, e, lanes)
                _times(w, w_dy, e_wide, w_x, d_wide, d_sums, state * d_rows * e_wide, rows, d, lanes)
                for r in range(rows):
                    vec.plus(at(w, w_dx + r * d_wide), at(d_totals, state * d_wide), d_wide // lanes, one)
                _slope(at(w, w_dx), at(w, w_x), rows * d_wide // lanes)
                packing.write_rows(d_k, place * d, key_heads * d, w, w_dx, d_wide, rows, d, one)
                packing.write_rows(d_v, place * e, key_heads * e, w, w_dy, e_wide, rows, e, one)


@compiled
def causal_outputs(first_part, last_part, parts, q, k, v, out, divisor, sums, totals, sizes, strides):
    """out [t, h, e] and what divided it [t, h], where keys up to a row's own count.

    `sums` and `totals` are S and z before each part, and become those behind it.
    """
    lanes, heads, key_times, d, e = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    key_heads, kind = heads // key_times, divisor.dtype.type
    one, zero = kind(1), kind(0)
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    d_rows, tile = (d + ROWS - 1) // ROWS * ROWS, _TILE + ROWS
    w = np.zeros(tile * (3 * d_wide + 2 * e_wide + _TILE) + _TILE, divisor.dtype)
    w_q, w_k, w_turned = 0, tile * d_wide, 2 * tile * d_wide
    w_v = 3 * tile * d_wide
    w_o, w_a = w_v + tile * e_wide, w_v + 2 * tile * e_wide
    w_ones = w_a + tile * _TILE
    packing.fill(w, w_ones, w_ones + _TILE, one)
    for n in range(first_part, last_part):
        for begin in range(parts[n, 1], parts[n, 2], _TILE):
            rows = min(_TILE, parts[n, 2] - begin)
            for key_head in range(key_heads):
                state = n * key_heads + key_head
                s, z = state * d_rows * e_wide, state * d_wide
                _phi(
                    w,
                    w_k,
                    d_wide,
                    k,
                    begin * strides[3] + key_head * strides[4],
                    strides[3],
                    strides[5],
                    rows,
                    d,
                    lanes,
                )
                packing.pack_rows(
                    w,
                    w_v,
                    e_wide,
                    v,
                    begin * strides[6] + key_head * strides[7],
                    strides[6],
                    strides[8],
                    rows,
                    rows,
                    e,
                    one,
                )
                _panels(w, w_turned, w_k, d_wide, rows, lanes)
                for head in range(key_head * key_times, (key_head + 1) * key_times):
                    _phi(
                        w,
                        w_q,
                        d_wide,
                        q,
                        begin * strides[0] + head * strides[1],
                        strides[0],
                        strides[2],
                        rows,
                        d,
                        lanes,
                    )
                    _all_pairs(w, w_a, w_q, d_wide, w_turned, rows, d, lanes, -1)
                    _times(w, w_o, e_wide, w_q, d_wide, sums, s, rows, d, lanes)
                    _below(w, w_o, e_wide, w_a, w_v, rows, lanes, 1)
                    for r in range(rows):
                        total = vec.dot(at(w, w_q + r * d_wide), at(totals, z), d_wide // lanes)
                        total += vec.dot(at(w, w_a + r * _TILE), at(w, w_ones), (rows + lanes - 1) // lanes)
                        if total == zero:
                            total = kind(np.inf)
                        place = (begin + r) * heads + head
                        divisor[place] = total
                        _divided(out, place * e, w, w_o + r * e_wide, e, total)
                _outer(sums, s, e_wide, w, w_k, d_wide, w_v, e_wide, rows, d, lanes)
                for r in range(rows):
                    vec.plus(at(totals, z), at(w, w_k + r * d_wide), d_wide // lanes, one)
                packing.fill(totals, z + d, z + d_wide, zero)


@as_written
def _given(w, w_g, w_o, w_t, e_wide, above, base, row_step, step, out, divisor, first, heads, rows, e, lanes):
    """The gradients of a tile's sums, at w_g, and of what divides them, at w_t; w_o is for the output's rows."""
    one = w.dtype.type(1)
    packing.pack_rows(w, w_g, e_wide, above, base, row_step, step, rows, rows, e, one)
    packing.pack_rows(w, w_o, e_wide, out, first * e, heads * e, 1, rows, rows, e, one)
    for r in range(rows):
        _divide(w, w_g + r * e_wide, e_wide, divisor[first + r * heads])
        total = vec.dot(at(w, w_g + r * e_wide), at(w, w_o + r * e_wide), e_wide // lanes)
        packing.save(w, w_t + r, -total)


@compiled
def causal_queries_back(
    first_part, last_part, parts, q, k, v, above, out, divisor, turned, totals, d_q, d_sums, d_totals, sizes, strides
):
    """The gradient of q, and each part's of S and z; `turned` is S transposed, before each part, and as `totals` moves along."""
    lanes, heads, key_times, d, e = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    key_heads, kind = heads // key_times, divisor.dtype.type
    one, zero = kind(1), kind(0)
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    d_rows, e_rows, tile = (d + ROWS - 1) // ROWS * ROWS, (e + ROWS - 1) // ROWS * ROWS, _TILE + ROWS
    w = np.zeros(tile * (3 * d_wide + 4 * e_wide + _TILE + 1), divisor.dtype)
    w_q, w_k, w_dq = 0, tile * d_wide, 2 * tile * d_wide
    w_v = 3 * tile * d_wide
    w_g, w_o, w_turned = w_v + tile * e_wide, w_v + 2 * tile * e_wide, w_v + 3 * tile * e_wide
    w_a = w_turned + tile * e_wide
    w_t = w_a + tile * _TILE
    for n in range(first_part, last_part):
        packing.fill(d_sums, n * key_heads * d_rows * e_wide, (n + 1) * key_heads * d_rows * e_wide, zero)
        packing.fill(d_totals, n * key_heads * d_wide, (n + 1) * key_heads * d_wide, zero)
        for begin in range(parts[n, 1], parts[n, 2], _TILE):
            rows = min(_TILE, parts[n, 2] - begin)
            for key_head in range(key_heads):
                state = n * key_heads + key_head
                s, z, ds = state * e_rows * d_wide, state * d_wide, state * d_rows * e_wide
                _phi(
                    w,
                    w_k,
                    d_wide,
                    k,
                    begin * strides[3] + key_head * strides[4],
                    strides[3],
                    strides[5],
                    rows,
                    d,
                    lanes,
                )
                packing.pack_rows(
                    w,
                    w_v,
                    e_wide,
                    v,
                    begin * strides[6] + key_head * strides[7],
                    strides[6],
                    strides[8],
                    rows,
                    rows,
                    e,
                    one,
                )
                _panels(w, w_turned, w_v, e_wide, rows, lanes)
                for head in range(key_head * key_times, (key_head + 1) * key_times):
                    first = begin * heads + head
                    _phi(
                        w,
                        w_q,
                        d_wide,
                        q,
                        begin * strides[0] + head * strides[1],
                        strides[0],
                        strides[2],
                        rows,
                        d,
                        lanes,
                    )
                    _given(
                        w, w_g, w_o, w_t, e_wide, above, begin * strides[9] + head * strides[10], strides[9], strides[11], out,
                        divisor, first, heads, rows, e, lanes,
                    )  # fmt: skip
                    _all_pairs(w, w_a, w_g, e_wide, w_turned, rows, e, lanes, w_t)
                    _times(w, w_dq, d_wide, w_g, e_wide, turned, s, rows, e, lanes)
                    _below(w, w_dq, d_wide, w_a, w_k, rows, lanes, 1)
                    _outer(d_sums, ds, e_wide, w, w_q, d_wide, w_g, e_wide, rows, d, lanes)
                    for r in range(rows):
                        vec.plus(at(w, w_dq + r * d_wide), at(totals, z), d_wide // lanes, w[w_t + r])
                        vec.plus(at(d_totals, z), at(w, w_q + r * d_wide), d_wide // lanes, w[w_t + r])
                    _slope(at(w, w_dq), at(w, w_q), rows * d_wide // lanes)
                    packing.write_rows(d_q, first * d, heads * d, w, w_dq, d_wide, rows, d, one)
                _outer(turned, s, d_wide, w, w_v, e_wide, w_k, d_wide, rows, e, lanes)
                for r in range(rows):
                    vec.plus(at(totals, z), at(w, w_k + r * d_wide), d_wide // lanes, one)
                packing.fill(totals, z + d, z + d_wide, zero)


@compiled
def causal_keys_back(
    first_part, last_part, parts, q, k, v, above, out, divisor, d_sums, turned, d_totals, d_k, d_v, sizes, strides
):
    """The gradients of k and v; `d_sums`, also transposed, and `d_totals` are those of S and z behind each part, and move along."""
    lanes, heads, key_times, d, e = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    key_heads, kind = heads // key_times, divisor.dtype.type
    one = kind(1)
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    d_rows, e_rows, tile = (d + ROWS - 1) // ROWS * ROWS, (e + ROWS - 1) // ROWS * ROWS, _TILE + ROWS
    w = np.zeros(tile * (4 * d_wide + 5 * e_wide + 2 * _TILE + 1), divisor.dtype)
    w_q, w_k, w_dk, w_k_turned = 0, tile * d_wide, 2 * tile * d_wide, 3 * tile * d_wide
    w_v = 4 * tile * d_wide
    w_g, w_o, w_dv, w_v_turned = (
        w_v + tile * e_wide,
        w_v + 2 * tile * e_wide,
        w_v + 3 * tile * e_wide,
        w_v + 4 * tile * e_wide,
    )
    w_a = w_v_turned + tile * e_wide
    w_da, w_t = w_a + tile * _TILE, w_a + 2 * tile * _TILE
    for n in range(first_part, last_part):
        tiles = (parts[n, 2] - parts[n, 1] + _TILE - 1) // _TILE
        for turn in range(tiles):
            begin = parts[n, 1] + (tiles - 1 - turn) * _TILE
            rows = min(_TILE, parts[n, 2] - begin)
            for key_head in range(key_heads):
                state, place = n * key_heads + key_head, begin * key_heads + key_head
                s, z, s_turned = state * d_rows * e_wide, state * d_wide, state * e_rows * d_wide
                _phi(
                    w,
                    w_k,
                    d_wide,
                    k,
                    begin * strides[3] + key_head * strides[4],
                    strides[3],
                    strides[5],
                    rows,
                    d,
                    lanes,
                )
                packing.pack_rows(
                    w,
                    w_v,
                    e_wide,
                    v,
                    begin * strides[6] + key_head * strides[7],
                    strides[6],
                    strides[8],
                    rows,
                    rows,
                    e,
                    one,
                )
                _panels(w, w_k_turned, w_k, d_wide, rows, lanes)
                _panels(w, w_v_turned, w_v, e_wide, rows, lanes)
                _times(w, w_dk, d_wide, w_v, e_wide, turned, s_turned, rows, e, lanes)
                _times(w, w_dv, e_wide, w_k, d_wide, d_sums, s, rows, d, lanes)
                for r in range(rows):
                    vec.plus(at(w, w_dk + r * d_wide), at(d_totals, z), d_wide // lanes, one)
                for head in range(key_head * key_times, (key_head + 1) * key_times):
                    _phi(
                        w,
                        w_q,
                        d_wide,
                        q,
                        begin * strides[0] + head * strides[1],
                        strides[0],
                        strides[2],
                        rows,
                        d,
                        lanes,
                    )
                    _given(
                        w, w_g, w_o, w_t, e_wide, above, begin * strides[9] + head * strides[10], strides[9], strides[11], out,
                        divisor, begin * heads + head, heads, rows, e, lanes,
                    )  # fmt: skip
                    _all_pairs(w, w_a, w_q, d_wide, w_k_turned, rows, d, lanes, -1)
                    _all_pairs(w, w_da, w_g, e_wide, w_v_turned, rows, e, lanes, w_t)
                    _above(w, w_dv, e_wide, w_a, w_g, rows, lanes)
                    _above(w, w_dk, d_wide, w_da, w_q, rows, lanes)
                    _outer(d_sums, s, e_wide, w, w_q, d_wide, w_g, e_wide, rows, d, lanes)
                    _outer(turned, s_turned, d_wide, w, w_g, e_wide, w_q, d_wide, rows, e, lanes)
                    for r in range(rows):
                        vec.plus(at(d_totals, z), at(w, w_q + r * d_wide), d_wide // lanes, w[w_t + r])
                _slope(at(w, w_dk), at(w, w_k), rows * d_wide // lanes)
                packing.write_rows(d_k, place * d, key_heads * d, w, w_dk, d_wide, rows, d, one)
                packing.write_rows(d_v, place * e, key_heads * e, w, w_dv, e_wide, rows, e, one)
