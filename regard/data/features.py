"""Sounds as log-mel features: any file that soundfile reads, any rate, any number of channels."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from regard.data.examples import Array
from regard.data.files import cache_folder, write_atomically
from regard.errors import InputError

__all__ = ["FRAMES_PER_SECOND", "RATE", "cached_log_mel", "count_frames", "log_mel", "read_sound", "sound_suffixes"]

RATE = 16_000
"""Samples per second that every sound is brought to."""
FRAMES_PER_SECOND = 100
_SHIFT = RATE // FRAMES_PER_SECOND
_VERSION = 1  # in the key of the cache: to be raised when the features change


def sound_suffixes() -> tuple[str, ...]:
    """The endings of files that soundfile reads here, such as `.wav`."""
    import soundfile

    return (*sorted(f".{name.lower()}" for name in soundfile.available_formats()), ".aif", ".opus", ".oga")


def read_sound(path: Path) -> Array:
    """`[samples]` float32 between -1 and 1 at 16 kHz: channels are averaged, other rates resampled.

    Raises:
        InputError: a file that is missing, broken, without samples, or with samples that are not finite.
    """
    import soundfile
    import soxr

    if not path.is_file():
        raise InputError(f"{path} is not there, expected a sound file")
    try:
        with soundfile.SoundFile(path) as file:
            rate, promised = file.samplerate, file.frames
            samples = file.read(dtype="float32", always_2d=True).mean(1)
    except (soundfile.LibsndfileError, OSError, MemoryError) as error:
        reason = "it is empty" if not path.stat().st_size else getattr(error, "error_string", str(error)).rstrip(". ")
        raise InputError(f"{path} cannot be read as sound: {reason}") from None
    if not len(samples):
        raise InputError(f"{path} has no samples, expected at least 10 ms of sound")
    # Formats that do not know their length promise a huge one.
    if len(samples) < promised < 2**62:
        raise InputError(f"{path} breaks off after {len(samples)} of {promised} samples, expected a whole file")
    if not np.isfinite(samples).all():
        raise InputError(
            f"{path} has a sample {int(np.flatnonzero(~np.isfinite(samples))[0])} that is not a finite number"
        )
    return samples if rate == RATE else soxr.resample(samples, rate, RATE)


def log_mel(path: Path, mels: int = 40) -> Array:
    """`[frames, mels]` float32: logarithms of mel-band energies of 25 ms windows, 10 ms apart, without dither.

    Kaldi's definition (Povey window, pre-emphasis 0.97, bands from 20 Hz to 8 kHz, 16-bit amplitudes); a sound of n
    samples at 16 kHz gives round(n / 160) frames, as its ends are mirrored.

    Raises:
        InputError: a file that `read_sound` refuses, or a sound that is shorter than a frame.
    """
    import kaldi_native_fbank

    samples = read_sound(path)
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = mels
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(RATE, samples * 32768)
    bank.input_finished()
    if not bank.num_frames_ready:
        raise InputError(f"{path} has {len(samples)} samples at 16 kHz, expected at least 80: half a frame")
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


def count_frames(path: Path) -> int:
    """The number of frames by the file's header alone, which a broken file may have wrong."""
    import soundfile

    try:
        header = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError):
        return 0  # the sentence about this file is `read_sound`'s
    return max(1, (header.frames * RATE // header.samplerate + _SHIFT // 2) // _SHIFT)


def cached_log_mel(paths: Sequence[Path], mels: int) -> list[Path]:
    """For each sound a `.npy` file with its `log_mel`, computed if it is not in the cache.

    The key is the sound's path, size and time of change, and the settings; files appear whole or not at all, so that
    processes may fill the cache together.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda path: _cached(path, mels), paths))


def _cached(path: Path, mels: int) -> Path:
    try:
        status = path.stat()
    except OSError:
        raise InputError(f"{path} is not there, expected a sound file") from None
    text = f"{_VERSION} {mels} {path.resolve()} {status.st_size} {status.st_mtime_ns}"
    key = hashlib.sha256(text.encode()).hexdigest()
    target = cache_folder() / "features" / key[:2] / f"{key}.npy"
    if not target.exists():
        buffer = io.BytesIO()
        np.save(buffer, log_mel(path, mels))
        try:
            write_atomically(target, buffer.getvalue())
        except InputError as error:
            ways = "XDG_CACHE_HOME names another folder for the cache, --data.cache false does without"
            raise InputError(f"{error}; {ways}") from None
    return target
