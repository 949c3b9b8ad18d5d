"""Vector arithmetic for kernels, written as LLVM instructions, so that no compiler has to guess what can be a vector.

Every function works on pointers to float32 or float64; rows are padded to whole vectors of `lanes(bits)` numbers.
The host's widest registers are used; LLVM makes the same instructions correct on any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from regard.attention.kernels.compiled import as_written

__all__ = [
    "ROWS",
    "apart",
    "at",
    "dot",
    "drop",
    "gradients",
    "hashed",
    "lanes",
    "plus",
    "product",
    "relu_step",
    "shifted",
    "sigmoid_step",
    "softmax_step",
    "transpose",
]

_FEATURES = binding.get_host_cpu_features()
_WIDE, _MEDIUM = bool(_FEATURES.get("avx512f")), bool(_FEATURES.get("avx2"))
# A tile of the product holds this many rows of three vectors each in registers: 24 of 32 registers, or 12 of 16.
ROWS = 8 if _WIDE or _FEATURES.get("neon") else 4
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)


def lanes(bits: int) -> int:
    """How many numbers of this size one vector holds."""
    return (512 if _WIDE else 256 if _MEDIUM else 128) // bits


class _Kind:
    """What is known of float32 or float64: its types, and 2^f for |f| <= 1/2 as a polynomial.

    The coefficients interpolate 2^f at the Chebyshev nodes; the relative error is 2.6e-9 for float32, below 7e-16 for float64.
    """

    def __init__(self, number: types.Float) -> None:
        self.bits = number.bitwidth
        self.lanes = lanes(self.bits)
        self.scalar = ir.FloatType() if self.bits == 32 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.integer = ir.VectorType(ir.IntType(self.bits), self.lanes)
        self.hash = ir.VectorType(_INT32, self.lanes)
        self.mantissa, self.bias = (23, 127) if self.bits == 32 else (52, 1023)
        self.coefficients = _EXP2[self.bits]

    def constant(self, x: float) -> ir.Constant:
        return ir.Constant(self.vector, [x] * self.lanes)

    def integers(self, x: int) -> ir.Constant:
        return ir.Constant(self.integer, [x] * self.lanes)

    def load(self, builder: ir.IRBuilder, pointer: Any) -> Any:
        found = builder.load(builder.bitcast(pointer, self.vector.as_pointer()))
        found.align = self.bits // 8
        return found

    def store(self, builder: ir.IRBuilder, x: Any, pointer: Any) -> None:
        builder.store(x, builder.bitcast(pointer, self.vector.as_pointer())).align = self.bits // 8

    def spread(self, builder: ir.IRBuilder, x: Any, vector: ir.VectorType | None = None) -> Any:
        """x in every lane."""
        nothing = ir.Constant(vector or self.vector, ir.Undefined)
        one = builder.insert_element(nothing, x, ir.Constant(_INT32, 0))
        return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(_INT32, self.lanes), [0] * self.lanes))

    def fma(self, builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
        return self.call(builder, "fma", a, b, c)

    def call(self, builder: ir.IRBuilder, name: str, *arguments: Any) -> Any:
        signature = ir.FunctionType(self.vector, [self.vector] * len(arguments))
        name = f"llvm.{name}.v{self.lanes}f{self.bits}"
        return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)

    def reduce(self, builder: ir.IRBuilder, x: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """One number of a vector, halving it again and again."""
        width = self.lanes
        while width > 1:
            width //= 2
            order = [(lane + width) % self.lanes for lane in range(self.lanes)]
            other = builder.shuffle_vector(x, x, ir.Constant(ir.VectorType(_INT32, self.lanes), order))
            x = combine(x, other)
        return builder.extract_element(x, ir.Constant(_INT32, 0))

    def exp2(self, builder: ir.IRBuilder, x: Any) -> Any:
        """2^x: 0 below the normal numbers, NaN for NaN, capped far above all that softmax asks for."""
        low, high = self.constant(1.0 - self.bias), self.constant(float(self.bias))
        small = builder.fcmp_ordered("<", x, low)
        x = builder.select(small, low, x)
        x = builder.select(builder.fcmp_ordered(">", x, high), high, x)
        # Adding a large number rounds to the nearest whole one, whose bits are then the last ones of the sum.
        magic = self.constant(1.5 * 2.0**self.mantissa)
        moved = builder.fadd(x, magic)
        rest = builder.fsub(x, builder.fsub(moved, magic))
        value = self.constant(self.coefficients[-1])
        for coefficient in self.coefficients[-2::-1]:
            value = self.fma(builder, value, rest, self.constant(coefficient))
        exponent = builder.add(builder.bitcast(moved, self.integer), self.integers(self.bias))
        power = builder.bitcast(builder.shl(exponent, self.integers(self.mantissa)), self.vector)
        return builder.select(small, self.constant(0.0), builder.fmul(value, power))


_EXP2 = {
    32: (
        1.0,
        0.6931472067028326,
        0.24022650922288757,
        0.05550327226670302,
        0.009618056678524637,
        0.0013400428177615838,
        0.0001546144469856913,
    ),
    64: (
        1.0,
        0.6931471805599453,
        0.24022650695910158,
        0.055504108664821625,
        0.009618129107587256,
        0.001333355814640647,
        0.00015403530463724353,
        1.5252733841556773e-05,
        1.3215432535912375e-06,
        1.0178057087733941e-07,
        7.074194297288521e-09,
        4.4558179083360645e-10,
    ),
}


def _kind(pointer: Any) -> _Kind:
    return _Kind(pointer.dtype)


def _step(builder: ir.IRBuilder, pointer: Any, offset: Any) -> Any:
    return builder.gep(pointer, [offset])


def _loop(
    builder: ir.IRBuilder, count: Any, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]
) -> list[Any]:
    """`for i in range(count): carried = body(i, carried)`."""
    before = builder.block
    head, inside, behind = (builder.append_basic_block(name) for name in ("head", "inside", "behind"))
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(_INT64)
    i.add_incoming(ir.Constant(_INT64, 0), before)
    kept = []
    for x in carried:
        phi = builder.phi(x.type)
        phi.add_incoming(x, before)
        kept.append(phi)
    builder.cbranch(builder.icmp_signed("<", i, count), inside, behind)
    builder.position_at_end(inside)
    new = body(i, kept)
    i.add_incoming(builder.add(i, ir.Constant(_INT64, 1)), builder.block)
    for phi, x in zip(kept, new, strict=True):
        phi.add_incoming(x, builder.block)
    builder.branch(head)
    builder.position_at_end(behind)
    return kept


@intrinsic
def apart(context: Any) -> Any:
    """Keep the function that says this out of its callers: one copy of its code is enough, and quicker to compile."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), make


@intrinsic
def _at(context: Any, array: Any, offset: Any) -> Any:
    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, given[0]).data
        return _step(builder, data, given[1])

    return types.CPointer(array.dtype)(array, types.intp), make


@as_written
def at(array, offset):
    """A pointer to an element of a flat array."""
    return _at(array, offset)


@intrinsic
def _shifted(context: Any, pointer: Any, offset: Any) -> Any:
    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        return _step(builder, *given)

    return pointer(pointer, types.intp), make


@as_written
def shifted(pointer, offset):
    """The pointer, so many elements further."""
    return _shifted(pointer, offset)


def _register_tile(vectors: int) -> Any:
    """c[r, :] (+)= sum_k a[r, k] b[k, :] for ROWS rows and so many vectors of columns, all of c in registers."""

    @intrinsic
    def tile(
        context: Any, c: Any, c_row: Any, a: Any, a_row: Any, a_next: Any, b: Any, b_next: Any, b_side: Any, depth: Any, add: Any
    ) -> Any:  # fmt: skip
        kind = _kind(c)

        def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
            c, c_row, a, a_row, a_next, b, b_next, b_side, depth, add = given
            rows = [_step(builder, a, builder.mul(a_row, ir.Constant(_INT64, r))) for r in range(ROWS)]
            sides = [_step(builder, b, builder.mul(b_side, ir.Constant(_INT64, v))) for v in range(vectors)]

            def body(k: Any, sums: list[Any]) -> list[Any]:
                b_at, a_at, new = builder.mul(k, b_next), builder.mul(k, a_next), []
                of_b = [kind.load(builder, _step(builder, side, b_at)) for side in sides]
                for r, row in enumerate(rows):
                    of_a = kind.spread(builder, builder.load(_step(builder, row, a_at)))
                    new += [kind.fma(builder, of_a, x, sums[r * vectors + v]) for v, x in enumerate(of_b)]
                return new

            sums = _loop(builder, depth, [kind.constant(0.0)] * (ROWS * vectors), body)
            adding = builder.icmp_signed("!=", add, ir.Constant(_INT64, 0))
            with builder.if_else(adding) as (yes, no):
                for branch, more in ((yes, True), (no, False)):
                    with branch:
                        for r in range(ROWS):
                            for v in range(vectors):
                                offset = builder.mul(c_row, ir.Constant(_INT64, r))
                                offset = builder.add(offset, ir.Constant(_INT64, v * kind.lanes))
                                place, x = _step(builder, c, offset), sums[r * vectors + v]
                                if more:
                                    x = builder.fadd(x, kind.load(builder, place))
                                kind.store(builder, x, place)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(c, whole, a, whole, whole, b, whole, whole, whole, whole), make

    return tile


_three, _two, _one = _register_tile(3), _register_tile(2), _register_tile(1)


@as_written
def product(c, c_row, a, a_row, a_next, b, b_next, b_side, depth, vectors, lanes, add):
    """c (+)= a . b for ROWS rows of c and so many vectors of its columns.

    `c_row`: from row to row of c. `a_row`, `a_next`: from row to row of a, and along its depth. `b_next`, `b_side`: along the
    depth of b, and from vector to vector of one of its rows. `add` is 1 to add to what c holds.
    """
    apart()
    v = 0
    while v < vectors:
        to, side, left = shifted(c, v * lanes), shifted(b, v * b_side), vectors - v
        if left == 3 or left > 4:
            _three(to, c_row, a, a_row, a_next, side, b_next, b_side, depth, add)
            v += 3
        elif left >= 2:
            _two(to, c_row, a, a_row, a_next, side, b_next, b_side, depth, add)
            v += 2
        else:
            _one(to, c_row, a, a_row, a_next, side, b_next, b_side, depth, add)
            v += 1


def _vector(builder: ir.IRBuilder, kind: _Kind, row: Any, i: Any) -> Any:
    return _step(builder, row, builder.mul(i, ir.Constant(_INT64, kind.lanes)))


def _inside(kind: _Kind, builder: ir.IRBuilder, low: Any, high: Any) -> Callable[[Any, Any], Any]:
    """What makes -inf of the numbers of vector i that lie outside of low .. high."""
    bounds = [kind.spread(builder, builder.trunc(x, _INT32), kind.hash) for x in (low, high)]
    lanes = ir.Constant(kind.hash, list(range(kind.lanes)))

    def keep(i: Any, x: Any) -> Any:
        first = builder.trunc(builder.mul(i, ir.Constant(_INT64, kind.lanes)), _INT32)
        place = builder.add(kind.spread(builder, first, kind.hash), lanes)
        behind, before = builder.icmp_signed(">=", place, bounds[0]), builder.icmp_signed("<", place, bounds[1])
        return builder.select(builder.and_(behind, before), x, kind.constant(-math.inf))

    return keep


@intrinsic
def softmax_step(
    context: Any, row: Any, vectors: Any, low: Any, high: Any, top: Any, total: Any, out: Any, out_vectors: Any
) -> Any:
    """One more stretch of a row of scores, of which those from low to high count: row = 2^(row - top).

    The largest score so far and the sum so far, at `top` and `total`, are brought up to date, and so is the row of outputs that
    was summed with weights for the old ones.
    """
    kind = _kind(row)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        row, vectors, low, high, top_at, total_at, out, out_vectors = given
        keep = _inside(kind, builder, low, high)

        def larger(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        def find(i: Any, kept: list[Any]) -> list[Any]:
            # NaN is passed over here, and stays NaN below.
            return [larger(keep(i, kind.load(builder, _vector(builder, kind, row, i))), kept[0])]

        (found,) = _loop(builder, vectors, [kind.constant(-math.inf)], find)
        old = builder.load(top_at)
        new = larger(kind.reduce(builder, found, larger), old)
        with builder.if_then(builder.fcmp_ordered(">", new, old)):
            fade = kind.exp2(builder, kind.spread(builder, builder.fsub(old, new)))
            first = builder.extract_element(fade, ir.Constant(_INT32, 0))
            builder.store(builder.fmul(builder.load(total_at), first), total_at)
            builder.store(new, top_at)

            def weaken(i: Any, kept: list[Any]) -> list[Any]:
                place = _vector(builder, kind, out, i)
                kind.store(builder, builder.fmul(kind.load(builder, place), fade), place)
                return []

            _loop(builder, out_vectors, [], weaken)
        nothing = builder.fcmp_ordered("==", new, ir.Constant(kind.scalar, -math.inf))
        new = kind.spread(builder, builder.select(nothing, ir.Constant(kind.scalar, 0.0), new))

        def change(i: Any, kept: list[Any]) -> list[Any]:
            place = _vector(builder, kind, row, i)
            p = kind.exp2(builder, builder.fsub(keep(i, kind.load(builder, place)), new))
            kind.store(builder, p, place)
            return [builder.fadd(kept[0], p)]

        (sums,) = _loop(builder, vectors, [kind.constant(0.0)], change)
        more = kind.reduce(builder, sums, builder.fadd)
        builder.store(builder.fadd(builder.load(total_at), more), total_at)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(row, whole, whole, whole, top, total, out, whole), make


def _relu(kind: _Kind, builder: ir.IRBuilder, x: Any, factor: Any) -> Any:
    # A comparison that NaN fails, so that it stays.
    negative = builder.fcmp_ordered("<", x, kind.constant(0.0))
    return builder.fmul(builder.select(negative, kind.constant(0.0), x), factor)


def _sigmoid(kind: _Kind, builder: ir.IRBuilder, x: Any, shift: Any) -> Any:
    one = kind.constant(1.0)
    a = builder.fdiv(one, builder.fadd(one, kind.exp2(builder, builder.fsub(shift, x))))
    forbidden = builder.fcmp_ordered("==", x, kind.constant(-math.inf))
    return builder.select(forbidden, kind.constant(0.0), a)


def _pointwise(weight: Callable[..., Any]) -> Any:
    """An intrinsic: row = weight(row, number), for a row of scores of which those from low to high count."""

    @intrinsic
    def change(context: Any, row: Any, vectors: Any, low: Any, high: Any, number: Any) -> Any:
        kind = _kind(row)

        def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
            keep, number = _inside(kind, builder, given[2], given[3]), kind.spread(builder, given[4])

            def body(i: Any, kept: list[Any]) -> list[Any]:
                place = _vector(builder, kind, given[0], i)
                kind.store(builder, weight(kind, builder, keep(i, kind.load(builder, place)), number), place)
                return []

            _loop(builder, given[1], [], body)
            return context.get_dummy_value()

        return types.void(row, types.intp, types.intp, types.intp, row.dtype), make

    return change


relu_step, sigmoid_step = _pointwise(_relu), _pointwise(_sigmoid)


@intrinsic
def transpose(context: Any, to: Any, rows: Any, step: Any) -> Any:
    """A square of as many rows as a vector has lanes, `step` apart, turned and written row by row."""
    kind = _kind(to)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        to, rows, step = given
        lanes = range(kind.lanes)
        square = [
            kind.load(builder, _step(builder, rows, builder.mul(step, ir.Constant(_INT64, lane)))) for lane in lanes
        ]
        half = 1
        while half < kind.lanes:
            # Swap what lies off the diagonal in every square of twice `half` rows.
            upper = [lane + kind.lanes - half if lane & half else lane for lane in lanes]
            lower = [lane + kind.lanes if lane & half else lane + half for lane in lanes]
            for r in [r for r in lanes if not r & half]:
                pair = square[r], square[r + half]
                for place, order in ((r, upper), (r + half, lower)):
                    mask = ir.Constant(ir.VectorType(_INT32, kind.lanes), order)
                    square[place] = builder.shuffle_vector(*pair, mask)
            half *= 2
        for lane, x in zip(lanes, square, strict=True):
            kind.store(builder, x, _step(builder, to, ir.Constant(_INT64, lane * kind.lanes)))
        return context.get_dummy_value()

    return types.void(to, rows, types.intp), make


@intrinsic
def _plus(context: Any, row: Any, other: Any, vectors: Any, factor: Any) -> Any:
    kind = _kind(row)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        factor = kind.spread(builder, given[3])

        def body(i: Any, kept: list[Any]) -> list[Any]:
            place = _vector(builder, kind, given[0], i)
            x = kind.load(builder, _vector(builder, kind, given[1], i))
            kind.store(builder, kind.fma(builder, x, factor, kind.load(builder, place)), place)
            return []

        _loop(builder, given[2], [], body)
        return context.get_dummy_value()

    return types.void(row, other, types.intp, row.dtype), make


@as_written
def plus(row, other, vectors, factor):
    """row = row + factor * other."""
    apart()
    _plus(row, other, vectors, factor)


@intrinsic
def _dot(context: Any, a: Any, b: Any, vectors: Any) -> Any:
    kind = _kind(a)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        def body(i: Any, kept: list[Any]) -> list[Any]:
            x, y = (kind.load(builder, _vector(builder, kind, row, i)) for row in given[:2])
            return [kind.fma(builder, x, y, kept[0])]

        (total,) = _loop(builder, given[2], [kind.constant(0.0)], body)
        return kind.reduce(builder, total, builder.fadd)

    return a.dtype(a, b, types.intp), make


@as_written
def dot(a, b, vectors):
    """The sum of the products of two rows."""
    apart()
    return _dot(a, b, vectors)


def _mix(builder: ir.IRBuilder, x: Any, constant: Callable[[int], Any]) -> Any:
    """The mixing of `regard.attention.dropout`, on int32."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = builder.mul(builder.xor(x, builder.lshr(x, constant(shift))), constant(factor))
    return builder.xor(x, builder.lshr(x, constant(16)))


@intrinsic
def _hashed(context: Any, x: Any, y: Any) -> Any:
    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        a, b = (builder.trunc(each, _INT32) for each in given)
        return builder.sext(_mix(builder, builder.xor(a, b), lambda c: ir.Constant(_INT32, c)), _INT64)

    return types.int64(types.int64, types.int64), make


@as_written
def hashed(x, y):
    """mix(x ^ y) of their lowest 32 bits."""
    return _hashed(x, y)


def _factors(
    kind: _Kind, builder: ir.IRBuilder, hashed_row: Any, key: Any, threshold: Any, keep: Any
) -> Callable[[Any], Any]:
    """What the weights of vector i are multiplied with: `keep` or 0, as the hash of (row's hash, key row) says."""
    row, least = (kind.spread(builder, builder.trunc(x, _INT32), kind.hash) for x in (hashed_row, threshold))
    first, keep = kind.spread(builder, builder.trunc(key, _INT32), kind.hash), kind.spread(builder, keep)
    first = builder.add(first, ir.Constant(kind.hash, list(range(kind.lanes))))

    def factor(i: Any) -> Any:
        at = builder.trunc(builder.mul(i, ir.Constant(_INT64, kind.lanes)), _INT32)
        keys = builder.add(first, kind.spread(builder, at, kind.hash))
        x = _mix(builder, builder.xor(row, keys), lambda c: ir.Constant(kind.hash, [c] * kind.lanes))
        return builder.select(builder.icmp_signed(">=", x, least), keep, kind.constant(0.0))

    return factor


@intrinsic
def _drop(context: Any, row: Any, vectors: Any, hashed_row: Any, key: Any, threshold: Any, keep: Any) -> Any:
    kind = _kind(row)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        factor = _factors(kind, builder, *given[2:])

        def body(i: Any, kept: list[Any]) -> list[Any]:
            place = _vector(builder, kind, given[0], i)
            kind.store(builder, builder.fmul(kind.load(builder, place), factor(i)), place)
            return []

        _loop(builder, given[1], [], body)
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
        kind = _kind(row)

        def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
            inside = _inside(kind, builder, given[3], given[4])
            a, b = (kind.spread(builder, x) for x in given[5:7])
            factor = _factors(kind, builder, *given[7:]) if dropping else None
            zero, one = kind.constant(0.0), kind.constant(1.0)

            def body(i: Any, kept: list[Any]) -> list[Any]:
                places = [_vector(builder, kind, pointer, i) for pointer in given[:2]]
                s, g = (kind.load(builder, place) for place in places)
                s = inside(i, s)
                f = None if factor is None else factor(i)
                if f is not None:
                    g = builder.fmul(g, f)
                if normalizer == "softmax":
                    p = kind.exp2(builder, builder.fsub(s, a))
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

            _loop(builder, given[2], [], body)
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
