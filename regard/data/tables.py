"""Tables: CSV and TSV files with a first line that names the columns."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any

from regard.errors import InputError, nearest
from regard.files import read_lines

__all__ = ["read_table"]


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
