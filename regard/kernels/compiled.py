"""How kernels are compiled: `compiled` makes one of a function, `as_written` a part of kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

__all__ = ["AS_WRITTEN", "as_written", "compiled", "inlined"]

# What of "fast" arithmetic leaves NaN and infinity their meaning.
FASTMATH = {"contract", "reassoc", "arcp", "nsz", "afn"}


def compiled(function: Callable[..., Any], fast: bool = True) -> Callable[..., Any]:
    """The function as machine code that holds no lock, cached on disk where something can be written.

    Where not `fast`, its arithmetic is not reordered. Compiled code is read from the cache only if nothing has changed in the
    folder of the function's file and in this one, since Numba itself looks at no file that a kernel inlines from.
    """
    fastmath = FASTMATH if fast else False
    options: dict[str, Any] = {"nogil": True, "fastmath": fastmath, "error_model": "numpy", "boundscheck": False}
    try:
        kernel: Any = njit(cache=True, **options)(function)
    except RuntimeError:  # Numba found no folder for its cache: this process compiles for itself.
        return njit(**options)(function)
    index = kernel._cache._cache_file
    index._source_stamp = index._source_stamp, _digest(Path(function.__code__.co_filename).parent), _digest(_HERE)
    return kernel


_HERE = Path(__file__).parent


@cache
def _digest(folder: Path) -> str:
    """Of the contents of all Python files in a folder and those below it."""
    sources = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        sources.update(path.read_bytes())
    return sources.hexdigest()


# Explicit, because Numba otherwise inherits `fastmath` from the kernel. Parts of kernels make no arrays and need not count
# references to those that they read: threads that count the same ones wait for each other.
AS_WRITTEN: Any = {"nogil": True, "fastmath": False, "error_model": "numpy", "_nrt": False}


def inlined(function: Callable[..., Any], fast: bool = False) -> Callable[..., Any]:
    """A part of kernels that LLVM copies into its callers; where `fast`, with their arithmetic, else not reordered."""
    options: dict[str, Any] = {} if fast else {"fastmath": False}
    return njit(nogil=True, error_model="numpy", forceinline=True, **options)(function)


def as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of kernels whose arithmetic is not reordered: it holds instructions chosen by hand."""
    return njit(**AS_WRITTEN)(function)
