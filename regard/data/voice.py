"""Which frames of a sound hold voice, by their energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError, check_numbers

__all__ = ["VoiceActivity", "VoiceStream"]


@dataclass(frozen=True)
class VoiceActivity:
    """Keeps the frames that hold voice, by the rule of Kaldi (`compute-vad`) with the numbers of its SRE16 recipe.

    e_t is the logarithm of the energy of frame t (the sum of its squared samples, in 16-bit amplitudes, without their
    mean). Frame t is loud if e_t > threshold + mean_scale * (mean of e over the sound), and kept if at least the part
    `proportion` of the frames from t - context to t + context, as far as they exist, is loud.

    Args:
        detect: whether frames are dropped at all.
        threshold: of the logarithm of the energy.
        mean_scale: how much of the mean over the whole sound is added to the threshold; with 0 a stream can be judged.
        context: frames on each side that are looked at.
        proportion: of them that must be loud.

    >>> rule = VoiceActivity(threshold=10, mean_scale=0, context=1, proportion=0.5)
    >>> rule.voiced(np.array([0.0, 0.0, 12.0, 12.0, 0.0, 0.0])).astype(int)
    array([0, 0, 1, 1, 0, 0])
    """

    detect: bool = False
    threshold: float = 5.5
    mean_scale: float = 0.5
    context: int = 2
    proportion: float = 0.12

    def __post_init__(self) -> None:
        check_numbers("data.voice", self, "mean_scale", "context", least=0)
        if not 0 < self.proportion <= 1:
            raise InputError(f"data.voice.proportion is {self.proportion}, expected more than 0 and at most 1")

    def voiced(self, energies: Array) -> Array:
        """`[frames]` True where a frame is kept, from the logarithms of the energies `[frames]` of a whole sound."""
        mean = float(energies.mean(dtype=np.float64)) if self.mean_scale and len(energies) else 0.0
        loud = energies > self.threshold + self.mean_scale * mean
        return self._kept(loud, 0, len(loud))

    def _kept(self, loud: Array, start: int, stop: int) -> Array:
        """Which of the frames from `start` to `stop` are kept, where `loud` is about all that exist around them."""
        counts = np.concatenate([[0], np.cumsum(loud)])
        frames = np.arange(start, stop)
        first = np.maximum(frames - self.context, 0)
        past = np.minimum(frames + self.context + 1, len(loud))
        return counts[past] - counts[first] >= (past - first) * self.proportion


class VoiceStream:
    """The same rule on frames that come piece by piece; a frame is known `context` frames later.

    Raises:
        InputError: the threshold depends on the mean over the whole sound.
    """

    def __init__(self, rule: VoiceActivity) -> None:
        if rule.mean_scale:
            raise InputError(
                f"data.voice.mean_scale is {rule.mean_scale}, expected 0 for a stream, whose mean is known at its end only"
            )
        self._rule = rule
        self._loud = np.zeros(0, bool)
        self._rows: Array | None = None
        self._decided = 0  # frames of `_loud` that were judged already and stay for the context only

    def accept(self, energies: Array, rows: Array, last: bool = False) -> Array:
        """The rows that are kept, of these and of earlier ones, as far as that is known yet; of all with `last`."""
        self._loud = np.concatenate([self._loud, energies > self._rule.threshold])
        waiting = rows if self._rows is None else np.concatenate([self._rows, rows])
        stop = len(self._loud) if last else max(len(self._loud) - self._rule.context, self._decided)
        kept = waiting[: stop - self._decided][self._rule._kept(self._loud, self._decided, stop)]
        self._rows = waiting[stop - self._decided :]
        spare = max(stop - self._rule.context, 0)
        self._loud, self._decided = self._loud[spare:], stop - spare
        return kept
