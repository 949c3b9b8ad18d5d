"""Samples as log-mel features: of a whole sound, or of one that comes chunk by chunk."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.augment import change_speed
from regard.data.examples import Array
from regard.data.sound import LEAST, RATE, Resampler, Sound, library, read_blocks, read_header, read_sound
from regard.data.voice import VoiceActivity
from regard.errors import InputError

__all__ = [
    "FRAMES_PER_SECOND",
    "SHIFT",
    "LogMelStream",
    "count_frames",
    "count_samples",
    "frames_of",
    "log_mel",
    "mel_frames",
    "played_log_mel",
    "possible_speed",
    "voiced_frames",
    "voiced_log_mel",
    "within_chosen",
]

FRAMES_PER_SECOND = 100
SHIFT = RATE // FRAMES_PER_SECOND
"""Samples from one frame to the next."""


class _Bank:
    """Frames of samples at 16 kHz that come in pieces: `[frames, 1 + mels]`, the logarithm of the energy first."""

    def __init__(self, mels: int) -> None:
        kaldi_native_fbank = library("kaldi_native_fbank")
        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.samp_freq = RATE
        options.frame_opts.dither = 0
        options.frame_opts.snip_edges = False
        options.mel_opts.num_bins = mels
        options.use_energy = True
        self._bank: Any = kaldi_native_fbank.OnlineFbank(options)
        self._width, self._taken = 1 + mels, 0

    def accept(self, samples: Array) -> Array:
        # A list is taken faster than an array.
        self._bank.accept_waveform(RATE, (samples * 32768).tolist())
        return self._ready()

    def finish(self) -> Array:
        self._bank.input_finished()
        return self._ready()

    def _ready(self) -> Array:
        count = self._bank.num_frames_ready - self._taken
        frames = np.empty((count, self._width), np.float32)
        for i in range(count):
            frames[i] = self._bank.get_frame(self._taken + i)
        self._bank.pop(count)
        self._taken += count
        return frames


class LogMelStream:
    """Log-mel features of samples that come in chunks, cut anywhere: joined, they are exactly those of `log_mel`.

    A frame is given once the samples of its window are there: 25 ms, and what the change of the rate holds back.

    Args:
        mels: the number of mel bands.
        rate: of the samples, per second.
        channels: of the samples.

    >>> stream = LogMelStream(mels=23, rate=8000)
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    >>> [len(stream.accept(noise[:4000])), len(stream.accept(noise[4000:])), len(stream.finish())]
    [40, 52, 8]
    """

    def __init__(self, mels: int = 40, rate: float = RATE, channels: int = 1) -> None:
        self._resampler, self._bank = Resampler(rate, channels), _Bank(mels)

    def accept(self, samples: Array) -> Array:
        """`[n]` or `[n, channels]` between -1 and 1 to `[frames, mels]`: the frames that are complete now."""
        return self.accept_with_energy(samples)[:, 1:]

    def finish(self) -> Array:
        """`[frames, mels]`: the last frames, whose windows are filled with their mirror image."""
        return self.finish_with_energy()[:, 1:]

    def accept_with_energy(self, samples: Array) -> Array:
        """The same, `[frames, 1 + mels]` with the logarithm of the frame's energy first."""
        return self._bank.accept(self._resampler.accept(samples))

    def finish_with_energy(self) -> Array:
        """The same, `[frames, 1 + mels]` with the logarithm of the frame's energy first."""
        return np.concatenate([self._bank.accept(self._resampler.finish()), self._bank.finish()])


def mel_frames(samples: Array, mels: int = 40) -> Array:
    """`[frames, mels]` of samples at 16 kHz; see `log_mel`."""
    bank = _Bank(mels)
    return np.concatenate([bank.accept(samples), bank.finish()])[:, 1:]


def log_mel(sound: Sound, mels: int = 40) -> Array:
    """`[frames, mels]` float32: logarithms of mel-band energies of 25 ms windows, 10 ms apart, without dither.

    Kaldi's definition (mean of the window subtracted, pre-emphasis 0.97, Povey window, power spectrum of 512 points,
    triangular bands from 20 Hz to 8 kHz, 16-bit amplitudes); a sound of n samples at 16 kHz gives round(n / 160)
    frames, as its ends are mirrored. The sound is read piece by piece.

    Raises:
        InputError: a sound that `read_sound` refuses.
    """
    return np.ascontiguousarray(_with_energy(sound, mels)[:, 1:])


def voiced_log_mel(sound: Sound, mels: int, rule: VoiceActivity, least: int = 0) -> Array:
    """The rows of `log_mel` that hold voice by the rule; all of them where it does not detect.

    Args:
        sound: a file, or one in memory. mels: the number of mel bands. rule: which frames hold voice.
        least: how many frames must hold voice by the rule, also where all are kept.

    Raises:
        InputError: a sound that `read_sound` refuses, or one with too few frames that hold voice, or none.
    """
    frames = _with_energy(sound, mels)
    if least and (voiced := int(rule.voiced(frames[:, 0]).sum())) < least:
        length = f"{sound} has {voiced / FRAMES_PER_SECOND:.2f} s of voice"
        raise InputError(f"{length}, expected at least {least / FRAMES_PER_SECOND:.1f} s above data.voice.threshold")
    return np.ascontiguousarray(frames[_mask(sound, frames[:, 0], rule), 1:])


def voiced_frames(sound: Sound, rule: VoiceActivity) -> Array:
    """`[frames]` True for the rows of `log_mel` that hold voice.

    Raises:
        InputError: as `voiced_log_mel` does.
    """
    # The energy does not depend on the bands; few are quick.
    return _mask(sound, _with_energy(sound, 4)[:, 0], rule)


def _mask(sound: Sound, energies: Array, rule: VoiceActivity) -> Array:
    if not rule.detect:
        return np.ones(len(energies), bool)
    voiced = rule.voiced(energies)
    if not voiced.any():
        raise InputError(
            f"{sound} has no voice in its {len(energies)} frames, expected some above data.voice.threshold"
        )
    return voiced


def _with_energy(sound: Sound, mels: int) -> Array:
    bank = _Bank(mels)
    return np.concatenate([*map(bank.accept, read_blocks(sound, LEAST)), bank.finish()])


def played_log_mel(path: Path, mels: int, rule: VoiceActivity, speed: float) -> Array:
    """`[frames, mels]` of a sound that is played at this speed, and of them those with voice."""
    if speed == 1:
        return voiced_log_mel(path, mels, rule)
    samples = read_sound(path)
    speed = possible_speed(samples, speed)
    values = mel_frames(change_speed(samples, speed), mels)
    return within_chosen(values, np.flatnonzero(voiced_frames(path, rule)), speed) if rule.detect else values


def possible_speed(samples: Array, speed: float) -> float:
    """The speed if something is left of the samples, otherwise 1."""
    return speed if len(samples) >= 4 * SHIFT else 1.0


def within_chosen(values: Array, chosen: Array, speed: float) -> Array:
    """The rows that fall into one of the chosen frames of the sound before it was played at this speed."""
    inside = np.isin(((np.arange(len(values)) + 0.5) * speed).astype(np.int64), chosen)
    return values[inside] if inside.any() else values


def frames_of(samples: int) -> int:
    """The number of frames of this many samples at 16 kHz."""
    return (samples + SHIFT // 2) // SHIFT


def count_samples(path: Path) -> int:
    """The number of samples at 16 kHz, at most, by the file's header; one that does not say it is read to its end.

    Raises:
        InputError: a file that is missing, cut or no sound.
    """
    header = read_header(path)
    if not header.known:
        return max(LEAST, sum(map(len, read_blocks(path))))
    return max(LEAST, -(-header.samples * RATE // header.rate))


def count_frames(path: Path, speed: float = 1.0) -> int:
    """The number of frames, at most, if the sound is played at this speed; see `count_samples`."""
    return frames_of(ceil(count_samples(path) / speed))
