"""Files as readers need them: atomic writing, checksums, the cache folder, tables, text, and folders of files by label."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, cast

from regard.errors import InputError, nearest

__all__ = [
    "PART_NAMES",
    "cache_folder",
    "labeled_files",
    "read_lines",
    "read_table",
    "sha256",
    "write_atomically",
    "written_whole",
]

PART_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""What the parts of a data set are called in files and folders."""


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
    return cast(IO[bytes], gzip.open(source, "rb")) if source.suffix == ".gz" else source.open("rb")


def read_table(
    path: Path, columns: Collection[str], tabs: bool = False
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and the numbered rows of a CSV file with at least these columns; a row's number is that of its last line.

    Args:
        tabs: fields are separated by tabs, and quotes mean themselves (TSV).

    Raises:
        InputError: an empty file, a missing or repeated column, or a row of another number of fields.
    """
    # Python's own limit is shorter than a long text.
    csv.field_size_limit(1 << 30)
    style: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
    # The ends of lines belong to quoted fields that go on over several.
    rows = csv.reader((f"{line}\n" for _, line in read_lines(path)), **style)
    try:
        header = [name.strip() for name in next(rows, [])]
        if not header:
            raise InputError(f"{path} is empty, expected a first line that names the columns {', '.join(columns)}")
        for name in columns:
            if name not in header:
                raise InputError(f"{path} has no column {name!r} in its first line: {nearest(name, header)}")
        if len(set(header)) < len(header):
            again = next(name for i, name in enumerate(header) if name in header[:i])
            raise InputError(f"{path} names the column {again!r} twice in its first line, expected each once")
        body = []
        for row in rows:
            if row and len(row) != len(header):
                found = f"{len(row)} fields, expected {len(header)}"
                raise InputError(f"{path}, line {rows.line_num}, has {found}: one for each column of the first line")
            if row:
                body.append((rows.line_num, [text.strip() for text in row]))
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}, is not CSV: {error}") from None
    if not body:
        raise InputError(f"{path} has a first line only, expected at least one row")
    return header, body


def labeled_files(folder: Path, suffixes: Collection[str]) -> list[tuple[Path, str, str | None]]:
    """Every file of `folder/LABEL/` or `folder/PART/LABEL/` with one of the suffixes: its path, label, and part or None.

    Raises:
        InputError: no such folder, a file outside a label's folder, or no file at all.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, expected one with a folder of files for each label")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if any(entry.is_dir() and entry.name in PART_NAMES for entry in entries):
        folders = [entry for entry in entries if entry.is_dir()]
        for entry in folders:
            if entry.name not in PART_NAMES:
                raise InputError(f"{entry} lies beside folders of parts, expected train, validation and test only")
        return [(path, label, PART_NAMES[e.name]) for e in folders for path, label, _ in labeled_files(e, suffixes)]
    found: list[tuple[Path, str, str | None]] = []
    for entry in entries:
        if entry.is_file() and entry.suffix.lower() in suffixes:
            raise InputError(f"{entry} has no label, expected it in a folder named by its label")
        inside = sorted(entry.rglob("*")) if entry.is_dir() else []
        found += [(path, entry.name, None) for path in inside if path.suffix.lower() in suffixes and path.is_file()]
    if not found:
        raise InputError(f"{folder} has no file by label, expected LABEL/FILE ending in {', '.join(sorted(suffixes))}")
    return found
