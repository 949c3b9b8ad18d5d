"""Texts and their labels: from CSV, TSV, JSON lines, lines of `label text`, folders and archives of files by label."""

from __future__ import annotations

import json
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from regard.data.examples import PARTS, Part, split
from regard.data.folders import PART_NAMES, part_in
from regard.data.tables import read_table
from regard.errors import InputError, nearest
from regard.files import read_lines

__all__ = ["Columns", "Document", "decoded", "is_text", "json_object", "read_documents", "text_entry", "text_format"]


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

    A folder holds files with train, dev (or val, validation) and test in their names; or `PART/LABEL/NAME.txt`, or
    `LABEL/NAME.txt`, as they are or in one `.tar` archive (`.gz`, `.xz` or `.bz2`), read without being unpacked. A folder of
    texts without labels named `unsup` is passed over. Where nothing says which part a text belongs to, and where there is no
    validation part, `split` decides by their names, and, if `by_label`, label by label; not so without `divide`.

    Raises:
        InputError: nothing to read, or what departs from its format; the sentence names the file and the line.
    """
    if place.is_dir():
        entries = [entry for entry in sorted(place.iterdir()) if not entry.name.startswith(".")]
        named = [(entry, part) for entry in entries if entry.is_file() and (part := part_in(entry.name))]
        archives = [entry for entry in entries if ".tar" in entry.suffixes]
        if named:
            found = [_in_part(each, part) for entry, part in named for each in _read_file(entry, columns)]
        elif len(archives) == 1:
            found = list(_read_archive(archives[0], archives[0].stat().st_mtime_ns))
        else:
            files = ((str(path.relative_to(place)), path.read_bytes) for path in sorted(place.rglob("*.txt")))
            found = list(_labelled(files, str(place)))
    elif ".tar" in place.suffixes and place.is_file():
        found = list(_read_archive(place, place.stat().st_mtime_ns))
    else:
        found = _read_file(place, columns)
    return _divided(found, place, by_label) if divide else found


_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".train", ".dev", ".test", ".tar")


def is_text(path: Path) -> bool:
    """Whether a file's name ends as those of texts do, whatever compresses it."""
    return bool(set(_SUFFIXES) & {suffix.lower() for suffix in path.suffixes[-2:]})


def text_format(place: Path) -> str:
    """What a file or a folder of texts is read as."""
    if not place.is_dir():
        suffix = place.name.removesuffix(".gz").rpartition(".")[2].lower()
        known = {"csv": "CSV", "tsv": "TSV", "jsonl": "JSON lines", "ndjson": "JSON lines"}
        return "archive of text files by label" if ".tar" in place.suffixes else known.get(suffix, "lines `label text`")
    files = [path for path in sorted(place.iterdir()) if path.is_file() and part_in(path.name)]
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
    train = [document for document in found if document.part == "train"]
    # Both of the shares that are held out: a tenth.
    held = split([d.name for d in train], _labels(train) if by_label else None, (0.9, 0.05, 0.05))
    divided = [_in_part(d, "train" if part == "train" else "validation") for d, part in zip(train, held, strict=True)]
    return divided + [document for document in found if document.part == "test"]


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
        part = None if at is None else _part(row[at], where, columns)
        label = _label({name: row[column] for name, column in labels.items()}, where, columns)
        yield Document(row[text], label, f"{path.name}:{number}", where, part)


def _json_lines(path: Path, columns: Columns) -> Iterator[Document]:
    for number, line in read_lines(path):
        if line.strip():
            where = f"{path}, line {number},"
            entries = json_object(line, where)
            text = text_entry(entries, where, columns)
            label = _label({name: _entry(entries, name, where) for name in columns.labels}, where, columns)
            part = _part(str(entries[columns.split]), where, columns) if columns.split in entries else None
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


def _part(name: str, where: str, columns: Columns) -> Part:
    for part in PARTS:
        if PART_NAMES.get(name.lower()) == part:
            return part
    raise InputError(f"{where} has the {columns.split} {name!r}: {nearest(name, PART_NAMES)}")


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


@lru_cache(maxsize=2)
def _read_archive(path: Path, modified: int) -> tuple[Document, ...]:
    """The texts of an archive, whose members are read one after another and never written anywhere."""

    def members(archive: tarfile.TarFile) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)):
                yield member.name, file.read

    try:
        with tarfile.open(path) as archive:
            return tuple(_labelled(members(archive), str(path)))
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(" :")
        raise InputError(
            f"{path} is no whole archive ({reason}), expected .tar, .tar.gz, .tar.xz or .tar.bz2"
        ) from None


def _labelled(files: Iterable[tuple[str, Callable[[], bytes]]], place: str) -> Iterator[Document]:
    """Texts by label, `.../LABEL/NAME.txt`, and by part where the folder above is named like one; in the order of their names."""
    found = []
    for name, read in files:
        path = PurePosixPath(name)
        folders = path.parent.parts
        if path.suffix.lower() != ".txt" or not folders or folders[-1] in PART_NAMES or folders[-1] == "unsup":
            continue
        above = part_in(folders[-2]) if len(folders) > 1 and folders[-2] in PART_NAMES else None
        # What lies above the parts, or the labels, is no matter of a text's name.
        short = "/".join(path.parts[-3:] if above else path.parts[-2:])
        where = f"{place}/{name}"
        found.append((short, Document(decoded(read(), where), folders[-1], short, where, above)))
    if not found:
        raise InputError(f"{place} has no text by label, expected LABEL/NAME.txt, or files named by their parts")
    for _, document in sorted(found, key=lambda each: each[0]):
        yield document


def decoded(content: bytes, where: str) -> str:
    """The text of a file; `where` begins the sentence of an error."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{content[error.start]:02x} at place {error.start}"
        raise InputError(f"{where} holds {found}, expected text in UTF-8") from None
