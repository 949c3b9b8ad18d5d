"""What every layer is checked for in one way: its numbers where it is made, and what it is called with first."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from torch import Tensor, nn

from regard.errors import InputError, check_number
from regard.sets import VectorSets

__all__ = ["check_sets", "checked"]

Layer = TypeVar("Layer", bound=type[nn.Module])
_PROBABILITIES = ("dropout", "p", "drop", "drop_ids", "skip", "value_dropout")
_KINDS = ("int", "int | None", "float", "float | None")


def checked(**least: float) -> Callable[[Layer], Layer]:
    """A layer that refuses numbers below these, or of another kind than annotated, and what is no `VectorSets` where sets go first.

    Whole numbers that are named nowhere must be at least 1; `dropout` and its like are probabilities. A `forward` that takes
    something else first is left alone.

    >>> @checked(left=0)
    ... class Shift(nn.Module):
    ...     def __init__(self, width: "int", left: "int") -> "None":
    ...         super().__init__()
    ...
    ...     def forward(self, sets: "VectorSets") -> "VectorSets":
    ...         return sets
    >>> Shift(8, -1)
    Traceback (most recent call last):
    regard.errors.InputError: Shift has left -1, expected at least 0
    """

    def decorate(layer: Layer) -> Layer:
        methods = {"__init__": _checking_numbers(layer.__init__, least)}
        if "forward" in vars(layer) and _first(layer.forward) == "VectorSets":
            methods["forward"] = _checking_sets(layer.forward)
        for name, method in methods.items():
            setattr(layer, name, method)
        return layer

    return decorate


def check_sets(layer: nn.Module, sets: object) -> None:
    """Refuse what is no `VectorSets`.

    Raises:
        InputError: a tensor, for which there is `from_padded` or `pack`, or something else.
    """
    if not isinstance(sets, VectorSets):
        found = f"a tensor of shape {list(sets.shape)}" if isinstance(sets, Tensor) else f"a {type(sets).__name__}"
        wanted = "VectorSets, such as VectorSets.from_padded(x, mask) or VectorSets.pack([a, b])"
        raise InputError(f"{type(layer).__name__} was given {found}, expected {wanted}")


def _first(forward: Callable[..., Any]) -> str:
    """The annotation of the first argument."""
    parameters = list(inspect.signature(forward).parameters.values())
    return str(parameters[1].annotation).strip("'") if len(parameters) > 1 else ""


def _checking_sets(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def checking(self: nn.Module, sets: VectorSets, *arguments: Any, **options: Any) -> Any:
        check_sets(self, sets)
        return forward(self, sets, *arguments, **options)

    return checking


def _checking_numbers(init: Callable[..., None], least: dict[str, float]) -> Callable[..., None]:
    signature = inspect.signature(init)
    kinds = {name: str(option.annotation).strip("'") for name, option in signature.parameters.items()}
    numbers = {name: kind for name, kind in kinds.items() if kind in _KINDS}

    @wraps(init)
    def checking(self: nn.Module, *arguments: Any, **options: Any) -> None:
        try:
            bound = signature.bind(self, *arguments, **options).arguments
        except TypeError:
            bound = {}  # which the constructor says in its own words
        owner = type(self).__name__
        for name in numbers.keys() & bound.keys():
            if name in _PROBABILITIES:
                check_number(owner, name, bound[name], numbers[name], least=0, most=1)
            elif "int" in numbers[name]:
                check_number(owner, name, bound[name], numbers[name], least=least.get(name, 1))
            else:
                check_number(owner, name, bound[name], numbers[name], **_bound(least, name))
        init(self, *arguments, **options)

    return checking


def _bound(least: dict[str, float], name: str) -> dict[str, float]:
    return {"least": least[name]} if name in least else {}
