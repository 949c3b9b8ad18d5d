"""What LLVM is to emit for vectors of numbers: the arithmetic that `lanes` and `rows` are made of, each operation once.

Nothing here is "fast" arithmetic, nor may a kernel be that emits it inline: NaN and infinity keep their meaning, and every sum has
one order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from regard.kernels.simd.processor import lanes as lanes_of

__all__ = [
    "INT32", "INT64", "Kind", "address", "from_bfloat16", "loop", "permuted", "place_of", "step", "to_bfloat16",
]  # fmt: skip

INT32, INT64 = ir.IntType(32), ir.IntType(64)

# exp(r) = 1 + r + r^2 (c0 + c1 r + ...) for |r| <= log(2) / 2: relative error 3.2e-9 for float32, below 7e-16 for float64.
_EXP = {
    32: (0.49999993373032003, 0.1666651952320497, 0.04166840109141142, 0.00836885117124642, 0.0013814320562192143),
    64: (
        0.5000000000000018,
        0.1666666666666668,
        0.04166666666648809,
        0.008333333333319601,
        0.0013888888952314773,
        0.00019841269890047116,
        2.480148548232849e-05,
        2.755724091857897e-06,
        2.763263963904103e-07,
        2.5110037605963777e-08,
    ),
}
# log(2), and what rounding takes off it.
_LOG2 = {
    32: (float(np.float32(math.log(2))), math.log(2) - float(np.float32(math.log(2)))),
    64: (math.log(2), 2.3190468138462996e-17),
}
# From here on, there is no number between tanh and 1.
_FAR = {32: 10.0, 64: 20.0}


def _like(x: Any, scalar: Any) -> Any:
    """The type of as many numbers of another type as x has."""
    return ir.VectorType(scalar, x.type.count) if isinstance(x.type, ir.VectorType) else scalar


def _whole(x: Any, value: int) -> ir.Constant:
    """A whole number of 32 bits, in every lane if x has lanes."""
    kind = _like(x, INT32)
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def from_bfloat16(builder: ir.IRBuilder, bits: Any) -> Any:
    """Bits of bfloat16, one number or a vector of them, as float32."""
    wide = builder.shl(builder.zext(bits, _like(bits, INT32)), _whole(bits, 16))
    return builder.bitcast(wide, _like(bits, ir.FloatType()))


def to_bfloat16(builder: ir.IRBuilder, x: Any) -> Any:
    """float32, one number or a vector, as bits of bfloat16: to the nearest, ties to even; NaN stays NaN."""
    bits = builder.bitcast(x, _like(x, INT32))
    odd = builder.and_(builder.lshr(bits, _whole(x, 16)), _whole(x, 1))
    near = builder.add(builder.add(bits, odd), _whole(x, 0x7FFF))
    near = builder.select(builder.fcmp_unordered("uno", x, x), _whole(x, 0x7FC00000), near)
    return builder.trunc(builder.lshr(near, _whole(x, 16)), _like(x, ir.IntType(16)))


class Kind:
    """A vector of numbers of one type: `lanes` of them, as many as a register of the processor holds unless said otherwise."""

    def __init__(self, number: Any, lanes: int | None = None) -> None:
        self.bits = number.bitwidth
        self.lanes = lanes_of(self.bits) if lanes is None else lanes
        floats = ir.FloatType() if self.bits == 32 else ir.DoubleType()
        self.scalar = ir.IntType(self.bits) if isinstance(number, types.Integer) else floats
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.integer = ir.VectorType(ir.IntType(self.bits), self.lanes)
        self.hash = ir.VectorType(INT32, self.lanes)
        self.mantissa, self.bias = (23, 127) if self.bits == 32 else (52, 1023)

    def constant(self, x: float) -> ir.Constant:
        """x in every lane."""
        return ir.Constant(self.vector, [float(np.float32(x)) if self.bits == 32 else x] * self.lanes)

    def integers(self, x: int) -> ir.Constant:
        """A whole number, as wide as the type, in every lane."""
        return ir.Constant(self.integer, [x] * self.lanes)

    def load(self, builder: ir.IRBuilder, pointer: Any, vector: ir.VectorType | None = None) -> Any:
        """The numbers from `pointer` on, which need not be aligned."""
        x = builder.load(builder.bitcast(pointer, (vector or self.vector).as_pointer()))
        x.align = self.bits // 8
        return x

    def store(self, builder: ir.IRBuilder, x: Any, pointer: Any) -> None:
        """Writes all lanes of x from `pointer` on."""
        builder.store(x, builder.bitcast(pointer, x.type.as_pointer())).align = self.bits // 8

    def fill(self, builder: ir.IRBuilder, x: Any, vector: ir.VectorType | None = None) -> Any:
        """A number in every lane."""
        nothing = ir.Constant(vector or self.vector, ir.Undefined)
        one = builder.insert_element(nothing, x, ir.Constant(INT32, 0))
        return permuted(builder, one, [0] * self.lanes)

    def fma(self, builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
        """a b + c, rounded once."""
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.lanes}f{self.bits}"
        return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [a, b, c])

    def larger(self, builder: ir.IRBuilder, a: Any, b: Any) -> Any:
        """The larger of two; b where one is NaN."""
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    def fold(self, builder: ir.IRBuilder, x: Any, width: int, combine: Callable[[Any, Any], Any]) -> Any:
        """Each lane combined with that `width` lanes further, past the last from the first on."""
        return combine(x, permuted(builder, x, [(lane + width) % self.lanes for lane in range(self.lanes)]))

    def reduce(self, builder: ir.IRBuilder, x: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """One number of a vector, halving it again and again."""
        width = self.lanes
        while width > 1:
            width //= 2
            x = self.fold(builder, x, width, combine)
        return builder.extract_element(x, ir.Constant(INT32, 0))

    def exp(self, builder: ir.IRBuilder, x: Any, base: float = math.e, large: bool = True) -> Any:
        """e^x, or 2^x for base 2: 0 where its exponent is below those of normal numbers, NaN for NaN.

        `large`: whether x may be so large that the result is infinite.
        """
        unit = math.log(2) if base == math.e else 1.0
        power, rest = self._split(builder, x, base)
        y = self.fma(builder, power, rest, power)
        # What is out of range is replaced at the end, so that nothing waits for the comparisons.
        low, high = self.constant((0.6 - self.bias) * unit), self.constant((self.bias + 0.49) * unit)
        y = builder.select(builder.fcmp_ordered("<", x, low), self.constant(0.0), y)
        return builder.select(builder.fcmp_ordered(">", x, high), self.constant(math.inf), y) if large else y

    def tanh(self, builder: ir.IRBuilder, x: Any) -> Any:
        """(e^2x - 1) / (e^2x + 1), with e^2x - 1 = (power - 1) + power * rest, so that small numbers keep all of their digits."""
        far, one = self.constant(_FAR[self.bits]), self.constant(1.0)
        x = builder.select(builder.fcmp_ordered(">", x, far), far, x)
        x = builder.select(builder.fcmp_ordered("<", x, builder.fneg(far)), builder.fneg(far), x)
        power, rest = self._split(builder, builder.fadd(x, x), math.e)
        above = self.fma(builder, power, rest, builder.fsub(power, one))
        return builder.fdiv(above, builder.fadd(above, self.constant(2.0)))

    def _split(self, builder: ir.IRBuilder, x: Any, base: float) -> tuple[Any, Any]:
        """`(power, rest)`: power (1 + rest) is the power of the base, whose exponent must be in the range of the type."""
        natural = base == math.e
        # Adding a large number rounds to the nearest whole one, whose bits are then the last ones of the sum.
        magic = self.constant(1.5 * 2.0**self.mantissa + self.bias)
        moved = self.fma(builder, x, self.constant(1 / math.log(2)), magic) if natural else builder.fadd(x, magic)
        whole = builder.fsub(moved, magic)
        if natural:
            for part in _LOG2[self.bits]:
                x = self.fma(builder, whole, self.constant(-part), x)
        else:
            x = builder.fsub(x, whole)
        unit = 1.0 if natural else math.log(2)
        coefficients = [c * unit ** (n + 2) for n, c in enumerate(_EXP[self.bits])]
        value = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            value = self.fma(builder, value, x, self.constant(coefficient))
        if natural:
            rest = self.fma(builder, builder.fmul(x, x), value, x)
        else:
            rest = builder.fmul(x, self.fma(builder, value, x, self.constant(unit)))
        bits = builder.shl(builder.bitcast(moved, self.integer), self.integers(self.mantissa))
        return builder.bitcast(bits, self.vector), rest


def permuted(builder: ir.IRBuilder, x: Any, order: Sequence[int], y: Any = None) -> Any:
    """Lane l of the result is lane `order[l]` of x, or, from x's number of lanes on, of y."""
    mask = ir.Constant(ir.VectorType(INT32, len(order)), list(order))
    return builder.shuffle_vector(x, ir.Constant(x.type, ir.Undefined) if y is None else y, mask)


def address(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, at: Any) -> Any:
    """Where element `at` of a flat array lies; `kind` is the array's type in Numba."""
    return builder.gep(cgutils.create_struct_proxy(kind)(context, builder, array).data, [at])


def step(builder: ir.IRBuilder, pointer: Any, offset: Any) -> Any:
    """The pointer, `offset` elements further."""
    return builder.gep(pointer, [offset])


def place_of(builder: ir.IRBuilder, kind: Kind, row: Any, i: Any) -> Any:
    """Where vector i of a row lies."""
    return step(builder, row, builder.mul(i, ir.Constant(INT64, kind.lanes)))


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
    values = []
    for x in carried:
        phi = builder.phi(x.type)
        phi.add_incoming(x, before)
        values.append(phi)
    builder.cbranch(builder.icmp_signed("<", i, count), inside, behind)
    builder.position_at_end(inside)
    new = body(i, values)
    i.add_incoming(builder.add(i, ir.Constant(INT64, 1)), builder.block)
    for phi, x in zip(values, new, strict=True):
        phi.add_incoming(x, builder.block)
    again = builder.branch(head)
    if as_it_is:
        again.set_metadata("llvm.loop", _not_unrolled(builder.module))
    builder.position_at_end(behind)
    return values


def _not_unrolled(module: ir.Module) -> ir.MDValue:
    """What LLVM wants to read at a loop that it shall not unroll: a node that names itself first."""
    rule = module.add_metadata(["llvm.loop.unroll.disable"])
    node = ir.MDValue(module, [], name=str(len(module.metadata)))
    node.operands = (node, rule)
    return node
