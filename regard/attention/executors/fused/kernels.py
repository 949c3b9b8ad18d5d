"""Attention by dot products over tiles of queries and stretches of keys, forward and backward.

A tile of query rows meets the keys of its set stretch by stretch. Of each stretch the keys and values are packed once into a slot
of a small cache, in the order in which the products read them; the gradients of a slot's keys and values gather there too and are
added to the output when the slot is given to another stretch. What a row may attend to is read from its intervals of keys, so that
no mask is ever built: where no row of a register tile has a key, nothing is computed.

All arrays are flat; `units` and `tiles` are arrays of records, and `numbers` is one of a single record (`Unit`, `Tile`,
`Numbers`). The rows of a unit are written by no other unit.

Both kernels, and the steps from scores to weights and back, are longer than other functions here: an index that one line computes
is read by the next ten, and parts would take forty arguments.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from regard.attention.executors.fused import weights
from regard.kernels import packing
from regard.kernels.compiled import as_written, compiled
from regard.kernels.records import Stride
from regard.kernels.simd.lanes import of_number, of_row
from regard.kernels.simd.processor import ROWS
from regard.kernels.simd.rows import apart, at, dot, operand, plus, product

__all__ = ["Numbers", "Tile", "Unit", "backward", "forward", "touched"]


class Numbers(NamedTuple):
    """Numbers that both kernels read, in an array of one record."""

    lanes: int
    heads: int
    key_times: int
    """How many query heads share a key head."""
    d: int
    e: int
    stretch: int
    """How many keys a slot holds."""
    rows: int
    """How many query rows a tile has at most."""
    slots: int
    normalizer: int
    """0 softmax, 1 relu, 2 sigmoid."""
    table: int
    """The length of a head's table of biases, 0 without one."""
    table_heads: int
    origin: int
    """The place of distance 0 in the table."""
    dropping: int
    seed: int
    least: int
    """The least hash of a weight that is kept."""
    queries: int
    query_factor: float
    """What queries are multiplied with when they are packed."""
    keep: float
    """What dropout multiplies the weights that stay with."""
    d_query: float
    d_key: float
    """What the gradients of queries and keys are multiplied with at the end."""
    q: Stride = Stride()
    k: Stride = Stride()
    v: Stride = Stride()
    above: Stride = Stride()
    """Of the gradient of the output."""


class Tile(NamedTuple):
    """Query rows from `begin` on, of the set `owner`."""

    begin: int
    owner: int


class Unit(NamedTuple):
    """One head of a range of tiles. Where an earlier unit has tiles of the first one's set, `part` is the place of the gradients of
    its keys and values from row `low` on, which are to be added to the others later; else -1."""

    head: int
    begin: int
    end: int
    pattern: int
    """The place of the pattern's rows in `row_pointer`."""
    part: int
    low: int
    high: int


@as_written
def _next_key(cursor, finish, starts, rows, done):
    """The first key from `done` on that is left to any of the rows, -1 where none is."""
    apart()
    found = -1
    for r in range(rows):
        if cursor[r] < finish[r]:
            start = max(starts[cursor[r]], done)
            if found < 0 or start < found:
                found = start
    return found


@as_written
def _span(cursor, finish, starts, stops, first, last, low, high, row_low, row_high):
    """The keys from low to high that lie between the first and the last one of any of these rows, counted from low.

    `row_low` and `row_high` take each row's own bounds, a `row_high` of -1 where keys between them are forbidden.
    """
    apart()
    begin, end = high - low, 0
    for r in range(first, last):
        i, stop = cursor[r], finish[r]
        row_low[r], row_high[r] = 0, 0
        if i < stop and starts[i] < high:
            one = True
            row_low[r] = max(starts[i], low) - low
            while i + 1 < stop and starts[i + 1] < high:
                i += 1
                one = False
            ours = min(stops[i], high) - low
            row_high[r] = ours if one else -1
            begin, end = min(begin, row_low[r]), max(end, ours)
    return begin, end


@as_written
def _forbid(w, row, i, finish, starts, stops, low, begin, end):
    """-inf where a row of scores, from `begin` to `end` behind key `low`, is in none of the row's intervals."""
    apart()
    nothing = w.dtype.type(-np.inf)
    place = begin
    while i < finish and starts[i] < low + end:
        for forbidden in range(row + place, row + starts[i] - low):
            packing.save(w, forbidden, nothing)
        place = max(min(stops[i] - low, end), place)
        i += 1
    for forbidden in range(row + place, row + end):
        packing.save(w, forbidden, nothing)


@as_written
def _advance(cursor, finish, stops, rows, high):
    apart()
    for r in range(rows):
        while cursor[r] < finish[r] and stops[cursor[r]] <= high:
            cursor[r] += 1


@as_written
def _number(i, finish, starts, stops):
    apart()
    total = 0
    while i < finish:
        total += stops[i] - starts[i]
        i += 1
    return max(total, 1)


@as_written
def _aligned(w, lanes):
    """The first place of an array from which whole vectors lie in single cache lines."""
    return (lanes - np.int64(w.ctypes.data // w.itemsize) % lanes) % lanes


@as_written
def _weigh(
    w, w_s, w_o, first, last, low, begin, width, distance, table_at, e_vectors, cursor, finish, starts, stops,
    row_low, row_high, top, total, hashes, table, sizes, keep, like,
):  # fmt: skip
    """From the scores of a register tile's rows with a stretch of keys to weights, or to exponentials and what belongs to them.

    `begin` and `width`: the first key behind `low`, and the number of vectors. `distance`: of that key and the first row.
    """
    apart()
    lanes, stretch, normalizer, dropping, least = (
        sizes.lanes,
        sizes.stretch,
        sizes.normalizer,
        sizes.dropping,
        sizes.least,
    )
    one = w.dtype.type(1)
    for r in range(first, last):
        row = w_s + (r - first) * stretch
        s = at(w, row + begin)
        if sizes.table > 0:
            plus(s, at(table, table_at + distance - (r - first)), width, one)
        some, most = row_low[r] - begin, row_high[r] - begin
        if row_high[r] < 0:
            _forbid(w, row, cursor[r], finish[r], starts, stops, low, begin, begin + width * lanes)
            some, most = 0, width * lanes
        if normalizer == 0:
            weights.softmax_step(
                s, width, some, most, at(top, r), at(total, r), at(w, w_o + r * e_vectors * lanes), e_vectors
            )
        elif normalizer == 1:
            weights.relu_step(s, width, some, most, top[r])
        else:
            weights.sigmoid_step(s, width, some, most, top[r])
        if dropping:
            weights.drop(s, width, hashes[r], low + begin, least, keep)
        weights.paired(s, width, like)


@as_written
def _unweigh(
    w, w_p, w_t, first, last, low, begin, width, distance, table_at, d_table_at, stats_at, cursor, finish, starts, stops,
    row_low, row_high, stats, delta, hashes, table, d_table, sizes, keep,
):  # fmt: skip
    """From scores and the gradients of weights, of a register tile's rows with a stretch of keys, to weights and scores' gradients.

    Rows that fill up the register tile become zeros.
    """
    apart()
    lanes, stretch, normalizer, dropping, least = (
        sizes.lanes,
        sizes.stretch,
        sizes.normalizer,
        sizes.dropping,
        sizes.least,
    )
    one, nothing = w.dtype.type(1), w.dtype.type(0)
    for r in range(first, last):
        row = w_p + r * stretch
        s, t = at(w, row + begin), at(w, w_t + r * stretch + begin)
        if sizes.table > 0:
            plus(s, at(table, table_at + distance - (r - first)), width, one)
        some, most = row_low[r] - begin, row_high[r] - begin
        if row_high[r] < 0:
            _forbid(w, row, cursor[r], finish[r], starts, stops, low, begin, begin + width * lanes)
            some, most = 0, width * lanes
        weights.gradients(
            normalizer, dropping, s, t, width, some, most, stats[stats_at + r], delta[r], hashes[r], low + begin, least, keep
        )  # fmt: skip
        if len(d_table) > 1:
            plus(at(d_table, d_table_at + distance - (r - first)), t, width, one)
    for r in range(last, first + ROWS):
        for place in range(r * stretch + begin, r * stretch + begin + width * lanes):
            packing.save(w, w_p + place, nothing)
            packing.save(w, w_t + place, nothing)


@compiled
def touched(tiles, query_offsets, key_offsets, pattern, row_pointer, starts, stops, rows_most, stretch, lanes):
    """How many register tiles' rows meet how many stretches of keys, and the pairs that they compute: whole vectors of keys."""
    meetings, pairs = 0, 0
    cursor, finish = np.empty(rows_most, np.int64), np.empty(rows_most, np.int64)
    row_low, row_high = np.empty(rows_most, np.int64), np.empty(rows_most, np.int64)
    for tile in range(len(tiles)):
        begin, owner = tiles[tile].begin, tiles[tile].owner
        rows = min(rows_most, query_offsets[owner + 1] - begin)
        for r in range(rows):
            cursor[r], finish[r] = row_pointer[pattern + begin + r], row_pointer[pattern + begin + r + 1]
        high = key_offsets[owner]
        while True:
            key = _next_key(cursor, finish, starts, rows, high)
            if key < 0:
                break
            low = key_offsets[owner] + (key - key_offsets[owner]) // stretch * stretch
            high = min(low + stretch, key_offsets[owner + 1])
            for first in range(0, rows, ROWS):
                begin_key, end_key = _span(
                    cursor, finish, starts, stops, first, min(first + ROWS, rows), low, high, row_low, row_high
                )
                if begin_key < end_key:
                    meetings += 1
                    pairs += ROWS * ((end_key + lanes - 1) // lanes - begin_key // lanes) * lanes
            _advance(cursor, finish, stops, rows, high)
    return meetings, pairs


@compiled
def forward(
    first_unit, last_unit, units, tiles, query_offsets, key_offsets, shifts, row_pointer, starts, stops,
    q, k, v, out, stats, table, numbers,
):  # fmt: skip
    """out [t, h, e] and, for each head and row, what the backward pass needs beside it: `stats [h, t]`."""
    sizes = numbers[0]
    lanes, heads, d, e = sizes.lanes, sizes.heads, sizes.d, sizes.e
    stretch, rows_most, slots, queries = sizes.stretch, sizes.rows, sizes.slots, sizes.queries
    normalizer, dropping = sizes.normalizer, sizes.dropping
    kind = stats.dtype.type
    query_factor, keep, one, zero = kind(sizes.query_factor), kind(sizes.keep), kind(1), kind(0)
    pairs = packing.per_product(q)
    depth = (d + pairs - 1) // pairs
    d_wide, e_wide = (depth + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    slot_size = stretch * (d_wide + e_wide)
    w = np.empty(rows_most * (d_wide + e_wide) + (ROWS + d_wide) * stretch + slots * slot_size + lanes, stats.dtype)
    w_q = _aligned(w, lanes)
    w_o = w_q + rows_most * d_wide
    w_s = w_o + rows_most * e_wide
    w_rows = w_s + ROWS * stretch
    w_slots = w_rows + stretch * d_wide
    cursor, finish, tags = np.empty(rows_most, np.int64), np.empty(rows_most, np.int64), np.empty(slots, np.int64)
    row_low, row_high, hashes = (
        np.empty(rows_most, np.int64),
        np.empty(rows_most, np.int64),
        np.empty(rows_most, np.int64),
    )
    top, total = np.empty(rows_most, stats.dtype), np.empty(rows_most, stats.dtype)
    for n in range(first_unit, last_unit):
        unit = units[n]
        head, pattern = unit.head, unit.pattern
        key_head = head // sizes.key_times
        table_at = sizes.origin + (head * sizes.table if sizes.table_heads > 1 else 0)
        head_hash = of_number(sizes.seed, sizes.seed >> 32, head)
        owner = -1
        for tile in range(unit.begin, unit.end):
            begin = tiles[tile].begin
            if tiles[tile].owner != owner:
                owner = tiles[tile].owner
                tags[:] = -1
            rows = min(rows_most, query_offsets[owner + 1] - begin)
            groups = (rows + ROWS - 1) // ROWS
            first_key, end_key = key_offsets[owner], key_offsets[owner + 1]
            packing.pack_along(
                w, w_q, d_wide, q, begin * sizes.q.row + head * sizes.q.head, sizes.q.row, sizes.q.column,
                rows, groups * ROWS, d, query_factor,
            )  # fmt: skip
            packing.fill(w, w_o, w_o + groups * ROWS * e_wide, zero)
            for r in range(rows):
                cursor[r], finish[r] = row_pointer[pattern + begin + r], row_pointer[pattern + begin + r + 1]
                top[r], total[r] = kind(-np.inf), zero
                if normalizer > 0:
                    number = kind(_number(cursor[r], finish[r], starts, stops))
                    top[r], total[r] = one / number if normalizer == 1 else np.log2(number), one
                if dropping:
                    hashes[r] = of_row(head_hash, begin + r)
            high = first_key
            while True:
                key = _next_key(cursor, finish, starts, rows, high)
                if key < 0:
                    break
                turn = (key - first_key) // stretch
                low = first_key + turn * stretch
                high = min(low + stretch, end_key)
                slot = turn % slots
                w_k = w_slots + slot * slot_size
                w_v = w_k + stretch * d_wide
                if tags[slot] != turn:
                    tags[slot] = turn
                    panels = (high - low + lanes - 1) // lanes
                    packing.pack_along(
                        w, w_rows, d_wide, k, low * sizes.k.row + key_head * sizes.k.head, sizes.k.row, sizes.k.column,
                        high - low, panels * lanes, d, one,
                    )  # fmt: skip
                    packing.pack_columns(w, w_k, lanes, w_rows, d_wide, panels)
                    packing.pack_across(
                        w, w_v, e_wide, v, low * sizes.v.row + key_head * sizes.v.head, sizes.v.row, sizes.v.column, high - low, e,
                    )  # fmt: skip
                for group in range(groups):
                    first, last = group * ROWS, min(group * ROWS + ROWS, rows)
                    span_begin, span_end = _span(
                        cursor, finish, starts, stops, first, last, low, high, row_low, row_high
                    )
                    if span_begin >= span_end:
                        continue
                    wide_begin = span_begin // lanes * lanes
                    width = (span_end + lanes - 1) // lanes - span_begin // lanes
                    product(
                        at(w, w_s + wide_begin), stretch, operand(w, w_q + first * d_wide, q), d_wide, 1,
                        operand(w, w_k + wide_begin * d_wide, q), lanes, d_wide * lanes, depth, width, lanes, 0, query_factor,
                    )  # fmt: skip
                    distance = low - first_key + shifts[owner] + wide_begin - (begin + first - query_offsets[owner])
                    _weigh(
                        w, w_s, w_o, first, last, low, wide_begin, width, distance, table_at, e_wide // lanes,
                        cursor, finish, starts, stops, row_low, row_high, top, total, hashes, table, sizes, keep, q,
                    )  # fmt: skip
                    product(
                        at(w, w_o + first * e_wide), e_wide,
                        operand(w, w_s + wide_begin + (span_begin - wide_begin) // pairs, q), stretch, 1,
                        operand(w, w_v + span_begin // pairs * e_wide, q), e_wide, lanes,
                        (span_end + pairs - 1) // pairs - span_begin // pairs, e_wide // lanes, lanes, 1, one,
                    )  # fmt: skip
                _advance(cursor, finish, stops, rows, high)
            for r in range(rows):
                share = zero if total[r] == zero else one / total[r]
                packing.write_rows(
                    out, ((begin + r) * heads + head) * e, heads * e, w, w_o + r * e_wide, e_wide, 1, e, share
                )
                if normalizer == 0:
                    # A row without keys takes 0, so that its weights become 2^(-inf - 0).
                    top[r] = zero if total[r] == zero else top[r] + np.log2(total[r])
                stats[head * queries + begin + r] = top[r]


@as_written
def _flush(w, w_d_k, d_k, d_v, part_k, part_v, unit, parted, low, rows, d_wide, e_wide, sizes, factor):
    """Add the gradients that gathered in a slot, whose first key is row `low`, to those of the keys and values, or to a part."""
    apart()
    heads, d, e, stretch = sizes.heads, sizes.d, sizes.e, sizes.stretch
    w_d_v = w_d_k + stretch * d_wide
    if parted:
        # The part holds no more than the keys that the unit's rows see.
        skipped, rows = max(unit.low - low, 0), min(rows, unit.high - low)
        place, rows = unit.part + low + skipped - unit.low, max(rows - skipped, 0)
        packing.add_rows(part_k, place * d, d, w, w_d_k + skipped * d_wide, d_wide, rows, d, factor)
        packing.add_rows(part_v, place * e, e, w, w_d_v + skipped * e_wide, e_wide, rows, e, w.dtype.type(1))
    else:
        place = low * heads + unit.head
        packing.add_rows(d_k, place * d, heads * d, w, w_d_k, d_wide, rows, d, factor)
        packing.add_rows(d_v, place * e, heads * e, w, w_d_v, e_wide, rows, e, w.dtype.type(1))


@compiled
def backward(
    first_unit, last_unit, units, tiles, query_offsets, key_offsets, shifts, row_pointer, starts, stops,
    q, k, v, out, above, stats, table, d_q, d_k, d_v, part_k, part_v, d_table, numbers,
):  # fmt: skip
    """d_q [t, h, d], d_k [u, h, d], d_v [u, h, e], and for each unit d_table, from the gradient `above [t, h, e]` of out.

    d_k and d_v come in as zeros. Where a unit shares a set with an earlier one, its part of them goes to part_k and part_v.
    """
    sizes = numbers[0]
    lanes, heads, d, e = sizes.lanes, sizes.heads, sizes.d, sizes.e
    stretch, rows_most, slots, queries = sizes.stretch, sizes.rows, sizes.slots, sizes.queries
    table_size, origin, dropping = sizes.table, sizes.origin, sizes.dropping
    kind = stats.dtype.type
    query_factor, keep, one, zero = kind(sizes.query_factor), kind(sizes.keep), kind(1), kind(0)
    d_query, d_key = kind(sizes.d_query), kind(sizes.d_key)
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    slot_size = stretch * (3 * d_wide + 2 * e_wide)
    w = np.empty(
        rows_most * 2 * (d_wide + e_wide + stretch) + stretch * e_wide + slots * slot_size + lanes, stats.dtype
    )
    w_q = _aligned(w, lanes)
    w_d_q = w_q + rows_most * d_wide
    w_o = w_d_q + rows_most * d_wide
    w_a = w_o + rows_most * e_wide
    w_p = w_a + rows_most * e_wide
    w_t = w_p + rows_most * stretch
    w_rows = w_t + rows_most * stretch
    w_slots = w_rows + stretch * e_wide
    cursor, finish, tags = np.empty(rows_most, np.int64), np.empty(rows_most, np.int64), np.empty(slots, np.int64)
    row_low, row_high, hashes = (
        np.empty(rows_most, np.int64),
        np.empty(rows_most, np.int64),
        np.empty(rows_most, np.int64),
    )
    delta = np.empty(rows_most, stats.dtype)
    lows, highs = np.empty(rows_most // ROWS, np.int64), np.empty(rows_most // ROWS, np.int64)
    for n in range(first_unit, last_unit):
        unit = units[n]
        head, pattern = unit.head, unit.pattern
        key_head = head // sizes.key_times
        table_at = origin + (head * table_size if sizes.table_heads > 1 else 0)
        head_hash = of_number(sizes.seed, sizes.seed >> 32, head)
        owner, first_key, end_key, parted = -1, 0, 0, False
        # One turn more, to flush what the last set left.
        for tile in range(unit.begin, unit.end + 1):
            ended = tile == unit.end
            if ended or tiles[tile].owner != owner:
                if owner >= 0:
                    for slot in range(slots):
                        if tags[slot] >= 0:
                            low = first_key + tags[slot] * stretch
                            w_d_k = w_slots + slot * slot_size + stretch * (2 * d_wide + e_wide)
                            _flush(
                                w, w_d_k, d_k, d_v, part_k, part_v, unit, parted, low, min(stretch, end_key - low),
                                d_wide, e_wide, sizes, d_key,
                            )  # fmt: skip
                if ended:
                    break
                owner = tiles[tile].owner
                tags[:] = -1
                first_key, end_key = key_offsets[owner], key_offsets[owner + 1]
                parted = unit.part >= 0 and owner == tiles[unit.begin].owner
            begin = tiles[tile].begin
            rows = min(rows_most, query_offsets[owner + 1] - begin)
            groups = (rows + ROWS - 1) // ROWS
            packing.pack_rows(
                w, w_q, d_wide, q, begin * sizes.q.row + head * sizes.q.head, sizes.q.row, sizes.q.column,
                rows, groups * ROWS, d, query_factor,
            )  # fmt: skip
            packing.pack_rows(
                w, w_a, e_wide, above, begin * sizes.above.row + head * sizes.above.head, sizes.above.row, sizes.above.column,
                rows, groups * ROWS, e, one,
            )  # fmt: skip
            packing.pack_rows(w, w_o, e_wide, out, (begin * heads + head) * e, heads * e, 1, rows, rows, e, one)
            packing.fill(w, w_d_q, w_d_q + groups * ROWS * d_wide, zero)
            for r in range(rows):
                cursor[r], finish[r] = row_pointer[pattern + begin + r], row_pointer[pattern + begin + r + 1]
                delta[r] = dot(at(w, w_a + r * e_wide), at(w, w_o + r * e_wide), e_wide // lanes)
                if dropping:
                    hashes[r] = of_row(head_hash, begin + r)
            high = first_key
            while True:
                key = _next_key(cursor, finish, starts, rows, high)
                if key < 0:
                    break
                turn = (key - first_key) // stretch
                low = first_key + turn * stretch
                high = min(low + stretch, end_key)
                slot = turn % slots
                w_k = w_slots + slot * slot_size
                w_v = w_k + stretch * d_wide
                w_k_rows = w_v + stretch * e_wide
                w_d_k = w_k_rows + stretch * d_wide
                w_d_v = w_d_k + stretch * d_wide
                if tags[slot] != turn:
                    if tags[slot] >= 0:
                        old = first_key + tags[slot] * stretch
                        _flush(
                            w, w_d_k, d_k, d_v, part_k, part_v, unit, parted, old, min(stretch, end_key - old),
                            d_wide, e_wide, sizes, d_key,
                        )  # fmt: skip
                    tags[slot] = turn
                    panels = (high - low + lanes - 1) // lanes
                    packing.pack_rows(
                        w, w_k_rows, d_wide, k, low * sizes.k.row + key_head * sizes.k.head, sizes.k.row, sizes.k.column,
                        high - low, panels * lanes, d, one,
                    )  # fmt: skip
                    packing.pack_columns(w, w_k, lanes, w_k_rows, d_wide, panels)
                    packing.pack_rows(
                        w, w_rows, e_wide, v, low * sizes.v.row + key_head * sizes.v.head, sizes.v.row, sizes.v.column,
                        high - low, panels * lanes, e, one,
                    )  # fmt: skip
                    packing.pack_columns(w, w_v, lanes, w_rows, e_wide, panels)
                    packing.fill(w, w_d_k, w_d_k + stretch * (d_wide + e_wide), zero)
                used = (high - low + ROWS - 1) // ROWS * ROWS
                for group in range(groups):
                    first, last = group * ROWS, min(group * ROWS + ROWS, rows)
                    span_begin, span_end = _span(
                        cursor, finish, starts, stops, first, last, low, high, row_low, row_high
                    )
                    lows[group], highs[group] = span_begin, span_end
                    if span_begin >= span_end:
                        packing.clear(w, w_p + first * stretch, stretch, 0, 0, used)
                        packing.clear(w, w_t + first * stretch, stretch, 0, 0, used)
                        continue
                    wide_begin = span_begin // lanes * lanes
                    width = (span_end + lanes - 1) // lanes - span_begin // lanes
                    wide_end = wide_begin + width * lanes
                    packing.clear(w, w_p + first * stretch, stretch, wide_begin, wide_end, used)
                    packing.clear(w, w_t + first * stretch, stretch, wide_begin, wide_end, used)
                    product(
                        at(w, w_p + first * stretch + wide_begin), stretch, at(w, w_q + first * d_wide), d_wide, 1,
                        at(w, w_k + wide_begin * d_wide), lanes, d_wide * lanes, d, width, lanes, 0, one,
                    )  # fmt: skip
                    product(
                        at(w, w_t + first * stretch + wide_begin), stretch, at(w, w_a + first * e_wide), e_wide, 1,
                        at(w, w_v + wide_begin * e_wide), lanes, e_wide * lanes, e, width, lanes, 0, one,
                    )  # fmt: skip
                    distance = low - first_key + shifts[owner] + wide_begin - (begin + first - query_offsets[owner])
                    _unweigh(
                        w, w_p, w_t, first, last, low, wide_begin, width, distance, table_at, n * table_size + origin,
                        head * queries + begin, cursor, finish, starts, stops, row_low, row_high, stats, delta, hashes,
                        table, d_table, sizes, keep,
                    )  # fmt: skip
                    product(
                        at(w, w_d_q + first * d_wide), d_wide, at(w, w_t + first * stretch + span_begin), stretch, 1,
                        at(w, w_k_rows + span_begin * d_wide), d_wide, lanes, span_end - span_begin,
                        d_wide // lanes, lanes, 1, one,
                    )  # fmt: skip
                for place in range(0, used, ROWS):
                    some, last = groups, 0
                    for group in range(groups):
                        if lows[group] < place + ROWS and highs[group] > place:
                            some, last = min(some, group), group + 1
                    if some >= last:
                        continue
                    from_, depth = some * ROWS, (last - some) * ROWS
                    product(
                        at(w, w_d_v + place * e_wide), e_wide, at(w, w_p + from_ * stretch + place), 1, stretch,
                        at(w, w_a + from_ * e_wide), e_wide, lanes, depth, e_wide // lanes, lanes, 1, one,
                    )  # fmt: skip
                    product(
                        at(w, w_d_k + place * d_wide), d_wide, at(w, w_t + from_ * stretch + place), 1, stretch,
                        at(w, w_q + from_ * d_wide), d_wide, lanes, depth, d_wide // lanes, lanes, 1, one,
                    )  # fmt: skip
                _advance(cursor, finish, stops, rows, high)
            packing.write_rows(d_q, (begin * heads + head) * d, heads * d, w, w_d_q, d_wide, rows, d, d_query)
