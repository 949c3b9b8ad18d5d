"""What a recording's frames say without labels: how they draw the means of a mixture of Gaussians."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.errors import InputError
from regard.files import write_atomically

__all__ = ["Mixture"]

Floats = NDArray[np.float64]
_COEFFICIENTS = 24
_COMPONENTS, _FRAMES, _RECORDINGS = 1_024, 60_000, 3_000  # to learn, and to learn from, at most
_TOGETHER = 10_000  # frames whose Gaussians are in memory
_ROUNDS = 30  # of expectation and maximization


@dataclass(frozen=True, eq=False)
class Mixture:
    """y = P (s - m) with s_k = sqrt(w_k) / (n_k + r) sum_t p(k | x_t) (x_t - mu_k) / sigma_k and n_k = sum_t p(k | x_t).

    x_t are the first 24 numbers of the discrete cosine transform of a frame's log-mel bands (all, where there are fewer), and
    their slopes over the frames from t - 2 to t + 2. A mixture of Gaussians with weights w, means mu and deviations sigma says
    which sound each is: a voice is told by how it says each of them. What is learned is learned without labels: the mixture
    by expectation and maximization, and the directions P as those in which recordings vary most.

    Source: Reynolds, Quatieri and Dunn 2000, eq. 7 to 13 (s_k is by what the mean k moves, where means alone are adapted, with
    the relevance r), each part scaled as in the kernel of Campbell, Sturim and Reynolds 2006.

    Args:
        weights: `[k]`. means, deviations: `[k, d]`. center: `[k d]` m. directions: `[k d, width]` the transpose of P.
        bands: of a frame. relevance: r, in frames.

    Raises:
        InputError: arrays that do not fit together.
    """

    weights: NDArray[np.float32]
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    center: NDArray[np.float32]
    directions: NDArray[np.float32]
    bands: int
    relevance: float = 2.0

    def __post_init__(self) -> None:
        k, d = len(self.weights), 2 * min(self.bands, _COEFFICIENTS)
        width = self.directions.shape[-1] if self.directions.ndim else 0
        shapes = {
            "weights": (k,),
            "means": (k, d),
            "deviations": (k, d),
            "center": (k * d,),
            "directions": (k * d, width),
        }
        for name, shape in shapes.items():
            found: Any = getattr(self, name)
            if found.shape != shape or not found.size or not np.isfinite(found).all():
                raise InputError(
                    f"the mixture's {name} have the shape {list(found.shape)}, expected {list(shape)} of finite numbers"
                )
        if not (self.weights.min() > 0 and self.deviations.min() > 0 and 0 <= self.relevance < np.inf):
            raise InputError("the mixture's weights and deviations are not above 0, or its relevance is negative")

    @property
    def width(self) -> int:
        """Of the vectors."""
        return int(self.directions.shape[1])

    @property
    def identity(self) -> str:
        """A checksum of all of it."""
        found = hashlib.sha256(f"{self.bands} {self.relevance!r}".encode())
        for name in _ARRAYS:
            found.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return found.hexdigest()

    @classmethod
    def of(cls, recordings: Sequence[ArrayLike], components: int = 128, width: int = 200, seed: int = 0) -> Mixture:
        """Learned from the log-mel frames of recordings, `[frames, bands]` each, of many voices.

        Of very many recordings some are drawn, and of their frames some.

        Args:
            components: how many Gaussians, at most 1,024. width: of the vectors, at most. seed: of all that is drawn.

        Raises:
            InputError: fewer than two recordings that differ, or than ten frames for each Gaussian.

        >>> sounds = np.random.default_rng(0).normal(size=(30, 50, 12))
        >>> found = Mixture.of(list(sounds), components=4, width=5)
        >>> found(sounds[0]).shape
        (5,)
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        draw = np.random.default_rng(seed)
        chosen = draw.permutation(len(recordings))[:_RECORDINGS]
        share = -(-_FRAMES // max(1, len(chosen)))
        # The frames of one recording are in memory at a time.
        frames = [x[draw.permutation(len(x))[:share]] for x in (_sounds(recordings[n]) for n in chosen)]
        total = sum(map(len, frames))
        if not 1 <= components <= _COMPONENTS or len(chosen) < 2 or total < 10 * components:
            there = f"{len(chosen)} recordings with {total:,} frames for a mixture of {components} Gaussians"
            wanted = f"expected two recordings, 1 to {_COMPONENTS:,} Gaussians, and ten frames for each"
            raise InputError(f"there are {there}, {wanted}")
        model = GaussianMixture(
            components,
            covariance_type="diag",
            max_iter=_ROUNDS,
            init_params="k-means++",
            reg_covar=1e-3,
            random_state=seed,
        )
        with warnings.catch_warnings():
            # Rounds that would still change a little are left out.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(np.concatenate(frames))
        weights, means = model.weights_.astype(np.float32), model.means_.astype(np.float32)
        deviations, none = np.sqrt(model.covariances_).astype(np.float32), np.zeros((means.size, 1), np.float32)
        bands = np.asarray(recordings[0]).shape[1]
        found = cls(weights, means, deviations, none[:, 0], none, bands)
        moved = np.empty((len(chosen), means.size))
        for row, n in zip(moved, chosen, strict=True):
            row[:] = found._moved(_sounds(recordings[n]))
        center, directions = _principal(moved, width)
        return replace(found, center=center.astype(np.float32), directions=directions.astype(np.float32))

    def __call__(self, frames: ArrayLike) -> NDArray[np.float32]:
        """`[width]` of log-mel frames `[t, bands]`."""
        return ((self._moved(_sounds(frames)) - self.center) @ self.directions).astype(np.float32)

    def _moved(self, x: Floats) -> Floats:
        """`[k d]` s, of `[t, d]`."""
        weights, means, deviations = (each.astype(np.float64) for each in (self.weights, self.means, self.deviations))
        precisions = deviations**-2
        level = np.log(weights) - np.log(deviations).sum(1) - (means**2 * precisions).sum(1) / 2
        n, sums = np.zeros((len(weights), 1)), np.zeros(means.shape)
        for begin in range(0, len(x), _TOGETHER):
            some = x[begin : begin + _TOGETHER]
            score = level - some**2 @ precisions.T / 2 + some @ (means * precisions).T
            p = np.exp(score - score.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            n += p.sum(0)[:, None]
            sums += p.T @ some
        s = (sums - n * means) / deviations / (n + self.relevance)
        moved: Floats = (np.sqrt(weights)[:, None] * s).ravel()
        return moved

    def write(self, path: Path) -> None:
        """A safetensors file, for its owner alone.

        Raises:
            InputError: a place that cannot be written to.
        """
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        about = {"format": "regard mixture", "bands": str(self.bands), "relevance": repr(self.relevance)}
        write_atomically(path, save(arrays, about), 0o600)

    @classmethod
    def read(cls, path: Path) -> Mixture:
        """What `write` wrote.

        Raises:
            InputError: a file that is none of it, or not whole.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                about = file.metadata() or {}
                arrays = {name: file.get_tensor(name).astype(np.float32) for name in _ARRAYS}
            return cls(**arrays, bands=int(about["bands"]), relevance=float(about["relevance"]))
        except (OSError, SafetensorError, KeyError, ValueError, InputError):
            raise InputError(
                f"{path} is no whole mixture, expected what `regard speaker calibrate --mixture` writes"
            ) from None


def _principal(rows: Floats, width: int) -> tuple[Floats, Floats]:
    """`[d]` the mean of rows `[n, d]`, and `[d, width]` the directions in which they vary most, fewer where there are no more.

    The rows are changed in place: they become their distances from the mean.

    Raises:
        InputError: rows that are all the same.
    """
    center = rows.mean(0)
    rows -= center
    # Of few long rows, from their products with one another; the largest values come last.
    values, sides = np.linalg.eigh(rows @ rows.T)
    most = [n for n in range(len(rows))[::-1] if values[n] > 1e-9 * values[-1]][:width]
    if not most:
        raise InputError(f"{len(rows)} recordings do not differ, expected some that do")
    return center, rows.T @ (sides[:, most] / np.sqrt(values[most]))


_ARRAYS = ("weights", "means", "deviations", "center", "directions")


def _sounds(frames: ArrayLike) -> Floats:
    """`[t, 2 coefficients]` of log-mel frames `[t, bands]`: cosine-transform coefficients, and their slopes."""
    from scipy.fft import dct

    c: Floats = dct(np.asarray(frames, np.float64), norm="ortho", axis=1)[:, :_COEFFICIENTS]
    p = np.pad(c, ((2, 2), (0, 0)), "edge")
    slopes = (2 * (p[4:] - p[:-4]) + p[3:-1] - p[1:-3]) / 10
    return np.concatenate([c, slopes], 1)
