"""Word vectors as lines of text: word2vec's format, which says in its first line what follows, and GloVe's, which does not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError
from regard.vectors.words import WIDEST

__all__ = ["LONGEST", "header", "read_text", "word_of"]

LONGEST = 10_000
"""How many bytes a first line, or a word, may have."""

_HEADER = "expected a first line with the number of words and the width, such as '26778 100'"
_GLOVE = "or a word and at least two numbers"
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DIGITS = 64  # bytes of a number, its space included
_TOLD_BY = 1000  # lines that tell the width of a file without first line
_TOLD_BYTES = 1 << 24  # and so many bytes at most


def header(line: bytes, path: Path, otherwise: str = "") -> tuple[int, int]:
    """The number of words and the width that a first line says.

    Raises:
        InputError: another line, or a width beyond `WIDEST`.
    """
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() and len(part) < 16 and int(part) for part in parts):
        found = line[:40].decode(errors="replace").strip()
        raise InputError(f"{path}, line 1, holds {found!r}, {_HEADER}{otherwise and ', '}{otherwise}")
    total, width = int(parts[0]), int(parts[1])
    _check_width(width, path)
    return total, width


def _check_width(width: int, path: Path) -> None:
    if width > WIDEST:
        raise InputError(f"{path} says that vectors have {width:,} numbers, expected at most {WIDEST:,}")


def read_text(file: IO[bytes], path: Path) -> tuple[list[str], Array]:
    """The words and `[v, d]` their vectors.

    Raises:
        InputError: a wrong first line, a broken line, or more or fewer lines than the first one says.
    """
    longest = LONGEST + _DIGITS * WIDEST
    first = file.readline(longest).removeprefix(b"\xef\xbb\xbf")
    if len(_fields(first)) > 2:
        lines, total = _lines(file, 1, longest, path, first), None
        seen = _begin(lines)
        width = _told_width(seen)
        _check_width(width, path)
        lines = chain(seen, lines)
    else:
        total, width = header(first, path, _GLOVE)
        lines = _lines(file, 2, LONGEST + _DIGITS * width, path)
    words: list[str] = []
    numbers = bytearray()
    for number, line in lines:
        word, row = _line(line, width, f"{path}, line {number},")
        if total is not None and len(words) == total:
            raise InputError(f"{path}, line {number}, is one too many, expected the {total:,} words of its first line")
        words.append(word)
        numbers += row.tobytes()
    if total is not None and len(words) < total:
        raise InputError(f"{path} ends after line {len(words) + 1}, expected the {total:,} words of its first line")
    return words, np.frombuffer(numbers, np.float32).reshape(-1, width)


def _lines(file: IO[bytes], number: int, longest: int, path: Path, first: bytes = b"") -> Iterator[tuple[int, bytes]]:
    """The numbered lines, none of them longer than can be."""
    line = first or file.readline(longest)
    while line:
        if len(line) == longest and not line.endswith(b"\n"):
            raise InputError(
                f"{path}, line {number}, is longer than {longest:,} bytes, expected a word and its numbers"
            )
        yield number, line
        number += 1
        line = file.readline(longest)


def _begin(lines: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The lines that tell the width."""
    seen: list[tuple[int, bytes]] = []
    size = 0
    for number, line in lines:
        seen.append((number, line))
        size += len(line)
        if len(seen) == _TOLD_BY or size > _TOLD_BYTES:
            break
    return seen


def _told_width(lines: Iterable[tuple[int, bytes]]) -> int:
    """How many numbers most lines have; words with blanks, and lines that break off, are few. Of equally many, the smaller."""
    widths = Counter(len(_fields(line)) - 1 for _, line in lines)
    return max(2, max(widths, key=lambda width: (widths[width], -width)))


def _fields(line: bytes) -> list[bytes]:
    return line.replace(b"\t", b" ").rstrip(b" \r\n").split(b" ")


def _line(line: bytes, width: int, where: str) -> tuple[str, Array]:
    fields = _fields(line)
    words, numbers = fields[:-width], fields[-width:]
    # A word may hold blanks, but a number behind it is one too many.
    if not words or (len(words) > 1 and _NUMBER.fullmatch(words[-1])):
        count = next((n for n, each in enumerate(fields[:0:-1]) if not _NUMBER.fullmatch(each)), len(fields) - 1)
        raise InputError(f"{where} has {count} numbers, expected {width}")
    try:
        with np.errstate(over="ignore"):
            row = np.array(numbers).astype(np.float32)
    except ValueError:
        raise InputError(f"{where} holds what is no number, expected a word and {width} numbers") from None
    if not np.isfinite(row).all():
        raise InputError(f"{where} holds a number that is not finite, expected {width} finite ones")
    return word_of(b" ".join(words).strip(b" ") if len(words) > 1 else words[0], where), row


def word_of(spelled: bytes, where: str) -> str:
    """The word that bytes spell; `where` begins the sentence of the error.

    Raises:
        InputError: bytes that are not UTF-8.
    """
    try:
        return spelled.decode()
    except UnicodeDecodeError as error:
        found = f"the byte 0x{spelled[error.start]:02x}"
        raise InputError(f"{where} holds {found} in its word, expected text in UTF-8") from None
