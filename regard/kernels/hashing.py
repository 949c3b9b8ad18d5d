"""A hash of small numbers, for choices that look random and need no generator: the same on every machine."""

from __future__ import annotations

from typing import Any

__all__ = ["hashed"]

_WORD = 0xFFFFFFFF


def hashed(*numbers: Any) -> Any:
    """32 bits that depend on every number: Python integers or int64 tensors that broadcast, of which the lowest 32 bits count.

    >>> hashed(1, 2), hashed(2, 1)
    (3893269270, 587229646)
    """
    x: Any = 0x9E3779B9  # without which zeros would give zero
    for number in numbers:
        x = _mix(x ^ number & _WORD)
    return x


def _mix(x: Any) -> Any:
    """A bijection of 32 bits in which each bit of x changes about half of the bits (multiply and xor-shift)."""
    x = x ^ x >> 16
    x = x * 0x7FEB352D & _WORD
    x = x ^ x >> 15
    x = x * 0x846CA68B & _WORD
    return x ^ x >> 16
