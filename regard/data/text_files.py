"""One file of texts with labels: a table, JSON lines, or lines of a label and a text each."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from regard.data.examples import PARTS, Part
from regard.data.label_lines import LabelLine, read_label_lines
from regard.data.parts import stated_part
from regard.data.survey import Skips
from regard.data.tables import SEPARATORS, Table, check_separator, read_table
from regard.errors import InputError, nearest
from regard.files import check_encoding, parse_object, plain_suffix, read_lines, text_form

__all__ = [
    "Columns",
    "Document",
    "Parsed",
    "check_table_options",
    "label_name",
    "parse_file",
    "read_folder",
    "table_of",
    "text_entry",
]

_ENCODING = "--data.encoding"


@dataclass(frozen=True)
class Columns:
    """What the columns of a table, or the entries of a JSON object, are called, and how the file is written.

    Args:
        text: the text. label: its label.
        split: the part, where it is there.
        id: what predictions for texts without labels are reported under; if empty, `id` or `name` where there is one.
        target: what a text has: a "label", a "number", or any number of "labels". Then `label` may be several columns with commas
            between them, of 1 and 0, each for the label that is called as the column is.
        separator: what stands between the fields of a table; empty where the file tells.
        encoding: of text that is not UTF-8, and does not say what else it is; empty for none.
    """

    text: str = "text"
    label: str = "label"
    split: str = "split"
    id: str = ""
    target: str = "label"
    separator: str = ""
    encoding: str = ""

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return self.target == "labels"

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
        for text in (self.text, self.label or ""):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                found = f"half of a character, U+{ord(text[error.start]):04X}, at place {error.start}"
                raise InputError(f"{self.where} holds {found}, expected text that UTF-8 can hold") from None


@dataclass(frozen=True)
class Parsed:
    """What a file was read as.

    Args:
        documents: its texts.
        format: such as "CSV with semicolons", "JSON lines" or "lines `label<TAB>text`".
        encoding: such as "UTF-8".
        columns: what each column, or entry, that is read is taken for.
        skips: what was passed over.
        lines: the format of lines, see `read_label_lines`; empty for other files.
    """

    documents: tuple[Document, ...]
    format: str
    encoding: str
    columns: Mapping[str, str] = field(default_factory=dict)
    skips: Skips = field(default_factory=Skips)
    lines: str = ""


def check_table_options(separator: str, encoding: str) -> None:
    """Refuse options of the section `data` that name no separator, or no encoding of text."""
    check_separator(separator, "data.separator")
    check_encoding(encoding, "data.encoding")


def label_name(text: str) -> str:
    """A label as it is compared with others: composed, without white space around it and with one blank for any within.

    >>> label_name(" very\\xa0good ")
    'very good'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def parse_file(path: Path, columns: Columns, like: str = "") -> Parsed:
    """The labelled texts of a file, parsed once, since `fit` and `part` read the same files.

    Args:
        path: its ending says what a `.csv`, `.tsv`, `.jsonl`, `.ndjson` or `.json` file holds; the lines of any other tell.
        columns: names of columns and entries.
        like: the format of lines in files that belong to this one, see `read_label_lines`.

    Raises:
        InputError: no such file, no text in it, or what departs from its format.
    """
    try:
        status = path.stat()
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise InputError(f"{path} {reason}, expected a file of texts, or a folder") from None
    return _parsed(path, columns, like, (status.st_mtime_ns, status.st_size))


def read_folder(files: Sequence[tuple[Path, Part]], columns: Columns) -> list[Parsed]:
    """What each of some files is read as, all of whose texts are in one part.

    The training part tells in which format the lines of the others are, which may be too few to tell.
    """
    found: dict[Path, Parsed] = {}
    like = ""
    for path, part in sorted(files, key=lambda file: PARTS.index(file[1])):
        parsed = parse_file(path, columns, like)
        like = like or (parsed.lines if part == "train" else "")
        found[path] = replace(parsed, documents=tuple(replace(text, part=part) for text in parsed.documents))
    return [found[path] for path, _ in files]


@lru_cache(maxsize=8)
def _parsed(path: Path, columns: Columns, like: str, changed: tuple[int, int]) -> Parsed:
    """What `parse_file` gives; a changed file is another key."""
    suffix = plain_suffix(path)
    if suffix in (".csv", ".tsv"):
        return _table(path, columns)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _json_lines(path, columns)
    form = text_form(path, columns.encoding, _ENCODING)
    first = next((line for _, line in read_lines(path, form=form) if line.strip()), "")
    if first.lstrip().startswith("{"):
        return _json_lines(path, columns)
    if _names_columns(first, columns):
        return _table(path, columns)
    lines, skips = [], Skips()
    blank: list[int] = []
    for number, line in read_lines(path, form=form):
        if not line.strip():
            blank.append(number)
            continue
        while blank:
            skips.add("blank lines", f"{path.name}, line {blank.pop(0)}")
        lines.append((number, line))
    if not lines:
        raise InputError(f"{path} is empty, expected texts with labels")
    found, name = read_label_lines(lines, path, like, columns.target == "number")
    return Parsed(tuple(_labelled(found, path)), f"lines `{name}`", form.name, skips=skips, lines=name)


def _names_columns(line: str, columns: Columns) -> bool:
    """Whether a first line names the columns of a table."""
    if line.lower().startswith("sep="):
        return True
    separators = [check_separator(columns.separator, "data.separator")] if columns.separator else SEPARATORS.values()
    for separator in separators:
        names = {name.strip().strip('"') for name in line.lstrip("\ufeff").split(separator)}
        if {columns.text, *columns.labels} <= names:
            return True
    return False


def _labelled(lines: Iterable[LabelLine], path: Path) -> Iterator[Document]:
    for number, label, text in lines:
        yield Document(text, label_name(label), f"{path.name}:{number}", f"{path}, line {number},")


def table_of(path: Path, needed: Iterable[str], columns: Columns) -> Table:
    """The table that a file holds, with the columns that are needed."""
    separator = check_separator(columns.separator, "data.separator")
    return read_table(path, tuple(needed), plain_suffix(path) == ".tsv", separator, columns.encoding, _ENCODING)


def _table(path: Path, columns: Columns) -> Parsed:
    table = table_of(path, (columns.text, *columns.labels), columns)
    places = {name: place for place, name in enumerate(table.header)}
    found = []
    for number, row in table.rows:
        where = f"{path}, line {number},"
        part = stated_part(row[places[columns.split]], where, columns.split) if columns.split in places else None
        label = _label({name: row[places[name]] for name in columns.labels}, where, columns)
        found.append(Document(row[places[columns.text]], label, f"{path.name}:{number}", where, part))
    return Parsed(tuple(found), table.format, table.encoding, _uses(columns, columns.split in places), table.skips)


def _json_lines(path: Path, columns: Columns) -> Parsed:
    form, skips, found = text_form(path, columns.encoding, _ENCODING), Skips(), []
    blank: list[int] = []
    for number, line in read_lines(path, form=form):
        where = f"{path}, line {number},"
        if not line.strip():
            blank.append(number)
            continue
        while blank:
            skips.add("blank lines", f"{path.name}, line {blank.pop(0)}")
        entries = parse_object(line, where)
        text = text_entry(entries, where, columns)
        label = _label({name: _entry(entries, name, where) for name in columns.labels}, where, columns)
        part = stated_part(str(entries[columns.split]), where, columns.split) if columns.split in entries else None
        found.append(Document(text, label, f"{path.name}:{number}", where, part))
    if not found:
        raise InputError(f"{path} is empty, expected texts with labels")
    divided = any(document.part for document in found)
    return Parsed(tuple(found), "JSON lines", form.name, _uses(columns, divided), skips)


def _uses(columns: Columns, divided: bool) -> dict[str, str]:
    labels = dict.fromkeys(columns.labels, "label")
    return {columns.text: "text"} | labels | ({columns.split: "part"} if divided else {})


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
        names = [label_name(name) if isinstance(name, str) else name for name in value]
        return json.dumps(dict(zip(names, value.values(), strict=True)) if isinstance(value, dict) else names)
    label = label_name(str(value).lower() if isinstance(value, bool) else "" if value is None else str(value))
    # A text without any label is one, but where nothing is said it is not known.
    if not label and not (columns.several and value is not None):
        raise InputError(f"{where} has no {columns.label}, expected one for each text")
    return label


def _entry(entries: dict[str, Any], name: str, where: str) -> Any:
    if name not in entries:
        raise InputError(f"{where} has no entry {name!r}: {nearest(name, entries)}")
    return entries[name]


def text_entry(entries: dict[str, Any], where: str, columns: Columns) -> str:
    """The text among the entries of a JSON object, without white space around it, as in a table."""
    text = _entry(entries, columns.text, where)
    if not isinstance(text, str):
        raise InputError(f"{where} has the {columns.text} {json.dumps(text)[:40]}, expected a text")
    return text.strip()
