"""Frames of sound as examples: `Framing` says how they are made, `Frames` are those of a part as it is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regard.data.cache import Arrays, Computed, stored
from regard.data.examples import Array, Example, TargetKind, VectorSet, target_kind
from regard.data.features import FRAMES_PER_SECOND, count_frames, played_log_mel
from regard.data.sound import versions
from regard.data.voice import VoiceActivity
from regard.errors import InputError

__all__ = ["Frames", "Framing", "Normalize", "RunningLevel", "band_mean", "check_crop", "frames_in"]

Normalize = Literal["none", "utterance", "global", "level", "running"]
_FLOOR = 1e-6  # of the level: 60 dB below it
_MEMORY = 3 * FRAMES_PER_SECOND  # frames that a running level remembers


def check_crop(name: str, seconds: float) -> None:
    """Refuse seconds to keep that are less than a frame."""
    if seconds and not seconds * FRAMES_PER_SECOND >= 1:
        raise InputError(f"{name} is {seconds} seconds, expected 0 or at least 0.01: one frame")


def frames_in(seconds: float) -> int:
    """The number of frames to keep; 0 keeps all."""
    return round(seconds * FRAMES_PER_SECOND)


def band_mean(utterances: Iterable[Array]) -> tuple[float, ...]:
    """The mean of each band over all frames."""
    total: Any = 0.0
    count = 0
    for values in utterances:
        total, count = total + values.sum(0, dtype=np.float64), count + len(values)
    return tuple((total / count).tolist())


class RunningLevel:
    """Log-mel frames relative to the level up to each, in pieces cut anywhere.

        y_t = log(e_t / p_t + 1e-6),    p_t = p_(t-1) + (mean of e_t over bands - p_(t-1)) / min(t, 300),    t = 1, 2, ...

    e_t are the energies whose logarithms a frame has. A gain multiplies all of them and changes nothing.
    """

    def __init__(self) -> None:
        self._level, self._count = 0.0, 0

    def accept(self, values: Array) -> Array:
        """`[frames, bands]` float32, those of the next frames."""
        energies = np.exp(np.clip(values, -700, 700, dtype=np.float64)).mean(1)
        levels = np.empty(len(values))
        for n, energy in enumerate(energies.tolist()):
            self._count = min(self._count + 1, _MEMORY)
            self._level += (energy - self._level) / self._count
            levels[n] = self._level
        return _relative(values, np.log(levels)[:, None])


def _relative(values: Array, level: Any) -> Array:
    """log(e / level + 1e-6) of the logarithms of energies e and of a level."""
    relative: Array = np.logaddexp(values - level, np.log(_FLOOR)).astype(np.float32)
    return relative


@dataclass(frozen=True)
class Framing:
    """How a sound becomes the vectors of an example.

    Args:
        bands: the width of a frame.
        voice: which frames are dropped because they hold no voice, before anything is cut.
        crop: seconds to keep, from the middle; 0 keeps all.
        normalize: what is subtracted from each band: nothing, its mean over what was cut, its mean over the training part, or in
            all bands alike the level of what was cut, or that up to each frame (see `normalized`).
        mean: of each band over the training part, where that is subtracted.
    """

    bands: int
    voice: VoiceActivity = field(default_factory=VoiceActivity)
    crop: float = 0
    normalize: Normalize = "none"
    mean: tuple[float, ...] = ()

    def features(self, paths: Sequence[Path], cache: bool, speed: float = 1.0) -> Arrays:
        """The frames of each sound that are kept, uncut: from the cache, or computed at each reading.

        Without the cache, lengths are what the headers of the files say, frames without voice included.
        """
        compute = partial(played_log_mel, mels=self.bands, rule=self.voice, speed=speed)
        if cache:
            return stored(paths, f"log-mel {self.bands} {self.voice} {speed} {versions()}", compute)
        return Computed(paths, compute, partial(count_frames, speed=speed))

    def middle(self, length: int) -> slice:
        """The frames to keep of `length`."""
        wanted = frames_in(self.crop)
        start = max(length - wanted, 0) // 2
        return slice(start, start + wanted) if wanted else slice(None)

    def normalized(self, values: Array) -> Array:
        """`[frames, bands]` of an example, which may be changed in place.

        A gain of the recording adds a constant to all values; "utterance", "level" and "running" give the same with any gain.

            level:    y = log(e / p + 1e-6), where e are the energies and p is their mean over frames and bands
            running:  see `RunningLevel`
        """
        if self.normalize == "level":
            highest = values.max()
            return _relative(values, highest + np.log(np.exp(values - highest).mean(dtype=np.float64)))
        if self.normalize == "running":
            return RunningLevel().accept(values)
        if self.normalize == "utterance":
            values -= values.mean(0)
        elif self.normalize == "global":
            values -= np.array(self.mean, np.float32)
        return values


class Frames:
    """Utterances as examples, as they are evaluated: `values [frames, bands]` of their middle.

    Args:
        features: `[frames, bands]` of each, uncut.
        framing: what is cut and subtracted.
        names: what the examples are called.
        targets: theirs; None where they are unlabelled.
        unseen: labels that no training example has, with the number of their targets.
    """

    def __init__(
        self,
        features: Arrays,
        framing: Framing,
        names: Sequence[str],
        targets: Sequence[Array | VectorSet] | None = None,
        unseen: Mapping[str, int] | None = None,
    ) -> None:
        self.unseen = unseen or {}
        self._features, self._framing, self._names = features, framing, names
        self.targets: Sequence[Array | VectorSet | None] = [None] * len(names) if targets is None else targets
        self.target_kind: TargetKind = target_kind(targets)
        wanted = frames_in(framing.crop)
        self.lengths = [min(count, wanted) if wanted else count for count in features.lengths]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Example:
        features = self._features[index]
        values = np.array(features[self._framing.middle(len(features))], np.float32)
        return Example(self._framing.normalized(values), self.targets[index], self._names[index], self.target_kind)
