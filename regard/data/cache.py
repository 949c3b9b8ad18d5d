"""Arrays that are computed once from files and kept in memory-mapped files of the cache folder."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError
from regard.files import cache_folder, written_whole

__all__ = ["Arrays", "Computed", "Held", "Store", "stored"]

Source = TypeVar("Source")

_VERSION = 2  # in the key: to be raised when what is computed changes
_TOGETHER = 64  # arrays in a file, on average
_LARGEST = 32 << 20  # bytes of source files for one file of arrays, as far as whole ones fit


class Arrays(Protocol):
    """Arrays by index; `lengths` are their numbers of rows, or upper bounds of them, known without reading them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Array: ...

    @property
    def lengths(self) -> list[int]: ...


class Held:
    """Arrays that are in memory."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, index: int, /) -> Array:
        return self._arrays[index]

    @property
    def lengths(self) -> list[int]:
        return [len(array) for array in self._arrays]


class Computed(Generic[Source]):
    """Arrays that are computed at each reading; `count` says how many rows a source has, at most."""

    def __init__(
        self, sources: Sequence[Source], compute: Callable[[Source], Array], count: Callable[[Source], int]
    ) -> None:
        self._sources, self._compute = sources, compute
        self.lengths = [count(source) for source in sources]

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int, /) -> Array:
        return self._compute(self._sources[index])


class Store:
    """Arrays by index, each some rows of a memory-mapped file.

    Files are opened by path in whichever process reads: a pickled store carries no rows.

    Args:
        files: the memory-mapped files.
        places: `[n, 3]` int64: for each array the number of its file, its first row, and the row behind its last.
    """

    def __init__(self, files: Sequence[Path], places: Array) -> None:
        self._files, self._places = tuple(files), places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int, /) -> Array:
        file, start, stop = self._places[index].tolist()
        return _opened(self._files[file])[1][start:stop]

    @property
    def lengths(self) -> list[int]:
        """The number of rows of each array, without reading any."""
        lengths: list[int] = (self._places[:, 2] - self._places[:, 1]).tolist()
        return lengths


def stored(paths: Sequence[Path], settings: str, compute: Callable[[Path], Array]) -> Store:
    """`compute` of each path, where it is not in the cache yet, which it then is.

    A file of the cache holds the arrays of some paths that follow one another. Its key is the SHA-256 of the settings,
    which say all that decides what is computed, and of the path, size and time of change of each source. Where one file
    ends and the next begins depends on the paths nearby only, so that one more source makes one file new. Files appear
    whole or not at all: processes may fill the cache together, and one that is killed loses little.

    Raises:
        InputError: what `compute` raises, a missing source, or a cache that cannot be written to.
    """
    files, lacking = [], []
    for group in _groups(paths):
        file = _file_of(group, f"{_VERSION} {settings}")
        files.append(file)
        if not _is_whole(file):
            lacking.append((file, [path for path, _ in group]))
    _compute(lacking, compute)
    places = []
    for n, file in enumerate(files):
        offsets = _opened(file)[0]
        places.append(np.stack([np.full(len(offsets) - 1, n), offsets[:-1], offsets[1:]], 1))
    return Store(files, np.concatenate(places) if places else np.zeros((0, 3), np.int64))


def _groups(paths: Sequence[Path]) -> Iterator[list[tuple[Path, os.stat_result]]]:
    """The paths that share a file, with what the system says of them."""
    group: list[tuple[Path, os.stat_result]] = []
    size = 0
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            raise InputError(f"{path} is not there, expected a file to read") from None
        if group and size + status.st_size > _LARGEST:
            yield group
            group, size = [], 0
        group.append((path, status))
        size += status.st_size
        digest = hashlib.sha256(os.fsencode(path)).digest()
        if int.from_bytes(digest[:8], "big") % _TOGETHER == 0:
            yield group
            group, size = [], 0
    if group:
        yield group


def _file_of(group: list[tuple[Path, os.stat_result]], settings: str) -> Path:
    sources = [f"{path.resolve()} {status.st_size} {status.st_mtime_ns}" for path, status in group]
    key = hashlib.sha256("\n".join([settings, *sources]).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "features" / key[:2] / f"{key}.npy"


def _compute(lacking: list[tuple[Path, list[Path]]], compute: Callable[[Path], Array]) -> None:
    """Writes each file, from its sources; few files' arrays are in memory at a time."""
    pool = ThreadPoolExecutor(os.cpu_count())
    begun: deque[tuple[Path, list[Future[Array]]]] = deque()
    try:
        for target, sources in lacking:
            begun.append((target, [pool.submit(compute, path) for path in sources]))
            if len(begun) > 2:
                _write(*begun.popleft())
        while begun:
            _write(*begun.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _write(target: Path, computed: list[Future[Array]]) -> None:
    arrays = [each.result() for each in computed]
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(arrays[0].dtype), "fortran_order": False, "shape": shape}
    try:
        with written_whole(target) as file:
            np.save(file, np.cumsum([0, *map(len, arrays)], dtype=np.int64))
            np.lib.format.write_array_header_1_0(file, header)
            for array in arrays:
                file.write(np.ascontiguousarray(array).data)
    except InputError as error:
        ways = "XDG_CACHE_HOME names another folder for the cache, --data.cache false does without"
        raise InputError(f"{error}; {ways}") from None


def _is_whole(path: Path) -> bool:
    """Whether the file is there, and as long as it says."""
    try:
        return path.is_file() and len(_opened(path)) > 0
    except (OSError, ValueError, EOFError):
        return False


@lru_cache(maxsize=64)
def _opened(path: Path) -> tuple[Array, Array]:
    """Where each array begins, `[n + 1]`, and the rows of all, memory-mapped; only some files are open at a time."""
    with path.open("rb") as file:
        offsets = np.load(file, allow_pickle=False)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        place = file.tell()
    if path.stat().st_size != place + dtype.itemsize * int(np.prod(shape)):
        raise ValueError(f"{path} is not whole")
    return offsets, np.asarray(np.memmap(path, dtype, "r", place, shape))
