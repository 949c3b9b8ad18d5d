"""Whether what sets are made of is what it should be: tensors, and whole numbers."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regard.errors import LARGEST, InputError

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["MOST_PLACES", "check_places", "check_tensor", "check_tensors", "whole_numbers"]

MOST_PLACES = 1 << 31
"""More places than any set has, so that a set and a place fit into one number."""


def check_tensor(name: str, value: object, none: bool = False) -> None:
    """Refuse what is no tensor.

    Raises:
        InputError: something else; with `none`, None is fine.
    """
    if not (isinstance(value, Tensor) or (none and value is None)):
        raise InputError(f"{name} is of type {type(value).__name__}, expected a tensor{' or None' if none else ''}")


def check_tensors(name: str, values: object) -> None:
    """Refuse what is no sequence of tensors.

    Raises:
        InputError: something else; the sentence names the first that is no tensor.
    """
    if isinstance(values, Tensor) and values.dim() > 0:
        return
    if isinstance(values, str | bytes | dict) or not hasattr(values, "__len__") or not hasattr(values, "__getitem__"):
        raise InputError(f"{name} is of type {type(values).__name__}, expected a list with a tensor per set")
    for b, each in enumerate(values):  # type: ignore[arg-type,var-annotated]
        check_tensor(f"{name}[{b}]", each)


def whole_numbers(name: str, values: Any) -> Int[Tensor, " n"]:
    """`[n]` int64 of a sequence of whole numbers, or of a tensor of them. Bools are none, and neither is 3.0.

    Raises:
        InputError: another kind of thing, or another kind of number; the sentence says which one.
    """
    if isinstance(values, Tensor) or type(values).__module__ == "numpy":
        tensor = torch.as_tensor(values)
        if tensor.dim() != 1 or tensor.dtype == torch.bool or tensor.is_floating_point() or tensor.is_complex():
            found = f"shape {list(tensor.shape)} and type {tensor.dtype}"
            if tensor.numel() or tensor.dim() != 1:
                raise InputError(f"{name} have {found}, expected one axis of whole numbers")
        return tensor.to(torch.int64)
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise InputError(f"{name} are {values!r}, expected whole numbers in a list")
    return torch.tensor([_whole(f"{name}[{n}]", value) for n, value in enumerate(values)], dtype=torch.int64)


def _whole(name: str, value: Any) -> int:
    kind = getattr(value, "dtype", None)
    try:
        number = None if isinstance(value, bool) or kind in (torch.bool, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise InputError(f"{name} is {value!r}, expected a whole number")
    if abs(number) > LARGEST:
        raise InputError(f"{name} is {number}, expected at most {LARGEST:,}")
    return number


def check_places(places: Int[Tensor, " ..."], set_of_row: Int[Tensor, " t"], starts: Int[Tensor, " s"] | None) -> None:
    """Refuse places that are not one for each row, distinct within a set, or that stand beside starts.

    Raises:
        InputError: such places; the sentence names the set.
    """
    total = set_of_row.shape[0]
    if places.shape != (total,) or places.dtype != torch.int64:
        raise InputError(
            f"places have shape {list(places.shape)} and type {places.dtype}, expected [{total}] of int64: one per vector"
        )
    if starts is not None:
        raise InputError("there are places and starts, expected one of them: places say where each set starts")
    outside = (places < 0) | (places >= MOST_PLACES)
    if outside.any():
        row = int(outside.nonzero()[0])
        raise InputError(
            f"row {row} of set {int(set_of_row[row])} has the place {int(places[row])}, expected 0 to {MOST_PLACES - 1}"
        )
    line = (set_of_row * MOST_PLACES + places).sort().values
    again = (line[1:] == line[:-1]).nonzero()
    if len(again):
        code = int(line[again[0]])
        raise InputError(
            f"set {code // MOST_PLACES} has the place {code % MOST_PLACES} twice, expected distinct places"
        )
