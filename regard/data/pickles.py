"""Pickles that others published, read without running anything that they name beyond a list of names."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from regard.errors import InputError

__all__ = ["ARRAYS", "unpickled"]


def _bytes(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


ARRAYS: dict[tuple[str, str], Any] = {
    # `_reconstruct` is reached through an array, as its module has moved in numpy.
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # How Python 3 writes bytes for Python 2: always in this encoding.
    ("_codecs", "encode"): _bytes,
}
"""What pickles of arrays name."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], where: str, allowed: Mapping[tuple[str, str], Any], expected: str) -> None:
        super().__init__(file, encoding="latin1")
        self._where, self._allowed, self._expected = where, allowed, expected

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise InputError(f"{self._where} asks to load {module}.{name}, expected nothing but {self._expected}")
        return self._allowed[module, name]


def unpickled(
    file: IO[bytes], where: str, allowed: Mapping[tuple[str, str], Any], expected: str, what: str = "a pickle of arrays"
) -> Any:
    """What a pickle, of Python 2 or 3, holds.

    Args:
        file: its bytes. where: begins the sentence of an error. allowed: what each name in it stands for. expected: what these
            names are. what: the file should be.

    Raises:
        InputError: what is no such pickle, or names anything else to load: it is refused unread.
    """
    try:
        return _Unpickler(file, where, allowed, expected).load()
    except (InputError, MemoryError):
        raise
    except Exception:  # a damaged pickle may raise any error at all
        raise InputError(f"{where} is damaged or is not a pickle, expected {what}") from None
