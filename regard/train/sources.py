"""The files that a run learned from, and whether they are still the same when it is resumed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from regard.data.registry import locate
from regard.errors import InputError
from regard.files import read_json
from regard.train.values import nested

__all__ = ["SOURCES", "Sources"]

SOURCES = "sources.json"

# Files are read whole up to these sizes, each and altogether; of larger ones, their size and pieces from beginning to end.
_WHOLE, _ALTOGETHER = 1 << 26, 1 << 32
_PIECE, _PIECES = 1 << 16, 64
# More files than these have one digest together, and no names.
_NAMED, _LISTED = 1000, 10


@dataclass(frozen=True)
class Sources:
    """The files of a reader's data, hidden ones left out.

    Args:
        digest: of the names and contents of all.
        files: the digest of each by its name within the data; empty where there are more than a thousand.
    """

    digest: str
    files: Mapping[str, str]

    @classmethod
    def of(cls, reader: object) -> Sources | None:
        """The files that the options `path` and `folder` of a reader name, those of its groups included, or its published ones.

        None for a reader without files.
        """
        found: dict[str, str] = {}
        left = _ALTOGETHER
        for option, place in _places(reader):
            for path in _files(place):
                name = f"{option}/{path.relative_to(place) if path != place else path.name}"
                digest, size = _digest_of(path, left)
                found[name], left = digest, left - size
        if not found:
            return None
        whole = hashlib.sha256("".join(f"{name}\0{found[name]}\n" for name in sorted(found)).encode()).hexdigest()
        return cls(whole, found if len(found) <= _NAMED else {})

    def as_json(self) -> dict[str, Any]:
        """What `sources.json` holds."""
        return {"digest": self.digest, "files": dict(self.files)}

    def check_same(self, folder: Path) -> None:
        """Refuse files that differ from those that the run in a folder learned from.

        Raises:
            InputError: some have changed, are new or are gone, up to ten of them by name; `sources.json` was altered.
        """
        path = folder / SOURCES
        if not path.exists():
            # A run from before this file was written.
            return
        try:
            content = read_json(path)
            before = Sources(str(content["digest"]), dict(content["files"]))
        except (InputError, KeyError, TypeError, ValueError):
            raise InputError(f"{path} was altered or cannot be read, expected it as training wrote it") from None
        if before.digest == self.digest:
            return
        changes = [f"{name} is new" for name in self.files if name not in before.files]
        changes += [f"{name} is gone" for name in before.files if name not in self.files]
        changes += [f"{name} has changed" for name, each in self.files.items() if before.files.get(name, each) != each]
        more = f" and {len(changes) - _LISTED} more" if len(changes) > _LISTED else ""
        told = ", ".join(sorted(changes)[:_LISTED]) + more if self.files and before.files else "its files differ"
        raise InputError(
            f"the data of {folder} is not what its training began with ({told}), expected the same files, or --changed_data to "
            "go on with those"
        )


def _places(options: object, section: str = "data") -> Iterator[tuple[str, Path]]:
    """What each option that names files names, where that exists."""
    found = False
    for option in fields(options):  # type: ignore[arg-type]
        value = getattr(options, option.name)
        if nested(option):
            yield from _places(value, f"{section}.{option.name}")
        elif option.name in ("path", "folder") and value:
            found = found or option.name == "path"
            if Path(value).exists():
                yield f"{section}.{option.name}", Path(value)
    published = getattr(options, "published", "")
    if published and not found:
        try:
            yield published, locate(published)
        except InputError:
            # The reader says so itself, or needs no files.
            return


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, inner, names in os.walk(place):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (
            Path(folder, name) for name in sorted(names) if not name.startswith(".") and Path(folder, name).is_file()
        )


def _digest_of(path: Path, left: int) -> tuple[str, int]:
    """The digest of a file, and how many bytes of it were read."""
    digest, count = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= min(_WHOLE, left):
                return hashlib.file_digest(file, "sha256").hexdigest(), size
            digest.update(f"{size}".encode())
            for n in range(_PIECES if left > 0 else 1):
                file.seek((size - _PIECE) * n // (_PIECES - 1))
                piece = file.read(_PIECE)
                digest.update(piece)
                count += len(piece)
    except OSError:
        # Whether it can be read is for the reader to say.
        return "", 0
    return digest.hexdigest(), count
