"""Texts and their labels: from CSV, TSV, JSON lines, lines of `label text`, folders and archives of files by label, and streams."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from regard.data.examples import PARTS, Part, split
from regard.data.folders import PART_NAMES, part_in
from regard.data.reader import STREAM
from regard.data.tables import read_table
from regard.errors import InputError, nearest
from regard.files import read_lines

__all__ = ["Columns", "Document", "arriving", "read_documents", "records", "streamed", "to_read"]

T = TypeVar("T")


@dataclass(frozen=True)
class Columns:
    """What the columns of a table, or the entries of a JSON object, are called. `split`, which may be absent, names the part."""

    text: str = "text"
    label: str = "label"
    split: str = "split"


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


def read_documents(place: Path, columns: Columns, by_label: bool = True) -> list[Document]:
    """The labelled texts of a file or a folder, each in its part.

    A folder holds files with train, dev (or val, validation) and test in their names; or `PART/LABEL/NAME.txt`, or
    `LABEL/NAME.txt`, as they are or in one `.tar` archive (`.gz`, `.xz` or `.bz2`), read without being unpacked. A folder of
    texts without labels named `unsup` is passed over. Where nothing says which part a text belongs to, and where there is no
    validation part, `split` decides by their names, and, if `by_label`, label by label.

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
    return _divided(found, place, by_label)


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


def to_read(source: str, columns: Columns, one_per_line: bool) -> Iterator[Document]:
    """The texts of one source: a table or JSON lines by the column of texts, a file of lines, a file or folder of whole texts,
    or the source itself where it is no file and has several words, or characters beyond ASCII.

    Raises:
        InputError: a source that cannot be read.
    """
    path = Path(source)
    suffix = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    wordy = len(source.split()) > 1 or (not source.isascii() and not path.suffix)
    # No file has a longer name.
    if len(path.name) > 255 or (wordy and not path.exists()):
        yield Document(source.strip(), None, source.strip(), "the text")
    elif path.is_dir():
        for file in sorted(path.rglob("*.txt")):
            yield Document(_decoded(file.read_bytes(), str(file)), None, str(file), str(file))
    elif suffix in ("csv", "tsv"):
        header, rows = read_table(path, (columns.text,), suffix == "tsv")
        for number, row in rows:
            where = f"{path}, line {number},"
            yield Document(row[header.index(columns.text)], None, f"{path}:{number}", where)
    elif one_per_line or suffix in ("jsonl", "ndjson"):
        yield from records(read_lines(path), source, columns)
    else:
        yield Document("\n".join(line for _, line in read_lines(path)), None, source, source)


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
    header, rows = read_table(path, (columns.text, columns.label), tabs)
    text, label = header.index(columns.text), header.index(columns.label)
    at = header.index(columns.split) if columns.split in header else None
    for number, row in rows:
        where = f"{path}, line {number},"
        part = None if at is None else _part(row[at], where, columns)
        yield Document(row[text], _label(row[label], where, columns), f"{path.name}:{number}", where, part)


def _json_lines(path: Path, columns: Columns) -> Iterator[Document]:
    for number, line in read_lines(path):
        if line.strip():
            where = f"{path}, line {number},"
            entries = _object(line, where)
            text, label = _text(entries, where, columns), _entry(entries, columns.label, where)
            label = str(label).lower() if isinstance(label, bool) else "" if label is None else str(label)
            part = _part(str(entries[columns.split]), where, columns) if columns.split in entries else None
            yield Document(text, _label(label, where, columns), f"{path.name}:{number}", where, part)


def _label_lines(path: Path) -> Iterator[Document]:
    for number, line in read_lines(path):
        label, _, text = line.strip().partition(" ")
        if label:
            yield Document(text.strip(), label, f"{path.name}:{number}", f"{path}, line {number},")


def _label(label: str, where: str, columns: Columns) -> str:
    if not label:
        raise InputError(f"{where} has no {columns.label}, expected one for each text")
    return label


def _part(name: str, where: str, columns: Columns) -> Part:
    for part in PARTS:
        if PART_NAMES.get(name.lower()) == part:
            return part
    raise InputError(f"{where} has the {columns.split} {name!r}: {nearest(name, PART_NAMES)}")


def _object(line: str, where: str) -> dict[str, Any]:
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


def _text(entries: dict[str, Any], where: str, columns: Columns) -> str:
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
        found.append((short, Document(_decoded(read(), where), folders[-1], short, where, above)))
    if not found:
        raise InputError(f"{place} has no text by label, expected LABEL/NAME.txt, or files named by their parts")
    for _, document in sorted(found, key=lambda each: each[0]):
        yield document


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{content[error.start]:02x} at place {error.start}"
        raise InputError(f"{where} holds {found}, expected text in UTF-8") from None


def streamed(file: IO[bytes], columns: Columns) -> Iterator[list[Document]]:
    """`records` of a stream, as its lines arrive. What stands before a line that cannot be read is given before the error.

    Raises:
        InputError: a stream without a text, bytes that are not UTF-8, or a line that is no JSON object among such.
    """
    as_json = None
    for lines in arriving(file):
        kept = [(number, line) for number, line in lines if line.strip()]
        if as_json is None and kept:
            as_json = _is_object(kept[0][1], columns.text)
        found, error = _until_error(_record(*each, STREAM, columns, bool(as_json)) for each in kept)
        if found:
            yield found
        if error:
            raise error
    if as_json is None:
        raise InputError(f"{STREAM} is empty, expected a text on each line")


def records(lines: Iterable[tuple[int, str]], where: str, columns: Columns) -> Iterator[Document]:
    """A text on each line, or in each JSON object where the first line that is not blank is one; blank lines are passed over.

    An object's text has a column of its own, and `name` or `id` is what predictions are reported under.
    """
    as_json = None
    for number, line in lines:
        if line.strip():
            as_json = _is_object(line, columns.text) if as_json is None else as_json
            yield _record(number, line, where, columns, as_json)


def _record(number: int, line: str, where: str, columns: Columns, as_json: bool) -> Document:
    name, place = f"{where}:{number}", f"{where}, line {number},"
    if not as_json:
        return Document(line.strip(), None, name, place)
    entries = _object(line, place)
    return Document(_text(entries, place, columns), None, str(entries.get("name", entries.get("id", name))), place)


def _is_object(line: str, text: str) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and text in found


def arriving(file: IO[bytes]) -> Iterator[list[tuple[int, str]]]:
    """The numbered lines of a stream in groups: those that are there, without waiting for more.

    Raises:
        InputError: bytes that are not UTF-8; the sentence names the line, and the lines before come before it.
    """
    number, rest = 0, b""
    read = file.read1 if hasattr(file, "read1") else file.read
    while True:
        piece = read(1 << 16)
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        block = whole + newline if piece else whole + newline + rest
        lines, error = _until_error(_numbered(block, number))
        number += len(lines)
        if lines:
            yield lines
        if error:
            raise error
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
