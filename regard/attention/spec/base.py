"""What all values of a specification share: they check their options, compare, hash, and print as the text `parse` reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import TYPE_CHECKING, Any

from regard.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from regard.sets import Layout

__all__ = ["Parameters", "Part", "Shapes", "Value"]

# The learned tensors of a part by name, and their shapes.
Parameters = Mapping[str, "Tensor"]
Shapes = dict[str, tuple[int, ...]]

_KINDS: dict[Any, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "int | None": (int, NoneType),
    "float": (int, float),
    "float | None": (int, float, NoneType),
    "str": (str,),
}
# Indices and offsets from them must fit into 64 bits.
_LARGEST = 1 << 40


@dataclass(frozen=True, repr=False)
class Value:
    """An immutable piece of a specification. Its `repr` names the options that differ from their defaults.

    Raises:
        InputError: an option of another kind than its annotation says, or a number that has no text form.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kinds = getattr(self, field.name), _KINDS.get(field.type)
            fits = kinds is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))
            if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) < _LARGEST):
                fits = False
            if not fits:
                raise InputError(f"{type(self).__name__} has {field.name} {value!r}, expected {field.type}")

    def __repr__(self) -> str:
        options = []
        for field in fields(self):
            value = getattr(self, field.name)
            usual = field.default if field.default_factory is MISSING else field.default_factory()
            if usual is MISSING or value != usual:
                options.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(options)})"


@dataclass(frozen=True, repr=False)
class Part(Value):
    """A value that an attention is made of, or an attention itself."""

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        """What these layouts of queries and keys lack for it: a sentence that says what was found and expected, or None."""
        return None
