"""Pictures of a task in files of a thousand each, so that what was begun can go on: `arena.json` says what they are."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from regard.data.arena.pathfinder import PATH_X, PATHFINDER, Rules, draw
from regard.data.examples import PARTS, Array
from regard.errors import InputError
from regard.files import read_json, write_atomically

__all__ = [
    "ABOUT",
    "MOST_PICTURES",
    "PICTURES",
    "PICTURE_SIZES",
    "Made",
    "Shard",
    "make_pictures",
    "read_about",
    "read_shard",
]

ABOUT = "arena.json"
"""The file that says what a folder of shards holds."""

PICTURES = {"pathfinder": PATHFINDER, "path-x": PATH_X}
PICTURE_SIZES = (160_000, 20_000, 20_000)
"""The published sizes of the three parts."""

MOST_PICTURES = 100_000_000
"""Of a part."""

_SHARD = 1000
_EXPECTED = "expected what `regard arena make` wrote"


class Shard(NamedTuple):
    """The pictures `first`, ..., `first + size - 1` of a task, which are in the file `name`, all of one part."""

    name: str
    part: str
    first: int
    size: int


@dataclass(frozen=True)
class Made:
    """What a folder holds.

    Args:
        task: "pathfinder" or "path-x". seed: of all pictures. sizes: of the parts.
        intensity: "published", or "equal" where all paths are as bright as the short ones, without a cue.
    """

    task: str
    seed: int
    sizes: tuple[int, int, int] = PICTURE_SIZES
    intensity: str = "published"

    @property
    def rules(self) -> Rules:
        """By which they are drawn."""
        rules = PICTURES[self.task]
        return rules if self.intensity == "published" else replace(rules, target=rules.distractor)

    def shards(self) -> list[Shard]:
        """All files; a picture has the same number whatever the processes that draw it."""
        found, first = [], 0
        for part, size in zip(PARTS, self.sizes, strict=True):
            for n in range(0, size, _SHARD):
                count = min(_SHARD, size - n)
                found.append(Shard(f"{part}-{n // _SHARD:05}.npz", part, first + n, count))
            first += size
        return found

    def as_json(self) -> dict[str, Any]:
        """What `arena.json` holds."""
        return asdict(self) | {
            "sizes": list(self.sizes),
            "rules": asdict(self.rules) | {"margins": list(self.rules.margins)},
        }


def make_pictures(made: Made, out: Path, processes: int = 1, report: Callable[[str], None] = lambda line: None) -> None:
    """Draw the pictures of a task into a folder, a file `PART-NUMBER.npz` for each thousand; what is there already is kept.

    Each file is there whole or not at all, with `pixels [n, side, side]` uint8 and `labels [n]` uint8, so that a drawing that was
    ended goes on where it was when it is asked for again.

    Args:
        made: what to draw. out: the folder. processes: that draw at the same time. report: is told of each file.

    Raises:
        InputError: a folder that holds something else, or cannot be written.
    """
    _begin(made, out)
    missing = [shard for shard in made.shards() if not (out / shard.name).exists()]
    for n, shard in enumerate(_drawn(partial(_write, made, out), missing, processes), 1):
        report(f"{shard.size:,} pictures in {shard.name}, {len(missing) - n:,} files to go")


def _begin(made: Made, out: Path) -> None:
    about = out / ABOUT
    if about.exists():
        if read_json(about, _EXPECTED) != made.as_json():
            raise InputError(
                f"{about} is of other pictures than these, expected the same task, seed and sizes, or a new folder"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already and has no {ABOUT}, expected a new folder")
    write_atomically(about, (json.dumps(made.as_json(), indent=1) + "\n").encode())


def _drawn(write: Callable[[Shard], Shard], shards: list[Shard], processes: int) -> Iterator[Shard]:
    if processes == 1:
        yield from map(write, shards)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(write, shards)


def _write(made: Made, out: Path, shard: Shard) -> Shard:
    drawings = [draw(made.rules, made.seed, shard.first + n) for n in range(shard.size)]
    content = io.BytesIO()
    pixels = np.stack([drawing.pixels for drawing in drawings])
    np.savez_compressed(content, pixels=pixels, labels=np.array([drawing.label for drawing in drawings], np.uint8))
    write_atomically(out / shard.name, content.getvalue())
    return shard


def read_about(folder: Path) -> Made:
    """What a folder holds, where all of it is there.

    Raises:
        InputError: a folder without `arena.json`, or one that was not finished.
    """
    told = read_json(folder / ABOUT, _EXPECTED)
    try:
        made = Made(told["task"], told["seed"], tuple(told["sizes"]), told["intensity"])
        sizes = [type(size) is int and 0 <= size <= MOST_PICTURES for size in made.sizes]
        same = made.as_json() == told and sizes == [True] * len(PARTS)
    except (AttributeError, KeyError, TypeError, ValueError):
        same = False
    if not same:
        raise InputError(f"{folder / ABOUT} was altered, {_EXPECTED}")
    missing = [shard.name for shard in made.shards() if not (folder / shard.name).exists()]
    if missing:
        found = f"{folder} lacks {len(missing):,} of its files, such as {missing[0]}"
        raise InputError(f"{found}, expected all: `regard arena make {made.task}` goes on")
    return made


def read_shard(folder: Path, shard: Shard, side: int) -> tuple[Array, Array]:
    """`[n, side, side]` and `[n]`, both uint8.

    Raises:
        InputError: a file that is damaged or holds something else.
    """
    path = folder / shard.name
    with _damaged(path), np.load(path, allow_pickle=False) as arrays:
        pixels, labels = arrays["pixels"], arrays["labels"]
    found = [*pixels.shape, *labels.shape]
    if found != [shard.size, side, side, shard.size] or pixels.dtype != np.uint8 or labels.dtype != np.uint8:
        raise InputError(f"{path} has arrays {found} of {pixels.dtype}, expected {[shard.size, side, side]} of uint8")
    return pixels, labels


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise InputError(f"{path} cannot be read as pictures ({str(error)[:80]}), {_EXPECTED}") from None
