"""The files of the Planetoid benchmarks, which are Python 2 pickles, read without running anything that they name."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.examples import Array
from regard.data.pickles import ARRAYS, unpickled
from regard.errors import InputError
from regard.files import read_lines

__all__ = ["load_pickle", "read_planetoid"]

_LARGEST = 2**28
"""The most numbers that a feature matrix may have once it is dense: 1 GiB of float32."""


class _Rows:
    """Stands where a pickle names `scipy.sparse.csr_matrix`; its state is checked when it is made dense."""


# The only names that these pickles need.
_ALLOWED: dict[tuple[str, str], Any] = {
    **ARRAYS,
    ("scipy.sparse.csr", "csr_matrix"): _Rows,
    ("scipy.sparse._csr", "csr_matrix"): _Rows,
    ("collections", "defaultdict"): defaultdict,
    ("__builtin__", "list"): list,
    ("builtins", "list"): list,
}


def load_pickle(path: Path) -> Any:
    """What a Python 2 pickle of numpy arrays, sparse rows or a dictionary of lists holds.

    Raises:
        InputError: a file that is not there, is no such pickle, or names anything else to load: it is refused unread.
    """
    expected = "arrays, sparse rows and lists of links"
    try:
        with path.open("rb") as file:
            return unpickled(file, str(path), _ALLOWED, expected, "a Planetoid file")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def read_planetoid(folder: Path, name: str) -> tuple[Array, list[str], list[str], list[tuple[int, int]]]:
    """Features `[n, d]`, label and part of each node (empty where there is none), and the links, of `ind.NAME.*`.

    The public split: the nodes of `x` train, the next 500 validate, those of `test.index` test. Test nodes that the
    index leaves out have features of zero and no label.

    Raises:
        InputError: a missing or damaged file, or files that do not fit one another.
    """
    pieces = {
        key: folder / f"ind.{name}.{key}" for key in ("x", "y", "allx", "ally", "tx", "ty", "graph", "test.index")
    }
    allx, tx = (_matrix(pieces[key]) for key in ("allx", "tx"))
    y, ally, ty = (_labels(pieces[key]) for key in ("y", "ally", "ty"))
    index = _test_index(pieces["test.index"])
    first, count = len(allx), len(tx)
    n = max(first + count, int(index.max(initial=-1)) + 1)
    shapes = f"allx {allx.shape}, ally {ally.shape}, tx {tx.shape}, ty {ty.shape}, test.index {index.shape}"
    fit = len(ally) == first and len(ty) == count == len(index) and allx.shape[1] == tx.shape[1]
    fit = fit and ally.shape[1] == ty.shape[1] == y.shape[1] and len(y) <= first and index.min(initial=first) >= first
    if not fit or n > 2 * (first + count):
        raise InputError(f"{folder} has files of {name} that do not fit one another: {shapes}")
    features = np.zeros((n, allx.shape[1]), np.float32)
    features[:first], features[index] = allx, tx
    classes = np.zeros((n, ally.shape[1]), np.int64)
    classes[:first], classes[index] = ally, ty
    labels = [str(int(row.argmax())) if row.any() else "" for row in classes]
    parts = [""] * n
    for part, rows in (
        ("train", range(len(y))),
        ("validation", range(len(y), min(len(y) + 500, first))),
        ("test", index.tolist()),
    ):
        for row in rows:
            parts[row] = part
    return features, labels, parts, _links(pieces["graph"], n)


def _dense(rows: _Rows, where: Path) -> Array:
    """`[n, d]` float32, from a state that may hold anything."""
    try:
        n, d = (int(size) for size in vars(rows)["_shape"])
        data, indices, indptr = (np.asarray(vars(rows)[name]) for name in ("data", "indices", "indptr"))
        sound = data.dtype.kind in "fiub" and indices.dtype.kind in "iu" and indptr.dtype.kind in "iu"
        sound = sound and indptr.shape == (n + 1,) and data.shape == indices.shape == (int(indptr[-1]),)
        sound = sound and 0 <= n * d <= _LARGEST and indptr[0] == 0 and not (np.diff(indptr) < 0).any()
        sound = sound and (not indices.size or 0 <= indices.min() <= indices.max() < d)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        sound = False
    if not sound:
        raise InputError(f"{where} holds a sparse matrix that does not fit together, expected rows of features")
    dense = np.zeros((n, d), np.float32)
    np.add.at(dense, (np.repeat(np.arange(n), np.diff(indptr)), indices), data)
    if not np.isfinite(dense).all():
        row, column = (int(at[0]) for at in np.nonzero(~np.isfinite(dense)))
        raise InputError(f"{where}, row {row}, column {column}, holds {dense[row, column]}, expected finite numbers")
    return dense


def _matrix(path: Path) -> Array:
    rows = load_pickle(path)
    if not isinstance(rows, _Rows):
        raise InputError(f"{path} holds a {type(rows).__name__}, expected sparse rows of features")
    return _dense(rows, path)


def _labels(path: Path) -> Array:
    rows = load_pickle(path)
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind not in "iub":
        raise InputError(f"{path} does not hold an array [n, classes] of 0 and 1, expected one")
    return rows


def _links(path: Path, n: int) -> list[tuple[int, int]]:
    graph = load_pickle(path)
    if not isinstance(graph, dict) or not all(isinstance(links, list) for links in graph.values()):
        raise InputError(
            f"{path} does not hold a dictionary from each node to the list of its neighbours, expected one"
        )
    found = [(node, other) for node, links in graph.items() for other in links]
    for link in found:
        if not all(isinstance(end, int) and 0 <= end < n for end in link):
            raise InputError(f"{path} links {link[0]!r} and {link[1]!r}, expected nodes between 0 and {n - 1}")
    return found


def _test_index(path: Path) -> Array:
    rows = []
    for number, line in read_lines(path):
        if not line.strip().isdecimal() or len(line.strip()) > 15:
            raise InputError(f"{path}, line {number}, holds {line!r}, expected the number of a node")
        rows.append(int(line))
    if len(set(rows)) < len(rows):
        again = next(row for i, row in enumerate(rows) if row in rows[:i])
        raise InputError(f"{path} names the node {again} twice, expected each once")
    return np.array(rows, np.int64)
