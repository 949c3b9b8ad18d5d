"""Boxes in the form of PASCAL VOC: an XML file for each picture, in a folder or in a tar archive that is not unpacked."""

from __future__ import annotations

import math
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple
from xml.parsers import expat

from regard.data.arrangement import ending
from regard.data.examples import Part
from regard.data.folders import HIDDEN, inside
from regard.data.parts import hidden_in, part_of
from regard.data.picture_files import PICTURE_SUFFIXES
from regard.data.survey import Skips
from regard.errors import InputError, reason_of
from regard.files import decoded, opened

__all__ = [
    "LARGEST_XML",
    "Annotated",
    "Annotation",
    "Stored",
    "annotated_pictures",
    "is_packed",
    "read_annotation",
    "stored_files",
]

LARGEST_XML = 1 << 22
_LARGEST_PICTURE = 1 << 28
_DEEPEST = 32
_MOST_MEMBERS = 1 << 20
_ENDS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotation:
    """What an XML file says of its picture.

    Args:
        size: width and height in pixels; 0 where nothing is said.
        labels: of the boxes.
        ends: of each box, left, top, right and bottom in pixels.
    """

    size: tuple[int, int]
    labels: tuple[str, ...]
    ends: tuple[tuple[float, float, float, float], ...]


class _Reading:
    """What the parser has read so far: the texts of the entries that matter, by their place in the tree."""

    def __init__(self, where: str) -> None:
        self.where, self.root = where, ""
        self.path: list[str] = []
        self.text: list[str] = []
        self.size: dict[str, str] = {}
        self.objects: list[dict[str, str]] = []

    def begin(self, name: str, attributes: Mapping[str, str]) -> None:
        self.path.append(name)
        self.root, self.text = self.path[0], []
        if len(self.path) > _DEEPEST:
            raise InputError(f"{self.where} has entries {_DEEPEST + 1} deep, expected an annotation of boxes")
        if self.path[1:] == ["object"]:
            self.objects.append({})

    def end(self, name: str) -> None:
        inner, text = self.path[1:], "".join(self.text).strip()
        if inner[:1] == ["size"] and len(inner) == 2:
            self.size[name] = text
        elif inner == ["object", "name"] or (inner[:2] == ["object", "bndbox"] and len(inner) == 3):
            self.objects[-1][name] = text
        self.path.pop()
        self.text = []

    def refuse(self, *told: object) -> None:
        raise InputError(f"{self.where} declares a document type, expected an annotation without one")


def read_annotation(content: bytes, where: str) -> Annotation:
    """The boxes of an XML file; `where` begins sentences about it.

    Read are `size/width`, `size/height`, and of each `object` its `name` and `bndbox`. A document type, and so every entity that
    could unfold, is refused.

    Raises:
        InputError: what is no such file: broken XML, another root without any box, a box without a name or an end, an end that is
            no finite number.

    >>> box = "<name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    >>> read_annotation(f"<annotation><object>{box}</object></annotation>".encode(), "a.xml")
    Annotation(size=(0, 0), labels=('cat',), ends=((1.0, 2.0, 9.0, 8.0),))
    """
    reading, parser = _Reading(where), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reading.begin, reading.end
    parser.CharacterDataHandler = lambda text: reading.text.append(text)
    parser.StartDoctypeDeclHandler = reading.refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise InputError(f"{where} is no XML: {reason_of(error)}, expected an annotation of boxes") from None
    if not reading.objects and reading.root != "annotation":
        raise InputError(f"{where} has the root {reading.root!r:.40} and no object, expected an annotation of boxes")
    named = enumerate(reading.objects, 1)
    boxes = [_box(each, f"{where}, object {n},") for n, each in named]
    width, height = (_whole(reading.size.get(name, ""), f"{where}, size,") for name in ("width", "height"))
    return Annotation((width, height), tuple(label for label, _ in boxes), tuple(ends for _, ends in boxes))


def _box(entries: Mapping[str, str], where: str) -> tuple[str, tuple[float, float, float, float]]:
    missing = [name for name in ("name", *_ENDS) if not entries.get(name)]
    if missing:
        raise InputError(f"{where} has no {missing[0]}, expected a name and the ends of its box")
    left, top, right, bottom = (_number(entries[name], f"{where} {name}") for name in _ENDS)
    return entries["name"], (left, top, right, bottom)


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < 1e9:
        raise InputError(f"{where} is {text!r:.40}, expected a number of pixels")
    return number


def _whole(text: str, where: str) -> int:
    number = _number(text, where) if text else 0.0
    if number < 0 or number != int(number):
        raise InputError(f"{where} has {text!r:.40}, expected whole pixels")
    return int(number)


class Stored(NamedTuple):
    """A file in a folder, or in an archive from byte `start` on, `size` bytes."""

    place: Path
    start: int = -1
    size: int = 0

    def read(self, where: str, most: int = _LARGEST_PICTURE) -> bytes:
        """All its bytes.

        Raises:
            InputError: it cannot be read, or has more than `most` bytes; `where` begins the sentence.
        """
        with opened(self.place) if self.start < 0 else _archive(self.place) as file:
            if self.start >= 0:
                file.seek(self.start)
            found = file.read(min(self.size, most + 1) if self.start >= 0 else most + 1)
        if len(found) > most:
            raise InputError(f"{where} has more than {most:,} bytes, expected at most that")
        if self.start >= 0 and len(found) < self.size:
            raise InputError(f"{self.place} breaks off inside of {where}, expected a whole archive")
        return found


@contextmanager
def _archive(place: Path) -> Iterator[IO[bytes]]:
    """An archive in which any place can be looked up."""
    with opened(place):
        # It can be read, and is a regular file.
        pass
    with place.open("rb") as file:
        yield file


def is_packed(place: Path) -> bool:
    """Whether the name of a place is that of a tar archive."""
    return place.name.lower().endswith(".tar")


def stored_files(place: Path) -> tuple[dict[str, Stored], Skips]:
    """The files of a folder or of a tar archive, by their paths in it; and what is skipped.

    A folder with nothing but one archive stands for that.

    Raises:
        InputError: no such place, one that may not be read, or a damaged archive.
    """
    if os.path.isdir(place):
        found = inside(place, "annotations of pictures")
        if len(found.files) == 1 and is_packed(place / found.files[0]):
            return stored_files(place / found.files[0])
        return {name: Stored(place / name) for name in found.files}, found.skips
    if not is_packed(place):
        raise InputError(f"{place} is no folder and no .tar archive, expected annotations of pictures in one of these")
    try:
        status = os.stat(place)
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror or error}, expected an archive") from None
    files, away = _packed(place, status.st_mtime_ns, status.st_size)
    skips = Skips()
    for reason, name in away:
        skips.add(reason, name)
    return dict(files), skips


@lru_cache(maxsize=8)
def _packed(place: Path, modified: int, size: int) -> tuple[dict[str, Stored], list[tuple[str, str]]]:
    """Where each file of an archive begins; read once, and a changed archive is another key."""
    files: dict[str, Stored] = {}
    away: list[tuple[str, str]] = []
    try:
        with _archive(place) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    raise InputError(f"{place} has more than {_MOST_MEMBERS:,} members, expected at most that")
                name = "/".join(part for part in PurePosixPath(member.name).parts if part not in ("/", "..", "//"))
                if not member.isfile() or member.issparse():
                    away += [] if member.isdir() else [("members of archives that are no files", name)]
                elif hidden := hidden_in(name):
                    away.append((HIDDEN, hidden))
                else:
                    files[name] = Stored(place, member.offset_data, member.size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{place} is no whole tar archive: {reason_of(error)}") from None
    return files, away


class Annotated(NamedTuple):
    """A picture with its annotation; `name` is its path in the data, and `part` None where nothing says it."""

    name: str
    picture: Stored
    annotation: Stored
    part: Part | None


def annotated_pictures(place: Path) -> tuple[list[Annotated], Skips]:
    """The pictures of a place that have an annotation, by name, and what is skipped.

    `ROOT/Annotations/NAME.xml` belongs to `ROOT/JPEGImages/NAME.jpg`, and to the part whose list `ROOT/ImageSets/Main/PART.txt` has
    NAME; any other XML file to the picture of its name beside it, and to the part that its folder is called by.

    Raises:
        InputError: no annotation, one that may belong to two pictures, or a picture that two lists have.
    """
    files, skips = stored_files(place)
    pictures: dict[str, list[str]] = {}
    for name in files:
        if ending(name) in PICTURE_SUFFIXES:
            pictures.setdefault(name[: -len(ending(name))], []).append(name)
    lists = _lists(files, place)
    found, used = [], set()
    for name in (name for name in files if ending(name) == ".xml"):
        root, stem = _root(name)
        chosen = pictures.get(f"{root}JPEGImages/{stem}", []) if root is not None else pictures.get(name[:-4], [])
        if not chosen:
            skips.add("annotations without a picture", name)
            continue
        if len(chosen) > 1:
            raise InputError(f"{place} has {' and '.join(chosen)} for {name}, expected one picture")
        used.add(chosen[0])
        part = part_of(PurePosixPath(name).parent.name) if root is None else lists.get(root, {}).get(stem)
        if part is None and lists.get(root or "") is not None:
            skips.add("pictures that no list names", chosen[0])
            continue
        found.append(Annotated(chosen[0], files[chosen[0]], files[name], part))
    for name in sorted(name for group in pictures.values() for name in group):
        if name not in used:
            skips.add("pictures without an annotation", name)
    stems = {(root, stem) for root, stem in map(_root, files) if root is not None}
    for root, names in lists.items():
        for stem in sorted(names):
            if (root, stem) not in stems and f"{root}JPEGImages/{stem}" not in pictures:
                skips.add("names in lists without a picture or an annotation", f"{root}{stem}")
    if not found:
        raise InputError(
            f"{place} has no picture with an annotation of boxes, expected Annotations/NAME.xml and JPEGImages/NAME.jpg"
        )
    return sorted(found, key=lambda each: each.name.split("/")), skips


def _root(name: str) -> tuple[str | None, str]:
    """The folder around `Annotations`, or None where an XML file lies elsewhere; and the name without its ending."""
    path = PurePosixPath(name)
    inside_annotations = path.parent.name == "Annotations"
    return (name[: -len(f"Annotations/{path.name}")] if inside_annotations else None), path.name[:-4]


def _lists(files: Mapping[str, Stored], place: Path) -> dict[str, dict[str, Part]]:
    """By the folder around them, which part each name of the lists in `ImageSets/Main` belongs to."""
    lists: dict[str, dict[str, Part]] = {}
    for name, stored in files.items():
        path = PurePosixPath(name)
        part = part_of(path.stem) if path.suffix == ".txt" and path.parts[-3:-1] == ("ImageSets", "Main") else None
        if part is None:
            continue
        root = name[: -len(f"ImageSets/Main/{path.name}")]
        known = lists.setdefault(root, {})
        for line in _names(decoded(stored.read(name, LARGEST_XML), f"{place}/{name}").splitlines()):
            if known.setdefault(line, part) != part:
                raise InputError(
                    f"{place} has {line} in the lists of {known[line]} and of {part}, expected one of them"
                )
    return lists


def _names(lines: Iterable[str]) -> list[str]:
    """The first word of each line, which may be followed by whether a label is there."""
    return [line.split()[0] for line in lines if line.strip()]
