"""Texts and their labels: from CSV, TSV, JSON lines, lines of `label text`, folders and archives of files by label."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from regard.data.archives import is_archive, labeled_texts
from regard.data.arrangement import ending
from regard.data.examples import Part, divided, split
from regard.data.folders import files_by_part, inside
from regard.data.parts import stated_part
from regard.data.survey import Skips
from regard.data.tables import read_table
from regard.errors import InputError, nearest
from regard.files import read_lines

__all__ = [
    "Columns",
    "Document",
    "found_documents",
    "is_text",
    "json_object",
    "read_documents",
    "text_entry",
    "text_format",
]


@dataclass(frozen=True)
class Columns:
    """What the columns of a table, or the entries of a JSON object, are called.

    Args:
        text: the text. label: its label.
        split: the part, where it is there.
        id: what predictions for texts without labels are reported under; if empty, `id` or `name` where there is one.
        several: whether a text has any number of labels. Then `label` may be several columns with commas between them, of 1 and 0,
            each for the label that is called as the column is.
    """

    text: str = "text"
    label: str = "label"
    split: str = "split"
    id: str = ""
    several: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of labels."""
        return tuple(name.strip() for name in self.label.split(",")) if self.several else (self.label,)


@dataclass(frozen=True)
class Document:
    """One text: `label` is None where nothing labels it, `part` where nothing divides it; `where` begins sentences of errors."""

    text: str
    label: str | None
    name: str
    where: str
    part: Part | None = None

    def __post_init__(self) -> None:
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            found = f"half of a character, U+{ord(self.text[error.start]):04X}, at place {error.start}"
            raise InputError(f"{self.where} holds {found}, expected text that UTF-8 can hold") from None


def read_documents(place: Path, columns: Columns, by_label: bool = True, divide: bool = True) -> list[Document]:
    """The labelled texts of a file or a folder, each in its part.

    A folder holds files with train, dev (or val, validation) and test in their names; or `PART/LABEL/NAME.txt`,
    `LABEL/NAME.txt` or `LABEL/PART/NAME.txt`, as they are or in one archive, `.tar` (`.gz`, `.xz` or `.bz2`) or `.zip`,
    read without being unpacked. A folder of texts without labels named `unsup` is passed over. Where nothing says which
    part a text belongs to, and where there is no validation part, `split` decides by their names, and, if `by_label`,
    label by label; not so without `divide`.

    Raises:
        InputError: nothing to read, or what departs from its format; the sentence names the file and the line.
    """
    found, _ = found_documents(place, columns)
    return _divided(found, place, by_label) if divide else found


def found_documents(place: Path, columns: Columns) -> tuple[list[Document], Skips]:
    """The labelled texts of a file or a folder as `read_documents` finds them, before they are divided; and what is skipped."""
    if not os.path.isdir(place):
        return _by_label(place) if is_archive(place) else (_read_file(place, columns), Skips())
    named, skips = files_by_part(place)
    if named:
        return [_in_part(each, part) for path, part in named for each in _read_file(path, columns)], skips
    below = inside(place, "texts")
    archives = [name for name in below.files if "/" not in name and is_archive(Path(name))]
    if len(archives) == 1 and not any(ending(name) == ".txt" and "/" in name for name in below.files):
        return _by_label(place / archives[0])
    return _by_label(place)


def _by_label(place: Path) -> tuple[list[Document], Skips]:
    texts, skips = labeled_texts(place)
    return [Document(*text) for text in texts], skips


_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".train", ".dev", ".test", ".tar", ".zip")


def is_text(path: Path) -> bool:
    """Whether a file's name ends as those of texts do, whatever compresses it."""
    return bool(set(_SUFFIXES) & {suffix.lower() for suffix in path.suffixes[-2:]})


def text_format(place: Path) -> str:
    """What a file or a folder of texts is read as."""
    if not os.path.isdir(place):
        suffix = place.name.removesuffix(".gz").rpartition(".")[2].lower()
        known = {"csv": "CSV", "tsv": "TSV", "jsonl": "JSON lines", "ndjson": "JSON lines"}
        return "archive of text files by label" if is_archive(place) else known.get(suffix, "lines `label text`")
    files = [path for path, _ in files_by_part(place)[0]]
    return " and ".join(dict.fromkeys(map(text_format, files))) if files else "text files by label"


def _in_part(document: Document, part: Part) -> Document:
    return Document(document.text, document.label, document.name, document.where, part)


def _divided(found: Sequence[Document], place: Path, by_label: bool) -> list[Document]:
    """Each document in a part, the validation part taken from the training part where there is none."""
    present = {document.part for document in found}
    if None in present and len(present) > 1:
        odd = next(document for document in found if document.part is None)
        raise InputError(f"{odd.where} is in no part, and others of {place} are, expected train, validation or test")
    if None in present:
        parts = split([document.name for document in found], _labels(found) if by_label else None)
        return [_in_part(document, part) for document, part in zip(found, parts, strict=True)]
    for part in ("train", "test"):
        if part not in present:
            expected = "expected files or folders of train and test, or one file that is not divided"
            raise InputError(f"{place} has no {part} part, {expected}")
    if "validation" in present:
        return list(found)
    labels = _labels(found) if by_label else [""] * len(found)
    parts = divided([document.name for document in found], labels, [document.part for document in found])
    return [_in_part(document, part) for document, part in zip(found, parts, strict=True)]


def _labels(documents: Sequence[Document]) -> list[str]:
    return [str(document.label) for document in documents]


def _read_file(path: Path, columns: Columns) -> list[Document]:
    try:
        status = path.stat()
    except OSError:
        raise InputError(f"{path} is not there, expected a file of texts, or a folder") from None
    return list(_parsed(path, columns, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=8)
def _parsed(path: Path, columns: Columns, modified: int, size: int) -> tuple[Document, ...]:
    """Parsed once, since `fit` and `part` read the same files; a changed file is another key."""
    suffix = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if suffix in ("csv", "tsv"):
        found = _table(path, columns, suffix == "tsv")
    elif suffix in ("jsonl", "ndjson"):
        found = _json_lines(path, columns)
    else:
        found = _label_lines(path)
    documents = tuple(found)
    if not documents:
        raise InputError(f"{path} is empty, expected texts with labels")
    return documents


def _table(path: Path, columns: Columns, tabs: bool) -> Iterator[Document]:
    table = read_table(path, (columns.text, *columns.labels), tabs)
    header, rows = table.header, table.rows
    text, labels = header.index(columns.text), {name: header.index(name) for name in columns.labels}
    at = header.index(columns.split) if columns.split in header else None
    for number, row in rows:
        where = f"{path}, line {number},"
        part = None if at is None else stated_part(row[at], where, columns.split)
        label = _label({name: row[column] for name, column in labels.items()}, where, columns)
        yield Document(row[text], label, f"{path.name}:{number}", where, part)


def _json_lines(path: Path, columns: Columns) -> Iterator[Document]:
    for number, line in read_lines(path):
        if line.strip():
            where = f"{path}, line {number},"
            entries = json_object(line, where)
            text = text_entry(entries, where, columns)
            label = _label({name: _entry(entries, name, where) for name in columns.labels}, where, columns)
            part = stated_part(str(entries[columns.split]), where, columns.split) if columns.split in entries else None
            yield Document(text, label, f"{path.name}:{number}", where, part)


def _label_lines(path: Path) -> Iterator[Document]:
    for number, line in read_lines(path):
        label, _, text = line.strip().partition(" ")
        if label:
            yield Document(text.strip(), label, f"{path.name}:{number}", f"{path}, line {number},")


def _label(values: dict[str, Any], where: str, columns: Columns) -> str:
    """The label of a text, from its column or entry; where it has several, they are written as `label_set` reads them."""
    if len(values) > 1:
        return json.dumps(values)
    value = values[columns.labels[0]]
    if isinstance(value, (list, dict)):
        if not columns.several:
            found = json.dumps(value)[:60]
            raise InputError(
                f"{where} has the {columns.label} {found}, expected one: --data.target labels takes several"
            )
        return json.dumps(value)
    label = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    # A text without any label is one, but where nothing is said it is not known.
    if not label and not (columns.several and value is not None):
        raise InputError(f"{where} has no {columns.label}, expected one for each text")
    return label


def json_object(line: str, where: str) -> dict[str, Any]:
    """The entries of a line that is a JSON object; `where` begins the sentence of an error."""
    try:
        entries = json.loads(line)
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise InputError(f"{where} is no JSON object, expected one on each line")
    return entries


def _entry(entries: dict[str, Any], name: str, where: str) -> Any:
    if name not in entries:
        raise InputError(f"{where} has no entry {name!r}: {nearest(name, entries)}")
    return entries[name]


def text_entry(entries: dict[str, Any], where: str, columns: Columns) -> str:
    """The text among the entries of a JSON object."""
    text = _entry(entries, columns.text, where)
    if not isinstance(text, str):
        raise InputError(f"{where} has the {columns.text} {json.dumps(text)[:40]}, expected a text")
    return text
