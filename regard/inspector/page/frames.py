"""How questions and answers travel: a question is JSON, an answer JSON with arrays of numbers behind it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from regard.errors import InputError
from regard.inspector.asked import Answer

__all__ = ["MODULE", "Asks", "answered", "framed", "script"]

Asks = Callable[[Mapping[str, Any]], Answer]

MODULE = "inspector.js"
"""The bundled module, built from `src` by `npm run build`."""


def script(name: str) -> str:
    """A file of JavaScript, such as `MODULE`."""
    return files("regard.inspector.page").joinpath(name).read_text(encoding="utf-8")


def answered(asks: Asks, question: object) -> Answer:
    """The answer to a question, whatever it is: an error of a user is one too, `{"error": sentence}`."""
    try:
        if not isinstance(question, dict):
            raise InputError(f"a question is of the type {type(question).__name__}, expected an object")
        return asks(question)
    except InputError as error:
        return Answer({"error": str(error)})


def framed(answer: Answer) -> bytes:
    """An answer as bytes: the length of the JSON as 4 bytes, little-endian, the JSON, and the arrays, whose lengths it names.

    >>> framed(Answer({"a": 1}, (b"xyz",)))[4:]
    b'{"content": {"a": 1}, "lengths": [3]}xyz'
    """
    head = json.dumps({"content": dict(answer.content), "lengths": [len(each) for each in answer.buffers]}).encode()
    return b"".join([struct.pack("<I", len(head)), head, *answer.buffers])
