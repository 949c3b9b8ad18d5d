"""Files that are written: atomic writing, checksums and the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from regard.errors import InputError

__all__ = [
    "cache_folder",
    "json_line",
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
    """Where downloads and computed features are kept: `$XDG_CACHE_HOME/regard`, or `~/.cache/regard`.

    Raises:
        InputError: a user without a home folder, as in some containers, and no `XDG_CACHE_HOME`.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "regard"
    try:
        return Path.home() / ".cache" / "regard"
    except RuntimeError:
        raise InputError("there is no home folder for the cache, expected HOME or XDG_CACHE_HOME to name one") from None
