"""Features of a tile of rows, and what their gradients are for the rows: those of linear attention, chosen by a number.

`ELU` is elu(x) + 1. `QUERIES` and `KEYS` are FAVOR+ (`Favor`), exp(w_r . x + c) with c of each row: for a query it is minus the
largest w_r . x, for a key minus |x|^2 / (2 sqrt(d)). The rows w_r, each divided by d^(1/4), are `drawn`, twice: as columns
`[d, features]` in whole vectors, then as rows `[features, d]` in whole vectors. Columns that fill up the last vector are the
first one again, so that they change no largest number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from regard.attention.executors.linear.tiles import TILE, tile_rows, times
from regard.kernels import packing
from regard.kernels.compiled import as_written
from regard.kernels.simd.emit import Kind, loop, place_of
from regard.kernels.simd.processor import ROWS
from regard.kernels.simd.rows import apart, at, dot, plus

__all__ = ["ELU", "KEYS", "QUERIES", "features", "write_gradient"]

ELU, QUERIES, KEYS = 0, 1, 2

# log2(e) as a number and what float32 and float64 round off it.
_LOG2E = {
    32: (float(np.float32(math.log2(math.e))), 1.925963033500e-08),
    64: (math.log2(math.e), 2.0355273740931033e-17),
}


@intrinsic
def _elu(context: Any, row: Any, vectors: Any) -> Any:
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
def _slope_of_elu(context: Any, row: Any, phi: Any, vectors: Any) -> Any:
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


@intrinsic
def _largest(context: Any, row: Any, vectors: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, vectors = args

        def body(i: Any, carried: list[Any]) -> list[Any]:
            return [kind.larger(builder, kind.load(builder, place_of(builder, kind, row, i)), carried[0])]

        (most,) = loop(builder, vectors, [kind.constant(-math.inf)], body)
        return kind.reduce(builder, most, lambda a, b: kind.larger(builder, a, b))

    return row.dtype(row, types.intp), make


@intrinsic
def _powers(context: Any, row: Any, vectors: Any, less: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, vectors, less = args
        less = kind.fill(builder, less)

        def body(i: Any, carried: list[Any]) -> list[Any]:
            place = place_of(builder, kind, row, i)
            kind.store(builder, kind.exp(builder, builder.fsub(kind.load(builder, place), less)), place)
            return []

        loop(builder, vectors, [], body)
        return context.get_dummy_value()

    return types.void(row, types.intp, row.dtype), make


@intrinsic
def _multiply(context: Any, row: Any, other: Any, vectors: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, other, vectors = args

        def body(i: Any, carried: list[Any]) -> list[Any]:
            place = place_of(builder, kind, row, i)
            x = kind.load(builder, place_of(builder, kind, other, i))
            kind.store(builder, builder.fmul(kind.load(builder, place), x), place)
            return []

        loop(builder, vectors, [], body)
        return context.get_dummy_value()

    return types.void(row, other, types.intp), make


@intrinsic
def _total(context: Any, row: Any, vectors: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, vectors = args

        def body(i: Any, carried: list[Any]) -> list[Any]:
            return [builder.fadd(kind.load(builder, place_of(builder, kind, row, i)), carried[0])]

        (total,) = loop(builder, vectors, [kind.constant(0.0)], body)
        return kind.reduce(builder, total, builder.fadd)

    return row.dtype(row, types.intp), make


@as_written
def features(w, to, room, drawn, kind, x, stride, first, head, rows, sizes):
    """The features of a head's rows of x from the first on, in rows of whole vectors; `room` is for rows of x, twice a tile.

    What fills them up is finite where the features are.
    """
    apart()
    lanes, d, d_wide, m_wide = sizes.lanes, sizes.d, sizes.d_wide, sizes.m_wide
    if kind == ELU:
        tile_rows(w, to, m_wide, x, stride, first, head, rows, d)
        _elu(at(w, to), rows * m_wide // lanes)
    else:
        tile_rows(w, room, d_wide, x, stride, first, head, rows, d)
        times(w, to, m_wide, room, d_wide, drawn, 0, rows, d, lanes)
        half = w.dtype.type(0.5 / math.sqrt(d))
        for r in range(rows):
            row = at(w, to + r * m_wide)
            if kind == QUERIES:
                less = _largest(row, m_wide // lanes)
            else:
                of_x = at(w, room + r * d_wide)
                less = dot(of_x, of_x, d_wide // lanes) * half
            _powers(row, m_wide // lanes, less)


@as_written
def write_gradient(to, place, step, w, w_d, w_phi, room, drawn, kind, x, stride, first, head, rows, sizes):
    """The gradients of a head's rows of x from those of their features, at `w_d`, which are lost; rows lie `step` apart.

    `w_phi`: the features. `room`: as above.
    """
    apart()
    lanes, d, d_wide, m_wide, one = sizes.lanes, sizes.d, sizes.d_wide, sizes.m_wide, w.dtype.type(1)
    if kind == ELU:
        _slope_of_elu(at(w, w_d), at(w, w_phi), rows * m_wide // lanes)
        packing.write_rows(to, place, step, w, w_d, m_wide, rows, d, one)
    else:
        w_x, w_dx = room, room + (TILE + ROWS) * d_wide
        _multiply(at(w, w_d), at(w, w_phi), rows * m_wide // lanes)
        times(w, w_dx, d_wide, w_d, m_wide, drawn, d * m_wide, rows, sizes.m, lanes)
        if kind == KEYS:
            tile_rows(w, w_x, d_wide, x, stride, first, head, rows, d)
            factor = w.dtype.type(-1 / math.sqrt(d))
            for r in range(rows):
                packing.fill(w, w_d + r * m_wide + sizes.m, w_d + (r + 1) * m_wide, w.dtype.type(0))
                total = _total(at(w, w_d + r * m_wide), m_wide // lanes)
                plus(at(w, w_dx + r * d_wide), at(w, w_x + r * d_wide), d_wide // lanes, total * factor)
        packing.write_rows(to, place, step, w, w_dx, d_wide, rows, d, one)
