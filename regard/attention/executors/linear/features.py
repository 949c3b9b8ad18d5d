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

from regard.attention.executors.linear.tiles import TILE, tile_rows, times
from regard.kernels import packing
from regard.kernels.compiled import as_written
from regard.kernels.simd.emit import Kind
from regard.kernels.simd.processor import ROWS
from regard.kernels.simd.rows import apart, at, dot, each, folded, plus

__all__ = ["ELU", "KEYS", "QUERIES", "features", "write_gradient"]

ELU, QUERIES, KEYS = 0, 1, 2

# log2(e) as a number and what float32 and float64 round off it.
_LOG2E = {
    32: (float(np.float32(math.log2(math.e))), 1.925963033500e-08),
    64: (math.log2(math.e), 2.0355273740931033e-17),
}


def _of_elu(builder: ir.IRBuilder, kind: Kind, x: Any, _: Any, one: Any) -> Any:
    """elu(x) + 1."""
    near, rest = _LOG2E[kind.bits]
    zero = kind.constant(0.0)
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
    return builder.select(above, builder.fadd(x, one), value)


def _times_slope(builder: ir.IRBuilder, kind: Kind, x: Any, phi: Any, one: Any) -> Any:
    """x times the slope of elu: 1 above zero, where phi is more, and phi below."""
    return builder.fmul(x, builder.select(builder.fcmp_ordered(">", phi, one), one, phi))


_elu, _slope_of_elu = each(_of_elu), each(_times_slope)
_powers = each(lambda builder, kind, x, y, less: kind.exp(builder, builder.fsub(x, less)))
_multiply = each(lambda builder, kind, x, y, number: builder.fmul(x, y))
_largest = folded(
    -math.inf,
    lambda builder, kind, x, y, so_far: kind.larger(builder, x, so_far),
    lambda builder, kind, x, y: kind.larger(builder, x, y),
)
_total = folded(
    0.0,
    lambda builder, kind, x, y, so_far: builder.fadd(x, so_far),
    lambda builder, kind, x, y: builder.fadd(x, y),
)


@as_written
def features(w, to, room, drawn, kind, x, stride, first, head, rows, sizes):
    """The features of a head's rows of x from the first on, in rows of whole vectors; `room` is for rows of x, twice a tile.

    What fills them up is finite where the features are.
    """
    apart()
    lanes, d, d_wide, m_wide = sizes.lanes, sizes.d, sizes.d_wide, sizes.m_wide
    if kind == ELU:
        tile_rows(w, to, m_wide, x, stride, first, head, rows, d)
        _elu(at(w, to), at(w, to), rows * m_wide // lanes, w.dtype.type(1))
    else:
        tile_rows(w, room, d_wide, x, stride, first, head, rows, d)
        times(w, to, m_wide, room, d_wide, drawn, 0, rows, d, lanes)
        half = w.dtype.type(0.5 / math.sqrt(d))
        for r in range(rows):
            row = at(w, to + r * m_wide)
            if kind == QUERIES:
                less = _largest(row, row, m_wide // lanes)
            else:
                of_x = at(w, room + r * d_wide)
                less = dot(of_x, of_x, d_wide // lanes) * half
            _powers(row, row, m_wide // lanes, less)


@as_written
def write_gradient(to, place, step, w, w_d, w_phi, room, drawn, kind, x, stride, first, head, rows, sizes):
    """The gradients of a head's rows of x from those of their features, at `w_d`, which are lost; rows lie `step` apart.

    `w_phi`: the features. `room`: as above.
    """
    apart()
    lanes, d, d_wide, m_wide, one = sizes.lanes, sizes.d, sizes.d_wide, sizes.m_wide, w.dtype.type(1)
    if kind == ELU:
        _slope_of_elu(at(w, w_d), at(w, w_phi), rows * m_wide // lanes, one)
        packing.write_rows(to, place, step, w, w_d, m_wide, rows, d, one)
    else:
        w_x, w_dx = room, room + (TILE + ROWS) * d_wide
        _multiply(at(w, w_d), at(w, w_phi), rows * m_wide // lanes, one)
        times(w, w_dx, d_wide, w_d, m_wide, drawn, d * m_wide, rows, sizes.m, lanes)
        if kind == KEYS:
            tile_rows(w, w_x, d_wide, x, stride, first, head, rows, d)
            factor = w.dtype.type(-1 / math.sqrt(d))
            for r in range(rows):
                packing.fill(w, w_d + r * m_wide + sizes.m, w_d + (r + 1) * m_wide, w.dtype.type(0))
                row = at(w, w_d + r * m_wide)
                total = _total(row, row, m_wide // lanes)
                plus(at(w, w_dx + r * d_wide), at(w, w_x + r * d_wide), d_wide // lanes, total * factor)
        packing.write_rows(to, place, step, w, w_dx, d_wide, rows, d, one)
