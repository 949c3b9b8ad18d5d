"""What training examples of sound are varied by: speed, noise, rooms, and masks over their features.

Each is a value of options that is off unless it is asked for. All draws of an example are functions of (seed, epoch,
index), each kind of variation has its own, and so switching one on leaves the draws of the others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from regard.data.examples import Array
from regard.data.sound import RATE, library, read_header, read_sound, read_span, sound_files
from regard.errors import InputError, check_numbers

__all__ = [
    "Augmentation",
    "Draws",
    "Noise",
    "Reverberation",
    "SpecAugment",
    "Speed",
    "add_noise",
    "change_speed",
    "reverberate",
]

_KINDS = ("crop", "speed", "reverberation", "noise", "mask", "pair")


@dataclass(frozen=True)
class Draws:
    """The generators of one example in one epoch."""

    seed: int
    epoch: int
    index: int

    def of(self, kind: str) -> np.random.Generator:
        """That of one kind of variation, which no other kind shares."""
        key = [(self.seed % 2**32) << 32 | self.epoch, self.index]
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, _KINDS.index(kind)]))


@dataclass(frozen=True)
class Speed:
    """Plays faster or slower, which changes tempo and pitch (Ko et al. 2015, Audio Augmentation for Speech Recognition).

    Args:
        factors: one of them is drawn for each example, all alike; [0.9, 1.0, 1.1] is the paper's choice.
        voices: whether a label's sounds at another speed are a further class while training: played faster or slower a
            person has another pitch and another vocal tract, and is another voice (Yamamoto et al. 2019).
    """

    factors: tuple[float, ...] = ()
    voices: bool = False

    def __post_init__(self) -> None:
        if self.voices and (1 not in self.factors or len(set(self.factors)) < len(self.factors)):
            found = f"data.speed.factors is {list(self.factors)}"
            raise InputError(f"{found}, expected different ones with 1 among them where data.speed.voices is asked for")
        for factor in self.factors:
            if not 0.5 <= factor <= 2:
                raise InputError(f"data.speed.factors has {factor}, expected numbers from 0.5 to 2")

    @property
    def copies(self) -> int:
        """How many classes each label is while training."""
        return len(self.factors) if self.voices else 1

    def copy(self, factor: float) -> int:
        """Which of a label's classes the sounds at this speed are; 0 is the label itself."""
        return sorted(self.factors, key=lambda each: (each != 1, each)).index(factor) if self.voices else 0

    @property
    def slowest(self) -> float:
        """The factor that makes sounds longest."""
        return min(self.factors, default=1.0)

    def draw(self, draws: Draws) -> float:
        """The factor of an example."""
        if not self.factors:
            return 1.0
        return self.factors[int(draws.of("speed").integers(len(self.factors)))]


@dataclass(frozen=True)
class Noise:
    """Adds a piece of a sound from a folder; one that is shorter begins over again.

    Args:
        folder: of sounds, at any depth; None adds nothing.
        probability: that an example gets some.
        snr: lowest and highest signal-to-noise ratio in decibels, drawn evenly: 10 log10 of the ratio of mean squares.
    """

    folder: str | None = None
    probability: float = 0.5
    snr: tuple[float, float] = (5.0, 20.0)

    def __post_init__(self) -> None:
        _check_probability("noise", self.probability)
        if not -100 <= self.snr[0] <= self.snr[1] <= 100:
            raise InputError(
                f"data.noise.snr is {list(self.snr)}, expected two decibels from -100 to 100, the lower first"
            )

    def files(self) -> list[Path]:
        """The sounds of the folder, in order, whose headers can be read."""
        return _listed(self.folder)

    def apply(self, samples: Array, files: list[Path], draws: Draws) -> Array:
        """The samples of an example, with what is drawn for it."""
        generator = draws.of("noise")
        if not files or generator.random() >= self.probability:
            return samples
        path, start = files[int(generator.integers(len(files)))], generator.random()
        return add_noise(samples, read_span(path, start, len(samples)), generator.uniform(*self.snr))


@dataclass(frozen=True)
class Reverberation:
    """Convolves with the impulse response of a room, from a folder; of several channels the mean is taken.

    Args:
        folder: of impulse responses, sounds at any depth; None changes nothing.
        probability: that an example is heard in a room.
    """

    folder: str | None = None
    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability("reverberation", self.probability)

    def files(self) -> list[Path]:
        """The impulse responses of the folder, in order, whose headers can be read."""
        return _listed(self.folder)

    def apply(self, samples: Array, files: list[Path], draws: Draws) -> Array:
        """The samples of an example, in the room that is drawn for it."""
        generator = draws.of("reverberation")
        if not files or generator.random() >= self.probability:
            return samples
        return reverberate(samples, read_sound(files[int(generator.integers(len(files)))], least=1))


@dataclass(frozen=True)
class SpecAugment:
    """Masks over features (Park et al. 2019, SpecAugment, section 2), without the paper's time warp.

    A mask covers w neighboring frames or bands, w drawn evenly from 0 to the largest width, at a place drawn evenly.
    What is covered gets the mean of its band over the example, which is 0 where that mean was subtracted.

    Args:
        time_masks: how many masks over frames.
        time_width: the most frames that a mask covers.
        time_share: the most that one mask covers, as a part of the example's frames.
        band_masks: how many masks over bands.
        band_width: the most bands that a mask covers.
    """

    time_masks: int = 0
    time_width: int = 20
    time_share: float = 0.2
    band_masks: int = 0
    band_width: int = 8

    def __post_init__(self) -> None:
        check_numbers("data.mask", self, "time_masks", "time_width", "band_masks", "band_width", least=0)
        if not 0 <= self.time_share <= 1:
            raise InputError(f"data.mask.time_share is {self.time_share}, expected a number from 0 to 1")

    def apply(self, features: Array, draws: Draws) -> None:
        """Cover what is drawn for an example, in its features `[frames, bands]` themselves."""
        if not (self.time_masks or self.band_masks):
            return
        generator, mean = draws.of("mask"), features.mean(0)
        frames, bands = features.shape
        for _ in range(self.band_masks):
            first, past = _span(generator, min(self.band_width, bands), bands)
            features[:, first:past] = mean[first:past]
        for _ in range(self.time_masks):
            first, past = _span(generator, min(self.time_width, int(self.time_share * frames)), frames)
            features[first:past] = mean


@dataclass(frozen=True)
class Augmentation:
    """All that varies training sounds; evaluation never sees it.

    Args:
        crop: seconds to keep, at a drawn place; 0 keeps all.
        seed: of everything that is drawn.
        speed, reverberation, noise, mask: what is drawn.
    """

    crop: float = 0
    seed: int = 0
    speed: Speed = field(default_factory=Speed)
    reverberation: Reverberation = field(default_factory=Reverberation)
    noise: Noise = field(default_factory=Noise)
    mask: SpecAugment = field(default_factory=SpecAugment)

    @property
    def needs_samples(self) -> bool:
        """Whether samples are varied, and not features alone."""
        return self.reverberation.folder is not None or self.noise.folder is not None


def _span(generator: np.random.Generator, most: int, length: int) -> tuple[int, int]:
    width = int(generator.integers(most + 1))
    first = int(generator.integers(length - width + 1))
    return first, first + width


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"data.{name}.probability is {value}, expected a number from 0 to 1")


def _listed(folder: str | None) -> list[Path]:
    if folder is None:
        return []
    files = sound_files(Path(folder))
    for path in files:
        if not read_header(path).samples:
            raise InputError(f"{path} has no samples, expected sound")
    return files


def change_speed(samples: Array, factor: float) -> Array:
    """`[n]` to about `[n / factor]` samples at 16 kHz, whose every frequency is `factor` times as high."""
    changed: Array = samples if factor == 1 else library("soxr").resample(samples, RATE * factor, RATE)
    return changed


def add_noise(samples: Array, noise: Array, snr: float) -> Array:
    """samples + c noise with 10 log10(mean samples^2 / mean (c noise)^2) = snr; silence stays what it is.

    >>> add_noise(np.array([2.0, -2.0], np.float32), np.array([1.0, 1.0], np.float32), 20.0)
    array([ 2.2, -1.8], dtype=float32)
    """
    power, own = _power(samples), _power(noise)
    if not power or not own:
        return samples
    return (samples + np.sqrt(power / own * 10 ** (-snr / 10)) * noise).astype(np.float32)


def reverberate(samples: Array, response: Array) -> Array:
    """`[n]` samples as heard in a room, as loud as before (in mean squares) and as late: the response begins at its peak.

    y_t = c sum_k h_(peak + k) x_(t - k), k from -peak on.
    """
    from scipy.signal import fftconvolve

    peak = int(np.abs(response).argmax())
    heard = fftconvolve(samples.astype(np.float64), response)[peak : peak + len(samples)]
    power = _power(heard)
    return (heard * np.sqrt(_power(samples) / power) if power else heard).astype(np.float32)


def _power(samples: Array) -> float:
    return float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
