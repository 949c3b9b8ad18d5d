"""What turns rows of scores into weights, and their gradients back: normalizers, masks of intervals, dropout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from regard.kernels.compiled import as_written
from regard.kernels.hashing import emit_mix
from regard.kernels.simd.emit import INT32, INT64, Kind, loop, place_of
from regard.kernels.simd.processor import PAIRS

__all__ = ["drop", "gradients", "paired", "relu_step", "sigmoid_step", "softmax_step"]


# For each vector of a row: its place, what is carried from vector to vector, and what its numbers outside are struck out with.
_Body = Callable[[Any, list[Any], Callable[[Any], Any]], list[Any]]


def _along(
    kind: Kind, builder: ir.IRBuilder, vectors: Any, low: Any, high: Any, carried: list[Any], body: _Body
) -> list[Any]:
    """`carried = body(i, carried, keep)` for a row's vectors, where `keep(x)` makes -inf of the numbers outside of low .. high.

    Vectors that lie inside as a whole, which most do, have a loop without any comparison.
    """
    bounds = [kind.fill(builder, builder.trunc(x, INT32), kind.hash) for x in (low, high)]
    lanes = ir.Constant(kind.hash, list(range(kind.lanes)))
    wide, zero = ir.Constant(INT64, kind.lanes.bit_length() - 1), ir.Constant(INT64, 0)

    def between(x: Any, least: Any, most: Any) -> Any:
        x = builder.select(builder.icmp_signed("<", x, least), least, x)
        return builder.select(builder.icmp_signed(">", x, most), most, x)

    first = between(builder.ashr(builder.add(low, ir.Constant(INT64, kind.lanes - 1)), wide), zero, vectors)
    last = between(builder.ashr(high, wide), first, vectors)
    for begin, end, whole in ((zero, first, False), (first, last, True), (last, vectors, False)):

        def each(i: Any, carried: list[Any], begin: Any = begin, whole: bool = whole) -> list[Any]:
            i = builder.add(i, begin)

            def keep(x: Any) -> Any:
                if whole:
                    return x
                at = builder.trunc(builder.shl(i, wide), INT32)
                place = builder.add(kind.fill(builder, at, kind.hash), lanes)
                behind, before = (
                    builder.icmp_signed(sign, place, bound) for sign, bound in zip((">=", "<"), bounds, strict=True)
                )
                return builder.select(builder.and_(behind, before), x, kind.constant(-math.inf))

            return body(i, carried, keep)

        carried = loop(builder, builder.sub(end, begin), carried, each)
    return carried


@intrinsic
def softmax_step(
    context: Any, row: Any, vectors: Any, low: Any, high: Any, top: Any, total: Any, out: Any, out_vectors: Any
) -> Any:
    """One more stretch of a row of scores, of which those from low to high count: row = 2^(row - top).

    The largest score so far and the sum so far, at `top` and `total`, are brought up to date, and so is the row of outputs that
    was summed with weights for the old ones.
    """
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, vectors, low, high, top_at, total_at, out, out_vectors = args

        def larger(a: Any, b: Any) -> Any:
            return kind.larger(builder, a, b)

        def find(i: Any, carried: list[Any], keep: Callable[[Any], Any]) -> list[Any]:
            # NaN is passed over here, and stays NaN below.
            return [larger(keep(kind.load(builder, place_of(builder, kind, row, i))), carried[0])]

        (found,) = _along(kind, builder, vectors, low, high, [kind.constant(-math.inf)], find)
        old = builder.load(top_at)
        new = larger(kind.reduce(builder, found, larger), old)
        with builder.if_then(builder.fcmp_ordered(">", new, old)):
            fade = kind.exp(builder, kind.fill(builder, builder.fsub(old, new)), base=2, large=False)
            first = builder.extract_element(fade, ir.Constant(INT32, 0))
            builder.store(builder.fmul(builder.load(total_at), first), total_at)
            builder.store(new, top_at)

            def weaken(i: Any, carried: list[Any]) -> list[Any]:
                place = place_of(builder, kind, out, i)
                kind.store(builder, builder.fmul(kind.load(builder, place), fade), place)
                return []

            loop(builder, out_vectors, [], weaken)
        nothing = builder.fcmp_ordered("==", new, ir.Constant(kind.scalar, -math.inf))
        new = kind.fill(builder, builder.select(nothing, ir.Constant(kind.scalar, 0.0), new))

        def change(i: Any, carried: list[Any], keep: Callable[[Any], Any]) -> list[Any]:
            place = place_of(builder, kind, row, i)
            p = kind.exp(builder, builder.fsub(keep(kind.load(builder, place)), new), base=2, large=False)
            kind.store(builder, p, place)
            return [builder.fadd(carried[0], p)]

        (sums,) = _along(kind, builder, vectors, low, high, [kind.constant(0.0)], change)
        more = kind.reduce(builder, sums, builder.fadd)
        builder.store(builder.fadd(builder.load(total_at), more), total_at)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(row, whole, whole, whole, top, total, out, whole), make


@intrinsic
def _paired(context: Any, row: Any, vectors: Any, like: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, vectors, _ = args
        half = ir.VectorType(ir.IntType(16), 2 * kind.lanes)
        rounding = ir.FunctionType(half, [kind.vector, kind.vector])
        rounded = cgutils.get_or_insert_function(builder.module, rounding, "llvm.x86.avx512bf16.cvtne2ps2bf16.512")

        def body(i: Any, carried: list[Any]) -> list[Any]:
            # The first of the pairs of vectors is written where it was read; behind an odd number, what is read is never used.
            low = builder.mul(i, ir.Constant(INT64, 2))
            each = [
                kind.load(builder, place_of(builder, kind, row, builder.add(low, ir.Constant(INT64, n))))
                for n in (1, 0)
            ]
            both = builder.bitcast(builder.call(rounded, each), kind.vector)
            kind.store(builder, both, place_of(builder, kind, row, i))
            return []

        number = builder.ashr(builder.add(vectors, ir.Constant(INT64, 1)), ir.Constant(INT64, 1))
        if PAIRS and isinstance(like.dtype, types.Integer):
            loop(builder, number, [], body)
        return context.get_dummy_value()

    return types.void(row, types.intp, like), make


@as_written
def paired(row, vectors, like):
    """A row's float32 as half as many pairs of bfloat16, rounded to the nearest, where products take pairs; see `operand`."""
    _paired(row, vectors, like)


def _relu(kind: Kind, builder: ir.IRBuilder, x: Any, factor: Any) -> Any:
    # A comparison that NaN fails, so that it stays.
    negative = builder.fcmp_ordered("<", x, kind.constant(0.0))
    return builder.fmul(builder.select(negative, kind.constant(0.0), x), factor)


def _sigmoid(kind: Kind, builder: ir.IRBuilder, x: Any, shift: Any) -> Any:
    one = kind.constant(1.0)
    a = builder.fdiv(one, builder.fadd(one, kind.exp(builder, builder.fsub(shift, x), base=2)))
    forbidden = builder.fcmp_ordered("==", x, kind.constant(-math.inf))
    return builder.select(forbidden, kind.constant(0.0), a)


def _pointwise(weight: Callable[..., Any]) -> Any:
    """An intrinsic: row = weight(row, number), for a row of scores of which those from low to high count."""

    @intrinsic
    def change(context: Any, row: Any, vectors: Any, low: Any, high: Any, number: Any) -> Any:
        kind = Kind(row.dtype)

        def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            row, vectors, low, high, number = args
            number = kind.fill(builder, number)

            def body(i: Any, carried: list[Any], keep: Callable[[Any], Any]) -> list[Any]:
                place = place_of(builder, kind, row, i)
                kind.store(builder, weight(kind, builder, keep(kind.load(builder, place)), number), place)
                return []

            _along(kind, builder, vectors, low, high, [], body)
            return context.get_dummy_value()

        return types.void(row, types.intp, types.intp, types.intp, row.dtype), make

    return change


relu_step, sigmoid_step = _pointwise(_relu), _pointwise(_sigmoid)


def _factors(
    kind: Kind, builder: ir.IRBuilder, hashed_row: Any, key: Any, threshold: Any, keep: Any
) -> Callable[[Any], Any]:
    """What the weights of vector i are multiplied with: `keep` or 0, as the hash of the key says (`of_key` from the row's hash)."""
    row, least = (kind.fill(builder, builder.trunc(x, INT32), kind.hash) for x in (hashed_row, threshold))
    first, keep = kind.fill(builder, builder.trunc(key, INT32), kind.hash), kind.fill(builder, keep)
    first = builder.add(first, ir.Constant(kind.hash, list(range(kind.lanes))))

    def factor(i: Any) -> Any:
        at = builder.trunc(builder.mul(i, ir.Constant(INT64, kind.lanes)), INT32)
        keys = builder.add(first, kind.fill(builder, at, kind.hash))
        x = emit_mix(builder, builder.xor(row, keys))
        return builder.select(builder.icmp_signed(">=", x, least), keep, kind.constant(0.0))

    return factor


@intrinsic
def _drop(context: Any, row: Any, vectors: Any, hashed_row: Any, key: Any, threshold: Any, keep: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        row, vectors, *hashed = args
        factor = _factors(kind, builder, *hashed)

        def body(i: Any, carried: list[Any]) -> list[Any]:
            place = place_of(builder, kind, row, i)
            kind.store(builder, builder.fmul(kind.load(builder, place), factor(i)), place)
            return []

        loop(builder, vectors, [], body)
        return context.get_dummy_value()

    whole = types.int64
    return types.void(row, types.intp, whole, whole, whole, row.dtype), make


@as_written
def drop(row, vectors, hashed_row, key, threshold, keep):
    """row = row * factor, with the factors of a dropout for the keys from `key` on."""
    _drop(row, vectors, hashed_row, key, threshold, keep)


def _gradients(normalizer: str, dropping: bool) -> Any:
    """From scores and the gradients of weights, in place, to weights (as they were summed) and the gradients of scores."""

    @intrinsic
    def change(
        context: Any, row: Any, above: Any, vectors: Any, low: Any, high: Any, a: Any, b: Any, hashed_row: Any, key: Any,
        threshold: Any, keep: Any,
    ) -> Any:  # fmt: skip
        kind = Kind(row.dtype)

        def make(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            row, above, vectors, low, high, a, b, *hashed = args
            a, b = (kind.fill(builder, x) for x in (a, b))
            factor = _factors(kind, builder, *hashed) if dropping else None
            zero, one = kind.constant(0.0), kind.constant(1.0)

            def body(i: Any, carried: list[Any], keep: Callable[[Any], Any]) -> list[Any]:
                places = [place_of(builder, kind, pointer, i) for pointer in (row, above)]
                s, g = (kind.load(builder, place) for place in places)
                s = keep(s)
                f = None if factor is None else factor(i)
                if f is not None:
                    g = builder.fmul(g, f)
                if normalizer == "softmax":
                    p = kind.exp(builder, builder.fsub(s, a), base=2)
                    g = builder.fmul(p, builder.fsub(g, b))
                elif normalizer == "relu":
                    p = _relu(kind, builder, s, a)
                    g = builder.fmul(g, a)
                else:
                    p = _sigmoid(kind, builder, s, a)
                    g = builder.fmul(builder.fmul(p, builder.fsub(one, p)), g)
                # The gradient of a forbidden weight may be infinite, and zero times it is NaN.
                g = builder.select(builder.fcmp_ordered("==", p, zero), zero, g)
                for x, place in zip((p if f is None else builder.fmul(p, f), g), places, strict=True):
                    kind.store(builder, x, place)
                return []

            _along(kind, builder, vectors, low, high, [], body)
            return context.get_dummy_value()

        n, whole = row.dtype, types.int64
        return types.void(row, above, whole, whole, whole, n, n, whole, whole, whole, n), make

    return change


_softmax, _softmax_drop = _gradients("softmax", False), _gradients("softmax", True)
_relu_gradients, _relu_drop = _gradients("relu", False), _gradients("relu", True)
_sigmoid_gradients, _sigmoid_drop = _gradients("sigmoid", False), _gradients("sigmoid", True)


@as_written
def gradients(normalizer, dropping, row, above, vectors, low, high, a, b, hashed_row, key, threshold, keep):
    """From a row's scores and its gradients from above, in place, to its weights as they were summed and its scores' gradients.

    Scores from low to high count. a, b: softmax (0), the logarithm of the sum and the delta; relu (1), 1 / n; sigmoid (2), log n.
    """
    if normalizer == 0:
        if dropping:
            _softmax_drop(row, above, vectors, low, high, a, b, hashed_row, key, threshold, keep)
        else:
            _softmax(row, above, vectors, low, high, a, b, hashed_row, key, threshold, keep)
    elif normalizer == 1:
        if dropping:
            _relu_drop(row, above, vectors, low, high, a, b, hashed_row, key, threshold, keep)
        else:
            _relu_gradients(row, above, vectors, low, high, a, b, hashed_row, key, threshold, keep)
    elif dropping:
        _sigmoid_drop(row, above, vectors, low, high, a, b, hashed_row, key, threshold, keep)
    else:
        _sigmoid_gradients(row, above, vectors, low, high, a, b, hashed_row, key, threshold, keep)
