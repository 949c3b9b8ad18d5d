"""Whether data are still the same, wherever they lie now."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from regard.errors import InputError
from regard.files import sha256

__all__ = ["fingerprint"]


def fingerprint(place: Path) -> str:
    """SHA-256 of a file, or of the sorted paths and sizes of the files of a folder, the names with a leading dot left out.

    Raises:
        InputError: what is not there or cannot be read.
    """
    try:
        if not place.is_dir():
            return sha256(place)
        digest = hashlib.sha256()
        for path in sorted(place.rglob("*")):
            inside = path.relative_to(place)
            if path.is_file() and not any(name.startswith(".") for name in inside.parts):
                digest.update(os.fsencode(inside.as_posix()) + b"\0%d\0" % path.stat().st_size)
        return digest.hexdigest()
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror or error}") from None
