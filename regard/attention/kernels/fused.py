"""Attention by dot products over tiles of queries and stretches of keys, forward and backward.

A tile of query rows meets the keys of its set stretch by stretch. Of each stretch the keys and values are packed once into a slot
of a small cache, in the order in which the products read them; the gradients of a slot's keys and values gather there too and are
added to the output when the slot is given to another stretch. What a row may attend to is read from its intervals of keys, so that
no mask is ever built: where no row of a register tile has a key, nothing is computed.

All arrays are flat; `sizes`, `strides` and `numbers` are the arguments that are plain numbers, in the order of `Sizes` and
`Numbers`. The rows of a unit are written by no other unit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from regard.attention.kernels import vectors as vec
from regard.attention.kernels.compiled import as_written, compiled

__all__ = ["Numbers", "Sizes", "Unit", "backward", "forward", "touched"]

ROWS = vec.ROWS
at, product = vec.at, vec.product
drop, exponentials, gradients, hashed, largest = vec.drop, vec.exponentials, vec.gradients, vec.hashed, vec.largest
dot, plus, rectified, sigmoids, times = vec.dot, vec.plus, vec.rectified, vec.sigmoids, vec.times


class Sizes(NamedTuple):
    """Whole numbers that both kernels read."""

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
    threshold: int
    queries: int


class Numbers(NamedTuple):
    """Fractions that both kernels read."""

    query: float
    """What queries are multiplied with when they are packed."""
    keep: float
    """What dropout multiplies the weights that stay with."""
    d_query: float
    d_key: float
    """What the gradients of queries and keys are multiplied with at the end."""


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


@intrinsic
def _load(context: Any, array: Any, index: Any) -> Any:
    wide = types.float32 if isinstance(array.dtype, types.Integer) else array.dtype

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, given[0]).data
        x = builder.load(builder.gep(data, [given[1]]))
        if wide is array.dtype:
            return x
        int32 = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.zext(x, int32), ir.Constant(int32, 16)), ir.FloatType())

    return wide(array, types.intp), make


@intrinsic
def _save(context: Any, array: Any, index: Any, value: Any) -> Any:
    wide = types.float32 if isinstance(array.dtype, types.Integer) else array.dtype

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, given[0]).data
        x = given[2]
        if wide is not array.dtype:
            # To the nearest, ties to even; NaN stays NaN.
            int32, int16 = ir.IntType(32), ir.IntType(16)
            bits = builder.bitcast(x, int32)
            odd = builder.and_(builder.lshr(bits, ir.Constant(int32, 16)), ir.Constant(int32, 1))
            near = builder.add(builder.add(bits, odd), ir.Constant(int32, 0x7FFF))
            near = builder.select(builder.fcmp_unordered("uno", x, x), ir.Constant(int32, 0x7FC00000), near)
            x = builder.trunc(builder.lshr(near, ir.Constant(int32, 16)), int16)
        builder.store(x, builder.gep(data, [given[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp, wide), make


@as_written
def _pack_rows(w, to, width, x, base, row_step, step, rows, filled, columns, factor):
    """Rows of x, times a factor, as rows of so many numbers; zeros behind the columns, and in rows up to `filled`."""
    vec.apart()
    for r in range(rows):
        here, there = to + r * width, base + r * row_step
        if step == 1:
            for c in range(columns):
                _save(w, here + c, _load(x, there + c) * factor)
        else:
            for c in range(columns):
                _save(w, here + c, _load(x, there + c * step) * factor)
        for c in range(columns, width):
            _save(w, here + c, w.dtype.type(0))
    for place in range(to + rows * width, to + filled * width):
        _save(w, place, w.dtype.type(0))


@as_written
def _pack_columns(w, to, lanes, x, base, row_step, step, rows, columns):
    """Rows of x as columns: panels of `lanes` rows side by side, each column by column; zeros behind the last row."""
    vec.apart()
    for panel in range((rows + lanes - 1) // lanes):
        here, first = to + panel * lanes * columns, panel * lanes
        there, some = base + first * row_step, min(lanes, rows - first)
        for lane in range(some):
            for c in range(columns):
                _save(w, here + c * lanes + lane, _load(x, there + lane * row_step + c * step))
        for c in range(columns):
            for lane in range(some, lanes):
                _save(w, here + c * lanes + lane, w.dtype.type(0))


@as_written
def _fill(w, begin, end, x):
    vec.apart()
    for place in range(begin, end):
        _save(w, place, x)


@as_written
def _next_key(cursor, finish, starts, rows, done):
    """The first key from `done` on that is left to any of the rows, -1 where none is."""
    vec.apart()
    found = -1
    for r in range(rows):
        if cursor[r] < finish[r]:
            start = max(starts[cursor[r]], done)
            if found < 0 or start < found:
                found = start
    return found


@as_written
def _span(cursor, finish, starts, stops, first, last, low, high):
    """The keys from low to high that lie between the first and the last one of any of these rows, counted from low."""
    vec.apart()
    begin, end = high - low, 0
    for r in range(first, last):
        i, stop = cursor[r], finish[r]
        if i < stop and starts[i] < high:
            begin = min(begin, max(starts[i], low) - low)
            while i + 1 < stop and starts[i + 1] < high:
                i += 1
            end = max(end, min(stops[i], high) - low)
    return begin, end


@as_written
def _forbid(w, row, i, finish, starts, stops, low, begin, end):
    """-inf where a row of scores, from `begin` to `end` behind key `low`, is in none of the row's intervals."""
    vec.apart()
    nothing = w.dtype.type(-np.inf)
    place = begin
    while i < finish and starts[i] < low + end:
        _fill(w, row + place, row + max(starts[i] - low, place), nothing)
        place = max(min(stops[i] - low, end), place)
        i += 1
    _fill(w, row + place, row + end, nothing)


@as_written
def _advance(cursor, finish, stops, rows, high):
    vec.apart()
    for r in range(rows):
        while cursor[r] < finish[r] and stops[cursor[r]] <= high:
            cursor[r] += 1


@as_written
def _number(i, finish, starts, stops):
    vec.apart()
    total = 0
    while i < finish:
        total += stops[i] - starts[i]
        i += 1
    return max(total, 1)


@as_written
def _aligned(w, lanes):
    """The first place of an array from which whole vectors lie in single cache lines."""
    return (lanes - np.int64(w.ctypes.data // w.itemsize) % lanes) % lanes


@compiled
def touched(tiles, query_offsets, key_offsets, pattern, row_pointer, starts, stops, rows_most, stretch, lanes):
    """How many register tiles' rows meet how many stretches of keys, and the pairs that they compute: whole vectors of keys."""
    meetings, pairs = 0, 0
    cursor, finish = np.empty(rows_most, np.int64), np.empty(rows_most, np.int64)
    for tile in range(len(tiles)):
        begin, owner = tiles[tile, 0], tiles[tile, 1]
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
                begin_key, end_key = _span(cursor, finish, starts, stops, first, min(first + ROWS, rows), low, high)
                if begin_key < end_key:
                    meetings += 1
                    pairs += ROWS * ((end_key + lanes - 1) // lanes - begin_key // lanes) * lanes
            _advance(cursor, finish, stops, rows, high)
    return meetings, pairs


@compiled
def forward(
    first_unit, last_unit, units, tiles, query_offsets, key_offsets, shifts, row_pointer, starts, stops,
    q, k, v, out, stats, table, sizes, strides, numbers,
):  # fmt: skip
    """out [t, h, e] and, for each head and row, what the backward pass needs beside it: `stats [h, t]`."""
    lanes, key_times, d, e, stretch, rows_most = sizes[0], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]
    slots, normalizer, table_size, table_heads, origin = sizes[7], sizes[8], sizes[9], sizes[10], sizes[11]
    heads, dropping, seed, threshold, queries = sizes[1], sizes[12], sizes[13], sizes[14], sizes[15]
    kind = stats.dtype.type
    query_factor, keep, one, zero = kind(numbers[0]), kind(numbers[1]), kind(1), kind(0)
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    slot_size = stretch * (d + e_wide)
    w = np.empty(rows_most * (d_wide + e_wide) + ROWS * stretch + slots * slot_size + lanes, stats.dtype)
    w_q = _aligned(w, lanes)
    w_o = w_q + rows_most * d_wide
    w_s = w_o + rows_most * e_wide
    w_slots = w_s + ROWS * stretch
    cursor, finish, tags = np.empty(rows_most, np.int64), np.empty(rows_most, np.int64), np.empty(slots, np.int64)
    top, total, hashes = (
        np.empty(rows_most, stats.dtype),
        np.empty(rows_most, stats.dtype),
        np.empty(rows_most, np.int64),
    )
    for n in range(first_unit, last_unit):
        head, pattern = units[n, 0], units[n, 3]
        key_head, table_head = head // key_times, (head if table_heads > 1 else 0)
        head_hash = hashed(hashed(seed, head), seed >> 32)
        owner = -1
        for tile in range(units[n, 1], units[n, 2]):
            begin = tiles[tile, 0]
            if tiles[tile, 1] != owner:
                owner = tiles[tile, 1]
                tags[:] = -1
            rows = min(rows_most, query_offsets[owner + 1] - begin)
            groups = (rows + ROWS - 1) // ROWS
            first_key, end_key = key_offsets[owner], key_offsets[owner + 1]
            _pack_rows(
                w, w_q, d_wide, q, begin * strides[0] + head * strides[1], strides[0], strides[2],
                rows, groups * ROWS, d, query_factor,
            )  # fmt: skip
            _fill(w, w_o, w_o + groups * ROWS * e_wide, zero)
            for r in range(rows):
                cursor[r], finish[r] = row_pointer[pattern + begin + r], row_pointer[pattern + begin + r + 1]
                top[r], total[r] = kind(-np.inf), zero
                if normalizer > 0:
                    number = kind(_number(cursor[r], finish[r], starts, stops))
                    top[r], total[r] = one / number if normalizer == 1 else np.log2(number), one
                if dropping:
                    hashes[r] = hashed(hashed(head_hash, begin + r), 0)
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
                w_v = w_k + stretch * d
                if tags[slot] != turn:
                    tags[slot] = turn
                    _pack_columns(
                        w, w_k, lanes, k, low * strides[3] + key_head * strides[4], strides[3], strides[5], high - low, d
                    )  # fmt: skip
                    _pack_rows(
                        w, w_v, e_wide, v, low * strides[6] + key_head * strides[7], strides[6], strides[8],
                        high - low, high - low, e, one,
                    )  # fmt: skip
                for group in range(groups):
                    first, last = group * ROWS, min(group * ROWS + ROWS, rows)
                    span_begin, span_end = _span(cursor, finish, starts, stops, first, last, low, high)
                    if span_begin >= span_end:
                        continue
                    wide_begin = span_begin // lanes * lanes
                    wide_end = (span_end + lanes - 1) // lanes * lanes
                    width = (wide_end - wide_begin) // lanes
                    product(
                        at(w, w_s + wide_begin), stretch, at(w, w_q + first * d_wide), d_wide, 1,
                        at(w, w_k + wide_begin * d), lanes, d * lanes, d, width, lanes, 0,
                    )  # fmt: skip
                    for r in range(first, last):
                        row = w_s + (r - first) * stretch
                        s = at(w, row + wide_begin)
                        if table_size > 0:
                            distance = low - first_key + shifts[owner] + wide_begin - (begin + r - query_offsets[owner])
                            plus(s, at(table, table_head * table_size + origin + distance), width, one)
                        _forbid(w, row, cursor[r], finish[r], starts, stops, low, wide_begin, wide_end)
                        if normalizer == 0:
                            most = max(top[r], largest(s, width))
                            if most > top[r]:
                                if top[r] > kind(-np.inf):
                                    fade = np.exp2(top[r] - most)
                                    total[r] *= fade
                                    times(at(w, w_o + r * e_wide), e_wide // lanes, fade)
                                top[r] = most
                            total[r] += exponentials(s, width, most if most > kind(-np.inf) else zero)
                        elif normalizer == 1:
                            rectified(s, width, top[r])
                        else:
                            sigmoids(s, width, top[r])
                        if dropping:
                            drop(s, width, hashes[r], low + wide_begin, threshold, keep)
                    product(
                        at(w, w_o + first * e_wide), e_wide, at(w, w_s + span_begin), stretch, 1,
                        at(w, w_v + span_begin * e_wide), e_wide, lanes, span_end - span_begin, e_wide // lanes, lanes, 1,
                    )  # fmt: skip
                _advance(cursor, finish, stops, rows, high)
            for r in range(rows):
                share = zero if total[r] == zero else one / total[r]
                there = ((begin + r) * heads + head) * e
                for c in range(e):
                    _save(out, there + c, w[w_o + r * e_wide + c] * share)
                if normalizer == 0:
                    # A row without keys takes 0, so that its weights become 2^(-inf - 0).
                    top[r] = zero if total[r] == zero else top[r] + np.log2(total[r])
                stats[head * queries + begin + r] = top[r]


@as_written
def _flush(w, w_d_k, w_d_v, d_k, d_v, base_k, base_v, step_k, step_v, rows, d, d_wide, e, e_wide, factor):
    """Add the gradients that gathered in a slot to those of the keys and values."""
    vec.apart()
    for r in range(rows):
        for c in range(d):
            place = base_k + r * step_k + c
            _save(d_k, place, _load(d_k, place) + _load(w, w_d_k + r * d_wide + c) * factor)
        for c in range(e):
            place = base_v + r * step_v + c
            _save(d_v, place, _load(d_v, place) + _load(w, w_d_v + r * e_wide + c))


@compiled
def backward(
    first_unit, last_unit, units, tiles, query_offsets, key_offsets, shifts, row_pointer, starts, stops,
    q, k, v, out, above, stats, table, d_q, d_k, d_v, part_k, part_v, d_table, sizes, strides, numbers,
):  # fmt: skip
    """d_q [t, h, d], d_k [u, h, d], d_v [u, h, e], and for each unit d_table, from the gradient `above [t, h, e]` of out.

    d_k and d_v come in as zeros. Where a unit shares a set with an earlier one, its part of them goes to part_k and part_v.
    """
    lanes, key_times, d, e, stretch, rows_most = sizes[0], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]
    slots, normalizer, table_size, table_heads, origin = sizes[7], sizes[8], sizes[9], sizes[10], sizes[11]
    heads, dropping, seed, threshold, queries = sizes[1], sizes[12], sizes[13], sizes[14], sizes[15]
    kind = stats.dtype.type
    query_factor, keep, one, zero = kind(numbers[0]), kind(numbers[1]), kind(1), kind(0)
    d_query, d_key = kind(numbers[2]), kind(numbers[3])
    d_wide, e_wide = (d + lanes - 1) // lanes * lanes, (e + lanes - 1) // lanes * lanes
    slot_size = stretch * (d + e + 2 * d_wide + e_wide)
    w = np.empty(rows_most * 2 * (d_wide + e_wide + stretch) + slots * slot_size + lanes, stats.dtype)
    w_q = _aligned(w, lanes)
    w_d_q = w_q + rows_most * d_wide
    w_o = w_d_q + rows_most * d_wide
    w_a = w_o + rows_most * e_wide
    w_p = w_a + rows_most * e_wide
    w_t = w_p + rows_most * stretch
    w_slots = w_t + rows_most * stretch
    cursor, finish, tags = np.empty(rows_most, np.int64), np.empty(rows_most, np.int64), np.empty(slots, np.int64)
    delta, hashes = np.empty(rows_most, stats.dtype), np.empty(rows_most, np.int64)
    lows, highs = np.empty(rows_most // ROWS, np.int64), np.empty(rows_most // ROWS, np.int64)
    for n in range(first_unit, last_unit):
        head, pattern, part = units[n, 0], units[n, 3], units[n, 4]
        key_head, table_head = head // key_times, (head if table_heads > 1 else 0)
        head_hash = hashed(hashed(seed, head), seed >> 32)
        owner, first_key, end_key, parted = -1, 0, 0, False
        # One turn more, to flush what the last set left.
        for tile in range(units[n, 1], units[n, 2] + 1):
            ended = tile == units[n, 2]
            if ended or tiles[tile, 1] != owner:
                if owner >= 0:
                    for slot in range(slots):
                        if tags[slot] >= 0:
                            low = first_key + tags[slot] * stretch
                            w_d_k = w_slots + slot * slot_size + stretch * (d + e + d_wide)
                            if parted:
                                _flush(
                                    w, w_d_k, w_d_k + stretch * d_wide, part_k, part_v,
                                    (part + low - units[n, 5]) * d, (part + low - units[n, 5]) * e, d, e,
                                    min(stretch, end_key - low), d, d_wide, e, e_wide, d_key,
                                )  # fmt: skip
                            else:
                                _flush(
                                    w, w_d_k, w_d_k + stretch * d_wide, d_k, d_v, (low * heads + head) * d,
                                    (low * heads + head) * e, heads * d, heads * e,
                                    min(stretch, end_key - low), d, d_wide, e, e_wide, d_key,
                                )  # fmt: skip
                if ended:
                    break
                owner = tiles[tile, 1]
                tags[:] = -1
                first_key, end_key = key_offsets[owner], key_offsets[owner + 1]
                parted = part >= 0 and owner == tiles[units[n, 1], 1]
            begin = tiles[tile, 0]
            rows = min(rows_most, query_offsets[owner + 1] - begin)
            groups = (rows + ROWS - 1) // ROWS
            _pack_rows(
                w, w_q, d_wide, q, begin * strides[0] + head * strides[1], strides[0], strides[2],
                rows, groups * ROWS, d, query_factor,
            )  # fmt: skip
            _pack_rows(
                w, w_a, e_wide, above, begin * strides[9] + head * strides[10], strides[9], strides[11],
                rows, groups * ROWS, e, one,
            )  # fmt: skip
            _pack_rows(w, w_o, e_wide, out, (begin * heads + head) * e, heads * e, 1, rows, rows, e, one)
            _fill(w, w_d_q, w_d_q + groups * ROWS * d_wide, zero)
            for r in range(rows):
                cursor[r], finish[r] = row_pointer[pattern + begin + r], row_pointer[pattern + begin + r + 1]
                delta[r] = dot(at(w, w_a + r * e_wide), at(w, w_o + r * e_wide), e_wide // lanes)
                if dropping:
                    hashes[r] = hashed(hashed(head_hash, begin + r), 0)
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
                w_v = w_k + stretch * d
                w_k_rows = w_v + stretch * e
                w_d_k = w_k_rows + stretch * d_wide
                w_d_v = w_d_k + stretch * d_wide
                if tags[slot] != turn:
                    if tags[slot] >= 0:
                        old = first_key + tags[slot] * stretch
                        if parted:
                            _flush(
                                w, w_d_k, w_d_v, part_k, part_v,
                                (part + old - units[n, 5]) * d, (part + old - units[n, 5]) * e, d, e,
                                min(stretch, end_key - old), d, d_wide, e, e_wide, d_key,
                            )  # fmt: skip
                        else:
                            _flush(
                                w, w_d_k, w_d_v, d_k, d_v, (old * heads + head) * d,
                                (old * heads + head) * e, heads * d, heads * e,
                                min(stretch, end_key - old), d, d_wide, e, e_wide, d_key,
                            )  # fmt: skip
                    tags[slot] = turn
                    base_k, base_v = low * strides[3] + key_head * strides[4], low * strides[6] + key_head * strides[7]
                    _pack_columns(w, w_k, lanes, k, base_k, strides[3], strides[5], high - low, d)
                    _pack_columns(w, w_v, lanes, v, base_v, strides[6], strides[8], high - low, e)
                    _pack_rows(
                        w, w_k_rows, d_wide, k, base_k, strides[3], strides[5], high - low, high - low, d, one
                    )  # fmt: skip
                    _fill(w, w_d_k, w_d_k + stretch * (d_wide + e_wide), zero)
                for group in range(groups):
                    first, last = group * ROWS, min(group * ROWS + ROWS, rows)
                    span_begin, span_end = _span(cursor, finish, starts, stops, first, last, low, high)
                    lows[group], highs[group] = span_begin, span_end
                    wide_begin = span_begin // lanes * lanes
                    wide_end = (span_end + lanes - 1) // lanes * lanes
                    if span_begin >= span_end:
                        wide_begin = wide_end = 0
                    for r in range(first, first + ROWS):
                        for row in (w_p + r * stretch, w_t + r * stretch):
                            _fill(w, row, row + wide_begin, zero)
                            _fill(w, row + wide_end, row + stretch, zero)
                    if span_begin >= span_end:
                        continue
                    width = (wide_end - wide_begin) // lanes
                    product(
                        at(w, w_p + first * stretch + wide_begin), stretch, at(w, w_q + first * d_wide), d_wide, 1,
                        at(w, w_k + wide_begin * d), lanes, d * lanes, d, width, lanes, 0,
                    )  # fmt: skip
                    product(
                        at(w, w_t + first * stretch + wide_begin), stretch, at(w, w_a + first * e_wide), e_wide, 1,
                        at(w, w_v + wide_begin * e), lanes, e * lanes, e, width, lanes, 0,
                    )  # fmt: skip
                    for r in range(first, last):
                        row = w_p + r * stretch
                        s = at(w, row + wide_begin)
                        t = at(w, w_t + r * stretch + wide_begin)
                        distance = low - first_key + shifts[owner] + wide_begin - (begin + r - query_offsets[owner])
                        if table_size > 0:
                            plus(s, at(table, table_head * table_size + origin + distance), width, one)
                        _forbid(w, row, cursor[r], finish[r], starts, stops, low, wide_begin, wide_end)
                        gradients(
                            normalizer, dropping, s, t, width, stats[head * queries + begin + r], delta[r],
                            hashes[r], low + wide_begin, threshold, keep,
                        )  # fmt: skip
                        if len(d_table) > 1:
                            plus(at(d_table, n * table_size + origin + distance), t, width, one)
                    for r in range(last, first + ROWS):
                        for row in (w_p + r * stretch, w_t + r * stretch):
                            _fill(w, row + wide_begin, row + wide_end, zero)
                    product(
                        at(w, w_d_q + first * d_wide), d_wide, at(w, w_t + first * stretch + span_begin), stretch, 1,
                        at(w, w_k_rows + span_begin * d_wide), d_wide, lanes, span_end - span_begin,
                        d_wide // lanes, lanes, 1,
                    )  # fmt: skip
                for place in range(0, high - low, ROWS):
                    some, last = groups, 0
                    for group in range(groups):
                        if lows[group] < place + ROWS and highs[group] > place:
                            some, last = min(some, group), group + 1
                    if some >= last:
                        continue
                    from_, depth = some * ROWS, (last - some) * ROWS
                    product(
                        at(w, w_d_v + place * e_wide), e_wide, at(w, w_p + from_ * stretch + place), 1, stretch,
                        at(w, w_a + from_ * e_wide), e_wide, lanes, depth, e_wide // lanes, lanes, 1,
                    )  # fmt: skip
                    product(
                        at(w, w_d_k + place * d_wide), d_wide, at(w, w_t + from_ * stretch + place), 1, stretch,
                        at(w, w_q + from_ * d_wide), d_wide, lanes, depth, d_wide // lanes, lanes, 1,
                    )  # fmt: skip
                _advance(cursor, finish, stops, rows, high)
            for r in range(rows):
                there = ((begin + r) * heads + head) * d
                for c in range(d):
                    _save(d_q, there + c, w[w_d_q + r * d_wide + c] * d_query)
