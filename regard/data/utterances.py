"""Sounds as examples: their features as they are, played at another speed, or varied before they are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regard.data.augment import Draws, change_speed
from regard.data.cache import Arrays, Computed, stored
from regard.data.encoding import Encoding
from regard.data.examples import Array
from regard.data.features import (
    SHIFT,
    count_frames,
    count_samples,
    frames_of,
    mel_frames,
    voiced_frames,
    voiced_log_mel,
)
from regard.data.frames import Frames
from regard.data.sound import read_sound, versions
from regard.data.voice import VoiceActivity

if TYPE_CHECKING:
    from regard.data.speech import Sounds

__all__ = ["Played", "Utterances", "Varied", "played_log_mel"]


class Utterances(Frames):
    """Sounds as examples; see `Frames`.

    Without the cache their lengths are what the headers say, frames without voice included.

    Args:
        features: `[frames, mels]` of each sound.
    """

    def __init__(
        self,
        reader: Sounds,
        encoding: Encoding,
        features: Arrays,
        names: Sequence[str],
        targets: Sequence[Array] | None,
        training: bool,
    ) -> None:
        self._features = features
        super().__init__(reader, encoding, names, targets, features.lengths, training)

    def _load(self, index: int, draws: Draws) -> Array:
        return self._features[index]


class _Sped(Frames):
    """Training sounds at drawn speeds."""

    def __init__(
        self, reader: Sounds, encoding: Encoding, names: Sequence[str], targets: Sequence[Array], counts: Sequence[int]
    ) -> None:
        self._reader, self._labels = reader, len(encoding.labels)
        super().__init__(reader, encoding, names, targets, counts, True)

    def _target(self, index: int, draws: Draws) -> Array | None:
        target, speed = super()._target(index, draws), self._reader.speed
        copy = speed.copy(speed.draw(draws))
        return target + copy * self._labels if target is not None and copy else target


class Played(_Sped):
    """Training sounds at one of several speeds, at each of which their features are known.

    Args:
        features: for each speed `[frames, mels]` of each sound.
    """

    def __init__(
        self,
        reader: Sounds,
        encoding: Encoding,
        features: Mapping[float, Arrays],
        names: Sequence[str],
        targets: Sequence[Array],
    ) -> None:
        self._features = features
        counts = [max(found) for found in zip(*(each.lengths for each in features.values()), strict=True)]
        super().__init__(reader, encoding, names, targets, counts)

    def _load(self, index: int, draws: Draws) -> Array:
        return self._features[self._reader.speed.draw(draws)][index]


class Varied(_Sped):
    """Training sounds that are varied before their features are computed.

    Frames are chosen in the sound as it is: those with voice, of them as many as are wanted, from a drawn place. The
    samples from the first to the last of these are varied; of the frames that come out those are kept that fall into
    a chosen one. An example has at most as many frames as `lengths` says, which counts with the slowest speed.
    """

    def __init__(
        self, reader: Sounds, encoding: Encoding, paths: Sequence[Path], names: Sequence[str], targets: Sequence[Array]
    ) -> None:
        self._noises, self._rooms = reader.noise.files(), reader.reverberation.files()
        self._sounds: Arrays = Computed(paths, read_sound, count_samples)
        self._masks: Arrays | None = None
        if reader.cache:
            self._sounds = stored(paths, f"samples {versions()}", read_sound)
        counts = [frames_of(samples) for samples in self._sounds.lengths]
        if reader.voice.detect:
            compute = partial(voiced_frames, rule=reader.voice)
            self._masks = Computed(paths, compute, count_frames)
            if reader.cache:
                self._masks = stored(paths, f"voiced {reader.voice} {versions()}", compute)
                counts = [int(self._masks[i].sum()) for i in range(len(paths))]
        counts = [frames_of(ceil((count + 0.5) * SHIFT / reader.speed.slowest)) for count in counts]
        super().__init__(reader, encoding, names, targets, counts)

    def _load(self, index: int, draws: Draws) -> Array:
        sound = self._sounds[index]
        chosen = np.arange(frames_of(len(sound))) if self._masks is None else np.flatnonzero(self._masks[index])
        speed = self._reader.speed.draw(draws)
        start, stop = self._cut(len(chosen), ceil(self._frames * speed), draws)
        chosen = chosen[start:stop]
        first = int(chosen[0])
        samples = np.array(sound[first * SHIFT : (int(chosen[-1]) + 1) * SHIFT])
        speed = _possible(samples, speed)
        samples = change_speed(samples, speed)
        samples = self._reader.reverberation.apply(samples, self._rooms, draws)
        samples = self._reader.noise.apply(samples, self._noises, draws)
        values = mel_frames(samples, self._reader.mels)
        if self._masks is not None:
            values = _within(values, chosen - first, speed)
        return values[: self.lengths[index]]


def played_log_mel(path: Path, mels: int, rule: VoiceActivity, speed: float) -> Array:
    """`[frames, mels]` of a sound that is played at this speed, and of them those with voice."""
    if speed == 1:
        return voiced_log_mel(path, mels, rule)
    samples = read_sound(path)
    speed = _possible(samples, speed)
    values = mel_frames(change_speed(samples, speed), mels)
    return _within(values, np.flatnonzero(voiced_frames(path, rule)), speed) if rule.detect else values


def _possible(samples: Array, speed: float) -> float:
    """The speed, if something is left of the samples."""
    return speed if len(samples) >= 4 * SHIFT else 1.0


def _within(values: Array, chosen: Array, speed: float) -> Array:
    """The rows that fall into one of the chosen frames of the sound before it was played at this speed."""
    inside = np.isin(((np.arange(len(values)) + 0.5) * speed).astype(np.int64), chosen)
    return values[inside] if inside.any() else values
