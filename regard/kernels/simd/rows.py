"""Rows of numbers in kernels: products of tiles, sums along rows, squares turned, each written as LLVM instructions.

Every function takes pointers to float32 or float64; rows are padded to whole vectors of the processor, `lanes(bits)` numbers. LLVM
makes the same instructions correct on any processor. Only products of pairs of bfloat16 need an instruction of their own: they are
there where `PAIRS` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from regard.kernels.compiled import as_written
from regard.kernels.simd.emit import INT32, INT64, Kind, address, loop, permuted, place_of, step
from regard.kernels.simd.processor import PAIRS, ROWS

__all__ = ["apart", "at", "dot", "each", "folded", "operand", "plus", "product", "shifted", "transpose"]


@intrinsic
def apart(context: Any) -> Any:
    """Keep the function that says this out of its callers: one copy of its code is enough, and quicker to compile."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), make


@intrinsic
def _at(context: Any, array: Any, offset: Any) -> Any:
    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return address(context, builder, signature.args[0], *args)

    return types.CPointer(array.dtype)(array, types.intp), make


@as_written
def at(array, offset):
    """A pointer to an element of a flat array."""
    return _at(array, offset)


@intrinsic
def _shifted(context: Any, pointer: Any, offset: Any) -> Any:
    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return step(builder, *args)

    return pointer(pointer, types.intp), make


@as_written
def shifted(pointer, offset):
    """The pointer, so many elements further."""
    return _shifted(pointer, offset)


@intrinsic
def _operand(context: Any, array: Any, offset: Any, like: Any) -> Any:
    pairs = PAIRS and isinstance(like.dtype, types.Integer)
    element = types.int32 if pairs else array.dtype

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        place = address(context, builder, signature.args[0], *args[:2])
        return builder.bitcast(place, INT32.as_pointer()) if pairs else place

    return types.CPointer(element)(array, types.intp, like), make


@as_written
def operand(array, offset, like):
    """A pointer to an element of a flat array, which a product takes as a pair of bfloat16 where `like` holds such and `PAIRS`."""
    return _operand(array, offset, like)


def _multiplied(kind: Kind, builder: ir.IRBuilder, a: Any, b: Any, sums: Any) -> Any:
    """sums + a b, or sums + a_0 b_0 + a_1 b_1 for pairs."""
    if a.type == kind.vector:
        return kind.fma(builder, a, b, sums)
    signature = ir.FunctionType(kind.vector, [kind.vector, a.type, a.type])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx512bf16.dpbf16ps.512")
    return builder.call(function, [sums, a, b])


def _register_tile(vectors: int) -> Any:
    """c[r, :] (+)= factor * sum_k a[r, k] b[k, :] for ROWS rows and so many vectors of columns, all of c in registers.

    The factor is for pairs of bfloat16 alone: other numbers can be multiplied with it beforehand.
    """

    @intrinsic
    def tile(
        context: Any, c: Any, c_row: Any, a: Any, a_row: Any, a_next: Any, b: Any, b_next: Any, b_side: Any, depth: Any, add: Any,
        factor: Any,
    ) -> Any:  # fmt: skip
        kind, pairs = Kind(c.dtype), isinstance(a.dtype, types.Integer)

        def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            c, c_row, a, a_row, a_next, b, b_next, b_side, depth, add, factor = args
            rows = [step(builder, a, builder.mul(a_row, ir.Constant(INT64, r))) for r in range(ROWS)]
            sides = [step(builder, b, builder.mul(b_side, ir.Constant(INT64, v))) for v in range(vectors)]
            operands = kind.hash if pairs else kind.vector

            def body(k: Any, sums: list[Any]) -> list[Any]:
                b_at, a_at, new = builder.mul(k, b_next), builder.mul(k, a_next), []
                of_b = [kind.load(builder, step(builder, side, b_at), operands) for side in sides]
                for r, row in enumerate(rows):
                    of_a = kind.fill(builder, builder.load(step(builder, row, a_at)), operands)
                    new += [_multiplied(kind, builder, of_a, x, sums[r * vectors + v]) for v, x in enumerate(of_b)]
                return new

            sums = loop(builder, depth, [kind.constant(0.0)] * (ROWS * vectors), body, as_it_is=True)
            if pairs:
                factor = kind.fill(builder, factor)
                sums = [builder.fmul(x, factor) for x in sums]
            adding = builder.icmp_signed("!=", add, ir.Constant(INT64, 0))
            with builder.if_else(adding) as (yes, no):
                for branch, more in ((yes, True), (no, False)):
                    with branch:
                        for r in range(ROWS):
                            for v in range(vectors):
                                offset = builder.mul(c_row, ir.Constant(INT64, r))
                                offset = builder.add(offset, ir.Constant(INT64, v * kind.lanes))
                                place, x = step(builder, c, offset), sums[r * vectors + v]
                                if more:
                                    x = builder.fadd(x, kind.load(builder, place))
                                kind.store(builder, x, place)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(c, whole, a, whole, whole, b, whole, whole, whole, whole, c.dtype), make

    return tile


_three, _two, _one = _register_tile(3), _register_tile(2), _register_tile(1)


@as_written
def product(c, c_row, a, a_row, a_next, b, b_next, b_side, depth, vectors, lanes, add, factor):
    """c (+)= a . b for ROWS rows of c and so many vectors of its columns.

    `c_row`: from row to row of c. `a_row`, `a_next`: from row to row of a, and along its depth. `b_next`, `b_side`: along the
    depth of b, and from vector to vector of one of its rows. `add` is 1 to add to what c holds. Where a and b point to pairs of
    bfloat16, the depth counts pairs, and the product is multiplied with `factor`.
    """
    apart()
    v = 0
    while v < vectors:
        to, side, left = shifted(c, v * lanes), shifted(b, v * b_side), vectors - v
        if left == 3 or left > 4:
            _three(to, c_row, a, a_row, a_next, side, b_next, b_side, depth, add, factor)
            v += 3
        elif left >= 2:
            _two(to, c_row, a, a_row, a_next, side, b_next, b_side, depth, add, factor)
            v += 2
        else:
            _one(to, c_row, a, a_row, a_next, side, b_next, b_side, depth, add, factor)
            v += 1


@intrinsic
def transpose(context: Any, to: Any, rows: Any, stride: Any) -> Any:
    """A square of as many rows as a vector has lanes, `stride` apart, turned and written row by row."""
    kind = Kind(to.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        to, rows, stride = args
        lanes = range(kind.lanes)
        square = [
            kind.load(builder, step(builder, rows, builder.mul(stride, ir.Constant(INT64, lane)))) for lane in lanes
        ]
        half = 1
        while half < kind.lanes:
            # Swap what lies off the diagonal in every square of twice `half` rows.
            upper = [lane + kind.lanes - half if lane & half else lane for lane in lanes]
            lower = [lane + kind.lanes if lane & half else lane + half for lane in lanes]
            for r in [r for r in lanes if not r & half]:
                pair = square[r], square[r + half]
                for place, order in ((r, upper), (r + half, lower)):
                    square[place] = permuted(builder, pair[0], order, pair[1])
            half *= 2
        for lane, x in zip(lanes, square, strict=True):
            kind.store(builder, x, step(builder, to, ir.Constant(INT64, lane * kind.lanes)))
        return context.get_dummy_value()

    return types.void(to, rows, types.intp), make


def each(compute: Callable[..., Any]) -> Any:
    """`f(row, other, vectors, number)`: vectors x of a row become compute(builder, kind, x, y, number), y those of the other."""

    @intrinsic
    def changed(context: Any, row: Any, other: Any, vectors: Any, number: Any) -> Any:
        kind = Kind(row.dtype)

        def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            row, other, vectors, number = args
            number = kind.fill(builder, number)

            def body(i: Any, carried: list[Any]) -> list[Any]:
                place = place_of(builder, kind, row, i)
                x, y = (kind.load(builder, at) for at in (place, place_of(builder, kind, other, i)))
                kind.store(builder, compute(builder, kind, x, y, number), place)
                return []

            loop(builder, vectors, [], body)
            return context.get_dummy_value()

        return types.void(row, other, types.intp, row.dtype), make

    return changed


def folded(first: float, term: Callable[..., Any], combine: Callable[..., Any]) -> Any:
    """`f(a, b, vectors)`: one number of two rows, combine(builder, kind, term(builder, kind, x, y, so_far)) over all lanes.

    `first` is what there is before; term takes what came of the vectors before as well, so that it can be one instruction.
    """

    @intrinsic
    def number(context: Any, a: Any, b: Any, vectors: Any) -> Any:
        kind = Kind(a.dtype)

        def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            a, b, vectors = args

            def body(i: Any, carried: list[Any]) -> list[Any]:
                x, y = (kind.load(builder, place_of(builder, kind, row, i)) for row in (a, b))
                return [term(builder, kind, x, y, carried[0])]

            (found,) = loop(builder, vectors, [kind.constant(first)], body)
            return kind.reduce(builder, found, lambda x, y: combine(builder, kind, x, y))

        return a.dtype(a, b, types.intp), make

    return number


_plus = each(lambda builder, kind, x, y, factor: kind.fma(builder, y, factor, x))


@as_written
def plus(row, other, vectors, factor):
    """row = row + factor * other."""
    apart()
    _plus(row, other, vectors, factor)


_dot = folded(
    0.0,
    lambda builder, kind, x, y, so_far: kind.fma(builder, x, y, so_far),
    lambda builder, kind, x, y: builder.fadd(x, y),
)


@as_written
def dot(a, b, vectors):
    """The sum of the products of two rows."""
    apart()
    return _dot(a, b, vectors)
