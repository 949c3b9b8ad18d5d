"""How long `regard speaker identify` takes with few and with many enrolled voices.

    python -m benchmarks.identify

Run folders of the recipe `speaker-boss`, and of `speaker` with a mixture of Gaussians beside it and all scores normalized, with
untrained weights, on which no time depends, and stores of drawn vectors, one recording a person. One utterance of
speechocean762 is identified (needs REGARD_DATA): by the command in a new process, and by its parts in this one. Each time is the
median of seven, and is that which the processor worked, in one thread, so that a busy machine disturbs it little. Writes
`results/identify.json`.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import machine, write
from benchmarks.speaker import COMPONENTS, NEAREST
from regard.data.encoding import Encoding, Labels
from regard.data.registry import locate
from regard.data.sound import RATE, read_header
from regard.data.speech import Sounds
from regard.recipes.speaker import speaker, speaker_boss
from regard.speaker.calibration import Calibration, Cohort
from regard.speaker.mixture import Mixture
from regard.speaker.rates import Trials
from regard.speaker.store import Store
from regard.speaker.voices import CALIBRATION, MIXTURE, Voices
from regard.speaker.within import Within
from regard.train import Experiment, to_yaml
from regard.train.folder import CONFIG, save, save_weights
from regard.train.kinds import build

__all__ = ["enrolled", "main", "measure", "mixed", "untrained"]

_REPEATS = 7
_ENROLLED = (10, 10_000)
_VOICES, _RECORDINGS = 80, 1000


def untrained(experiment: Experiment, folder: Path, speakers: int = _VOICES) -> Voices:
    """A run folder as training would leave it, without training."""
    folder.mkdir(parents=True)
    assert isinstance(experiment.data, Sounds)
    encoding = Encoding(Labels(tuple(f"{n:04}" for n in range(speakers))), width=experiment.data.mels)
    save(folder / CONFIG, to_yaml(experiment))
    encoding.save(folder)
    model = build(experiment.model, encoding)
    save_weights(folder, experiment, model, build(experiment.task, model.width, encoding))
    return Voices.open(folder)


def mixed(voices: Voices) -> Voices:
    """The same with a mixture beside it, of numbers that are drawn."""
    generator, k, d = np.random.default_rng(0), COMPONENTS, 48
    shapes = {"weights": (k,), "means": (k, d), "deviations": (k, d), "center": (k * d,), "directions": (k * d, 200)}
    drawn: dict[str, Any] = {name: generator.random(shape).astype(np.float32) for name, shape in shapes.items()}
    mixture = Mixture(**drawn, bands=voices.run.encoding.width)
    mixture.write(voices.run.folder / MIXTURE)
    return replace(voices, mixture=mixture)


def enrolled(voices: Voices, path: Path, count: int) -> Store:
    """A store of so many people, each with a drawn vector; all in one transaction, as `enroll` takes one a person."""
    store = Store(path, voices.identity, voices.width)
    drawn = np.random.default_rng(count).normal(size=(count, voices.width)).astype(np.float32)
    rows = [(f"person {n:05}", f"recording {n}", "2026-01-01", x.tobytes()) for n, x in enumerate(drawn)]
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany("INSERT INTO voice VALUES (?, ?, ?, ?)", rows)
    return store


def calibrated(voices: Voices, nearest: int) -> Calibration:
    """Some threshold, with a cohort of drawn recordings and a covariance, or with cosines."""
    generator, cohort = np.random.default_rng(nearest), Cohort()
    speakers = [f"{n // 4}" for n in range(40)]
    if nearest:
        within = Within.of(speakers, generator.normal(size=(40, voices.width)))
        cohort = Cohort(generator.normal(size=(_RECORDINGS, voices.width)).astype(np.float32), nearest, within)
    trials = Trials.of_pairs(generator.normal(size=(40, voices.width)), speakers, cohort.scores)
    found = Calibration.of(trials, 0.01, cohort, "drawn vectors")
    save(voices.run.folder / CALIBRATION, found.to_json(voices.identity))
    return found


def worked() -> float:
    """Seconds that the processor has worked for this process and for those that it has waited for."""
    of_others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + of_others.ru_utime + of_others.ru_stime


def median(call: Callable[[], object], repeats: int = _REPEATS) -> float:
    """Seconds of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        begin = worked()
        call()
        times.append(worked() - begin)
    return statistics.median(times)


def measure(voices: Voices, store: Store, sound: Path, nearest: int, repeats: int = _REPEATS) -> dict[str, Any]:
    """One row: the command, and the parts of what it does."""
    calibration = calibrated(voices, nearest)
    known, means = store.voices()
    _, vector = voices.sounds([str(sound)])
    command = [sys.executable, "-m", "regard.cli", "speaker", "identify", str(sound)]
    command += ["--run", str(voices.run.folder), "--store", str(store.path)]

    def compared() -> str:
        scores = calibration.cohort.scores(vector, means)[0]
        return known[int(scores.argmax())]

    milliseconds = {
        "embed the sound": median(lambda: voices.sounds([str(sound)]), repeats),
        "read the store": median(store.voices, repeats),
        "compare": median(compared, repeats),
    }
    whole = median(lambda: subprocess.run(command, check=True, capture_output=True), repeats)
    return {
        "model": f"{voices.run.experiment.recipe}{', a mixture beside it' * (voices.mixture is not None)}",
        "width": voices.width,
        "enrolled": len(known),
        "scores": calibration.cohort.name,
        "whole command, s": round(whole, 2),
        "ms": {name: round(1000 * seconds, 2) for name, seconds in milliseconds.items()},
    }


def main() -> None:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    (sound, *_) = sorted((locate("speechocean762-adults") / "audio").glob("*/*.opus"))
    header = read_header(sound)
    with tempfile.TemporaryDirectory() as folder:
        boss = untrained(speaker_boss(), Path(folder) / "boss")
        best = mixed(untrained(speaker(), Path(folder) / "speaker"))
        rows = []
        for voices, nearest in ((boss, 0), (best, NEAREST)):
            stores = [enrolled(voices, voices.run.folder / f"{count}.db", count) for count in _ENROLLED]
            rows += [measure(voices, store, sound, nearest) for store in stores]
        data = f"an utterance of {header.samples / header.rate:.1f} s, median of 7; "
        data += "times that the processor worked, whatever else ran"
    assert header.rate == RATE, "the sound is not resampled"
    write("identify", {"case": "identify", "data": data, "rows": rows, "machine": machine()})


if __name__ == "__main__":
    main()
