"""Sounds as samples: any file that soundfile reads, any rate, any number of channels, become one channel at 16 kHz."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.containers import Spliced, whole_file
from regard.data.examples import Array
from regard.data.folders import files_below
from regard.errors import InputError, reason_of

__all__ = [
    "LEAST",
    "LONGEST",
    "RATE",
    "Clip",
    "Header",
    "Resampler",
    "Samples",
    "Sound",
    "library",
    "read_blocks",
    "read_header",
    "read_sound",
    "read_span",
    "sound_files",
    "sound_suffixes",
    "versions",
]

RATE = 16_000
"""Samples per second that every sound is brought to."""
LEAST = 80
"""The shortest sound, in samples at 16 kHz: half of the step from one frame to the next."""
LONGEST = 10 * 3600
"""The longest sound that is read as one, in seconds."""
_RATES = 1_000, 1_000_000
_BLOCK = 1 << 18  # samples of all channels that are in memory


def library(name: str) -> Any:
    """A package that reads sound.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        needed = "pip install 'regard[speech]'"
        raise InputError(f"sound needs the package {name}, which cannot be imported here: {needed}") from None


def versions() -> str:
    """The packages that decide what samples and features are, with their versions."""
    names = ("kaldi_native_fbank", "soundfile", "soxr")
    return ", ".join(f"{name} {getattr(library(name), '__version__', '')}" for name in names)


def sound_suffixes() -> tuple[str, ...]:
    """The endings of files that soundfile reads here, such as `.wav`."""
    soundfile = library("soundfile")
    # Raw samples do not say their rate.
    named = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}
    return (*sorted(named), ".aif", ".opus", ".oga")


def sound_files(folder: Path) -> list[Path]:
    """All sounds below a folder, in the order of their paths.

    Raises:
        InputError: no such folder, one that may not be read, or none in it.
    """
    return files_below(folder, sound_suffixes(), "sound files")[0]


@dataclass(frozen=True)
class Header:
    """What a file says of itself: samples per second, how many, of how many channels."""

    rate: int
    samples: int
    channels: int

    @property
    def known(self) -> bool:
        """Whether the number of samples is one: formats that do not know it promise a huge one."""
        return self.samples < 2**62


@dataclass(frozen=True, eq=False)
class Clip:
    """The bytes of a sound file that is in memory, and what errors call it."""

    content: bytes
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Samples:
    """`[samples]` at 16 kHz between -1 and 1 that are in memory, and what errors call them."""

    values: Array
    name: str

    def __str__(self) -> str:
        return self.name


Sound = Path | Clip | Samples
"""What sound is read from."""


@contextmanager
def _opened(source: Path | Clip) -> Iterator[tuple[Any, Header]]:
    soundfile = library("soundfile")
    if isinstance(source, Path):
        if not source.is_file():
            found = "no file" if source.exists() else "not there"
            raise InputError(f"{source} is {found}, expected a sound file")
        if source.suffix.lower() == ".raw":
            raise InputError(f"{source} holds raw samples, expected a format that says its rate, such as .wav or .flac")
    try:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source.content) as raw:
            if not raw.read(1):
                raise InputError(f"{source} cannot be read as sound: it is empty")
            whole = whole_file(raw, str(source))
            plain = source if isinstance(source, Path) else Spliced(b"", raw, 0)
            with _sequential()(plain if whole is raw else whole) as file:
                header = Header(file.samplerate, file.frames, file.channels)
                _check_rate(header.rate, str(source))
                _check_log(file, str(source))
                yield file, header
    except (soundfile.LibsndfileError, OSError) as error:
        reason = reason_of(error)
        if "SF_INFO" in reason:
            reason = "its header has no possible rate or number of channels"
        raise InputError(f"{source} cannot be read as sound: {reason}") from None


def _check_log(file: Any, where: str) -> None:
    """Refuse a file that libsndfile has noticed to be cut, of formats that `whole_file` leaves to it."""
    told = re.search(r"^\s*Frames\s*:\s*(\d+)$", file.extra_info, re.MULTILINE)
    cut = {
        "AVR": told and int(told[1]) > file.frames,
        "MPC2K": told and int(told[1]) > file.frames,
        "MAT4": "truncated" in file.extra_info,
        "VOC": "truncated" in file.extra_info,
    }
    if cut.get(file.format):
        raise InputError(f"{where} breaks off, expected a whole file")


@cache
def _sequential() -> Any:
    """soundfile's class without what it does to seek after each reading, which fails where a file's length is not known."""
    return type("Sequential", (library("soundfile").SoundFile,), {"seekable": lambda file: False})


def _check_rate(rate: float, where: str) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise InputError(f"{where} has {rate:,} samples per second, expected between 1,000 and 1,000,000")


def read_header(source: Path | Clip) -> Header:
    """What the file says of itself, without reading its samples.

    Raises:
        InputError: a file that is missing, no sound, or has no possible rate.
    """
    with _opened(source) as (_, header):
        return header


class Resampler:
    """Samples of any rate and number of channels, in chunks cut anywhere, become one channel at 16 kHz.

    Channels are averaged, then the rate is changed by soxr; the pieces that come out, joined, do not depend on the cuts.

    Args:
        rate: of the samples that come in, per second.
        channels: of the samples that come in.
        where: begins the sentence of an error.
    """

    def __init__(self, rate: float = RATE, channels: int = 1, where: str = "the stream") -> None:
        _check_rate(rate, where)
        if channels < 1:
            raise InputError(f"{where} has {channels} channels, expected at least 1")
        self._channels, self._where, self._taken = channels, where, 0
        self._stream: Any = None
        if rate != RATE:
            self._stream = library("soxr").ResampleStream(rate, RATE, 1, dtype="float32")

    def accept(self, samples: Array) -> Array:
        """`[n]` or `[n, channels]` between -1 and 1 to `[m]` float32, as many as can be known yet.

        Raises:
            InputError: another number of channels, or a sample that is not finite.
        """
        samples = np.asarray(samples, np.float32)
        if samples.ndim == 1 and self._channels == 1:
            samples = samples[:, None]
        if samples.ndim != 2 or samples.shape[1] != self._channels:
            raise InputError(
                f"{self._where} has samples {list(samples.shape)}, expected [samples, {self._channels}], one per channel"
            )
        # Added channel by channel, so that the order of additions does not depend on how many samples there are.
        mono = samples[:, 0].copy()
        # What is not finite is told below.
        with np.errstate(invalid="ignore", over="ignore"):
            for channel in range(1, self._channels):
                mono += samples[:, channel]
            mono /= self._channels
        if not np.isfinite(mono).all():
            first = self._taken + int(np.flatnonzero(~np.isfinite(mono))[0])
            raise InputError(f"{self._where} has a sample {first} that is not a finite number")
        self._taken += len(mono)
        return mono if self._stream is None else self._stream.resample_chunk(mono)

    def finish(self) -> Array:
        """The samples that were still to come; nothing can be accepted afterwards."""
        rest = np.zeros(0, np.float32)
        return rest if self._stream is None else self._stream.resample_chunk(rest, last=True)


def read_blocks(source: Sound, least: int = LEAST) -> Iterator[Array]:
    """The samples of `read_sound`, piece by piece: memory does not grow with the length of the sound.

    What is wrong with the whole is reported after the last piece.
    """
    if isinstance(source, Samples):
        yield from _whole([source.values], Header(RATE, len(source.values), 1), str(source), least)
        return
    with _opened(source) as (file, header):
        if header.known:
            _check_length(header.samples, header.rate, str(source))
        yield from _whole(_blocks(file, header.channels), header, str(source), least)


def _check_length(samples: int, rate: int, where: str) -> None:
    if samples > LONGEST * rate:
        hours = f"{samples / rate / 3600:,.1f} hours of sound"
        raise InputError(
            f"{where} has {hours}, expected at most {LONGEST // 3600}: cut it, or read it with Sounds.live"
        )


def _blocks(file: Any, channels: int) -> Iterator[Array]:
    samples = max(1, _BLOCK // channels)
    while len(block := file.read(samples, dtype="float32", always_2d=True)):
        yield block


def _whole(blocks: Iterable[Array], header: Header, where: str, least: int) -> Iterator[Array]:
    """The blocks of a sound as samples at 16 kHz, and what is wrong with it."""
    resampler = Resampler(header.rate, header.channels, where)
    taken = resampled = 0
    level: float | None = None
    silent = True
    for block in blocks:
        taken += len(block)
        _check_length(taken, header.rate, where)
        samples = resampler.accept(block)
        if level is None and len(block):
            level = float(block.flat[0])
        silent = silent and bool((block == level).all())
        resampled += len(samples)
        yield samples
    if not taken:
        raise InputError(f"{where} has no samples, expected at least 5 ms of sound")
    if taken < header.samples and header.known:
        raise InputError(f"{where} breaks off after {taken} of {header.samples} samples, expected a whole file")
    rest = resampler.finish()
    resampled += len(rest)
    if resampled < least:
        raise InputError(f"{where} has {resampled} samples at 16 kHz, expected at least {least}: half a frame")
    if silent:
        raise InputError(f"{where} is silent: all its {taken} samples are {level:g}, expected sound")
    yield rest


def read_sound(source: Sound, least: int = LEAST) -> Array:
    """`[samples]` float32 between -1 and 1 at 16 kHz: channels are averaged, other rates resampled.

    Raises:
        InputError: a sound that is missing, broken, cut, shorter than `least` samples, longer than 10 hours, silent from its
            beginning to its end, or with samples that are not finite.
    """
    return np.concatenate(list(read_blocks(source, least)))


def read_span(path: Path, start: float, samples: int) -> Array:
    """`[samples]` at 16 kHz from this part of the file on (0 is its beginning, 1 its end), over again where it ends.

    Only what is needed is read.

    Raises:
        InputError: a file that is missing, broken, without samples, or with samples that are not finite.
    """
    with _opened(path) as (file, header):
        needed = -(-samples * header.rate // RATE) + 1
        if header.known and header.samples > needed:
            file.seek(int(start * (header.samples - needed)))
            start = 0
        block = file.read(needed, dtype="float32", always_2d=True)
        resampler = Resampler(header.rate, header.channels, str(path))
        piece = np.concatenate([resampler.accept(block), resampler.finish()])
    if not len(piece):
        raise InputError(f"{path} has no samples, expected sound")
    return np.resize(np.roll(piece, -int(start * len(piece))), samples)
