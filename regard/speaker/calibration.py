"""From a cosine to what a decision needs: a score normalized by a cohort, a probability, a threshold."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.errors import InputError
from regard.files import parse_json
from regard.speaker.rates import Trials, at_threshold, rates, threshold_for
from regard.speaker.vectors import unit
from regard.speaker.within import Within

__all__ = ["Calibration", "Cohort", "adaptive_norm"]

Floats = NDArray[np.float64]
_TRIALS = 1 << 16  # scored at a time
_SCORES = 1 << 22  # of recordings against the cohort, in memory at a time


def adaptive_norm(scores: ArrayLike, ours: ArrayLike, theirs: ArrayLike, nearest: int = 300) -> Floats:
    """s' = ((s - mu_e) / sigma_e + (s - mu_t) / sigma_t) / 2, with the mean and deviation of each side's highest cohort scores.

    Source: Matejka et al. 2017, eq. 3 to 5 (adaptive s-norm, each side choosing its own cohort).

    Args:
        scores: `[n, m]` of n recordings against m.
        ours, theirs: `[n, c]` and `[m, c]`, the scores of each side against a cohort of c recordings.
        nearest: how many of the highest cohort scores count; all where there are fewer.
    """
    (mu, sigma), (nu, tau) = (_highest(each, nearest) for each in (ours, theirs))
    return _normalized(np.asarray(scores, np.float64), mu[:, None], sigma[:, None], nu, tau)


def _normalized(s: Floats, mu: Floats, sigma: Floats, nu: Floats, tau: Floats) -> Floats:
    """Scores by the mean and the deviation of each side, all of shapes that fit together."""
    found: Floats = ((s - mu) / sigma + (s - nu) / tau) / 2
    return found


def _highest(cohort: ArrayLike, nearest: int) -> tuple[Floats, Floats]:
    """`[n]` the mean and the deviation of each row's highest scores."""
    x = np.asarray(cohort, np.float64)
    first = max(x.shape[1] - nearest, 0)
    top = np.partition(x, first, axis=1)[:, first:]
    return top.mean(1), np.maximum(top.std(1), 1e-6)


@dataclass(frozen=True, eq=False)
class Cohort:
    """What scores are made by: cosines, of vectors as they are or behind `within`, and the recordings that normalize them, if any.

    Normalized scores of somebody who is heard in the cohort are lower than those of others.

    Args:
        vectors: `[c, d]`, recordings of many voices.
        nearest: how many of them count for a recording; all where there are fewer.
        within: what vectors, the cohort's as well, are brought to before they are compared.

    Raises:
        InputError: too few recordings for a deviation.
    """

    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    nearest: int = 0
    within: Within | None = None

    def __post_init__(self) -> None:
        if self.nearest and (self.nearest < 2 or len(self.vectors) < 2):
            found = f"{len(self.vectors)} recordings, of which {self.nearest} would count"
            raise InputError(f"the cohort has {found}, expected at least 2")

    @property
    def name(self) -> str:
        """What scores are, in words."""
        nearest = min(self.nearest, len(self.vectors))
        scores = f"scores normalized by {nearest} of {len(self.vectors):,} recordings" if nearest else "cosines"
        return f"{scores}, within-class covariance normalized" if self.within else scores

    def _seen(self, vectors: ArrayLike) -> Floats:
        return unit(self.within(vectors) if self.within else vectors)

    def scores(self, a: ArrayLike, b: ArrayLike) -> Floats:
        """`[n, m]` of the vectors a `[n, d]` and b `[m, d]`; of the same for normalized ones see `adaptive_norm`."""
        x, y = self._seen(a), self._seen(b)
        s: Floats = x @ y.T
        if not self.nearest:
            return s
        (mu, sigma), (nu, tau) = self._spread(x), self._spread(y)
        return _normalized(s, mu[:, None], sigma[:, None], nu, tau)

    def _spread(self, seen: Floats) -> tuple[Floats, Floats]:
        """`[n]` the mean and the deviation of the scores of vectors `[n, d]`, as they are seen, against the nearest."""
        cohort, each = self._seen(self.vectors).T, max(1, _SCORES // len(self.vectors))
        parts = [_highest(seen[n : n + each] @ cohort, self.nearest) for n in range(0, max(1, len(seen)), each)]
        mean, deviation = (np.concatenate(some) for some in zip(*parts, strict=True))
        return mean, deviation

    def pairs(self, vectors: ArrayLike, first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
        """`[k]` the scores of the rows `first` `[k]` of the vectors `[n, d]` with the rows `second`."""
        x, found = self._seen(vectors), np.empty(len(first))
        for begin in range(0, len(first), _TRIALS):
            part = slice(begin, begin + _TRIALS)
            found[part] = (x[first[part]] * x[second[part]]).sum(1)
        if not self.nearest:
            return found
        mean, deviation = self._spread(x)
        return _normalized(found, mean[first], deviation[first], mean[second], deviation[second])


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a model's scores mean, learned from trials; it holds for speakers like those of the trials.

        probability = 1 / (1 + exp(-(slope s + offset)))

    Args:
        slope, offset: of the log odds that both recordings are of one speaker, where either answer is as likely beforehand.
        threshold: a score that reaches it is accepted.
        false_acceptance: the part of the trials of two speakers that was to reach it at most.
        miss: the part of the trials of one speaker that does not.
        cohort: what scores are normalized by.
        source: which trials they were.
    """

    slope: float
    offset: float
    threshold: float
    false_acceptance: float
    miss: float = 0.0
    cohort: Cohort = field(default_factory=Cohort)
    source: str = ""

    @classmethod
    def of(
        cls, trials: Trials, false_acceptance: float = 0.01, cohort: Cohort | None = None, source: str = ""
    ) -> Calibration:
        """By logistic regression in which both kinds of trials weigh the same (Brummer and du Preez 2006, section 6).

        Args:
            trials: with scores as the cohort makes them.

        Raises:
            InputError: no trial of one of the two kinds.
        """
        from sklearn.linear_model import LogisticRegression

        # Where the highest score of all is one of two speakers, a threshold just above it lets none of them pass.
        highest = float(np.nextafter(trials.scores.max(), np.inf))
        threshold = min(threshold_for(trials.scores, trials.targets, false_acceptance), highest)
        fitted = LogisticRegression(C=1e6, class_weight="balanced", max_iter=1000)
        fitted.fit(trials.scores[:, None], trials.targets)
        miss, _ = at_threshold(rates(trials.scores, trials.targets), threshold)
        line = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
        return cls(*line, threshold, false_acceptance, miss, cohort or Cohort(), source)

    def probability(self, scores: ArrayLike) -> Floats:
        """That both recordings are of one speaker."""
        odds = self.slope * np.asarray(scores, np.float64) + self.offset
        return np.exp(-np.logaddexp(0, -odds))

    def to_json(self, model: str) -> str:
        """As text, tied to the model with this identity."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        within = self.cohort.within
        cohort = {
            "recordings": len(self.cohort.vectors),
            "nearest": self.cohort.nearest,
            "vectors": _text_of(self.cohort.vectors),
            "within": None if within is None else [_text_of(within.mean), _text_of(within.matrix)],
        }
        return json.dumps({"model": model, "source": self.source} | numbers | {"cohort": cohort}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str, model: str, width: int) -> Calibration:
        """What `to_json` wrote for the model with this identity and width of vectors.

        Raises:
            InputError: a text that was altered, or that belongs to another model.
        """
        altered = f"{where} is no calibration, expected what `regard speaker calibrate` wrote"
        try:
            values = parse_json(text, where)
            identity = values["model"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InputError(altered) from None
        if identity != model:
            again = "expected `regard speaker calibrate` to be run again"
            raise InputError(f"{where} belongs to other weights, or to another mixture, {again}")
        try:
            numbers, cohort = {name: float(values[name]) for name in _NUMBERS}, values["cohort"]
            if not np.isfinite(list(numbers.values())).all():
                raise ValueError
            recordings = int(cohort["recordings"])
            vectors = _numbers_of(cohort["vectors"], (recordings, width if recordings else 0))
            within = cohort.get("within") and Within(
                *(_numbers_of(x, shape) for x, shape in zip(cohort["within"], ((width,), (width, width)), strict=True))
            )
            voices = Cohort(vectors, int(cohort["nearest"]), within)
            source = str(values["source"])
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise InputError(altered) from None
        return cls(**numbers, cohort=voices, source=source)


def _text_of(numbers: NDArray[np.float32]) -> str:
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode()


def _numbers_of(text: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What `_text_of` wrote; ValueError where it is something else."""
    found = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    if not np.isfinite(found).all() or min(shape) < 0:
        raise ValueError
    return found.reshape(shape).astype(np.float32)


_NUMBERS = ("slope", "offset", "threshold", "false_acceptance", "miss")
