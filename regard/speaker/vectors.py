"""Directions of vectors, and how alike they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["cosines", "mean_directions", "unit"]

Floats = NDArray[np.float64]


def unit(vectors: ArrayLike) -> Floats:
    """`[..., d]` vectors of length 1 in the same directions; zero stays zero."""
    x = np.asarray(vectors, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), np.finfo(np.float64).tiny)


def cosines(a: ArrayLike, b: ArrayLike) -> Floats:
    """`[n, m]` for a `[n, d]` and b `[m, d]`."""
    found: Floats = unit(a) @ unit(b).T
    return found


def mean_directions(names: Sequence[str], vectors: ArrayLike) -> tuple[list[str], NDArray[np.float32]]:
    """Each name once, in order, and the mean of the directions of its vectors, `[names, d]`.

    >>> mean_directions(["b", "a", "b"], [[0.0, 2.0], [3.0, 0.0], [1.0, 0.0]])[1].tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    x = np.asarray(vectors, np.float64)
    if not len(names):
        return [], np.zeros((0, x.shape[1]), np.float32)
    known, place, counts = np.unique(np.asarray(names, object).astype(str), return_inverse=True, return_counts=True)
    sums = np.add.reduceat(unit(x)[np.argsort(place, kind="stable")], np.cumsum(counts) - counts, axis=0)
    return [str(name) for name in known], (sums / counts[:, None]).astype(np.float32)
