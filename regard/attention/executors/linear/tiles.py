"""What the kernels of `linear` do with a tile of rows: take it from tensors, multiply it, add it up. All arrays are flat."""

from __future__ import annotations

from regard.kernels import packing
from regard.kernels.compiled import as_written
from regard.kernels.simd.processor import ROWS
from regard.kernels.simd.rows import at, plus, product

__all__ = ["TILE", "added", "divided", "outer", "tile_rows", "times", "whole"]

# Rows that are computed at once: their features, values and products stay in the first cache, or near to it.
TILE = 64


@as_written
def whole(x, step):
    """The smallest multiple of a step that is not less."""
    return (x + step - 1) // step * step


@as_written
def tile_rows(w, to, width, x, stride, first, head, rows, columns):
    """A head's rows of x from the first on; zeros fill them up to `width`."""
    base = first * stride.row + head * stride.head
    packing.pack_rows(w, to, width, x, base, stride.row, stride.column, rows, rows, columns, w.dtype.type(1))


@as_written
def divided(x, there, w, from_, columns, divisor):
    """A row of x as a row of w divided by a number."""
    for c in range(columns):
        packing.save(x, there + c, packing.load(w, from_ + c) / divisor)


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
def added(totals, z, w, w_x, width, rows, lanes):
    """A tile's rows, added to a row of totals."""
    for r in range(rows):
        plus(at(totals, z), at(w, w_x + r * width), width // lanes, w.dtype.type(1))
