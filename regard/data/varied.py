"""Sounds as training reads them: cut at drawn places, at drawn speeds, in rooms, with noise, masked; anew in each epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

from regard.data.augment import Augmentation, Draws, change_speed
from regard.data.cache import Arrays, Computed, stored
from regard.data.encoding import Encoding
from regard.data.examples import Array, Example, TargetKind, VectorSet, target_kind
from regard.data.features import (
    SHIFT,
    count_frames,
    count_samples,
    frames_of,
    mel_frames,
    possible_speed,
    voiced_frames,
    within_chosen,
)
from regard.data.frames import Framing, frames_in
from regard.data.sound import read_sound, versions

__all__ = ["Played", "Varied", "VariedFrames"]


class VariedFrames(ABC):
    """Utterances as training reads them: `values [frames, bands]`, a function of (seed, epoch, index).

    What is subtracted is the mean over what was cut. A variation that makes further classes changes an example's target;
    `targets` are those of the sounds as recorded.

    Args:
        framing: what is subtracted; its `crop` is for evaluation and does not count here.
        augmentation: what is drawn.
        encoding: has the labels.
        names: what the examples are called.
        targets: theirs, as recorded.
        counts: how many frames each has at most, uncut.
    """

    def __init__(
        self,
        framing: Framing,
        augmentation: Augmentation,
        encoding: Encoding,
        names: Sequence[str],
        targets: Sequence[Array | VectorSet],
        counts: Sequence[int],
    ) -> None:
        self._framing, self._augmentation, self._labels = framing, augmentation, len(encoding.labels)
        self._names, self.targets = names, targets
        self.target_kind: TargetKind = target_kind(targets)
        self._wanted, self._epoch = frames_in(augmentation.crop), 0
        self.lengths = [min(count, self._wanted) if self._wanted else count for count in counts]

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Example:
        draws = Draws(self._augmentation.seed, self._epoch, index)
        features = self._load(index, draws)
        values = np.array(features[self._cut(len(features), self._wanted, draws)], np.float32)
        values = self._framing.normalized(values)
        self._augmentation.mask.apply(values, draws)
        return Example(values, self._target(index, draws), self._names[index], self.target_kind)

    def _target(self, index: int, draws: Draws) -> Array | VectorSet:
        speed, target = self._augmentation.speed, self.targets[index]
        copy = speed.copy(speed.draw(draws))
        return target if isinstance(target, VectorSet) or not copy else target + copy * self._labels

    @staticmethod
    def _cut(length: int, wanted: int, draws: Draws) -> slice:
        """The frames to keep, `wanted` of `length` from a drawn place; 0 keeps all."""
        spare = length - wanted
        if not wanted or spare <= 0:
            return slice(None)
        start = int(draws.of("crop").integers(spare + 1))
        return slice(start, start + wanted)

    @abstractmethod
    def _load(self, index: int, draws: Draws) -> Array:
        """`[frames, bands]` of one utterance, at least those that are wanted."""


class Played(VariedFrames):
    """Training sounds at one of several speeds, at each of which their features are known.

    Args:
        features: for each speed `[frames, bands]` of each sound; that of 1 alone where no speed is drawn.
    """

    def __init__(
        self,
        features: Mapping[float, Arrays],
        framing: Framing,
        augmentation: Augmentation,
        encoding: Encoding,
        names: Sequence[str],
        targets: Sequence[Array | VectorSet],
    ) -> None:
        self._features = features
        counts = [max(lengths) for lengths in zip(*(arrays.lengths for arrays in features.values()), strict=True)]
        super().__init__(framing, augmentation, encoding, names, targets, counts)

    def _load(self, index: int, draws: Draws) -> Array:
        return self._features[self._augmentation.speed.draw(draws)][index]


class Varied(VariedFrames):
    """Training sounds that are varied before their features are computed.

    Frames are chosen in the sound as it is: those with voice, of them as many as are wanted, from a drawn place. The
    samples from the first to the last of these are varied; of the frames that come out those are kept that fall into
    a chosen one. An example has at most as many frames as `lengths` says, which counts with the slowest speed.

    Args:
        paths: of the sounds.
        cache: whether samples are read once and kept in the cache folder.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        cache: bool,
        framing: Framing,
        augmentation: Augmentation,
        encoding: Encoding,
        names: Sequence[str],
        targets: Sequence[Array | VectorSet],
    ) -> None:
        self._noises, self._rooms = augmentation.noise.files(), augmentation.reverberation.files()
        self._sounds: Arrays = Computed(paths, read_sound, count_samples)
        self._masks: Arrays | None = None
        if cache:
            self._sounds = stored(paths, f"samples {versions()}", read_sound)
        counts = [frames_of(samples) for samples in self._sounds.lengths]
        if framing.voice.detect:
            compute = partial(voiced_frames, rule=framing.voice)
            self._masks = Computed(paths, compute, count_frames)
            if cache:
                self._masks = stored(paths, f"voiced {framing.voice} {versions()}", compute)
                counts = [int(self._masks[i].sum()) for i in range(len(paths))]
        slowest = augmentation.speed.slowest
        counts = [frames_of(ceil((count + 0.5) * SHIFT / slowest)) for count in counts]
        super().__init__(framing, augmentation, encoding, names, targets, counts)

    def _load(self, index: int, draws: Draws) -> Array:
        augmentation, sound = self._augmentation, self._sounds[index]
        chosen = np.arange(frames_of(len(sound))) if self._masks is None else np.flatnonzero(self._masks[index])
        speed = augmentation.speed.draw(draws)
        chosen = chosen[self._cut(len(chosen), ceil(self._wanted * speed), draws)]
        first = int(chosen[0])
        samples = np.array(sound[first * SHIFT : (int(chosen[-1]) + 1) * SHIFT])
        speed = possible_speed(samples, speed)
        samples = change_speed(samples, speed)
        samples = augmentation.reverberation.apply(samples, self._rooms, draws)
        samples = augmentation.noise.apply(samples, self._noises, draws)
        values = mel_frames(samples, self._framing.bands)
        if self._masks is not None:
            values = within_chosen(values, chosen - first, speed)
        return values[: self.lengths[index]]
