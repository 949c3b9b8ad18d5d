"""`Lanes`: vectors of the processor as values inside of kernels, and the arithmetic that attention needs on them.

A kernel loads 16 neighboring numbers of a flat array as one value, computes with it, and stores it:

    y = fma(load(a, at), load(b, at), y)

The compiler maps 16 lanes to whatever registers the processor has; see `emit` for what each operation becomes. A kernel that uses
them may not be "fast".

Where h heads (1, 2, 4, 8 or 16) lie side by side, lane l belongs to head l mod h: `spread` repeats the first h lanes, `sum_heads`
and `max_heads` reduce the lanes of each head and leave the result in all of them.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic as _intrinsic

from regard.kernels.compiled import as_written, inlined
from regard.kernels.hashing import chains, emit_mix
from regard.kernels.simd.emit import Kind, address, from_bfloat16, permuted, to_bfloat16

__all__ = [
    "LANES", "exp", "fill", "fma", "keep", "larger", "load", "load128", "load64", "load_wide", "max_heads", "mix", "of_key",
    "of_number", "of_row", "pick", "spread", "store", "store_as", "store_low", "sum_heads", "tanh", "tile128", "tile64",
]  # fmt: skip

LANES = 16
_BITS = ir.VectorType(ir.IntType(16), LANES)

# Its results are functions of compiled code, whose first parameter, the typing context, is not the caller's.
intrinsic: Any = _intrinsic


class Lanes(types.Type):
    """`lanes` numbers of a type."""

    def __init__(self, scalar: types.Type, lanes: int) -> None:
        self.scalar = scalar
        self.lanes = lanes
        super().__init__(f"lanes({scalar} x {lanes})")

    @property
    def kind(self) -> Kind:
        return Kind(self.scalar, self.lanes)


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


@intrinsic(prefer_literal=True)
def _load(typingctx: Any, array: Any, at: Any, lanes: Any) -> Any:
    loaded = Lanes(array.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return loaded.kind.load(builder, address(context, builder, array, *args[:2]))

    return loaded(array, types.intp, lanes), codegen


@intrinsic
def store(typingctx: Any, array: Any, at: Any, x: Any) -> Any:
    """Writes all lanes of x to `array[at:]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array_value, at_value, lanes = args
        x.kind.store(builder, lanes, address(context, builder, array, array_value, at_value))
        return context.get_dummy_value()

    return types.void(array, types.intp, x), codegen


@intrinsic
def load_wide(typingctx: Any, array: Any, at: Any) -> Any:
    """16 lanes from `array[at:]`; bits of bfloat16 become float32."""
    narrow = isinstance(array.dtype, types.Integer)
    loaded = Lanes(types.float32 if narrow else array.dtype, LANES)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = address(context, builder, array, *args)
        if not narrow:
            return loaded.kind.load(builder, place)
        bits = builder.load(builder.bitcast(place, _BITS.as_pointer()))
        bits.align = 2
        return from_bfloat16(builder, bits)

    return loaded(array, types.intp), codegen


@intrinsic
def store_as(typingctx: Any, array: Any, at: Any, x: Any) -> Any:
    """Writes 16 lanes to `array[at:]`, float32 rounded to the nearest where that holds bits of bfloat16."""
    narrow = isinstance(array.dtype, types.Integer)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array_value, at_value, lanes = args
        place = address(context, builder, array, array_value, at_value)
        if narrow:
            rounded = builder.store(to_bfloat16(builder, lanes), builder.bitcast(place, _BITS.as_pointer()))
            rounded.align = 2
        else:
            x.kind.store(builder, lanes, place)
        return context.get_dummy_value()

    return types.void(array, types.intp, x), codegen


@intrinsic(prefer_literal=True)
def _permuted(typingctx: Any, x: Any, lanes: Any, modulus: Any) -> Any:
    """Lane l of the result is lane l mod modulus of x."""
    result = Lanes(x.scalar, lanes.literal_value)
    order = [lane % modulus.literal_value for lane in range(result.lanes)]
    return result(x, lanes, modulus), lambda context, builder, sig, args: permuted(builder, args[0], order)


@intrinsic
def fill(typingctx: Any, array: Any, value: Any) -> Any:
    """16 lanes of the array's type, all of this value."""
    filled = Lanes(array.dtype, LANES)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, number = args
        return filled.kind.fill(builder, context.cast(builder, number, value, array.dtype))

    return filled(array, value), codegen


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x y + z, rounded once."""
    return x(x, x, x), lambda context, builder, sig, args: x.kind.fma(builder, *args)


@intrinsic
def larger(typingctx: Any, x: Any, y: Any) -> Any:
    """The larger of two; y where one is NaN."""
    return x(x, x), lambda context, builder, sig, args: x.kind.larger(builder, *args)


@intrinsic(prefer_literal=True)
def _folded_sum(typingctx: Any, x: Any, width: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return x.kind.fold(builder, args[0], width.literal_value, builder.fadd)

    return x(x, width), codegen


@intrinsic(prefer_literal=True)
def _folded_max(typingctx: Any, x: Any, width: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return x.kind.fold(builder, args[0], width.literal_value, lambda a, b: x.kind.larger(builder, a, b))

    return x(x, width), codegen


@intrinsic
def pick(typingctx: Any, sign: Any, above: Any, at: Any, below: Any) -> Any:
    """`above` where sign > 0, `at` where it is 0, `below` where it is less or NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sign, above, at, below = args
        zero = ir.Constant(sign.type, [0.0] * sign.type.count)
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
        return builder.select(builder.icmp_signed(">=", hashed, least), x, ir.Constant(x.type, [0.0] * x.type.count))

    return x(hashed, hashed, x), codegen


@intrinsic
def exp(typingctx: Any, x: Any) -> Any:
    """e^x."""
    return x(x), lambda context, builder, sig, args: x.kind.exp(builder, *args)


@intrinsic
def tanh(typingctx: Any, x: Any) -> Any:
    """The hyperbolic tangent."""
    return x(x), lambda context, builder, sig, args: x.kind.tanh(builder, *args)


@inlined
def load(array, at):
    """16 lanes from `array[at:]`."""
    return _load(array, at, 16)


@inlined
def load64(array, at):
    return _load(array, at, 64)


@inlined
def load128(array, at):
    return _load(array, at, 128)


@inlined
def tile64(x):
    return _permuted(x, 64, 16)


@inlined
def tile128(x):
    """16 lanes, eight times."""
    return _permuted(x, 128, 16)


@inlined
def spread(x, heads):
    """The first `heads` lanes, repeated."""
    if heads <= 8:
        x = _permuted(x, 16, 8)
    if heads <= 4:
        x = _permuted(x, 16, 4)
    if heads <= 2:
        x = _permuted(x, 16, 2)
    if heads <= 1:
        x = _permuted(x, 16, 1)
    return x


@inlined
def sum_heads(x, heads):
    """Each head's sum, in all of its lanes."""
    if heads <= 8:
        x = _folded_sum(x, 8)
    if heads <= 4:
        x = _folded_sum(x, 4)
    if heads <= 2:
        x = _folded_sum(x, 2)
    if heads <= 1:
        x = _folded_sum(x, 1)
    return x


@inlined
def max_heads(x, heads):
    """Each head's maximum, in all of its lanes."""
    if heads <= 8:
        x = _folded_max(x, 8)
    if heads <= 4:
        x = _folded_max(x, 4)
    if heads <= 2:
        x = _folded_max(x, 2)
    if heads <= 1:
        x = _folded_max(x, 1)
    return x


@inlined
def store_low(array, at, x, heads):
    """Writes the first `heads` lanes to `array[at:]`, and nothing behind them."""
    if heads == 16:
        store(array, at, x)
    elif heads == 8:
        store(array, at, _permuted(x, 8, 16))
    elif heads == 4:
        store(array, at, _permuted(x, 4, 16))
    elif heads == 2:
        store(array, at, _permuted(x, 2, 16))
    else:
        store(array, at, _permuted(x, 1, 16))


of_number, of_row, of_key = (as_written(function) for function in chains(mix))
