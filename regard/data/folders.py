"""Folders of files: what their names say of parts and labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from regard.data.examples import PARTS, Part
from regard.errors import InputError

__all__ = ["PART_NAMES", "files_at", "labeled_files", "part_in"]

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


def part_in(name: str) -> Part | None:
    """The part that a file's name tells: that of the last of its words which names one.

    >>> part_in("stsa.binary.dev"), part_in("reviews_train.csv"), part_in("testament.txt")
    ('validation', 'train', None)
    """
    for word in reversed(name.lower().replace("_", ".").replace("-", ".").split(".")):
        for part in PARTS:
            if PART_NAMES.get(word) == part:
                return part
    return None


def files_at(place: Path) -> Iterator[Path]:
    """The file itself, or every file below a folder, in the order of their names."""
    if not place.is_dir():
        yield place
        return
    yield from (path for path in sorted(place.rglob("*")) if path.is_file())


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
