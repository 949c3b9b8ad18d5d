"""What all values of a specification share: they check their options, compare, hash, and print as the text `parse` reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from regard.errors import LARGEST, InputError, check_number

if TYPE_CHECKING:
    from torch import Tensor

    from regard.sets import Layout

__all__ = ["MOST_COORDINATES", "Parameters", "Part", "Shapes", "Value", "bounded"]

# The learned tensors of a part by name, and their shapes.
Parameters = Mapping[str, "Tensor"]
Shapes = dict[str, tuple[int, ...]]

# Of a vector; more would only be there to exhaust the memory.
MOST_COORDINATES = 1 << 10
_NUMBERS = ("int", "int | None", "float", "float | None")
_KINDS: dict[Any, type] = {"bool": bool, "str": str}


def bounded(least: float = -LARGEST, most: float = LARGEST) -> dict[str, float]:
    """The metadata of a field that holds a number: `left: int = field(metadata=bounded(0))`. Every number says its bounds."""
    return {"least": least, "most": most}


@dataclass(frozen=True, repr=False)
class Value:
    """An immutable piece of a specification. Its `repr` names the options that differ from their defaults.

    Raises:
        InputError: an option of another kind than its annotation says, or a number outside the bounds of its field.
    """

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in _NUMBERS:
                check_number(owner, field.name, value, str(field.type), **(field.metadata or bounded()))
            elif field.type in _KINDS and not isinstance(value, _KINDS[field.type]):
                raise InputError(f"{owner} has {field.name} {value!r}, expected {field.type}")

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
