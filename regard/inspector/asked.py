"""A question about attention and its answer: fields that are checked as they are read, JSON and arrays of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["Answer", "Asked", "packed"]

_LONGEST = 1000  # characters of a text


@dataclass(frozen=True)
class Answer:
    """What is answered: plain JSON, and arrays of numbers beside it.

    Attributes:
        content: JSON. buffers: little-endian float32 unless `content` says otherwise.
    """

    content: Mapping[str, Any]
    buffers: tuple[bytes, ...] = ()


def packed(x: Float[Tensor, " ..."]) -> bytes:
    """Numbers as little-endian float32."""
    return x.detach().to(torch.float32).contiguous().numpy().astype("<f4").tobytes()


class Asked:
    """A question, whose fields are checked as they are read."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def index(self, name: str, count: int, things: str) -> int:
        """A number from 0 to `count` - 1; 0 where it is not told.

        Raises:
            InputError: another one.
        """
        found = self.fields.get(name, 0)
        if not _whole(found) or not 0 <= found < count:
            raise InputError(f"{name} {found!r} was asked for, expected 0 to {count - 1}: there are {count} {things}")
        return int(found)

    def maybe(self, name: str, count: int, things: str) -> int | None:
        """The same, or None where it is null or not told."""
        return None if self.fields.get(name) is None else self.index(name, count, things)

    def stretch(self, name: str, count: int) -> range:
        """A stretch `[first, end]` of 0 to `count`; all where it is not told.

        Raises:
            InputError: another one.
        """
        found = self.fields.get(name, [0, count])
        if not isinstance(found, list) or len(found) != 2 or not all(map(_whole, found)):
            raise InputError(f"{name} {found!r} were asked for, expected [first, end] between 0 and {count}")
        if not 0 <= found[0] < found[1] <= count:
            raise InputError(f"{name} {found!r} were asked for, expected [first, end] between 0 and {count}")
        return range(*found)

    def text(self, name: str) -> str:
        """A text.

        Raises:
            InputError: what is none, or one of more than a thousand characters.
        """
        found = self.fields.get(name)
        if not isinstance(found, str) or not 0 < len(found) <= _LONGEST:
            raise InputError(f"{name} is {str(found)!r:.80}, expected a text of at most {_LONGEST:,} characters")
        return found

    def texts(self, name: str, most: int) -> list[str]:
        """A list of at most so many texts.

        Raises:
            InputError: what is no such list.
        """
        found = self.fields.get(name, [])
        if not isinstance(found, list) or len(found) > most or not all(isinstance(each, str) for each in found):
            raise InputError(f"{name} is {str(found)!r:.80}, expected a list of at most {most} texts")
        return found

    def numbers(self, name: str, count: int) -> list[int]:
        """A list of so many numbers from 0 on, or none.

        Raises:
            InputError: what is no such list.
        """
        found = self.fields.get(name, [])
        if not isinstance(found, list) or len(found) not in (0, count) or not all(_whole(n) and n >= 0 for n in found):
            raise InputError(f"{name} is {str(found)!r:.80}, expected a list of {count} numbers")
        return found

    def several(self, name: str, most: int) -> list[Asked]:
        """A list of at most so many questions of their own.

        Raises:
            InputError: what is no such list.
        """
        found = self.fields.get(name, [])
        if not isinstance(found, list) or len(found) > most or not all(isinstance(each, dict) for each in found):
            raise InputError(f"{name} is {str(found)!r:.80}, expected a list of at most {most} objects")
        return [Asked(each) for each in found]


def _whole(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)
