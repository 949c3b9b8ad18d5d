"""The idx files of MNIST and what is published in its form: one file of pictures and one of labels for each part."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from regard.data.examples import Array, Part
from regard.data.folders import inside
from regard.data.parts import part_in
from regard.errors import InputError
from regard.files import read_whole

__all__ = ["idx_parts", "is_idx", "read_idx"]

_NAME = re.compile(r"(.+)-(images|labels)[-.]idx([13])-ubyte(\.gz)?", re.IGNORECASE)
_LARGEST = 1 << 31  # bytes of a file, unfolded


def is_idx(name: str) -> bool:
    """Whether a file is called as those of MNIST are.

    >>> is_idx("train-images-idx3-ubyte.gz"), is_idx("train-images.png")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def idx_parts(folder: Path) -> dict[Part, tuple[Path, Path]]:
    """The files of pictures and of labels of each part; empty where a folder holds no idx files.

    Raises:
        InputError: a file whose name tells no part, or pictures without labels.
    """
    found: dict[Part, dict[str, Path]] = {}
    for name in inside(folder, "pictures").files:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        part: Part | None = "test" if "t10k" in match[1].lower() else part_in(match[1])
        if part is None:
            raise InputError(f"{folder / name} tells no part by its name, expected such as train-images-idx3-ubyte.gz")
        if match[2].lower() in found.setdefault(part, {}):
            raise InputError(f"{folder} has two idx files of {match[2]} for the {part} part, expected one")
        found[part][match[2].lower()] = folder / name
    for files in found.values():
        if len(files) < 2:
            (name,) = files
            lacking = "labels" if name == "images" else "images"
            raise InputError(f"{folder} has no {lacking} for the idx file {files[name].name}, expected both")
    return {part: (files["images"], files["labels"]) for part, files in found.items()}


def read_idx(path: Path, axes: int) -> Array:
    """The bytes `[n]` or `[n, h, w]` uint8 of an idx file, plain or `.gz`.

    Raises:
        InputError: a file that cannot be read, or is none of bytes with this number of axes.
    """
    status = path.stat()
    return _read(path, axes, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=6)
def _read(path: Path, axes: int, modified: int, size: int) -> Array:
    """Read once, since `fit` and `part` read the same files; a changed file is another key."""
    content = read_whole(path, _LARGEST)
    head = 4 + 4 * axes
    if len(content) < head or content[:4] != bytes([0, 0, 8, axes]):
        raise InputError(f"{path} begins with {content[:4].hex(' ') or 'nothing'}, expected 00 00 08 0{axes} as idx")
    shape = np.frombuffer(content, ">u4", axes, 4).astype(int).tolist()
    if len(content) - head != int(np.prod(shape, dtype=object)):
        raise InputError(f"{path} has {len(content) - head:,} bytes for {shape}, expected as many as it says")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
