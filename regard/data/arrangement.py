"""How files lie in folders of labels and parts: one rule for folders on disk and for archives, for every kind of data.

    LABEL/FILE          PART/LABEL/FILE          LABEL/PART/FILE

with any folders around all of it and, below labels, inside it. A part is what `part_of` takes for one.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from regard.data.examples import PARTS, Part
from regard.data.parts import part_in, part_of
from regard.data.survey import Skips, listed
from regard.errors import InputError

__all__ = ["Labeled", "by_label", "ending"]

_EXPECTED = "expected LABEL/FILE, PART/LABEL/FILE or LABEL/PART/FILE throughout"
_Path = tuple[str, ...]
_OTHERS = 10  # files of other endings for each that is read: with more of them the data is something else


@dataclass(frozen=True)
class Labeled:
    """A file by its path inside the folder or archive, its label, and its part or None."""

    name: str
    label: str
    part: Part | None


def ending(name: str) -> str:
    """How a file's name ends, in small letters.

    >>> ending("cats/1.final.JPG"), ending("README"), ending(".png")
    ('.jpg', '', '')
    """
    stem, dot, last = name.rpartition("/")[2].rpartition(".")
    return f".{last.lower()}" if dot and stem else ""


def by_label(
    place: str, files: Iterable[str], folders: Iterable[str], suffixes: Collection[str], lone: bool = False
) -> tuple[list[Labeled], Skips]:
    """The files with one of these endings, each with its label and part, in the order of their paths; and what is skipped.

    Args:
        place: the folder or archive, for sentences.
        files: paths inside it, with `/` between their parts; none is hidden.
        folders: the folders inside it, which may be empty.
        suffixes: the endings that are read, in small letters.
        lone: whether a file outside all labels is skipped; else it is refused.

    Raises:
        InputError: no file to read, or more than ten others for each;
            one outside all labels; parts beside labels; two folders of one part; a label none of whose
            files is read.
    """
    skips = Skips()
    read: list[_Path] = []
    others: list[_Path] = []
    for path in sorted(tuple(name.split("/")) for name in files):
        (read if ending(path[-1]) in suffixes else others).append(path)
    for path in others:
        found = ending(path[-1])
        skips.add(f"files ending in {found}" if found else "files without an ending", "/".join(path))
    if len(others) > _OTHERS * len(read) > 0:
        endings = Counter(ending(path[-1]) or "no ending" for path in others)
        found = listed([f"{end} ({count:,})" for end, count in endings.most_common()])
        wanted = listed(sorted(suffixes))
        raise InputError(
            f"{place} has {len(read):,} files ending in {wanted}, and others: {found}, expected few others"
        )
    arrangement = _Arrangement(place, read)
    arranged = []
    for path in read:
        spot = arrangement.spot(path)
        if spot is not None:
            arranged.append(spot)
        elif lone:
            skips.add("files in no folder of a label", "/".join(path))
        else:
            raise InputError(f"{place}/{'/'.join(path)} has no label, expected it in a folder named by its label")
    arrangement.check_unread(others, suffixes)
    if not arranged:
        only = "".join(f", but {line.partition(':')[0]}" for line in skips.lines())
        wanted = listed(sorted(suffixes))
        raise InputError(f"{place} has no file by label{only}, expected LABEL/FILE ending in {wanted}")
    for empty in _empty(folders, [*read, *others]):
        skips.add("folders without a file", empty)
    return arranged, skips


class _Arrangement:
    """Which folders are labels and which are parts, told from the paths of the files that are read."""

    def __init__(self, place: str, read: Sequence[_Path]) -> None:
        self.place = place
        self.top = _around(read)
        inside = [path for path in read if self._is_inside(path)]
        self.parts = self._parts(self.top, {path[len(self.top)] for path in inside})
        # A part may hold a folder that is called as it is, or as a part is, and that holds all of it.
        self.doubled = {name: self._doubled(name, inside) for name in self.parts}
        self.inner: dict[str, Mapping[str, Part]] = {}
        if not self.parts:
            below: dict[str, set[str]] = {}
            for path in inside:
                rest = path[len(self.top) :]
                below.setdefault(rest[0], set()).update(rest[1:2] if len(rest) > 2 else ())
            self.inner = {label: self._parts((*self.top, label), names) for label, names in below.items()}
        self.labels = {key for path in inside if (key := self._label(path))}

    def spot(self, path: _Path) -> Labeled | None:
        """The label and part of a file; None where it lies in no label."""
        key = self._label(path)
        if not key:
            return None
        name, rest, part = "/".join(path), path[len(key) : -1], None
        if self.parts:
            part = self.parts[path[len(self.top)]]
        elif any(self.inner.values()):
            part = self.inner.get(key[-1], {}).get(rest[0]) if rest else None
            if part is None:
                raise InputError(f"{self.place}/{name} is in no part, and others are, {_EXPECTED}")
            rest = rest[1:]
        odd = next((folder for folder in rest if part_of(folder)), None)
        if odd is not None:
            raise InputError(f"{self.place}/{name} lies in the folder {odd!r}, which names a part, {_EXPECTED}")
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise InputError(f"{self.place}/{shown} has a name that is not in UTF-8, expected another name") from None
        return Labeled(name, unicodedata.normalize("NFC", key[-1]), part)

    def check_unread(self, others: Iterable[_Path], suffixes: Collection[str]) -> None:
        """Refuse a label that has files, of which none is read."""
        unread: dict[_Path, Counter[str]] = {}
        for path in others:
            key = self._label(path)
            if key and key not in self.labels:
                unread.setdefault(key, Counter())[ending(path[-1]) or "no ending"] += 1
        for key, endings in unread.items():
            found = listed([f"{end} ({count:,})" for end, count in endings.most_common()])
            raise InputError(
                f"{self.place}/{'/'.join(key)} has no file that is read, only others: {found}, expected "
                f"{listed(sorted(suffixes))}, or the folder elsewhere"
            )

    def _is_inside(self, path: _Path) -> bool:
        return len(path) > len(self.top) + 1 and path[: len(self.top)] == self.top

    def _label(self, path: _Path) -> _Path:
        """The path down to the folder of the label; empty where there is none."""
        if not self._is_inside(path):
            return ()
        depth = len(self.top) + 1
        if self.parts:
            above = path[len(self.top)]
            if above not in self.parts and not part_of(above):
                return ()
            depth += 1 + len(self.doubled.get(above, ()))
        return path[:depth] if len(path) > depth else ()

    def _doubled(self, name: str, inside: Iterable[_Path]) -> _Path:
        first = len(self.top) + 1
        rest = [path[first:] for path in inside if path[first - 1] == name and len(path) > first + 1]
        second = {path[0] for path in rest}
        if len(second) != 1 or not any(len(path) > 2 for path in rest):
            return ()
        (only,) = second
        return (only,) if only == name or part_of(only) else ()

    def _parts(self, above: _Path, names: Collection[str]) -> Mapping[str, Part]:
        """The part that each folder is, where folders of these names beside one another are parts."""
        told = {name: part_of(name) or part_in(name) for name in sorted(names)}
        if not any(map(part_of, told)) and len({part for part in told.values() if part}) < 2:
            return {}
        where = "/".join((self.place, *above))
        parts: dict[str, Part] = {}
        for part in PARTS:
            same = [name for name, each in told.items() if each == part]
            if len(same) > 1:
                raise InputError(f"{where} has {len(same)} folders of the {part} part, {listed(same)}, expected one")
            parts |= dict.fromkeys(same, part)
        if len(parts) < len(told):
            odd = [name for name in told if name not in parts]
            raise InputError(
                f"{where} has {listed(odd)} beside folders of parts, {listed(list(parts))}: expected train, validation "
                "and test only, or labels of other names"
            )
        return parts


def _around(read: Sequence[_Path]) -> _Path:
    """The folders around all labels and parts: each holds a single folder, which holds further ones."""
    top: _Path = ()
    while True:
        below = [path[len(top) :] for path in read if path[: len(top)] == top]
        names = {path[0] for path in below if len(path) > 1}
        if len(names) != 1 or not any(len(path) > 2 for path in below) or part_of(next(iter(names))):
            return top
        top = (*top, next(iter(names)))


def _empty(folders: Iterable[str], files: Iterable[_Path]) -> list[str]:
    """The folders without a file below them, without those inside such."""
    full = {path[:depth] for path in files for depth in range(1, len(path))}
    empty: list[_Path] = []
    for path in sorted(tuple(name.split("/")) for name in folders):
        if path not in full and not (empty and path[: len(empty[-1])] == empty[-1]):
            empty.append(path)
    return ["/".join(path) for path in empty]
