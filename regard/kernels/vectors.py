"""Vector arithmetic for kernels, written as LLVM instructions, so that no compiler has to guess what can be a vector.

Every function works on pointers to float32 or float64; rows are padded to whole vectors of `lanes(bits)` numbers.
The host's widest registers are used; LLVM makes the same instructions correct on any other. Only products of pairs of bfloat16
need an instruction of their own: they are there where `PAIRS` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from regard.kernels.compiled import as_written

__all__ = [
    "INT32",
    "INT64",
    "PAIRS",
    "ROWS",
    "Kind",
    "apart",
    "at",
    "dot",
    "lanes",
    "loop",
    "operand",
    "place_of",
    "plus",
    "product",
    "shifted",
    "transpose",
]

_FEATURES = binding.get_host_cpu_features()
_WIDE, _MEDIUM = bool(_FEATURES.get("avx512f")), bool(_FEATURES.get("avx2"))


def _pairs() -> bool:
    """Whether Numba compiles for a processor that multiplies pairs of bfloat16, which its settings may forbid."""
    settings: Any = config
    if settings.CPU_NAME or settings.CPU_FEATURES is not None:
        return "+avx512bf16" in (settings.CPU_FEATURES or "").split(",")
    return bool(_FEATURES.get("avx512bf16"))


# Whether there are products of pairs of bfloat16, 32 to a vector, summed in float32.
PAIRS = _pairs()
# A tile of the product holds this many rows of three vectors each in registers: 24 of 32 registers, or 12 of 16.
ROWS = 8 if _WIDE or _FEATURES.get("neon") else 4
INT32, INT64 = ir.IntType(32), ir.IntType(64)


def lanes(bits: int) -> int:
    """How many numbers of this size one vector holds."""
    return (512 if _WIDE else 256 if _MEDIUM else 128) // bits


class Kind:
    """What is known of float32 or float64: its types, and 2^f for |f| <= 1/2 as a polynomial.

    The coefficients interpolate 2^f at the Chebyshev nodes; the relative error is 2.6e-9 for float32, below 7e-16 for float64.
    """

    def __init__(self, number: types.Float) -> None:
        self.bits = number.bitwidth
        self.lanes = lanes(self.bits)
        self.scalar = ir.FloatType() if self.bits == 32 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.integer = ir.VectorType(ir.IntType(self.bits), self.lanes)
        self.hash = ir.VectorType(INT32, self.lanes)
        self.mantissa, self.bias = (23, 127) if self.bits == 32 else (52, 1023)
        self.coefficients = _EXP2[self.bits]

    def constant(self, x: float) -> ir.Constant:
        return ir.Constant(self.vector, [x] * self.lanes)

    def integers(self, x: int) -> ir.Constant:
        return ir.Constant(self.integer, [x] * self.lanes)

    def load(self, builder: ir.IRBuilder, pointer: Any, vector: ir.VectorType | None = None) -> Any:
        found = builder.load(builder.bitcast(pointer, (vector or self.vector).as_pointer()))
        found.align = self.bits // 8
        return found

    def store(self, builder: ir.IRBuilder, x: Any, pointer: Any) -> None:
        builder.store(x, builder.bitcast(pointer, self.vector.as_pointer())).align = self.bits // 8

    def spread(self, builder: ir.IRBuilder, x: Any, vector: ir.VectorType | None = None) -> Any:
        """x in every lane."""
        nothing = ir.Constant(vector or self.vector, ir.Undefined)
        one = builder.insert_element(nothing, x, ir.Constant(INT32, 0))
        return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes))

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
            other = builder.shuffle_vector(x, x, ir.Constant(ir.VectorType(INT32, self.lanes), order))
            x = combine(x, other)
        return builder.extract_element(x, ir.Constant(INT32, 0))

    def exp2(self, builder: ir.IRBuilder, x: Any, capped: bool = True) -> Any:
        """2^x: 0 where its exponent is below those of normal numbers, NaN for NaN.

        `capped`: whether x may be so large that it must be cut off; then 2^x is far above all that softmax asks for.
        """
        low, high = self.constant(float(-self.bias)), self.constant(float(self.bias))
        x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
        if capped:
            x = builder.select(builder.fcmp_ordered(">", x, high), high, x)
        # Adding a large number rounds to the nearest whole one, whose bits are then the last ones of the sum.
        magic = self.constant(1.5 * 2.0**self.mantissa + self.bias)
        moved = builder.fadd(x, magic)
        rest = builder.fsub(x, builder.fsub(moved, magic))
        value = self.constant(self.coefficients[-1])
        for coefficient in self.coefficients[-2::-1]:
            value = self.fma(builder, value, rest, self.constant(coefficient))
        power = builder.bitcast(
            builder.shl(builder.bitcast(moved, self.integer), self.integers(self.mantissa)), self.vector
        )
        return builder.fmul(value, power)


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


def _step(builder: ir.IRBuilder, pointer: Any, offset: Any) -> Any:
    return builder.gep(pointer, [offset])


def loop(
    builder: ir.IRBuilder,
    count: Any,
    carried: Sequence[Any],
    body: Callable[[Any, list[Any]], Sequence[Any]],
    as_it_is: bool = False,
) -> list[Any]:
    """`for i in range(count): carried = body(i, carried)`; `as_it_is` where the body fills the registers already."""
    before = builder.block
    head, inside, behind = (builder.append_basic_block(name) for name in ("head", "inside", "behind"))
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(INT64)
    i.add_incoming(ir.Constant(INT64, 0), before)
    kept = []
    for x in carried:
        phi = builder.phi(x.type)
        phi.add_incoming(x, before)
        kept.append(phi)
    builder.cbranch(builder.icmp_signed("<", i, count), inside, behind)
    builder.position_at_end(inside)
    new = body(i, kept)
    i.add_incoming(builder.add(i, ir.Constant(INT64, 1)), builder.block)
    for phi, x in zip(kept, new, strict=True):
        phi.add_incoming(x, builder.block)
    again = builder.branch(head)
    if as_it_is:
        again.set_metadata("llvm.loop", _not_unrolled(builder.module))
    builder.position_at_end(behind)
    return kept


def _not_unrolled(module: ir.Module) -> ir.MDValue:
    """What LLVM wants to read at a loop that it shall not unroll: a node that names itself first."""
    rule = module.add_metadata(["llvm.loop.unroll.disable"])
    node = ir.MDValue(module, [], name=str(len(module.metadata)))
    node.operands = (node, rule)
    return node


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


@intrinsic
def _operand(context: Any, array: Any, offset: Any, like: Any) -> Any:
    pairs = PAIRS and isinstance(like.dtype, types.Integer)
    element = types.int32 if pairs else array.dtype

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, given[0]).data
        place = _step(builder, data, given[1])
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

        def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
            c, c_row, a, a_row, a_next, b, b_next, b_side, depth, add, factor = given
            rows = [_step(builder, a, builder.mul(a_row, ir.Constant(INT64, r))) for r in range(ROWS)]
            sides = [_step(builder, b, builder.mul(b_side, ir.Constant(INT64, v))) for v in range(vectors)]
            operands = kind.hash if pairs else kind.vector

            def body(k: Any, sums: list[Any]) -> list[Any]:
                b_at, a_at, new = builder.mul(k, b_next), builder.mul(k, a_next), []
                of_b = [kind.load(builder, _step(builder, side, b_at), operands) for side in sides]
                for r, row in enumerate(rows):
                    of_a = kind.spread(builder, builder.load(_step(builder, row, a_at)), operands)
                    new += [_multiplied(kind, builder, of_a, x, sums[r * vectors + v]) for v, x in enumerate(of_b)]
                return new

            sums = loop(builder, depth, [kind.constant(0.0)] * (ROWS * vectors), body, as_it_is=True)
            if pairs:
                factor = kind.spread(builder, factor)
                sums = [builder.fmul(x, factor) for x in sums]
            adding = builder.icmp_signed("!=", add, ir.Constant(INT64, 0))
            with builder.if_else(adding) as (yes, no):
                for branch, more in ((yes, True), (no, False)):
                    with branch:
                        for r in range(ROWS):
                            for v in range(vectors):
                                offset = builder.mul(c_row, ir.Constant(INT64, r))
                                offset = builder.add(offset, ir.Constant(INT64, v * kind.lanes))
                                place, x = _step(builder, c, offset), sums[r * vectors + v]
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


def place_of(builder: ir.IRBuilder, kind: Kind, row: Any, i: Any) -> Any:
    """Where vector i of a row lies."""
    return _step(builder, row, builder.mul(i, ir.Constant(INT64, kind.lanes)))


@intrinsic
def transpose(context: Any, to: Any, rows: Any, step: Any) -> Any:
    """A square of as many rows as a vector has lanes, `step` apart, turned and written row by row."""
    kind = Kind(to.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        to, rows, step = given
        lanes = range(kind.lanes)
        square = [
            kind.load(builder, _step(builder, rows, builder.mul(step, ir.Constant(INT64, lane)))) for lane in lanes
        ]
        half = 1
        while half < kind.lanes:
            # Swap what lies off the diagonal in every square of twice `half` rows.
            upper = [lane + kind.lanes - half if lane & half else lane for lane in lanes]
            lower = [lane + kind.lanes if lane & half else lane + half for lane in lanes]
            for r in [r for r in lanes if not r & half]:
                pair = square[r], square[r + half]
                for place, order in ((r, upper), (r + half, lower)):
                    mask = ir.Constant(ir.VectorType(INT32, kind.lanes), order)
                    square[place] = builder.shuffle_vector(*pair, mask)
            half *= 2
        for lane, x in zip(lanes, square, strict=True):
            kind.store(builder, x, _step(builder, to, ir.Constant(INT64, lane * kind.lanes)))
        return context.get_dummy_value()

    return types.void(to, rows, types.intp), make


@intrinsic
def _plus(context: Any, row: Any, other: Any, vectors: Any, factor: Any) -> Any:
    kind = Kind(row.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        factor = kind.spread(builder, given[3])

        def body(i: Any, kept: list[Any]) -> list[Any]:
            place = place_of(builder, kind, given[0], i)
            x = kind.load(builder, place_of(builder, kind, given[1], i))
            kind.store(builder, kind.fma(builder, x, factor, kind.load(builder, place)), place)
            return []

        loop(builder, given[2], [], body)
        return context.get_dummy_value()

    return types.void(row, other, types.intp, row.dtype), make


@as_written
def plus(row, other, vectors, factor):
    """row = row + factor * other."""
    apart()
    _plus(row, other, vectors, factor)


@intrinsic
def _dot(context: Any, a: Any, b: Any, vectors: Any) -> Any:
    kind = Kind(a.dtype)

    def make(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        def body(i: Any, kept: list[Any]) -> list[Any]:
            x, y = (kind.load(builder, place_of(builder, kind, row, i)) for row in given[:2])
            return [kind.fma(builder, x, y, kept[0])]

        (total,) = loop(builder, given[2], [kind.constant(0.0)], body)
        return kind.reduce(builder, total, builder.fadd)

    return a.dtype(a, b, types.intp), make


@as_written
def dot(a, b, vectors):
    """The sum of the products of two rows."""
    apart()
    return _dot(a, b, vectors)
