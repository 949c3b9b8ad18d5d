"""Files as readers need them: atomic writing, checksums, the cache folder, and lines of text."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, cast

from regard.errors import InputError

__all__ = [
    "cache_folder",
    "json_line",
    "read_lines",
    "sha256",
    "write_atomically",
    "written_whole",
]


@contextmanager
def written_whole(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A file to write that is there whole or not at all, whenever the process ends; folders are made.

    Args:
        path: of the file. mode: who may read and write it.

    Raises:
        InputError: the disk is full, or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that it is there whole or not at all; see `written_whole`."""
    with written_whole(path, mode) as file:
        file.write(data)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_line(value: Any) -> str:
    """A value as one line of JSON without its end, which UTF-8 can hold whatever a file is named.

    >>> json_line({"name": "caf\\udce9", "label": "é"})
    '{"name": "caf\\\\udce9", "label": "é"}'
    """
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def cache_folder() -> Path:
    """Where downloads and computed features are kept: `$XDG_CACHE_HOME/regard`, or `~/.cache/regard`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "regard"


def read_lines(source: Path | IO[bytes], where: str = "") -> Iterator[tuple[int, str]]:
    """The numbered lines of a UTF-8 file (`.gz` or plain) or stream, without their ends.

    Raises:
        InputError: no such file, broken compression, or bytes that are not UTF-8; the sentence names file and line.
    """
    where = where or str(source)
    number = 0
    try:
        with _open(source) as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{error.object[error.start]:02x}"
        raise InputError(f"{where}, line {number}, holds {found}, expected text in UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{where} breaks off or is damaged after line {number}, expected a whole gzip file") from None
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror or error}") from None


def _open(source: Path | IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    if not isinstance(source, Path):
        return nullcontext(source)
    return cast(IO[bytes], gzip.open(source, "rb")) if source.suffix.lower() == ".gz" else source.open("rb")
