"""Rows of tensors as the products of kernels read them, and back: padded to whole vectors, turned, in pairs, rounded."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _intrinsic
from numba.extending import overload

from regard.kernels.compiled import AS_WRITTEN, as_written
from regard.kernels.simd.emit import INT32, address, from_bfloat16, to_bfloat16
from regard.kernels.simd.processor import PAIRS, ROWS
from regard.kernels.simd.rows import apart, at, transpose

__all__ = [
    "add_rows", "clear", "fill", "load", "pack_across", "pack_along", "pack_columns", "pack_rows", "per_product", "save",
    "write_rows",
]  # fmt: skip

# Its results are functions of compiled code, whose first parameter, the typing context, is not the caller's.
intrinsic: Any = _intrinsic


@intrinsic
def load(context: Any, array: Any, index: Any) -> Any:
    wide = types.float32 if isinstance(array.dtype, types.Integer) else array.dtype

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        x = builder.load(address(context, builder, array, *args))
        if wide is array.dtype:
            return x
        return from_bfloat16(builder, x)

    return wide(array, types.intp), make


@intrinsic
def save(context: Any, array: Any, index: Any, value: Any) -> Any:
    wide = types.float32 if isinstance(array.dtype, types.Integer) else array.dtype

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        *place, x = args
        if wide is not array.dtype:
            x = to_bfloat16(builder, x)
        builder.store(x, address(context, builder, array, *place))
        return context.get_dummy_value()

    return types.void(array, types.intp, wide), make


@as_written
def pack_rows(w, to, width, x, base, row_step, step, rows, filled, columns, factor):
    """Rows of x, times a factor, as rows of so many numbers; zeros behind the columns, and in rows up to `filled`."""
    apart()
    for r in range(rows):
        here, there = to + r * width, base + r * row_step
        if step == 1:
            for c in range(columns):
                save(w, here + c, load(x, there + c) * factor)
        else:
            for c in range(columns):
                save(w, here + c, load(x, there + c * step) * factor)
        for c in range(columns, width):
            save(w, here + c, w.dtype.type(0))
    for place in range(to + rows * width, to + filled * width):
        save(w, place, w.dtype.type(0))


@intrinsic
def _save_pair(context: Any, array: Any, index: Any, x: Any, low: Any, high: Any) -> Any:
    """Two numbers of 16 bits as one of 32, the first the lower one."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        to, at, numbers, *places = args
        low, high = (
            builder.zext(builder.load(address(context, builder, x, numbers, place)), INT32) for place in places
        )
        both = builder.or_(low, builder.shl(high, ir.Constant(INT32, 16)))
        builder.store(both, builder.bitcast(address(context, builder, array, to, at), INT32.as_pointer()))
        return context.get_dummy_value()

    return types.void(array, types.intp, x, types.intp, types.intp), make


@intrinsic
def _save_one(context: Any, array: Any, index: Any, x: Any, low: Any) -> Any:
    """A number of 16 bits as the lower half of one of 32, beside 0."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        to, at, numbers, place = args
        low = builder.zext(builder.load(address(context, builder, x, numbers, place)), INT32)
        builder.store(low, builder.bitcast(address(context, builder, array, to, at), INT32.as_pointer()))
        return context.get_dummy_value()

    return types.void(array, types.intp, x, types.intp), make


def _paired(x: Any) -> bool:
    """Whether products take the numbers of x as pairs of bfloat16."""
    return PAIRS and isinstance(x.dtype, types.Integer)


def per_product(x):
    """How many numbers of x a product takes at once."""
    raise NotImplementedError("for kernels alone")


@overload(per_product)
def _per_product(x):
    number = 2 if _paired(x) else 1
    return lambda x: number


@as_written
def _pack_pairs_of_columns(w, to, width, x, base, row_step, step, rows, filled, columns):
    apart()
    pairs = columns // 2
    for r in range(rows):
        here, there = to + r * width, base + r * row_step
        if step == 1:
            for c in range(pairs):
                _save_pair(w, here + c, x, there + 2 * c, there + 2 * c + 1)
        else:
            for c in range(pairs):
                _save_pair(w, here + c, x, there + 2 * c * step, there + (2 * c + 1) * step)
        if columns > 2 * pairs:
            _save_one(w, here + pairs, x, there + 2 * pairs * step)
        for c in range((columns + 1) // 2, width):
            save(w, here + c, w.dtype.type(0))
    for place in range(to + rows * width, to + filled * width):
        save(w, place, w.dtype.type(0))


@as_written
def _pack_pairs_of_rows(w, to, width, x, base, row_step, step, rows, columns):
    apart()
    for r in range(0, rows, 2):
        here, there = to + r // 2 * width, base + r * row_step
        if r + 1 == rows:
            for c in range(columns):
                _save_one(w, here + c, x, there + c * step)
        elif step == 1:
            for c in range(columns):
                _save_pair(w, here + c, x, there + c, there + row_step + c)
        else:
            for c in range(columns):
                _save_pair(w, here + c, x, there + c * step, there + row_step + c * step)
        for c in range(columns, width):
            save(w, here + c, w.dtype.type(0))


def pack_along(w, to, width, x, base, row_step, step, rows, filled, columns, factor):
    """Rows of x for a product along their columns: times a factor, as `pack_rows`, or pairs of neighboring columns as they are."""
    raise NotImplementedError("for kernels alone")


@overload(pack_along, jit_options=AS_WRITTEN)
def _pack_along(w, to, width, x, base, row_step, step, rows, filled, columns, factor):
    def in_pairs(w, to, width, x, base, row_step, step, rows, filled, columns, factor):
        _pack_pairs_of_columns(w, to, width, x, base, row_step, step, rows, filled, columns)

    def plain(w, to, width, x, base, row_step, step, rows, filled, columns, factor):
        pack_rows(w, to, width, x, base, row_step, step, rows, filled, columns, factor)

    return in_pairs if _paired(x) else plain


def pack_across(w, to, width, x, base, row_step, step, rows, columns):
    """Rows of x for a product along the rows: as `pack_rows`, or pairs of neighboring rows in half as many."""
    raise NotImplementedError("for kernels alone")


@overload(pack_across, jit_options=AS_WRITTEN)
def _pack_across(w, to, width, x, base, row_step, step, rows, columns):
    def in_pairs(w, to, width, x, base, row_step, step, rows, columns):
        _pack_pairs_of_rows(w, to, width, x, base, row_step, step, rows, columns)

    def plain(w, to, width, x, base, row_step, step, rows, columns):
        pack_rows(w, to, width, x, base, row_step, step, rows, rows, columns, w.dtype.type(1))

    return in_pairs if _paired(x) else plain


@as_written
def pack_columns(w, to, lanes, from_, width, panels):
    """Packed rows, so many numbers wide, as columns: panels of `lanes` rows side by side, each column by column."""
    apart()
    for panel in range(panels):
        here, there = to + panel * lanes * width, from_ + panel * lanes * width
        for c in range(0, width, lanes):
            transpose(at(w, here + c * lanes), at(w, there + c), width)


@as_written
def write_rows(x, there, row_step, w, from_, width, rows, columns, factor):
    """Rows of so many columns into x, times a factor."""
    apart()
    for r in range(rows):
        for c in range(columns):
            save(x, there + r * row_step + c, load(w, from_ + r * width + c) * factor)


@as_written
def add_rows(x, there, row_step, w, from_, width, rows, columns, factor):
    """Rows of so many columns added to those of x, times a factor."""
    apart()
    for r in range(rows):
        for c in range(columns):
            place = there + r * row_step + c
            save(x, place, load(x, place) + load(w, from_ + r * width + c) * factor)


@as_written
def fill(w, begin, end, x):
    apart()
    for place in range(begin, end):
        save(w, place, x)


@as_written
def clear(w, rows_at, stretch, begin, end, used):
    """Zeros in a register tile's rows, from 0 to begin and from end to `used`."""
    apart()
    nothing = w.dtype.type(0)
    if begin > 0 or end < used:
        for r in range(ROWS):
            row = rows_at + r * stretch
            for place in range(row, row + begin):
                save(w, place, nothing)
            for place in range(row + end, row + used):
                save(w, place, nothing)
