"""Named numbers as kernels read them: a named tuple becomes a record, whose fields are read by name without a copy.

A kernel could take the named tuple itself, but then each call would look at every field to find the kernel's machine code: five
microseconds for thirty numbers, where an array of one record takes a tenth of one.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, get_type_hints

import numpy as np

__all__ = ["Records", "Stride", "kind_of", "record"]

Records = np.ndarray[Any, np.dtype[np.void]]
_NUMBERS: dict[Any, Any] = {int: np.int64, float: np.float64}


class Stride(NamedTuple):
    """How far apart in memory the rows, heads and columns of a tensor lie."""

    row: int = 0
    head: int = 0
    column: int = 0

    @classmethod
    def of(cls, x: Any) -> Stride:
        """That of a tensor of three dimensions."""
        return cls(*x.stride())


@cache
def kind_of(fields: type[tuple[Any, ...]]) -> np.dtype[np.void]:
    """The type of a record with the fields of a named tuple: whole numbers, floats, or named tuples."""
    hints = get_type_hints(fields)
    names = fields._fields  # type: ignore[attr-defined]
    return np.dtype([(name, _NUMBERS.get(hints[name]) or kind_of(hints[name])) for name in names], align=True)


def record(values: tuple[Any, ...]) -> Records:
    """An array of one record, from a named tuple.

    >>> record(Stride(12, 4, 1))["head"]
    array([4])
    """
    return np.array([values], kind_of(type(values)))
