"""Texts to predict for: from tables, JSON lines, files of lines, files and folders of whole texts, and streams."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from regard.data.archives import read_text
from regard.data.conllu import Sentence, is_conllu, plain_sentence, read_conllu, sentence_files
from regard.data.folders import files_below
from regard.data.reader import STREAM
from regard.data.survey import Skips
from regard.data.text_files import Columns, Document, table_of, text_entry
from regard.errors import InputError, nearest
from regard.files import LONGEST_LINE, parse_object, plain_suffix, read_lines, text_form, too_long

__all__ = ["absent", "arriving", "read_sentences", "streamed", "texts_below", "to_read"]

T = TypeVar("T")

_HEADER = re.compile(r'("?[\w.-]+"?)([,;\t]"?[\w.-]+"?)+')
_IDS = ("id", "Id", "ID", "name")
"""What names a text, where the columns do not say which one does."""


def absent(source: str) -> InputError:
    """The error of a source that is no file: texts have a way of their own, so that none is ever opened."""
    hint = "expected a file or a folder; texts themselves are read by --text, or Run.predict_texts"
    return InputError(f"{source if source.strip() else repr(source)} is not there, {hint}")


def to_read(source: str, columns: Columns, one_per_line: bool) -> Iterator[Document]:
    """The texts of a file or folder: a table or JSON lines by the column of texts, a file of lines, files of whole texts.

    Raises:
        InputError: a source that is not there or cannot be read.
    """
    path = Path(source)
    if not source.strip() or not path.exists():
        raise absent(source)
    if path.is_dir():
        for file in texts_below(path)[0]:
            yield Document(read_text(file), None, str(file), str(file))
    elif (suffix := plain_suffix(path)) in (".csv", ".tsv"):
        yield from _rows(path, columns)
    elif suffix in (".jsonl", ".ndjson", ".json"):
        yield from _records(_lines(path, columns), source, columns, as_json=True)
    elif one_per_line:
        yield from _records(_lines(path, columns), source, columns)
    else:
        yield Document("\n".join(line for _, line in _lines(path, columns)), None, source, source)


def texts_below(folder: Path) -> tuple[list[Path], Skips]:
    """The files of whole texts below a folder, and what is skipped.

    Raises:
        InputError: a folder without any.
    """
    return files_below(folder, (".txt",), "texts")


def read_sentences(sources: Iterable[str], column: str, segmentation: int) -> list[Sentence]:
    """The sentences of `.conllu` files, of the texts that `to_read` finds, one on each line, and of folders of either.

    Args:
        column: of CoNLL-U, see `read_conllu`. segmentation: the rule that cuts plain text.

    Raises:
        InputError: a source that is not there, cannot be read or holds no sentence.
    """
    found: list[Sentence] = []
    for file in (file for source in sources for file in sentence_files(source)):
        before = len(found)
        if is_conllu(file) and Path(file).is_file():
            found += read_conllu(Path(file), column)
        else:
            lines = to_read(file, Columns(), one_per_line=True)
            found += [plain_sentence(line.text, line.name, line.where, segmentation) for line in lines]
        if len(found) == before:
            raise InputError(f"{file} is empty, expected a sentence per line")
    return found


def _rows(path: Path, columns: Columns) -> Iterator[Document]:
    table = table_of(path, (columns.text, *filter(None, [columns.id])), columns)
    header, rows = table.header, table.rows
    text, named = header.index(columns.text), _id_among(header, columns)
    for number, row in rows:
        name = row[header.index(named)] if named else ""
        yield Document(row[text], None, name or f"{path}:{number}", f"{path}, line {number},")


def _lines(path: Path, columns: Columns) -> Iterator[tuple[int, str]]:
    return read_lines(path, form=text_form(path, columns.encoding, "--data.encoding"))


def _records(
    lines: Iterable[tuple[int, str]], where: str, columns: Columns, as_json: bool | None = None
) -> Iterator[Document]:
    """A text on each line, or in each JSON object where the first line that is not blank is one; blank lines are passed over."""
    for number, line in lines:
        if line.strip():
            as_json = _first(number, line, where, columns) if as_json is None else as_json
            yield _record(number, line, where, columns, as_json)


def _record(number: int, line: str, where: str, columns: Columns, as_json: bool) -> Document:
    name, place = f"{where}:{number}", f"{where}, line {number},"
    if not as_json:
        if _is_json(number, line, where):
            raise InputError(f"{place} is a JSON object among lines of text, expected either on each line")
        return Document(line.strip(), None, name, place)
    entries = parse_object(line, place)
    named = _id_among(entries, columns)
    if columns.id and not named:
        raise InputError(f"{place} has no entry {columns.id!r}: {nearest(columns.id, entries)}")
    return Document(text_entry(entries, place, columns), None, _spelled(entries, named) or name, place)


def _id_among(names: Collection[str], columns: Columns) -> str:
    """Which of the names is that of the ids; empty if none is."""
    known = (columns.id,) if columns.id else tuple(name for name in _IDS if name != columns.text)
    return next((name for name in known if name in names), "")


def _spelled(entries: Mapping[str, Any], name: str) -> str:
    value = entries.get(name)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _first(number: int, line: str, where: str, columns: Columns) -> bool:
    """Whether the first of some lines says that they are JSON objects.

    Raises:
        InputError: a line that names the columns of a table, or begins a list.
    """
    if _HEADER.fullmatch(line.strip()) and columns.text in re.split(r"[,;\t]", line.strip().replace('"', "")):
        expected = "expected a text or a JSON object on each line, or a file whose name ends in .csv or .tsv"
        raise InputError(f"{where}, line {number}, looks like the first line of a table, {expected}")
    return _is_json(number, line, where)


def _is_json(number: int, line: str, where: str) -> bool:
    """Whether a line is meant as a JSON object, whole or not.

    Raises:
        InputError: a line that begins a list, in which no line is a text.
    """
    begin, rest = line.strip()[:1], line.strip()[1:].lstrip()[:1]
    if begin == "[" and (not rest or rest in '[{"]'):
        expected = "expected a text, or a JSON object, on each line"
        raise InputError(f"{where}, line {number}, begins a JSON list, {expected}")
    return begin == "{" and (not rest or rest in '"}')


def streamed(file: IO[bytes], columns: Columns) -> Iterator[list[Document]]:
    """The texts of a stream, on lines as in a file, as they arrive. What stands before a line that cannot be read is given before
    the error.

    Raises:
        InputError: a stream without a text, bytes that are not UTF-8, or a line that is no JSON object among such.
    """
    as_json = None
    for lines in arriving(file):
        kept = [(number, line) for number, line in lines if line.strip()]
        if as_json is None and kept:
            as_json = _first(*kept[0], STREAM, columns)
        found, error = _until_error(_records(kept, STREAM, columns, as_json))
        if found:
            yield found
        if error:
            raise error
    if as_json is None:
        raise InputError(f"{STREAM} is empty, expected a text on each line")


def arriving(file: IO[bytes]) -> Iterator[list[tuple[int, str]]]:
    """The numbered lines of a stream in groups: those that are there, without waiting for more.

    Raises:
        InputError: bytes that are not UTF-8; the sentence names the line, and the lines before come before it.
    """
    number = size = 0
    begun: list[bytes] = []
    read = file.read1 if hasattr(file, "read1") else file.read
    while True:
        piece = read(1 << 16)
        whole, newline, rest = piece.rpartition(b"\n")
        # A line that goes on over pieces is joined once.
        block = b"".join([*begun, whole, newline] if piece else begun) if newline or not piece else b""
        begun, size = ([], 0) if newline else (begun, size)
        begun.append(rest)
        size += len(rest)
        lines, error = _until_error(_numbered(block, number))
        number += len(lines)
        if lines:
            yield lines
        if error:
            raise error
        if size > LONGEST_LINE:
            raise too_long(STREAM, number + 1)
        if not piece:
            return


def _numbered(block: bytes, before: int) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(io.BytesIO(block), before + 1):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            found = f"the byte 0x{line[error.start]:02x}"
            raise InputError(f"{STREAM}, line {number}, holds {found}, expected text in UTF-8") from None


def _until_error(items: Iterable[T]) -> tuple[list[T], InputError | None]:
    """What came, and the error that ended it."""
    found: list[T] = []
    try:
        for item in items:
            found.append(item)  # noqa: PERF402
    except InputError as error:
        return found, error
    return found, None
