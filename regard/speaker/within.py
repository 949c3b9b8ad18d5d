"""Directions in which recordings of one voice differ count less: within-class covariance normalization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.errors import InputError
from regard.speaker.vectors import mean_directions, unit

__all__ = ["Within"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Within:
    """y = A^T (x / |x| - m): in y, recordings of one voice differ alike in all directions.

    A A^T is the inverse of W + r (tr W / d) I, where W is the covariance of the recordings around the mean of their own voice,
    and m the mean of all.

    Source: Hatch, Kajarekar and Stolcke 2006, eq. 9 to 11, with a share r of the mean variance added, where they blend with an
    identity.

    Args:
        mean: `[d]`. matrix: `[d, d]` A.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    @classmethod
    def of(cls, speakers: Sequence[str], vectors: ArrayLike, share: float = 0.2) -> Within:
        """Learned from recordings of voices, `[n, d]`.

        Args:
            share: r. A direction in which few voices were heard to vary is not trusted beyond it.

        Raises:
            InputError: no voice with two recordings that differ.

        >>> found = Within.of(["a", "a", "b", "b"], [[3, 4], [4, 3], [-3, 4], [-4, 3]], share=1.0)
        >>> found(np.array([[3, 4], [4, 3], [-3, 4]])).round(3).tolist()
        [[4.243, 0.707], [5.657, -0.707], [-4.243, 0.707]]
        """
        x = unit(vectors)
        names, means = mean_directions(speakers, x)
        place = {name: n for n, name in enumerate(names)}
        own = x - means.astype(np.float64)[[place[each] for each in speakers]] if len(x) else x
        covariance = own.T @ own / max(len(own), 1)
        variance = np.trace(covariance) / x.shape[1]
        if not variance > 1e-12:
            found = f"{len(x)} recordings of {len(names)} voices"
            raise InputError(f"{found} do not say how recordings of one voice differ, expected some voice with two")
        matrix = np.linalg.cholesky(np.linalg.inv(covariance + share * variance * np.eye(len(covariance))))
        return cls(x.mean(0).astype(np.float32), matrix.astype(np.float32))

    def __call__(self, vectors: ArrayLike) -> Floats:
        """`[n, d]` to `[n, d]`."""
        found: Floats = (unit(vectors) - self.mean) @ self.matrix
        return found
