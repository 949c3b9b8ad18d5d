"""Gray pictures of one size with their labels: shards of the arena, CIFAR-10's batches, and pictures by label, packed or not."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from regard.data.archives import is_archive
from regard.data.arena.shards import ABOUT, read_about, read_shard
from regard.data.arrangement import by_label, ending
from regard.data.examples import Array, Part, check_part, divided
from regard.data.folders import HIDDEN, files_at, inside
from regard.data.parts import hidden_in
from regard.data.pickles import ARRAYS, unpickled
from regard.data.picture_files import PICTURE_SUFFIXES, read_picture
from regard.data.survey import Skips
from regard.errors import InputError, reason_of
from regard.files import opened, read_whole

__all__ = ["Rasters", "is_batch", "luma", "one_size", "read_rasters"]

_BATCH = re.compile(r"(.*/)?(data_batch_\d+|test_batch)")
_LARGEST = 1 << 28  # bytes of a file
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_ARRAYS = "arrays, lists and texts, as in the batches of CIFAR-10"
_EXPECTED = "expected CIFAR-10's batches, pictures by label, or what `regard arena make` wrote"


class Rasters(NamedTuple):
    """All pictures of a place.

    Args:
        pixels: `[n, side, side]` uint8. labels, parts, names: of each. format: what they were read as.
        divided: whether the place says which part a picture is in. skips: what was passed over.
    """

    pixels: Array
    labels: tuple[str, ...]
    parts: tuple[Part, ...]
    names: tuple[str, ...]
    format: str
    divided: bool = True
    skips: Skips | None = None


def luma(pixels: Array) -> Array:
    """`[..., ]` uint8 the gray of `[..., 3]` as TensorFlow's `rgb_to_grayscale` gives it, which made the arena's pictures.

    floor((.2989 red + .587 green + .114 blue) * 255.5 / 255), since pictures become fractions of 255 there and back.

    >>> luma(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]], np.uint8)).tolist()
    [255, 76, 0]
    """
    weighted = pixels.astype(np.float64) @ np.array([0.2989, 0.5870, 0.1140])
    return (weighted * (255.5 / 255)).astype(np.uint8)


def one_size(pixels: Array, side: int, where: str) -> Array:
    """`[side, side]` uint8 the gray of a picture.

    Raises:
        InputError: a picture of another size.
    """
    if pixels.shape[:2] != (side, side):
        height, width = pixels.shape[:2]
        raise InputError(f"{where} has {width} x {height} pixels, expected {side} x {side} as data.size says")
    return pixels if pixels.ndim == 2 else luma(pixels)


def is_batch(name: str) -> bool:
    """Whether a path is called as the batches of CIFAR-10 for Python are."""
    return _BATCH.fullmatch(name) is not None


def read_rasters(place: Path, side: int) -> Rasters:
    """The pictures of a folder or an archive, which have `side` rows and columns.

    CIFAR-10's training pictures after the first nine tenths, in the order of the batches, are the validation part. Pictures by
    label are divided as their folders say; where there are a training and a test part, a tenth of each label's training pictures,
    by the SHA-256 of their names, is the validation part.

    Raises:
        InputError: no such place, nothing of these in it, what is damaged, or pictures of another size.
    """
    place = _packed(place)
    try:
        read = [place] if not os.path.isdir(place) else files_at(place)
        changed = tuple((str(path), status.st_mtime_ns, status.st_size) for path in read for status in [path.stat()])
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror or error}, {_EXPECTED}") from None
    return _read(place, side, changed)


def _packed(place: Path) -> Path:
    """The archive that a folder holds alone."""
    if not os.path.isdir(place):
        return place
    files = [path for path in sorted(place.iterdir()) if path.is_file() and not path.name.startswith(".")]
    return files[0] if len(files) == 1 and is_archive(files[0]) else place


@lru_cache(maxsize=2)
def _read(place: Path, side: int, changed: tuple[tuple[str, int, int], ...]) -> Rasters:
    """Read once, since `fit` and `part` read the same; a changed place is another key."""
    if (place / ABOUT).is_file():
        return _of_shards(place, side)
    found = _inside(place) if os.path.isdir(place) else _archived(place)
    batches = {name: content for name, content in found.contents.items() if is_batch(name)}
    return _of_batches(batches, found, place, side) if batches else _of_pictures(found, place, side)


def _of_shards(folder: Path, side: int) -> Rasters:
    made = read_about(folder)
    if made.rules.side != side:
        found = f"{folder} has pictures of {made.rules.side} x {made.rules.side}"
        raise InputError(f"{found}, expected {side} x {side} as data.size says")
    shards = made.shards()
    pixels = np.empty((sum(made.sizes), side, side), np.uint8)
    labels = np.empty(len(pixels), np.uint8)
    parts: list[Part] = []
    for shard in shards:
        span = slice(shard.first, shard.first + shard.size)
        pixels[span], labels[span] = read_shard(folder, shard, side)
        parts += [check_part(shard.part)] * shard.size
    names = (f"{made.task}/{n}" for n in range(len(pixels)))
    return Rasters(
        pixels, tuple(map(str, labels.tolist())), tuple(parts), tuple(names), f"{made.task}, seed {made.seed}"
    )


def _of_batches(batches: Mapping[str, bytes], found: _Found, place: Path, side: int) -> Rasters:
    pixels: list[Array] = []
    labels: list[str] = []
    parts: list[str] = []
    names: list[str] = []
    for name in sorted(batches):
        where, short = f"{place}/{name}", name.rpartition("/")[2]
        batch = unpickled(io.BytesIO(batches[name]), where, ARRAYS, _ARRAYS, "a batch of CIFAR-10")
        entries = batch if isinstance(batch, dict) else {}
        data: Any = entries.get("data")
        classes: Any = entries.get("labels")
        if not _is_sound(data, classes):
            expected = "expected data [n, 3072] uint8 and as many labels from 0 to 9"
            raise InputError(f"{where} is no batch of CIFAR-10, {expected}")
        colored = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        pixels += [one_size(each, side, where) for each in colored[:1]]
        pixels += list(luma(colored[1:]))
        labels += [_CLASSES[label] for label in classes]
        parts += ["test" if short == "test_batch" else "train"] * len(data)
        names += [f"{short}/{n}" for n in range(len(data))]
    training = [n for n, part in enumerate(parts) if part == "train"]
    for n in training[len(training) * 9 // 10 :]:
        parts[n] = "validation"
    for name in found.contents.keys() - batches.keys():
        found.skips.add("pictures beside the batches", name)
    told, form = tuple(map(check_part, parts)), "CIFAR-10 for Python"
    return Rasters(np.stack(pixels), tuple(labels), told, tuple(names), form, skips=found.skips)


def _is_sound(data: Any, classes: Any) -> bool:
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        return False
    if not len(data) or not isinstance(classes, list) or len(classes) != len(data):
        return False
    return all(isinstance(label, int) and 0 <= label < len(_CLASSES) for label in classes)


def _of_pictures(found: _Found, place: Path, side: int) -> Rasters:
    arranged, skips = by_label(str(place), found.files, found.folders, PICTURE_SUFFIXES)
    found.skips.update(skips)
    whole = [(each.name, f"{place}/{each.name}") for each in arranged]
    pixels = [one_size(read_picture(found.contents[name], where), side, where) for name, where in whole]
    names, labels = tuple(each.name for each in arranged), tuple(each.label for each in arranged)
    parts = divided(names, labels, [each.part for each in arranged])
    told = any(each.part for each in arranged)
    return Rasters(np.stack(pixels), labels, tuple(parts), names, "pictures by label", told, found.skips)


class _Found(NamedTuple):
    """The contents of pictures and batches by their names, the names of all files and folders, and what is skipped."""

    contents: dict[str, bytes]
    files: list[str]
    folders: set[str]
    skips: Skips


def _inside(place: Path) -> _Found:
    found = inside(place, "pictures")
    contents = {name: read_whole(place / name, _LARGEST) for name in found.files if _wanted(name)}
    return _Found(contents, found.files, set(found.folders), found.skips)


def _archived(place: Path) -> _Found:
    found = _Found({}, [], set(), Skips())
    for name, content in _members(place):
        if hidden_in(name):
            found.skips.add(HIDDEN, name)
            continue
        found.files.append(name)
        found.folders.update("/".join(parent.parts) for parent in PurePosixPath(name).parents if parent.parts)
        if content is not None:
            found.contents[name] = content
    return found


def _members(place: Path) -> Iterator[tuple[str, bytes | None]]:
    """The name of each file of an archive, and the content of a picture or batch."""
    if not is_archive(place):
        raise InputError(f"{place} is no folder and no archive, {_EXPECTED}")
    try:
        with opened(place) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                name = "/".join(part for part in PurePosixPath(member.name).parts if part not in ("/", "..", "//"))
                if not member.isfile():
                    continue
                if not _wanted(name):
                    yield name, None
                    continue
                if member.size > _LARGEST:
                    raise InputError(f"{place}/{name} has {member.size:,} bytes, expected at most {_LARGEST:,}")
                content = archive.extractfile(member)
                yield name, content.read() if content else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{place} is no whole tar archive: {reason_of(error)}, {_EXPECTED}") from None


def _wanted(name: str) -> bool:
    return is_batch(name) or ending(name) in PICTURE_SUFFIXES
