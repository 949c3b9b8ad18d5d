"""The kernels of `linear` where a row has the keys up to its own: S and z move along with the tiles.

Of a tile, rows and keys meet as all pairs up to each row's own; all earlier tiles are S and z, and on the way back all later ones
their gradients. Parts begin with what those before them, or behind them, add up to.
"""

from __future__ import annotations

import numpy as np

from regard.attention.executors.linear.features import features, write_gradient
from regard.attention.executors.linear.kernels import gradients_of_sums
from regard.attention.executors.linear.tiles import TILE, added, divided, outer, tile_rows, times, whole
from regard.kernels import packing
from regard.kernels.compiled import as_written, compiled
from regard.kernels.simd.processor import ROWS
from regard.kernels.simd.rows import at, dot, plus, product

__all__ = ["keys_back", "outputs", "queries_back"]


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
            at(w, to + r * TILE), TILE, at(w, a + r * width), width, 1, at(w, panels), lanes, width * lanes, columns, vectors,
            lanes, 0, one,
        )  # fmt: skip
    for r in range(rows):
        row = to + r * TILE
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
            at(w, to + r * to_width), to_width, at(w, a + r * TILE), TILE, 1, at(w, b), to_width, lanes, min(r + ROWS, rows),
            to_width // lanes, lanes, add, one,
        )  # fmt: skip


@as_written
def _above(w, to, to_width, a, b, rows, lanes):
    """The same with all pairs transposed, from each register tile's first row on; added."""
    one = w.dtype.type(1)
    for r in range(0, rows, ROWS):
        product(
            at(w, to + r * to_width), to_width, at(w, a + r * TILE + r), 1, TILE, at(w, b + r * to_width), to_width, lanes,
            rows - r, to_width // lanes, lanes, 1, one,
        )  # fmt: skip


@compiled
def outputs(first_part, last_part, parts, q, k, v, out, divisor, sums, totals, drawn, numbers):
    """out [t, h, e] and what divided it [t, h], where keys up to a row's own count.

    `sums` and `totals` are S and z before each part, and become those behind it.
    """
    sizes = numbers[0]
    lanes, heads, key_times, m, e = sizes.lanes, sizes.heads, sizes.key_times, sizes.m, sizes.e
    key_heads, kind = heads // key_times, divisor.dtype.type
    one, zero = kind(1), kind(0)
    m_wide, e_wide = sizes.m_wide, whole(e, lanes)
    m_rows, tile = whole(m, ROWS), TILE + ROWS
    w = np.zeros(tile * (3 * m_wide + 2 * e_wide + TILE + 2 * sizes.d_wide) + TILE, divisor.dtype)
    w_q, w_k, w_turned = 0, tile * m_wide, 2 * tile * m_wide
    w_v = 3 * tile * m_wide
    w_o, w_a = w_v + tile * e_wide, w_v + 2 * tile * e_wide
    w_ones = w_a + tile * TILE
    room = w_ones + TILE
    packing.fill(w, w_ones, w_ones + TILE, one)
    for n in range(first_part, last_part):
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for key_head in range(key_heads):
                state = n * key_heads + key_head
                s, z = state * m_rows * e_wide, state * m_wide
                features(w, w_k, room, drawn, sizes.of_keys, k, sizes.k, begin, key_head, rows, sizes)
                tile_rows(w, w_v, e_wide, v, sizes.v, begin, key_head, rows, e)
                _panels(w, w_turned, w_k, m_wide, rows, lanes)
                for head in range(key_head * key_times, (key_head + 1) * key_times):
                    features(w, w_q, room, drawn, sizes.of_queries, q, sizes.q, begin, head, rows, sizes)
                    _all_pairs(w, w_a, w_q, m_wide, w_turned, rows, m, lanes, -1)
                    times(w, w_o, e_wide, w_q, m_wide, sums, s, rows, m, lanes)
                    _below(w, w_o, e_wide, w_a, w_v, rows, lanes, 1)
                    for r in range(rows):
                        total = dot(at(w, w_q + r * m_wide), at(totals, z), m_wide // lanes)
                        total += dot(at(w, w_a + r * TILE), at(w, w_ones), (rows + lanes - 1) // lanes)
                        if total == zero:
                            total = kind(np.inf)
                        place = (begin + r) * heads + head
                        divisor[place] = total
                        divided(out, place * e, w, w_o + r * e_wide, e, total)
                outer(sums, s, e_wide, w, w_k, m_wide, w_v, e_wide, rows, m, lanes)
                added(totals, z, w, w_k, m_wide, rows, lanes)
                packing.fill(totals, z + m, z + m_wide, zero)


@compiled
def queries_back(
    first_part, last_part, parts, q, k, v, above, out, divisor, turned, totals, d_q, d_sums, d_totals, drawn, numbers
):
    """The gradient of q, and each part's of S and z; `turned` is S transposed, before each part, and as `totals` moves along."""
    sizes = numbers[0]
    lanes, heads, key_times, m, e = sizes.lanes, sizes.heads, sizes.key_times, sizes.m, sizes.e
    key_heads, kind = heads // key_times, divisor.dtype.type
    zero = kind(0)
    m_wide, e_wide = sizes.m_wide, whole(e, lanes)
    m_rows, e_rows, tile = whole(m, ROWS), whole(e, ROWS), TILE + ROWS
    w = np.zeros(tile * (3 * m_wide + 4 * e_wide + TILE + 2 * sizes.d_wide + 1), divisor.dtype)
    w_q, w_k, w_dq = 0, tile * m_wide, 2 * tile * m_wide
    w_v = 3 * tile * m_wide
    w_g, w_o, w_turned = w_v + tile * e_wide, w_v + 2 * tile * e_wide, w_v + 3 * tile * e_wide
    w_a = w_turned + tile * e_wide
    w_t = w_a + tile * TILE
    room, d = w_t + tile, sizes.d
    for n in range(first_part, last_part):
        packing.fill(d_sums, n * key_heads * m_rows * e_wide, (n + 1) * key_heads * m_rows * e_wide, zero)
        packing.fill(d_totals, n * key_heads * m_wide, (n + 1) * key_heads * m_wide, zero)
        for begin in range(parts[n].begin, parts[n].end, TILE):
            rows = min(TILE, parts[n].end - begin)
            for key_head in range(key_heads):
                state = n * key_heads + key_head
                s, z, ds = state * e_rows * m_wide, state * m_wide, state * m_rows * e_wide
                features(w, w_k, room, drawn, sizes.of_keys, k, sizes.k, begin, key_head, rows, sizes)
                tile_rows(w, w_v, e_wide, v, sizes.v, begin, key_head, rows, e)
                _panels(w, w_turned, w_v, e_wide, rows, lanes)
                for head in range(key_head * key_times, (key_head + 1) * key_times):
                    first = begin * heads + head
                    features(w, w_q, room, drawn, sizes.of_queries, q, sizes.q, begin, head, rows, sizes)
                    gradients_of_sums(
                        w, w_g, w_o, w_t, e_wide, above, sizes.above, out, divisor, begin, head, heads, rows, e, lanes
                    )
                    _all_pairs(w, w_a, w_g, e_wide, w_turned, rows, e, lanes, w_t)
                    times(w, w_dq, m_wide, w_g, e_wide, turned, s, rows, e, lanes)
                    _below(w, w_dq, m_wide, w_a, w_k, rows, lanes, 1)
                    outer(d_sums, ds, e_wide, w, w_q, m_wide, w_g, e_wide, rows, m, lanes)
                    for r in range(rows):
                        plus(at(w, w_dq + r * m_wide), at(totals, z), m_wide // lanes, w[w_t + r])
                        plus(at(d_totals, z), at(w, w_q + r * m_wide), m_wide // lanes, w[w_t + r])
                    write_gradient(
                        d_q,
                        first * d,
                        heads * d,
                        w,
                        w_dq,
                        w_q,
                        room,
                        drawn,
                        sizes.of_queries,
                        q,
                        sizes.q,
                        begin,
                        head,
                        rows,
                        sizes,
                    )
                outer(turned, s, m_wide, w, w_v, e_wide, w_k, m_wide, rows, e, lanes)
                added(totals, z, w, w_k, m_wide, rows, lanes)
                packing.fill(totals, z + m, z + m_wide, zero)


@compiled
def keys_back(
    first_part, last_part, parts, q, k, v, above, out, divisor, d_sums, turned, d_totals, d_k, d_v, drawn, numbers
):
    """The gradients of k and v; `d_sums`, also transposed, and `d_totals` are those of S and z behind each part, and move along."""
    sizes = numbers[0]
    lanes, heads, key_times, m, e = sizes.lanes, sizes.heads, sizes.key_times, sizes.m, sizes.e
    key_heads, kind = heads // key_times, divisor.dtype.type
    one = kind(1)
    m_wide, e_wide = sizes.m_wide, whole(e, lanes)
    m_rows, e_rows, tile = whole(m, ROWS), whole(e, ROWS), TILE + ROWS
    w = np.zeros(tile * (4 * m_wide + 5 * e_wide + 2 * TILE + 2 * sizes.d_wide + 1), divisor.dtype)
    w_q, w_k, w_dk, w_k_turned = 0, tile * m_wide, 2 * tile * m_wide, 3 * tile * m_wide
    w_v = 4 * tile * m_wide
    w_g, w_o, w_dv, w_v_turned = (
        w_v + tile * e_wide,
        w_v + 2 * tile * e_wide,
        w_v + 3 * tile * e_wide,
        w_v + 4 * tile * e_wide,
    )
    w_a = w_v_turned + tile * e_wide
    w_da, w_t = w_a + tile * TILE, w_a + 2 * tile * TILE
    room, d = w_t + tile, sizes.d
    for n in range(first_part, last_part):
        tiles = (parts[n].end - parts[n].begin + TILE - 1) // TILE
        for turn in range(tiles):
            begin = parts[n].begin + (tiles - 1 - turn) * TILE
            rows = min(TILE, parts[n].end - begin)
            for key_head in range(key_heads):
                state, place = n * key_heads + key_head, begin * key_heads + key_head
                s, z, s_turned = state * m_rows * e_wide, state * m_wide, state * e_rows * m_wide
                features(w, w_k, room, drawn, sizes.of_keys, k, sizes.k, begin, key_head, rows, sizes)
                tile_rows(w, w_v, e_wide, v, sizes.v, begin, key_head, rows, e)
                _panels(w, w_k_turned, w_k, m_wide, rows, lanes)
                _panels(w, w_v_turned, w_v, e_wide, rows, lanes)
                times(w, w_dk, m_wide, w_v, e_wide, turned, s_turned, rows, e, lanes)
                times(w, w_dv, e_wide, w_k, m_wide, d_sums, s, rows, m, lanes)
                for r in range(rows):
                    plus(at(w, w_dk + r * m_wide), at(d_totals, z), m_wide // lanes, one)
                for head in range(key_head * key_times, (key_head + 1) * key_times):
                    features(w, w_q, room, drawn, sizes.of_queries, q, sizes.q, begin, head, rows, sizes)
                    gradients_of_sums(
                        w, w_g, w_o, w_t, e_wide, above, sizes.above, out, divisor, begin, head, heads, rows, e, lanes
                    )
                    _all_pairs(w, w_a, w_q, m_wide, w_k_turned, rows, m, lanes, -1)
                    _all_pairs(w, w_da, w_g, e_wide, w_v_turned, rows, e, lanes, w_t)
                    _above(w, w_dv, e_wide, w_a, w_g, rows, lanes)
                    _above(w, w_dk, m_wide, w_da, w_q, rows, lanes)
                    outer(d_sums, s, e_wide, w, w_q, m_wide, w_g, e_wide, rows, m, lanes)
                    outer(turned, s_turned, m_wide, w, w_g, e_wide, w_q, m_wide, rows, e, lanes)
                    for r in range(rows):
                        plus(at(d_totals, z), at(w, w_q + r * m_wide), m_wide // lanes, w[w_t + r])
                write_gradient(
                    d_k,
                    place * d,
                    key_heads * d,
                    w,
                    w_dk,
                    w_k,
                    room,
                    drawn,
                    sizes.of_keys,
                    k,
                    sizes.k,
                    begin,
                    key_head,
                    rows,
                    sizes,
                )
                packing.write_rows(d_v, place * e, key_heads * e, w, w_dv, e_wide, rows, e, one)
