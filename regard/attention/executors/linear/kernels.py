"""Linear attention, forward and backward, a tile of rows at a time; phi are the features of `features`, m of them.

    S = sum_j phi(k_j) v_j^T        z = sum_j phi(k_j)        out_i = phi(q_i) S / phi(q_i) z

A part is a stretch of a set's rows, whose tiles are taken one after another, and of each tile all heads: what lies side by side in
memory is read once, and features and products stay in cache. The sums of parts are added up between the kernels. All arrays are
flat; `parts` is an array of records, and `numbers` one of a single record (`Part`, `Numbers`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from regard.attention.executors.linear.features import features, write_gradient
from regard.attention.executors.linear.tiles import TILE, added, divided, outer, tile_rows, times, whole
from regard.kernels import packing
from regard.kernels.compiled import as_written, compiled
from regard.kernels.records import Stride
from regard.kernels.simd.processor import ROWS
from regard.kernels.simd.rows import at, dot, plus

__all__ = ["Numbers", "Part", "gradients_of_sums", "keys_back", "outputs", "queries_back", "sums_of_keys"]


class Numbers(NamedTuple):
    """Whole numbers that all kernels read, in an array of one record."""

    lanes: int
    heads: int
    key_times: int
    """How many query heads share a key head."""
    d: int
    d_wide: int
    """In whole vectors, as `m_wide`."""
    m: int
    m_wide: int
    e: int
    of_queries: int
    """Which features queries have, and keys."""
    of_keys: int
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


@as_written
def _divide(w, row, width, divisor):
    for place in range(row, row + width):
        packing.save(w, place, packing.load(w, place) / divisor)


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


@compiled
def sums_of_keys(first_part, last_part, parts, k, v, sums, totals, drawn, numbers):
    """S and z of each part, [parts, g, m, e] in whole register tiles of whole vectors, and [parts, g, m] in whole vectors."""
    sizes = numbers[0]
    lanes, m, e = sizes.lanes, sizes.m, sizes.e
    key_heads = sizes.heads // sizes.key_times
    zero = totals.dtype.type(0)
    m_wide, e_wide = sizes.m_wide, whole(e, lanes)
    m_rows = whole(m, ROWS)
    tile = TILE + ROWS
    w = np.zeros(tile * (m_wide + e_wide + 2 * sizes.d_wide), totals.dtype)
    w_phi, w_y = 0, tile * m_wide
    room = w_y + tile * e_wide
    for n in range(first_part, last_part):
        s, z = n * key_heads * m_rows * e_wide, n * key_heads * m_wide
        packing.fill(sums, s, s + key_heads * m_rows * e_wide, zero)
        packing.fill(totals, z, z + key_heads * m_wide, zero)
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for head in range(key_heads):
                features(w, w_phi, room, drawn, sizes.of_keys, k, sizes.k, begin, head, rows, sizes)
                tile_rows(w, w_y, e_wide, v, sizes.v, begin, head, rows, e)
                outer(sums, s + head * m_rows * e_wide, e_wide, w, w_phi, m_wide, w_y, e_wide, rows, m, lanes)
                added(totals, z + head * m_wide, w, w_phi, m_wide, rows, lanes)


@compiled
def outputs(first_part, last_part, parts, q, out, divisor, sums, totals, drawn, numbers):
    """out [t, h, e] and what divided it [t, h], from S and z of each set; z is 0 behind m."""
    sizes = numbers[0]
    lanes, heads, key_times, m, e = sizes.lanes, sizes.heads, sizes.key_times, sizes.m, sizes.e
    key_heads, kind = heads // key_times, divisor.dtype.type
    m_wide, e_wide = sizes.m_wide, whole(e, lanes)
    m_rows = whole(m, ROWS)
    tile = TILE + ROWS
    w = np.zeros(tile * (m_wide + e_wide + 2 * sizes.d_wide), divisor.dtype)
    w_phi, w_y = 0, tile * m_wide
    room = w_y + tile * e_wide
    for n in range(first_part, last_part):
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for head in range(heads):
                state = parts[n].place * key_heads + head // key_times
                features(w, w_phi, room, drawn, sizes.of_queries, q, sizes.q, begin, head, rows, sizes)
                times(w, w_y, e_wide, w_phi, m_wide, sums, state * m_rows * e_wide, rows, m, lanes)
                for r in range(rows):
                    total = dot(at(w, w_phi + r * m_wide), at(totals, state * m_wide), m_wide // lanes)
                    if total == kind(0):
                        # Divided by infinity, zeros are zeros, and so are their gradients.
                        total = kind(np.inf)
                    place = (begin + r) * heads + head
                    divisor[place] = total
                    divided(out, place * e, w, w_y + r * e_wide, e, total)


@compiled
def queries_back(
    first_part, last_part, parts, q, above, out, divisor, turned, totals, d_q, d_sums, d_totals, drawn, numbers
):
    """The gradient of q [t, h, d], and each part's of S and z, from that of out; `turned [sets, g, e, m]` is S transposed."""
    sizes = numbers[0]
    lanes, heads, key_times, m, e = sizes.lanes, sizes.heads, sizes.key_times, sizes.m, sizes.e
    key_heads, kind = heads // key_times, divisor.dtype.type
    zero = kind(0)
    m_wide, e_wide = sizes.m_wide, whole(e, lanes)
    m_rows, e_rows = whole(m, ROWS), whole(e, ROWS)
    d, tile = sizes.d, TILE + ROWS
    w = np.zeros(tile * (2 * m_wide + 2 * e_wide + 2 * sizes.d_wide + 1), divisor.dtype)
    w_phi, w_dphi = 0, tile * m_wide
    w_y, w_o = w_dphi + tile * m_wide, w_dphi + tile * (m_wide + e_wide)
    w_t = w_o + tile * e_wide
    room = w_t + tile
    for n in range(first_part, last_part):
        packing.fill(d_sums, n * key_heads * m_rows * e_wide, (n + 1) * key_heads * m_rows * e_wide, zero)
        packing.fill(d_totals, n * key_heads * m_wide, (n + 1) * key_heads * m_wide, zero)
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for head in range(heads):
                ours, state = n * key_heads + head // key_times, parts[n].place * key_heads + head // key_times
                features(w, w_phi, room, drawn, sizes.of_queries, q, sizes.q, begin, head, rows, sizes)
                gradients_of_sums(
                    w, w_y, w_o, w_t, e_wide, above, sizes.above, out, divisor, begin, head, heads, rows, e, lanes
                )
                times(w, w_dphi, m_wide, w_y, e_wide, turned, state * e_rows * m_wide, rows, e, lanes)
                outer(d_sums, ours * m_rows * e_wide, e_wide, w, w_phi, m_wide, w_y, e_wide, rows, m, lanes)
                for r in range(rows):
                    plus(at(d_totals, ours * m_wide), at(w, w_phi + r * m_wide), m_wide // lanes, w[w_t + r])
                    plus(at(w, w_dphi + r * m_wide), at(totals, state * m_wide), m_wide // lanes, w[w_t + r])
                write_gradient(
                    d_q, (begin * heads + head) * d, heads * d, w, w_dphi, w_phi, room, drawn, sizes.of_queries, q, sizes.q,
                    begin, head, rows, sizes,
                )  # fmt: skip


@compiled
def keys_back(first_part, last_part, parts, k, v, d_sums, turned, d_totals, d_k, d_v, drawn, numbers):
    """The gradients of k [u, g, d] and v [u, g, e] from those of S, also transposed (`turned`), and z of each set."""
    sizes = numbers[0]
    lanes, m, e = sizes.lanes, sizes.m, sizes.e
    key_heads, one = sizes.heads // sizes.key_times, d_sums.dtype.type(1)
    m_wide, e_wide = sizes.m_wide, whole(e, lanes)
    m_rows, e_rows = whole(m, ROWS), whole(e, ROWS)
    d, tile = sizes.d, TILE + ROWS
    w = np.zeros(tile * 2 * (m_wide + e_wide + sizes.d_wide), d_sums.dtype)
    w_phi, w_dphi = 0, tile * m_wide
    w_y, w_dy = w_dphi + tile * m_wide, w_dphi + tile * (m_wide + e_wide)
    room = w_dy + tile * e_wide
    for n in range(first_part, last_part):
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for head in range(key_heads):
                state, place = parts[n].place * key_heads + head, begin * key_heads + head
                features(w, w_phi, room, drawn, sizes.of_keys, k, sizes.k, begin, head, rows, sizes)
                tile_rows(w, w_y, e_wide, v, sizes.v, begin, head, rows, e)
                times(w, w_dphi, m_wide, w_y, e_wide, turned, state * e_rows * m_wide, rows, e, lanes)
                times(w, w_dy, e_wide, w_phi, m_wide, d_sums, state * m_rows * e_wide, rows, m, lanes)
                for r in range(rows):
                    plus(at(w, w_dphi + r * m_wide), at(d_totals, state * m_wide), m_wide // lanes, one)
                write_gradient(
                    d_k,
                    place * d,
                    key_heads * d,
                    w,
                    w_dphi,
                    w_phi,
                    room,
                    drawn,
                    sizes.of_keys,
                    k,
                    sizes.k,
                    begin,
                    head,
                    rows,
                    sizes,
                )
                packing.write_rows(d_v, place * e, key_heads * e, w, w_dy, e_wide, rows, e, one)
