"""How fast sound becomes vectors: seconds of sound per second, of reading, of features, of the cache, and of training segments.

    python -m benchmarks.speech

Takes utterances of speechocean762's adults (needs REGARD_DATA); everything runs on one core unless a row says otherwise. Writes
`results/speech.json`. Each number is the best of three or more runs; files lie in the system's memory when they are read again.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, write
from regard.data.augment import Noise, Reverberation, SpecAugment, Speed
from regard.data.cache import Store, stored
from regard.data.encoding import Encoding
from regard.data.examples import Dataset
from regard.data.features import LogMelStream, log_mel, mel_frames, voiced_log_mel
from regard.data.registry import locate
from regard.data.sound import RATE, Resampler, read_sound
from regard.data.speech import Sounds
from regard.data.voice import VoiceActivity

__all__ = ["main"]

_REPEATS, _AT_LEAST = 3, 0.3
_CORES = os.sched_getaffinity(0)
_VOICE = VoiceActivity(detect=True)


def best(run: Callable[[], object]) -> float:
    """Seconds of the quickest of several runs."""
    times: list[float] = []
    while len(times) < _REPEATS or sum(times) < _AT_LEAST:
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Runs on so many cores, whatever the number of threads."""
    os.sched_setaffinity(0, sorted(_CORES)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, _CORES)


@contextmanager
def new_cache() -> Iterator[None]:
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        yield
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


def extraction(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """From files and samples to features."""
    sounds = [read_sound(path) for path in paths]
    seconds = sum(map(len, sounds)) / RATE
    fast = [np.resize(each, round(len(each) * 2.75625)) for each in sounds]

    def streamed() -> None:
        for sound in sounds:
            stream = LogMelStream()
            for start in range(0, len(sound), RATE // 10):
                stream.accept(sound[start : start + RATE // 10])
            stream.finish()

    def resampled() -> None:
        for sound in fast:
            stream = Resampler(44_100)
            stream.accept(sound)
            stream.finish()

    def each(compute: Callable[[Any], object], of: list[Any]) -> Callable[[], None]:
        def run() -> None:
            for one in of:
                compute(one)

        return run

    for what, run in (
        ("read Ogg Opus of 16 kHz", each(read_sound, paths)),
        ("resample 44.1 kHz to 16 kHz", resampled),
        ("40 bands from samples", each(mel_frames, sounds)),
        ("80 bands from samples", each(partial(mel_frames, mels=80), sounds)),
        ("40 bands from samples, as a stream in chunks of 100 ms", streamed),
        ("40 bands from files", each(log_mel, paths)),
        ("40 bands from files, voice only", each(partial(voiced_log_mel, mels=40, rule=_VOICE), paths)),
    ):
        yield {"what": what, "seconds of sound per second": round(seconds / best(run))}


def caching(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """The cache written, found again, and read."""
    seconds = sum(len(read_sound(path)) for path in paths) / RATE

    def filled() -> Store:
        return stored(paths, "log-mel", log_mel)

    for count in sorted({1, len(_CORES)}):
        with cores(count):
            times = []
            for _ in range(_REPEATS):
                with new_cache():
                    times.append(-time.perf_counter())
                    filled()
                    times[-1] += time.perf_counter()
        more = f", {count} cores" if count > 1 else ""
        yield {"what": f"cache written from files{more}", "seconds of sound per second": round(seconds / min(times))}
    with new_cache():
        store = filled()
        found = best(filled)
        yield {"what": "cache found again, files per second", "per second": round(len(paths) / found)}
        size = sum(store[i].nbytes for i in range(len(store)))
        rows = np.empty((max(store.lengths), 40), np.float32)

        def read() -> None:
            for i, length in enumerate(store.lengths):
                rows[:length] = store[i]

        spent = best(read)
        what = f"cache read, {size / 1e6:.0f} MB that lie in memory"
        yield {"what": what, "seconds of sound per second": round(seconds / spent)}


def rooms(folder: Path) -> tuple[Noise, Reverberation]:
    """A minute of noise and a room of half a second."""
    import soundfile

    generator = np.random.default_rng(0)
    for name, samples in (
        ("noises", generator.normal(0, 0.1, 60 * RATE)),
        ("rooms", generator.normal(0, 0.1, RATE // 2) * np.exp(-np.arange(RATE // 2) / 1600)),
    ):
        (folder / name).mkdir()
        soundfile.write(folder / name / "a.wav", samples, RATE)
    return Noise(str(folder / "noises"), 1.0), Reverberation(str(folder / "rooms"), 1.0)


def training(encoding: Encoding, reader: Sounds) -> Iterator[dict[str, Any]]:
    """Segments of 1.28 seconds as training draws them."""

    def epoch(part: Dataset) -> None:
        for i in range(len(part)):
            part[i]

    with new_cache(), tempfile.TemporaryDirectory() as folder:
        noise, reverberation = rooms(Path(folder))
        mask = SpecAugment(time_masks=2, band_masks=2)
        for what, options in (
            ("segments of 1.28 s from the cache", {}),
            ("the same, masked", {"mask": mask}),
            ("the same at three speeds", {"mask": mask, "speed": Speed((0.9, 1.0, 1.1))}),
            (
                "the same with noise and a room each time",
                {"mask": mask, "speed": Speed((0.9, 1.0, 1.1)), "noise": noise, "reverberation": reverberation},
            ),
            ("segments of 1.28 s without the cache", {"cache": False}),
        ):
            varied: Any = options
            part = replace(reader, train_crop=1.28, **varied).training(encoding)
            spent = best(partial(epoch, part))
            yield {"what": what, "per second": round(len(part) / spent)}


def some(root: Path, folder: Path) -> Sounds:
    """A reader of every eighth training sound, and of the few others that it must have."""
    lines = (root / "utterances.csv").read_text().splitlines()
    place = lines[0].split(",").index("path")
    rows = [line.split(",") for line in lines[1:] if ",train," in line][::8]
    listed = [f"{root / row[place]},{'test' if n == 0 else 'train'},{n % 2}" for n, row in enumerate(rows)]
    (folder / "utterances.csv").write_text("\n".join(["path,split,speaker", *listed]) + "\n")
    return Sounds(str(folder), normalize="none")


def main() -> None:
    root = locate("speechocean762-adults")
    paths = sorted((root / "audio").glob("*/*.opus"))[::20]
    rows: list[dict[str, Any]] = []
    with cores(1):
        rows += extraction(paths)
    rows += caching(paths)
    with cores(1), tempfile.TemporaryDirectory() as folder:
        reader = some(root, Path(folder))
        rows += training(reader.fit(), reader)
    data = f"speechocean762 adults, every twentieth file: {len(paths)} sounds; segments: every eighth training sound"
    write("speech", {"case": "speech", "data": data, "rows": rows, "machine": machine()})


if __name__ == "__main__":
    main()
