"""Frames of sound as examples: cut, mean subtracted, masked; what all readers of speech have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from regard.data.augment import Draws, SpecAugment
from regard.data.encoding import Encoding
from regard.data.examples import Array, Example
from regard.data.features import FRAMES_PER_SECOND
from regard.errors import InputError

__all__ = ["Frames", "Normalize", "band_mean", "check_crops"]

Normalize = Literal["none", "utterance", "global"]


def check_crops(reader: Any) -> None:
    """Refuse seconds to keep, `crop` and `train_crop`, that are less than a frame."""
    for name in ("crop", "train_crop"):
        seconds = getattr(reader, name)
        if seconds and not seconds * FRAMES_PER_SECOND >= 1:
            raise InputError(f"{name} is {seconds} seconds, expected 0 or at least 0.01: one frame")


def band_mean(utterances: Iterable[Array]) -> tuple[float, ...]:
    """The mean of each band over all frames."""
    total: Any = 0.0
    count = 0
    for values in utterances:
        total, count = total + values.sum(0, dtype=np.float64), count + len(values)
    return tuple((total / count).tolist())


class Frames(ABC):
    """Utterances as examples: `values [frames, bands]`.

    With `training` the seconds of `train_crop` are cut at a place that is a function of (seed, epoch, index), and masks
    are laid over; otherwise the seconds of `crop` are cut from the middle. 0 keeps all. What is subtracted is the mean
    over what was cut.

    Args:
        reader: has `crop`, `train_crop`, `normalize`, `mask` and `seed`.
        encoding: has the mean of each band where that is subtracted.
        names: what the examples are called.
        targets: theirs, or None.
        counts: how many frames each has, uncut.
    """

    def __init__(
        self,
        reader: Any,
        encoding: Encoding,
        names: Sequence[str],
        targets: Sequence[Array] | None,
        counts: Sequence[int],
        training: bool,
    ) -> None:
        self._names, self._targets, self._training = names, targets, training
        self._frames = round((reader.train_crop if training else reader.crop) * FRAMES_PER_SECOND)
        self._normalize: Normalize = reader.normalize
        self._mask: SpecAugment = reader.mask
        self._seed: int = reader.seed
        self._mean = np.array(encoding.band_mean, np.float32)
        self._epoch = 0
        self.lengths = [min(count, self._frames) if self._frames else count for count in counts]

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of the training examples."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Example:
        draws = Draws(self._seed, self._epoch, index)
        values = self._values(index, draws)
        if self._normalize == "utterance":
            values -= values.mean(0)
        elif self._normalize == "global":
            values -= self._mean
        if self._training:
            self._mask.apply(values, draws)
        return Example(values, self._target(index, draws), self._names[index])

    def _target(self, index: int, draws: Draws) -> Array | None:
        return None if self._targets is None else self._targets[index]

    def _values(self, index: int, draws: Draws) -> Array:
        """The frames of one utterance, cut: a copy."""
        features = self._load(index, draws)
        start, stop = self._cut(len(features), self._frames, draws)
        return np.array(features[start:stop], np.float32)

    def _cut(self, length: int, wanted: int, draws: Draws) -> tuple[int, int]:
        """From where to where to keep `wanted` of `length` frames; 0 keeps all."""
        spare = length - wanted
        if not wanted or spare <= 0:
            return 0, length
        start = int(draws.of("crop").integers(spare + 1)) if self._training else spare // 2
        return start, start + wanted

    @abstractmethod
    def _load(self, index: int, draws: Draws) -> Array:
        """`[frames, bands]` of one utterance, at least those that are wanted."""
