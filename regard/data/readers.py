"""The registry of readers, each checked against the contract by mypy: one that misses a method does not pass."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from regard.data.examples import TargetName
from regard.data.graph import Planetoid
from regard.data.homework import LogMelFolder
from regard.data.image import Digits
from regard.data.pictures import Pictures
from regard.data.reader import Reader
from regard.data.speech import Sounds
from regard.data.text import Conllu, Texts
from regard.errors import InputError

__all__ = ["READERS", "reader_of", "reading"]

# `type:` in the section `data` of a configuration may name each of these.
READERS: tuple[type[Reader], ...] = (Conllu, Digits, LogMelFolder, Pictures, Planetoid, Sounds, Texts)


def reader_of(place: Path) -> type[Reader]:
    """The reader for most of the files at a place, a file or a folder.

    Raises:
        InputError: nothing is there, or nothing that a reader knows.
    """
    if not place.exists():
        raise InputError(f"{place} is not there, expected a file or a folder of data")
    claims = {reader: reader.claims(place) for reader in READERS}
    most = max(claims.values())
    found = [reader for reader, count in claims.items() if count == most]
    if not most or len(found) > 1:
        what = " as well as ".join(reader.__name__ for reader in found) if most else "no reader"
        names = ", ".join(reader.__name__ for reader in READERS)
        raise InputError(f"{place} may be read by {what}, expected --as with one of {names}")
    return found[0]


def reading(reader: Reader, target: TargetName) -> Reader:
    """A reader that gives such targets, where it has an option for that: `numbers`, or `target`.

    >>> reading(Texts(), "number").target, reading(Sounds(), "number").numbers
    ('number', True)
    """
    options = {option.name for option in fields(reader)}
    changes: dict[str, object] = {"numbers": target == "number", "target": target}
    if "target" not in options and target != "labels":
        changes["label_separator"] = ""
    elif "target" not in options:
        changes["label_separator"] = getattr(reader, "label_separator", "") or ";"
    return replace(reader, **{name: value for name, value in changes.items() if name in options})
