"""Folders of files: what lies in them, without what systems leave there, by label and by part."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from regard.data.arrangement import Labeled, by_label, ending
from regard.data.examples import Part
from regard.data.parts import hidden, part_in
from regard.data.survey import Skips, listed
from regard.errors import InputError

__all__ = ["Inside", "files_at", "files_below", "files_by_part", "inside", "labeled_files"]

HIDDEN = "hidden files and folders"
"""The reason for which `parts.hidden` skips."""


@dataclass
class Inside:
    """What lies below a folder, as paths inside it with `/` between their parts, and what was skipped."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    skips: Skips = field(default_factory=Skips)


def inside(folder: Path, what: str = "files") -> Inside:
    """All files and folders below a folder, links followed, in the order of their paths.

    Skipped are hidden files and folders, links to nothing or to a folder that they lie in, and what is no file (pipes, devices).

    Raises:
        InputError: no such folder, or one that may not be read, `what` being what is expected in it.
    """
    found = Inside()
    ahead: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(folder, "", frozenset())]
    while ahead:
        path, prefix, above = ahead.pop()
        try:
            status = path.stat()
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except (NotADirectoryError, FileNotFoundError):
            raise InputError(f"{path} is not a folder, expected one with {what}") from None
        except OSError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror or error}, expected a folder with {what}"
            ) from None
        around = above | {(status.st_dev, status.st_ino)}
        for entry in entries:
            name = prefix + entry.name
            kind = _kind(entry, around)
            if hidden(entry.name):
                found.skips.add(HIDDEN, name)
            elif kind == "folder":
                found.folders.append(name)
                ahead.append((path / entry.name, f"{name}/", around))
            elif kind == "file":
                found.files.append(name)
            else:
                found.skips.add(kind, name)
    for names in (found.files, found.folders):
        names.sort(key=lambda name: name.split("/"))
    return found


def _kind(entry: os.DirEntry[str], around: Collection[tuple[int, int]]) -> str:
    """ "file", "folder", or the reason why it is skipped."""
    try:
        if entry.is_dir():
            status = entry.stat()
            looped = entry.is_symlink() and (status.st_dev, status.st_ino) in around
            return "links to a folder that they lie in" if looped else "folder"
        if entry.is_file():
            return "file"
    except OSError:
        return "links to nothing"
    return "links to nothing" if entry.is_symlink() else "pipes and devices"


def files_at(place: Path) -> Iterator[Path]:
    """The file itself, or every file below a folder that is not hidden, in the order of their paths."""
    if not os.path.isdir(place):
        yield place
        return
    yield from (place / name for name in inside(place).files)


def files_below(folder: Path, suffixes: Collection[str], what: str) -> tuple[list[Path], Skips]:
    """All files below a folder that have one of these endings, in the order of their paths; and what is skipped.

    Args:
        suffixes: in small letters; those of the files may be in any.
        what: the files, in the plural.

    Raises:
        InputError: no such folder, one that may not be read, or none of these files in it.
    """
    found = inside(folder, what)
    chosen = [name for name in found.files if ending(name) in suffixes]
    for name in found.files:
        if ending(name) not in suffixes:
            found.skips.add(f"files ending in {ending(name)}" if ending(name) else "files without an ending", name)
    if not chosen:
        raise InputError(f"{folder} has no {what}, expected at least one, ending in {listed(sorted(suffixes))}")
    return [folder / name for name in chosen], found.skips


def files_by_part(
    folder: Path, wanted: Callable[[Path], bool] = lambda path: True
) -> tuple[list[tuple[Path, Part]], Skips]:
    """The files of a folder, not those below it, whose names tell their part; and what is skipped.

    Args:
        wanted: which files are read at all.

    Raises:
        InputError: no such folder, or one that may not be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}, expected a folder of files") from None
    chosen, skips = [], Skips()
    for name in names:
        path, part = folder / name, part_in(name)
        if hidden(name):
            skips.add(HIDDEN, name)
        elif os.path.isdir(path):
            skips.add("folders beside files of parts", name)
        elif part is None:
            skips.add("files whose names tell no part", name)
        elif not wanted(path):
            skips.add("files of parts in other formats", name)
        else:
            chosen.append((path, part))
    return chosen, skips


def labeled_files(
    folder: Path, suffixes: Iterable[str], lone: bool = False, what: str = "files"
) -> tuple[list[Labeled], Skips]:
    """Every file below a folder that has one of these endings, with its label and part; and what is skipped: see `by_label`.

    Raises:
        InputError: no such folder, one that may not be read, or files that lie otherwise than `by_label` knows.
    """
    found = inside(folder, f"a folder of {what} for each label")
    arranged, skips = by_label(str(folder), found.files, found.folders, set(suffixes), lone)
    found.skips.update(skips)
    return arranged, found.skips
