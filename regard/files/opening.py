"""Opening files that others made: regular files alone, unfolded where they are compressed, with bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from regard.errors import InputError

__all__ = ["LARGEST_RATIO", "LONGEST_TEXT", "UNBOUNDED", "bounded", "opened", "plain_suffix", "read_whole"]

LONGEST_TEXT = 1 << 24
"""How many bytes one text, or one line, may have: four times those of the longest novels."""

LARGEST_RATIO = 200
"""How many bytes a compressed one may unfold to; text has about 5, tables of numbers up to 50."""

UNBOUNDED = 1 << 26
"""So many bytes may unfold from a file whatever the ratio."""

_UNFOLDED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NAMES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}


def plain_suffix(path: Path) -> str:
    """What the name of a file ends in, in lower case and without the ending of its compression.

    >>> plain_suffix(Path("Reviews.CSV.gz")), plain_suffix(Path("reviews"))
    ('.csv', '')
    """
    name = path.name.lower()
    return Path(name[: -len(Path(name).suffix)] if Path(name).suffix in _UNFOLDED else name).suffix


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unfolded where its name ends in `.gz`, `.bz2` or `.xz`, in capitals as well.

    A pipe or a device could be waited for without end, and a few bytes can unfold to as many as a disk holds.

    Raises:
        InputError: no such file, one that may not be read, or no regular file; while reading, broken compression, or more than
            `LARGEST_RATIO` times as many bytes as were read, beyond `UNBOUNDED`. The sentence names the file.
    """
    with ExitStack() as stack:
        try:
            # A named pipe without a writer would block even the opening.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            status = os.stat(path)
            _check_regular(path, status)
            raw = stack.enter_context(os.fdopen(os.open(path, flags), "rb"))
            _check_regular(path, os.fstat(raw.fileno()))
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        unfold = _UNFOLDED.get(path.suffix.lower())
        source = _Source(raw, unfold(raw) if unfold else raw, path)
        yield stack.enter_context(cast(IO[bytes], io.BufferedReader(source, 1 << 17)))


def _check_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for holds, name in _KINDS if holds(status.st_mode)), "no regular file")
        raise InputError(f"{path} is {kind}, expected a file")


class _Source(io.RawIOBase):
    """What is read from a file, with the errors and the bound of `opened`."""

    def __init__(self, raw: IO[bytes], file: Any, path: Path) -> None:
        self._raw, self._file, self._path, self._count = raw, file, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            piece: bytes = self._file.read(len(buffer))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise InputError(f"{self._path} cannot be read: {error.strerror}") from None
            kind = _NAMES.get(self._path.suffix.lower(), "compressed")
            raise InputError(f"{self._path} breaks off or is damaged, expected a whole {kind} file") from None
        self._count += len(piece)
        if self._file is not self._raw and self._count > UNBOUNDED + LARGEST_RATIO * self._raw.tell():
            unfolded = f"unfolds to more than {LARGEST_RATIO} times its size (after {self._count >> 20:,} MiB)"
            raise InputError(f"{self._path} {unfolded}, expected data that is not made to fill a memory")
        buffer[: len(piece)] = piece
        return len(piece)


def bounded(file: IO[bytes], where: str, most: int = LONGEST_TEXT) -> bytes:
    """All that is left of a file or a member of an archive, at most `most` bytes; `where` begins the sentence of the error.

    Raises:
        InputError: more bytes than that: no more are read.
    """
    content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{where} has more than {most:,} bytes, expected at most that")
    return content


def read_whole(path: Path, most: int = LONGEST_TEXT) -> bytes:
    """All bytes of a file, with the bounds of `opened` and `bounded`."""
    with opened(path) as file:
        return bounded(file, str(path), most)
