"""`SoundReader`: what readers of sounds have in common, whatever their targets are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from regard.data.augment import Augmentation, Noise, Reverberation, SpecAugment, Speed
from regard.data.cache import Held
from regard.data.encoding import Encoding
from regard.data.examples import Array, Example, VectorSet
from regard.data.features import LogMelStream, voiced_log_mel
from regard.data.folders import files_below
from regard.data.frames import Frames, Framing, Normalize, RunningLevel, band_mean
from regard.data.reader import STREAM, refused_value
from regard.data.registry import locate
from regard.data.sound import RATE, Clip, Samples, Sound, sound_files, sound_suffixes
from regard.data.survey import Skips
from regard.data.varied import Played, Varied, VariedFrames
from regard.data.voice import VoiceActivity, VoiceStream
from regard.errors import InputError

__all__ = ["SoundReader", "SoundStream"]


class SoundReader:
    """From sounds to examples: what does not depend on whether they have labels or texts.

    A reader adds its options as a dataclass, among them those named here, and says with `_crop` how much of a sound it keeps.
    """

    path: str | None
    mels: int
    normalize: Normalize
    seed: int
    cache: bool
    voice: VoiceActivity
    speed: Speed
    reverberation: Reverberation
    noise: Noise
    mask: SpecAugment

    @property
    def published(self) -> str:
        raise NotImplementedError

    def seconds(self, training: bool = False) -> float:
        """How much of each sound is kept; 0 keeps all."""
        return 0

    @property
    def root(self) -> Path:
        """The folder that the names of sounds are relative to."""
        return Path(self.path) if self.path is not None else locate(self.published)

    @property
    def augmentation(self) -> Augmentation:
        """What varies the training sounds."""
        return Augmentation(
            self.seconds(training=True), self.seed, self.speed, self.reverberation, self.noise, self.mask
        )

    def _framing(self, encoding: Encoding | None = None) -> Framing:
        mean = encoding.band_mean if encoding is not None else ()
        return Framing(self.mels, self.voice, self.seconds(), self.normalize, mean)

    def _mean(self, paths: Sequence[Path]) -> tuple[float, ...]:
        """The mean of each band over the sounds of the training part, where that is subtracted; empty elsewhere."""
        if self.normalize != "global":
            return ()
        features = self._framing().features(paths, self.cache)
        return band_mean(features[i] for i in range(len(features)))

    def _varied(
        self, paths: Sequence[Path], names: Sequence[str], targets: Sequence[Array | VectorSet], encoding: Encoding
    ) -> VariedFrames:
        """Training sounds, cut at drawn places and varied."""
        framing, augmentation = self._framing(encoding), self.augmentation
        if augmentation.needs_samples:
            return Varied(paths, self.cache, framing, augmentation, encoding, names, targets)
        speeds = self.speed.factors or (1.0,)
        features = {speed: framing.features(paths, self.cache, speed) for speed in speeds}
        return Played(features, framing, augmentation, encoding, names, targets)

    def inputs(self, sources: Sequence[str], encoding: Encoding, least: int = 0) -> Frames:
        """Sound files, and all sounds below folders; nothing is put into the cache.

        Args:
            least: how many frames of each must hold voice by `voice`, also where it drops none.
        """
        paths: list[Path] = []
        for source in sources:
            path = Path(source)
            paths += sound_files(path) if os.path.isdir(path) else [path]
        return self._unlabelled(paths, encoding, least)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A sound in memory: samples `[n]` at 16 kHz between -1 and 1, or the bytes of a sound file.

        Raises:
            InputError: what is neither, or sound that `read_sound` refuses.
        """
        if not isinstance(value, (bytes, np.ndarray)):
            raise refused_value(value, name, "samples [n] at 16 kHz, or the bytes of a sound file")
        name = name or "the sound"
        return self._unlabelled([Clip(value, name) if isinstance(value, bytes) else Samples(value, name)], encoding)[0]

    def folder_files(self, folder: Path) -> tuple[list[Path], Skips]:
        """The files of a folder that `inputs` reads, and what it skips."""
        return files_below(folder, sound_suffixes(), "sound files")

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Frames]:
        """One sound file; `live` gives the frames of a sound that never ends."""
        yield self._unlabelled([Clip(file.read(), STREAM)], encoding)

    def _unlabelled(self, sounds: Sequence[Sound], encoding: Encoding, least: int = 0) -> Frames:
        features = [voiced_log_mel(sound, self.mels, self.voice, least) for sound in sounds]
        return Frames(Held(features), self._framing(encoding), [str(sound) for sound in sounds])

    def live(self, encoding: Encoding, rate: float = RATE, channels: int = 1) -> SoundStream:
        """The vectors of a sound that comes chunk by chunk: joined, they are exactly those of `inputs` for the whole.

        Args:
            rate: of the samples that will come, per second.
            channels: of the samples that will come.

        Raises:
            InputError: what is asked for needs the whole sound.
        """
        if self.seconds():
            raise InputError(
                f"data.crop is {self.seconds()}, expected 0 for a stream, whose middle is known at its end only"
            )
        if self.normalize in ("utterance", "level"):
            raise InputError(
                f"data.normalize is {self.normalize!r}, expected 'none', 'global' or 'running' for a stream, whose mean is "
                "known at its end only"
            )
        return SoundStream(self._framing(encoding), rate, channels)


class SoundStream:
    """A sound that comes chunk by chunk; `Sounds.live` makes it."""

    def __init__(self, framing: Framing, rate: float, channels: int) -> None:
        self._frames = LogMelStream(framing.bands, rate, channels)
        self._voice = VoiceStream(framing.voice) if framing.voice.detect else None
        self._mean = np.array(framing.mean or np.zeros(framing.bands), np.float32)
        self._level = RunningLevel() if framing.normalize == "running" else None

    def accept(self, samples: Array) -> Array:
        """`[n]` or `[n, channels]` between -1 and 1 to `[frames, mels]`: the vectors that are known now."""
        return self._given(self._frames.accept_with_energy(samples), False)

    def finish(self) -> Array:
        """`[frames, mels]`: the vectors that were still to come; nothing can be accepted afterwards."""
        return self._given(self._frames.finish_with_energy(), True)

    def _given(self, frames: Array, last: bool) -> Array:
        rows = frames[:, 1:] if self._voice is None else self._voice.accept(frames[:, 0], frames[:, 1:], last)
        return rows - self._mean if self._level is None else self._level.accept(rows)
