"""JSON that others wrote: one value, with bounds, and without what the format leaves open."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regard.errors import InputError
from regard.files.opening import read_whole

__all__ = ["DEEPEST", "LARGEST_JSON", "parse_json", "parse_object", "read_json"]

DEEPEST = 64
"""How many arrays and objects may lie within one another."""

LARGEST_JSON = 1 << 28
"""How many bytes a file of JSON may have."""

_DIGITS = 100
_BRACKET = re.compile(r"[\[{]")


class _RefusedError(ValueError):
    """What JSON leaves open; its text is the end of a sentence after the place."""


def parse_json(text: str | bytes, where: str, expected: str = "JSON") -> Any:
    """The value that a JSON text holds.

    >>> parse_json('{"a": [1, 2.5, null]}', "line 1")
    {'a': [1, 2.5, None]}
    >>> parse_json('{"a": 1, "a": 2}', "line 1")
    Traceback (most recent call last):
    regard.errors.InputError: line 1 has the entry 'a' twice, expected each once

    Args:
        text: in UTF-8 where it is bytes.
        where: begins the sentence of an error.
        expected: ends that of a text which is no JSON.

    Raises:
        InputError: no JSON; more than `DEEPEST` arrays and objects within one another; an entry that stands twice in an object;
            a number that is not finite, or a whole one of more than 100 digits.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = _DECODER.decode(text)
    except _RefusedError as error:
        raise InputError(f"{where} {error}") from None
    except RecursionError:
        raise _too_deep(where) from None
    except json.JSONDecodeError as error:
        place = f"{error.msg} at place {error.pos}" if error.lineno == 1 else f"{error.msg} in line {error.lineno}"
        raise InputError(f"{where} is not JSON ({place}), expected {expected}") from None
    except UnicodeDecodeError as error:
        found = f"the byte 0x{error.object[error.start]:02x}"
        raise InputError(f"{where} is not JSON (it holds {found}, no UTF-8), expected {expected}") from None
    if sum(1 for _ in _BRACKET.finditer(text)) > DEEPEST and _deeper_than(value, DEEPEST):
        raise _too_deep(where)
    return value


def parse_object(text: str, where: str) -> dict[str, Any]:
    """The entries of the JSON object that a line holds; see `parse_json`.

    Raises:
        InputError: a line that is no JSON object, or as `parse_json`.
    """
    expected = "one on each line"
    try:
        value = parse_json(text, where, expected)
    except InputError as error:
        # What is no JSON is no object either.
        raise InputError(str(error).replace(" is not JSON ", " is no JSON object ", 1)) from None
    if not isinstance(value, dict):
        raise InputError(f"{where} is no JSON object, expected {expected}")
    return value


def read_json(path: Path, expected: str = "JSON") -> Any:
    """The value that a file of JSON holds; see `parse_json`.

    Raises:
        InputError: a file that cannot be read or has more than `LARGEST_JSON` bytes, or as `parse_json`.
    """
    return parse_json(read_whole(path, LARGEST_JSON), str(path), expected)


def _too_deep(where: str) -> InputError:
    return InputError(f"{where} is nested more than {DEEPEST} deep, expected at most that")


def _deeper_than(value: Any, most: int) -> bool:
    level: list[Any] = [value]
    for _ in range(most):
        inner: list[Iterable[Any]] = [
            x.values() if isinstance(x, dict) else x for x in level if isinstance(x, (dict, list))
        ]
        level = [x for entries in inner for x in entries if isinstance(x, (dict, list))]
    return bool(level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        again = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _RefusedError(f"has the entry {again[:80]!r} twice, expected each once")
    return found


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise _RefusedError(f"holds a number of {len(digits):,} digits, expected at most {_DIGITS}")
    return int(digits)


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _RefusedError(f"holds the number {text[:40]}, expected a finite one")
    return number


def _constant(name: str) -> float:
    raise _RefusedError(f"holds {name}, expected numbers that JSON knows")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole, parse_float=_number, parse_constant=_constant)
