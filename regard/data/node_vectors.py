"""Vectors of nodes from a file, by the nodes' names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from regard.data.encoding import parse_number
from regard.data.examples import Array
from regard.errors import InputError
from regard.files import read_lines

__all__ = ["node_vectors"]


def node_vectors(path: Path, names: Sequence[str], where: str = "the graph") -> Array:
    """`[nodes, width]` float32 from lines of a name and numbers; a first line of two whole numbers may come before.

    Nodes that the file does not name get zeros.

    Raises:
        InputError: a file that is not there, holds another line, or names none of the nodes.
    """
    if not path.exists():
        raise InputError(f"{path} is not there, expected a file of vectors of nodes (data.positions.vectors)")
    status = path.stat()
    table = _read(path, status.st_mtime_ns, status.st_size)
    width = len(next(iter(table.values())))
    found = np.zeros((len(names), width), np.float32)
    named = [n for n, name in enumerate(names) if name in table]
    if not named:
        raise InputError(
            f"{path} has vectors of {len(table):,} nodes, none of which {where} has, expected those of its nodes"
        )
    found[named] = [table[names[n]] for n in named]
    return found


# Readers read their data once for each part; a file that changed is another one.
@lru_cache(maxsize=2)
def _read(path: Path, changed: int, size: int) -> dict[str, Array]:
    table: dict[str, Array] = {}
    width = 0
    for number, line in read_lines(path):
        words = line.split()
        if not words or (number == 1 and len(words) == 2 and all(word.isdecimal() for word in words)):
            continue
        where, (name, *numbers) = f"{path}, line {number},", words
        if not numbers or (width and len(numbers) != width):
            raise InputError(f"{where} has {len(numbers)} numbers, expected {width or 'a name and numbers'}")
        if name in table:
            raise InputError(f"{where} repeats the node {name!r}, expected each once")
        width = len(numbers)
        table[name] = np.array([parse_number(text, where) for text in numbers], np.float32)
    if not table:
        raise InputError(f"{path} has no vector, expected a name and numbers on each line")
    return table
