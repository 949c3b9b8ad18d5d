"""Kernels that make the tables of `edges`, in which heads lie innermost, and that read what comes of them."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic as _intrinsic

from regard.kernels import packing
from regard.kernels.compiled import compiled, inlined
from regard.kernels.records import Stride
from regard.kernels.simd.emit import Kind, address, permuted
from regard.kernels.simd.lanes import LANES, Lanes, fill, fma, load, spread, store, store_low, sum_heads

__all__ = ["Table", "agreement", "pack", "pack_any", "scores", "scores_back", "unpack", "unpack_any"]

# Its results are functions of compiled code, whose first parameter, the typing context, is not the caller's.
intrinsic: Any = _intrinsic

# Lanes hold instructions chosen by hand.
_kernel = partial(compiled, fast=False)


class Table(NamedTuple):
    """Numbers of a row of the table, how many heads of which width they are, how the vectors lie in memory, and a factor."""

    width: int
    heads: int
    d: int
    vectors: Stride = Stride()
    scale: float = 1.0


@intrinsic(prefer_literal=True)
def _together(typingctx: Any, x: Any, at: Any, step: Any, heads: Any) -> Any:
    """16 lanes, heads innermost, of the same columns of all heads, which lie `step` numbers apart."""
    number = heads.literal_value
    each = LANES // number
    lanes = Lanes(x.dtype, LANES)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, place, further, _ = args
        kind, parts = Kind(x.dtype, each), []
        for _ in range(number):
            parts.append(kind.load(builder, address(context, builder, x, array, place)))
            place = builder.add(place, further)
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [permuted(builder, one, range(2 * one.type.count), other) for one, other in pairs]
        return permuted(builder, parts[0], [lane % number * each + lane // number for lane in range(LANES)])

    return lanes(x, types.intp, types.intp, heads), codegen


@intrinsic(prefer_literal=True)
def _apart(typingctx: Any, x: Any, at: Any, step: Any, lanes: Any, heads: Any) -> Any:
    """Writes such lanes back to where the heads lie."""
    number = heads.literal_value
    each = LANES // number

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, place, further, found, _ = args
        for head in range(number):
            part = permuted(builder, found, [lane * number + head for lane in range(each)])
            lanes.kind.store(builder, part, address(context, builder, x, array, place))
            place = builder.add(place, further)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, lanes, heads), codegen


@inlined
def _load_heads(x, at, step, heads):
    if heads == 1:
        return _together(x, at, step, 1)
    if heads == 2:
        return _together(x, at, step, 2)
    if heads == 4:
        return _together(x, at, step, 4)
    if heads == 8:
        return _together(x, at, step, 8)
    return _together(x, at, step, 16)


@inlined
def _store_heads(to, at, step, y, heads):
    if heads == 1:
        _apart(to, at, step, y, 1)
    elif heads == 2:
        _apart(to, at, step, y, 2)
    elif heads == 4:
        _apart(to, at, step, y, 4)
    elif heads == 8:
        _apart(to, at, step, y, 8)
    else:
        _apart(to, at, step, y, 16)


@_kernel
def pack(begin, end, tables, to, x):
    """to[row, c, h] = scale x[row, h, c] for rows `begin:end` of neighboring columns, which fill the table's width."""
    table = tables[0]
    scale, heads, step = fill(to, table.scale), table.heads, table.vectors
    for row in range(begin, end):
        for c in range(0, table.d, LANES // heads):
            y = _load_heads(x, row * step.row + c, step.head, heads)
            store(to, row * table.width + c * heads, y * scale)


@_kernel
def unpack(begin, end, tables, to, x):
    """to[row, h, c] = scale x[row, c, h], the other way."""
    table = tables[0]
    scale, heads, step = fill(x, table.scale), table.heads, table.vectors
    for row in range(begin, end):
        for c in range(0, table.d, LANES // heads):
            y = load(x, row * table.width + c * heads)
            _store_heads(to, row * step.row + c, step.head, y * scale, heads)


@_kernel
def pack_any(begin, end, tables, to, x):
    """As `pack`, of columns anywhere and of any number, and zeros up to the table's width; x: bfloat16 as bits."""
    table = tables[0]
    scale, step = to.dtype.type(table.scale), table.vectors
    for row in range(begin, end):
        here = row * table.width
        for c in range(table.d):
            there = row * step.row + c * step.column
            for h in range(table.heads):
                packing.save(to, here, packing.load(x, there + h * step.head) * scale)
                here += 1
        for place in range(here, (row + 1) * table.width):
            to[place] = 0


@_kernel
def unpack_any(begin, end, tables, to, x):
    """As `unpack`, of columns anywhere and of any number; to: bfloat16 as bits."""
    table = tables[0]
    scale, step = x.dtype.type(table.scale), table.vectors
    for row in range(begin, end):
        here = row * table.width
        for c in range(table.d):
            there = row * step.row + c * step.column
            for h in range(table.heads):
                packing.save(to, there + h * step.head, x[here] * scale)
                here += 1


@_kernel
def scores(begin, end, tables, to, x, w):
    """to[i, row, h] = sum_c x[row, c, h] w[i, c, h] for rows `begin:end`."""
    heads, width = tables[0].heads, tables[0].width
    number = len(w) // width
    each = len(to) // number
    for row in range(begin, end):
        for i in range(number):
            y = load(x, row * width) * load(w, i * width)
            for c in range(16, width, 16):
                y = fma(load(x, row * width + c), load(w, i * width + c), y)
            store_low(to, i * each + row * heads, sum_heads(y, heads), heads)


@_kernel
def scores_back(begin, end, tables, bounds, d_to, x, w, d_x, d_w):
    """Gradients of `scores`: rows `begin:end` of that of x, and the part of that of w, `[parts, i, width]`, which they add."""
    heads, width = tables[0].heads, tables[0].width
    number = len(w) // width
    each, part = len(d_to) // number, 0
    while bounds[part + 1] <= begin:
        part += 1
    zero = fill(x, 0)
    for place in range(part * len(w), (part + 1) * len(w), 16):
        store(d_w, place, zero)
    for row in range(begin, end):
        for c in range(0, width, 16):
            y, here = zero, load(x, row * width + c)
            for i in range(number):
                of_head = spread(load(d_to, i * each + row * heads), heads)
                y = fma(of_head, load(w, i * width + c), y)
                at = part * len(w) + i * width + c
                store(d_w, at, fma(of_head, here, load(d_w, at)))
            store(d_x, row * width + c, y)


@_kernel
def agreement(begin, end, tables, above, out, statistics):
    """statistics[row, 2, h] = sum_c above[row, c, h] out[row, c, h] for rows `begin:end`: sum_j a_j da_j of attention.

    Gradients of scores are differences from it, often small ones, so it is summed in float64.
    """
    heads, width = tables[0].heads, tables[0].width
    sums = np.empty(LANES)
    for row in range(begin, end):
        sums[:] = 0
        for c in range(row * width, (row + 1) * width, LANES):
            for lane in range(LANES):
                sums[lane] += np.float64(above[c + lane]) * np.float64(out[c + lane])
        for h in range(heads):
            total = 0.0
            for lane in range(h, LANES, heads):
                total += sums[lane]
            statistics[(row * 3 + 2) * heads + h] = total
