"""Hashes for choices that look random and need no generator: the same on every machine, in every language that draws them.

A hash is a chain of xor and `mix`, a bijection of 32 bits in which each bit of x changes about half of the bits:

    x = x ^ (x >> 16);  x = x * 0x7FEB352D;  x = x ^ (x >> 15);  x = x * 0x846CA68B;  x = x ^ (x >> 16)

with logical shifts and products modulo 2^32. It is written here once for each language: `mix_integers` for Python integers and
int64 tensors, `mix_tensor` for int32 tensors, `emit_mix` for code that LLVM compiles, one number or a whole vector. What is
hashed is written once for all of them (`Chains`). Importing this loads neither torch nor Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Chains", "chains", "emit_mix", "hashed", "hashed_normal", "mix_integers", "mix_tensor", "signed"]

_WORD = 0xFFFFFFFF
# Shift right and xor, then multiply.
_STEPS = ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1))


class Chains(NamedTuple):
    """The hashes of dropout, for the `mix` of one language; all arguments are 32 bits."""

    of_number: Callable[..., Any]
    """`of_number(low, high, n)`: of a head, or of a place in a tensor, with the lower and the upper half of the seed."""
    of_row: Callable[..., Any]
    """`of_row(head, row)`: of a query's row, from the hash of its head."""
    of_key: Callable[..., Any]
    """`of_key(row, key)`: of a key's row, from the hash of the query's row."""


def hashed(*numbers: Any) -> Any:
    """32 bits that depend on every number: Python integers or int64 tensors that broadcast, of which the lowest 32 bits count.

    >>> hashed(1, 2), hashed(2, 1)
    (3893269270, 587229646)
    """
    x: Any = 0x9E3779B9  # without which zeros would give zero
    for number in numbers:
        x = mix_integers(x ^ number & _WORD)
    return x


def hashed_normal(*numbers: Any) -> Tensor:
    """float64 that look drawn from the normal distribution (Box and Muller 1958), from int64 tensors that broadcast and integers.

    >>> import torch
    >>> hashed_normal(7, torch.arange(10_000)).std().round(decimals=1).item()
    1.0
    """
    from math import pi

    # Never 0, of which there is no logarithm.
    first, second = ((hashed(*numbers, n) + 1).double() / (1 << 32) for n in (0, 1))
    return (-2 * first.log()).sqrt() * (2 * pi * second).cos()


def mix_integers(x: Any) -> Any:
    """Of Python integers and int64 tensors, from 0 to 2^32 - 1."""
    for shift, factor in _STEPS:
        x = x ^ x >> shift
        if factor != 1:
            x = x * factor & _WORD
    return x


def mix_tensor(x: Tensor) -> Tensor:
    """Of an int32 tensor, which is written over."""
    for shift, factor in _STEPS:
        moved = x >> shift
        moved &= (1 << 32 - shift) - 1
        x ^= moved
        if factor != 1:
            x *= signed(factor)
    return x


def emit_mix(builder: Any, x: Any) -> Any:
    """Of an int32, or a vector of them, in code for LLVM; `builder` is an `llvmlite.ir.IRBuilder`."""
    from llvmlite import ir

    def constant(value: int) -> Any:
        return ir.Constant(x.type, [value] * x.type.count if isinstance(x.type, ir.VectorType) else value)

    for shift, factor in _STEPS:
        x = builder.xor(x, builder.lshr(x, constant(shift)))
        if factor != 1:
            x = builder.mul(x, constant(factor))
    return x


def chains(mix: Callable[[Any], Any]) -> Chains:
    """What dropout hashes, for the `mix` of one language; the functions can be compiled by Numba.

    >>> of_number, of_row, of_key = chains(mix_integers)
    >>> of_key(of_row(of_number(1, 2, 0), 7), 9)
    720967468
    """

    def of_number(low: Any, high: Any, number: Any) -> Any:
        return mix(mix(low ^ number) ^ high)

    def of_row(head: Any, row: Any) -> Any:
        return mix(mix(head ^ row))

    def of_key(row: Any, key: Any) -> Any:
        return mix(row ^ key)

    return Chains(of_number, of_row, of_key)


def signed(x: int) -> int:
    """The int32 with the lowest 32 bits of x.

    >>> signed(0xFFFFFFFF), signed(1 << 32)
    (-1, 0)
    """
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)
