"""Sounds made for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile


def tone(hertz: float, seconds: float = 1.0, rate: int = 16_000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(samples: int, seed: int = 0, channels: int = 0) -> np.ndarray:
    shape = (samples, channels) if channels else samples
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = 16_000, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def sounds(tmp_path: Path, each: int = 10) -> Path:
    """A folder of sounds by label that sweep upwards or downwards."""
    for label in ("up", "down"):
        for i in range(each):
            hertz = np.linspace(300, 3000, 16_000 + 800 * i)[:: 1 if label == "up" else -1]
            write(tmp_path / "own" / label / f"{i}.wav", 0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / 16_000))
    return tmp_path / "own"


def pauses(seconds: float = 3.0) -> np.ndarray:
    """Half seconds of noise, with half seconds of next to nothing before each."""
    samples = noise(round(seconds * 16_000), 1)
    samples[np.arange(len(samples)) // 8000 % 2 == 0] *= 1e-4
    return samples


def spoken_letters(tmp_path: Path, texts: Sequence[str], parts: Sequence[str] = ()) -> Path:
    """A table of recordings and texts in which each letter is a tone of its own, and a blank is a pause."""
    folder = tmp_path / "letters"
    for number, text in enumerate(texts):
        tones = [tone(300 * (1 + ord(letter) % 8), 0.15) * (not letter.isspace()) for letter in text]
        write(folder / f"{number}.wav", np.concatenate(tones) + noise(len(tones) * 2400, number) / 100)
    names = ["path", "text", *(["split"] if parts else [])]
    rows = [[f"{n}.wav", f'"{text}"', *parts[n : n + 1]] for n, text in enumerate(texts)]
    (folder / "utterances.csv").write_text("\n".join(",".join(row) for row in (names, *rows)) + "\n")
    return folder / "utterances.csv"
