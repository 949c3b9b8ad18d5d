"""Texts and their labels: from CSV, TSV, JSON lines, lines of `label text`, folders and archives of files by label."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from regard.data.archives import is_archive, labeled_texts
from regard.data.arrangement import ending
from regard.data.examples import divided, split
from regard.data.folders import files_by_part, inside
from regard.data.survey import Skips
from regard.data.text_files import Columns, Document, Parsed, label_name, parse_file, read_folder
from regard.errors import InputError

__all__ = ["Columns", "Document", "found_documents", "in_parts", "is_text", "read_documents"]


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
    found = found_documents(place, columns)
    return in_parts(found.documents, place, by_label) if divide else list(found.documents)


def found_documents(place: Path, columns: Columns) -> Parsed:
    """The labelled texts of a file or a folder before `read_documents` divides them, and what they were read as."""
    if not os.path.isdir(place):
        return _texts_by_label(place) if is_archive(place) else parse_file(place, columns)
    named, skips = files_by_part(place)
    if named:
        return _joined(read_folder(named, columns), skips)
    below = inside(place, "texts")
    archives = [name for name in below.files if "/" not in name and is_archive(Path(name))]
    if len(archives) == 1 and not any(ending(name) == ".txt" and "/" in name for name in below.files):
        return _texts_by_label(place / archives[0])
    return _texts_by_label(place)


def _texts_by_label(place: Path) -> Parsed:
    texts, skips = labeled_texts(place)
    documents = (Document(*text) for text in texts)
    form = "archive of text files by label" if is_archive(place) else "text files by label"
    return Parsed(
        tuple(replace(text, label=label_name(text.label or "")) for text in documents), form, "UTF-8", skips=skips
    )


def _joined(files: Sequence[Parsed], skips: Skips) -> Parsed:
    """Files as one."""
    columns: dict[str, str] = {}
    for file in files:
        skips.update(file.skips)
        columns |= file.columns
    forms, encodings = (" and ".join(dict.fromkeys(getattr(f, name) for f in files)) for name in ("format", "encoding"))
    return Parsed(tuple(document for file in files for document in file.documents), forms, encodings, columns, skips)


_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".train", ".dev", ".test", ".tar", ".zip")


def is_text(path: Path) -> bool:
    """Whether a file's name ends as those of texts do, whatever compresses it."""
    return bool(set(_SUFFIXES) & {suffix.lower() for suffix in path.suffixes[-2:]})


def in_parts(found: Sequence[Document], place: Path, by_label: bool) -> list[Document]:
    """Each document in a part, the validation part taken from the training part where there is none.

    Raises:
        InputError: some are in no part and others are, or a part is missing that is not taken from another.
    """
    present = {document.part for document in found}
    if None in present and len(present) > 1:
        odd = next(document for document in found if document.part is None)
        raise InputError(f"{odd.where} is in no part, and others of {place} are, expected train, validation or test")
    if None in present:
        parts = split([document.name for document in found], _labels(found) if by_label else None)
        return [replace(document, part=part) for document, part in zip(found, parts, strict=True)]
    for part in ("train", "test"):
        if part not in present:
            expected = "expected files or folders of train and test, or one file that is not divided"
            raise InputError(f"{place} has no {part} part, {expected}")
    if "validation" in present:
        return list(found)
    labels = _labels(found) if by_label else [""] * len(found)
    parts = divided([document.name for document in found], labels, [document.part for document in found])
    return [replace(document, part=part) for document, part in zip(found, parts, strict=True)]


def _labels(documents: Sequence[Document]) -> list[str]:
    return [str(document.label) for document in documents]
