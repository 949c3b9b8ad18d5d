"""Products of rows with a matrix, forward and backward, a tile of rows at a time: what linear layers compute.

All arrays are flat and contiguous, widths are whole vectors of the processor. A part is a stretch of rows, which one thread
computes.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from regard.kernels import packing
from regard.kernels.compiled import compiled
from regard.kernels.simd.processor import ROWS
from regard.kernels.simd.rows import at, plus, product, transpose

__all__ = ["TILE", "Shape", "rows_back", "rows_times", "turned", "weights_back"]

TILE = 64
"""Rows whose two products on the way back follow each other, while they are in the cache."""


class Shape(NamedTuple):
    """Whole numbers that both kernels read, in an array of one record."""

    rows: int
    of_part: int
    """How many rows a part has at most."""
    d: int
    e: int
    lanes: int
    next: int
    """In `rows_times`, from row to row of w, and from vector to vector of one of its rows."""
    side: int
    of_x: int
    """Whether the gradient of x is asked for, 1 or 0, as that of w and that of the bias."""
    of_w: int
    of_bias: int


@compiled
def turned(first, last, columns, w, d, lanes):
    """w `[e, d]` column by column, for so many neighboring rows at a time as a vector has lanes."""
    for panel in range(first * lanes * d, last * lanes * d, lanes * d):
        for c in range(0, d, lanes):
            transpose(at(columns, panel + c * lanes), at(w, panel + c), d)


@compiled
def rows_times(first_part, last_part, y, x, w, bias, numbers):
    """y_i = x_i w + bias for x `[rows, d]`, w `[d, e]` in vectors as `shape` says, and a bias `[e]`, which may be empty."""
    shape = numbers[0]
    d, e, lanes, one = shape.d, shape.e, shape.lanes, y.dtype.type(1)
    biased = len(bias) > 0
    some = np.zeros(ROWS * (d + e), y.dtype)
    for part in range(first_part, last_part):
        end = min(shape.rows, (part + 1) * shape.of_part)
        for row in range(part * shape.of_part, end, ROWS):
            count = min(ROWS, end - row)
            # The last rows are fewer than a tile of registers has.
            if count == ROWS:
                into, to, of, from_ = y, row * e, x, row * d
            else:
                into, to, of, from_ = some, ROWS * d, some, 0
                packing.pack_rows(some, 0, d, x, row * d, d, 1, count, count, d, one)
            if biased:
                # The same row again and again.
                packing.pack_rows(into, to, e, bias, 0, 0, 1, count, count, e, one)
            product(
                at(into, to), e, at(of, from_), d, 1, at(w, 0), shape.next, shape.side, d, e // lanes, lanes,
                1 if biased else 0, one,
            )  # fmt: skip
            if count < ROWS:
                packing.write_rows(y, row * e, e, some, ROWS * d, e, count, e, one)


@compiled
def rows_back(first_part, last_part, d_x, d_w, d_bias, x, above, w, numbers):
    """The gradients of x, w `[e, d]` and bias from that of y, `above [rows, e]`; those of w and bias of each part by itself."""
    shape = numbers[0]
    d, e, lanes, one, zero = shape.d, shape.e, shape.lanes, above.dtype.type(1), above.dtype.type(0)
    some = np.zeros(ROWS * (d + e), above.dtype)
    for part in range(first_part, last_part):
        begin, end = part * shape.of_part, min(shape.rows, (part + 1) * shape.of_part)
        if shape.of_w:
            packing.fill(d_w, part * d * e, (part + 1) * d * e, zero)
        if shape.of_bias:
            packing.fill(d_bias, part * e, (part + 1) * e, zero)
        for first in range(begin, end, TILE):
            rows = min(TILE, end - first)
            if shape.of_x:
                for row in range(first, first + rows, ROWS):
                    count = min(ROWS, first + rows - row)
                    if count == ROWS:
                        product(
                            at(d_x, row * d),
                            d,
                            at(above, row * e),
                            e,
                            1,
                            at(w, 0),
                            d,
                            lanes,
                            e,
                            d // lanes,
                            lanes,
                            0,
                            one,
                        )
                    else:
                        packing.pack_rows(some, 0, e, above, row * e, e, 1, count, count, e, one)
                        product(
                            at(some, ROWS * e), d, at(some, 0), e, 1, at(w, 0), d, lanes, e, d // lanes, lanes, 0, one
                        )
                        packing.write_rows(d_x, row * d, d, some, ROWS * e, d, count, d, one)
            if shape.of_w:
                for r in range(0, e, ROWS):
                    product(
                        at(d_w, part * d * e + r * d), d, at(above, first * e + r), 1, e, at(x, first * d), d, lanes, rows,
                        d // lanes, lanes, 1, one,
                    )  # fmt: skip
            if shape.of_bias:
                for row in range(first, first + rows):
                    plus(at(d_bias, part * e), at(above, row * e), e // lanes, one)


@compiled
def weights_back(first_part, last_part, d_w, x, above, numbers):
    """The gradient of w `[e, d]` from that of y, `above [rows, e]`: of a part of e for all rows, which stay the same in each."""
    shape = numbers[0]
    d, e, lanes, one = shape.d, shape.e, shape.lanes, above.dtype.type(1)
    for part in range(first_part, last_part):
        begin, end = part * shape.of_part, min(e, (part + 1) * shape.of_part)
        for first in range(0, shape.rows, TILE):
            rows = min(TILE, shape.rows - first)
            for r in range(begin, end, ROWS):
                product(
                    at(d_w, r * d), d, at(above, first * e + r), 1, e, at(x, first * d), d, lanes, rows, d // lanes, lanes,
                    1 if first else 0, one,
                )  # fmt: skip
