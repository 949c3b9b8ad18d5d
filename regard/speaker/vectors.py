"""Directions of vectors, and how alike they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["cosines", "unit"]

Floats = NDArray[np.float64]


def unit(vectors: ArrayLike) -> Floats:
    """`[..., d]` vectors of length 1 in the same directions; zero stays zero."""
    x = np.asarray(vectors, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), np.finfo(np.float64).tiny)


def cosines(a: ArrayLike, b: ArrayLike) -> Floats:
    """`[n, m]` for a `[n, d]` and b `[m, d]`."""
    found: Floats = unit(a) @ unit(b).T
    return found
