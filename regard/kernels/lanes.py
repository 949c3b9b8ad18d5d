"""`Lanes`: vectors of the processor as values inside of kernels, and the arithmetic that attention needs on them.

A kernel loads 16 neighboring numbers of a flat array as one value, computes with it, and stores it:

    y = fma(load(a, at), load(b, at), y)

The compiler maps 16 lanes to whatever registers the processor has. Nothing here is "fast" arithmetic, nor may a kernel be that uses
it: NaN and infinity keep their meaning, and every sum has one order.

Where h heads (1, 2, 4, 8 or 16) lie side by side, lane l belongs to head l mod h: `spread` repeats the first h lanes, `sum_heads`
and `max_heads` reduce the lanes of each head and leave the result in all of them.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic as _intrinsic

from regard.kernels.compiled import as_written
from regard.kernels.hashing import chains, emit_mix

__all__ = [
    *("LANES", "exp", "fill", "fma", "keep", "larger", "load", "load128", "load32", "load64", "max_heads", "mix"),
    *(
        "of_key",
        "of_number",
        "of_row",
        "pick",
        "prefetch",
        "spread",
        "store",
        "store_low",
        "sum_heads",
        "tanh",
        "tile128",
        "tile64",
    ),
]

LANES = 16

# Its results are functions of compiled code, whose first parameter, the typing context, is not the caller's.
intrinsic: Any = _intrinsic


class Lanes(types.Type):
    """`lanes` numbers of a type."""

    def __init__(self, scalar: types.Type, lanes: int) -> None:
        self.scalar = scalar
        self.lanes = lanes
        super().__init__(f"lanes({scalar} x {lanes})")


@register_default(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Lanes) -> None:
        scalar = manager.lookup(fe_type.scalar).get_value_type()
        super().__init__(manager, fe_type, ir.VectorType(scalar, fe_type.lanes))


def _binary(symbol: Any, emit: Callable[[Any, Any, Any, bool], Any]) -> None:
    """Gives two values of the same lanes an operator."""

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, args[0], args[1], isinstance(sig.args[0].scalar, types.Integer))

    infer_global(symbol)(Template)
    lower_builtin(symbol, Lanes, Lanes)(lower)


_binary(operator.add, lambda b, x, y, whole: b.add(x, y) if whole else b.fadd(x, y))
_binary(operator.sub, lambda b, x, y, whole: b.sub(x, y) if whole else b.fsub(x, y))
_binary(operator.mul, lambda b, x, y, whole: b.mul(x, y) if whole else b.fmul(x, y))
_binary(operator.truediv, lambda b, x, y, whole: b.fdiv(x, y))
_binary(operator.xor, lambda b, x, y, whole: b.xor(x, y))


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = cgutils.create_struct_proxy(kind)(context, builder, array).data
    return builder.gep(data, [at])


def _constant(kind: Any, value: float) -> Any:
    """A vector of the LLVM type with `value` in every lane."""
    return ir.Constant(kind, [value] * kind.count)


def _call(builder: Any, name: str, kind: Any, *args: Any) -> Any:
    scalar = {"float": "f32", "double": "f64"}[str(kind.element)]
    function = ir.FunctionType(kind, [kind] * len(args))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v{kind.count}{scalar}"), args
    )


@intrinsic(prefer_literal=True)
def _load(typingctx: Any, array: Any, at: Any, lanes: Any) -> Any:
    kind = Lanes(array.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _place(context, builder, sig.args[0], args[0], args[1])
        loaded = builder.load(builder.bitcast(place, context.get_value_type(kind).as_pointer()))
        loaded.align = array.dtype.bitwidth // 8
        return loaded

    return kind(array, types.intp, lanes), codegen


@intrinsic
def store(typingctx: Any, array: Any, at: Any, x: Any) -> Any:
    """Writes all lanes of x to `array[at:]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _place(context, builder, sig.args[0], args[0], args[1])
        stored = builder.store(args[2], builder.bitcast(place, args[2].type.as_pointer()))
        stored.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, x), codegen


@intrinsic(prefer_literal=True)
def _permuted(typingctx: Any, x: Any, lanes: Any, step: Any, modulus: Any) -> Any:
    """Lane l of the result is lane (l + step) mod modulus of x."""
    kind = Lanes(x.scalar, lanes.literal_value)
    places = [(lane + step.literal_value) % modulus.literal_value for lane in range(kind.lanes)]

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
        return builder.shuffle_vector(args[0], ir.Constant(args[0].type, ir.Undefined), mask)

    return kind(x, lanes, step, modulus), codegen


@intrinsic
def fill(typingctx: Any, array: Any, value: Any) -> Any:
    """16 lanes of the array's type, all of this value."""
    kind = Lanes(array.dtype, LANES)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        scalar = context.cast(builder, args[1], value, array.dtype)
        vector = context.get_value_type(kind)
        one = builder.insert_element(
            ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
        )  # fmt: skip
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    return kind(array, value), codegen


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x y + z, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _call(builder, "fma", args[0].type, *args)

    return x(x, x, x), codegen


@intrinsic
def larger(typingctx: Any, x: Any, y: Any) -> Any:
    """The larger of two; y where one is NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return x(x, x), codegen


@intrinsic
def pick(typingctx: Any, sign: Any, above: Any, at: Any, below: Any) -> Any:
    """`above` where sign > 0, `at` where it is 0, `below` where it is less or NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sign, above, at, below = args
        zero = _constant(sign.type, 0.0)
        others = builder.select(builder.fcmp_ordered("==", sign, zero), at, below)
        return builder.select(builder.fcmp_ordered(">", sign, zero), above, others)

    return sign(sign, sign, sign, sign), codegen


@intrinsic
def mix(typingctx: Any, x: Any) -> Any:
    """See `hashing`: of lanes of int32, or of the lowest 32 bits of a number, as an int64 between -2^31 and 2^31 - 1."""
    number = not isinstance(x, Lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        (x,) = args
        if number:
            return builder.sext(emit_mix(builder, builder.trunc(x, ir.IntType(32))), x.type)
        return emit_mix(builder, x)

    return (types.int64(types.int64) if number else x(x)), codegen


@intrinsic
def keep(typingctx: Any, hashed: Any, least: Any, x: Any) -> Any:
    """x where the hash is at least so much, 0 elsewhere."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        hashed, least, x = args
        return builder.select(builder.icmp_signed(">=", hashed, least), x, _constant(x.type, 0.0))

    return x(hashed, hashed, x), codegen


@intrinsic
def prefetch(typingctx: Any, array: Any, at: Any) -> Any:
    """Asks for the cache line of `array[at]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _place(context, builder, sig.args[0], args[0], args[1])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.bitcast(place, byte), *(ir.Constant(word, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


# exp(r) = 1 + r + r^2 (c0 + c1 r + ...) for |r| <= log(2) / 2, fitted for the least relative error, 3.2e-9.
_POLYNOMIAL = (0.49999993373032003, 0.1666651952320497, 0.04166840109141142, 0.00836885117124642, 0.0013814320562192143)
# Added to a float32, this leaves the nearest whole number in its lowest bits.
_ROUNDER = 1.5 * 2.0**23
_LOG2_HIGH = float(np.float32(math.log(2)))
_LOG2_LOW = math.log(2) - _LOG2_HIGH


def _split32(builder: Any, x: Any) -> tuple[Any, Any]:
    """`(power, rest)` of float32 lanes between -126.4 log 2 and 127.49 log 2: exp(x) = power * (1 + rest)."""
    kind = x.type

    def at(value: float) -> Any:
        return _constant(kind, float(np.float32(value)))

    shifted = _call(builder, "fma", kind, x, at(1 / math.log(2)), at(_ROUNDER))
    whole = builder.fsub(shifted, at(_ROUNDER))
    r = _call(builder, "fma", kind, whole, at(-_LOG2_HIGH), x)
    r = _call(builder, "fma", kind, whole, at(-_LOG2_LOW), r)
    poly = at(_POLYNOMIAL[-1])
    for coefficient in _POLYNOMIAL[-2::-1]:
        poly = _call(builder, "fma", kind, poly, r, at(coefficient))
    rest = _call(builder, "fma", kind, builder.fmul(r, r), poly, r)
    bits = ir.VectorType(ir.IntType(32), kind.count)
    exponent = builder.add(builder.bitcast(shifted, bits), _constant(bits, 127))
    return builder.bitcast(builder.shl(exponent, _constant(bits, 23)), kind), rest


def _exp32(builder: Any, x: Any) -> Any:
    power, rest = _split32(builder, x)
    y = _call(builder, "fma", x.type, power, rest, power)
    low, high = (_constant(x.type, float(np.float32(limit))) for limit in (-126.4 * math.log(2), 127.49 * math.log(2)))
    y = builder.select(builder.fcmp_ordered("<", x, low), _constant(x.type, 0.0), y)
    return builder.select(builder.fcmp_ordered(">", x, high), _constant(x.type, math.inf), y)


def _tanh32(builder: Any, x: Any) -> Any:
    """(e^2x - 1) / (e^2x + 1), with e^2x - 1 = (power - 1) + power * rest, so that small numbers keep all of their digits."""
    kind = x.type
    far = _constant(kind, 10.0)  # From 9.1 on, float32 has no number between tanh and 1.
    x = builder.select(builder.fcmp_ordered(">", x, far), far, x)
    x = builder.select(builder.fcmp_ordered("<", x, builder.fneg(far)), builder.fneg(far), x)
    power, rest = _split32(builder, builder.fadd(x, x))
    one = _constant(kind, 1.0)
    above = _call(builder, "fma", kind, power, rest, builder.fsub(power, one))
    return builder.fdiv(above, builder.fadd(above, _constant(kind, 2.0)))


def _elementary(name: str, of_float32: Callable[[Any, Any], Any]) -> Any:
    """A function of lanes: in float64 the C library's, lane by lane."""

    @intrinsic
    def function(typingctx: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            if x.scalar == types.float32:
                return of_float32(builder, args[0])
            return _call(builder, name, args[0].type, args[0])

        return x(x), codegen

    return function


exp = _elementary("exp", _exp32)
tanh = _elementary("tanh", _tanh32)


def _part(function: Callable[..., Any]) -> Any:
    # Said, lest "fast" arithmetic is inherited from the kernel.
    return njit(nogil=True, fastmath=False, error_model="numpy", forceinline=True)(function)


@_part
def load(array, at):
    """16 lanes from `array[at:]`."""
    return _load(array, at, 16)


@_part
def load32(array, at):
    return _load(array, at, 32)


@_part
def load64(array, at):
    return _load(array, at, 64)


@_part
def load128(array, at):
    return _load(array, at, 128)


@_part
def tile64(x):
    return _permuted(x, 64, 0, 16)


@_part
def tile128(x):
    """16 lanes, eight times."""
    return _permuted(x, 128, 0, 16)


@_part
def spread(x, heads):
    """The first `heads` lanes, repeated."""
    if heads <= 8:
        x = _permuted(x, 16, 0, 8)
    if heads <= 4:
        x = _permuted(x, 16, 0, 4)
    if heads <= 2:
        x = _permuted(x, 16, 0, 2)
    if heads <= 1:
        x = _permuted(x, 16, 0, 1)
    return x


@_part
def sum_heads(x, heads):
    """Each head's sum, in all of its lanes."""
    if heads <= 8:
        x = x + _permuted(x, 16, 8, 16)
    if heads <= 4:
        x = x + _permuted(x, 16, 4, 16)
    if heads <= 2:
        x = x + _permuted(x, 16, 2, 16)
    if heads <= 1:
        x = x + _permuted(x, 16, 1, 16)
    return x


@_part
def max_heads(x, heads):
    """Each head's maximum, in all of its lanes."""
    if heads <= 8:
        x = larger(x, _permuted(x, 16, 8, 16))
    if heads <= 4:
        x = larger(x, _permuted(x, 16, 4, 16))
    if heads <= 2:
        x = larger(x, _permuted(x, 16, 2, 16))
    if heads <= 1:
        x = larger(x, _permuted(x, 16, 1, 16))
    return x


@_part
def store_low(array, at, x, heads):
    """Writes the first `heads` lanes to `array[at:]`, and nothing behind them."""
    if heads == 16:
        store(array, at, x)
    elif heads == 8:
        store(array, at, _permuted(x, 8, 0, 16))
    elif heads == 4:
        store(array, at, _permuted(x, 4, 0, 16))
    elif heads == 2:
        store(array, at, _permuted(x, 2, 0, 16))
    else:
        store(array, at, _permuted(x, 1, 0, 16))


of_number, of_row, of_key = (as_written(function) for function in chains(mix))
