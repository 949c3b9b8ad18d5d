"""What scores do with the same vectors of strangers, and what needs no network: equal error rates of each way to compare.

    python -m benchmarks.speaker_scores [choose]

takes the runs of each variant in `runs/bench/speaker`, scores the pairs of strangers by cosines, normalized by recordings of the
training part, and behind `Within`, and writes `results/speaker-scores.json`. The last rows have no network: mixtures of
Gaussians, with the seeds of the recipe `speaker` and also beside it, and the mean and deviation of each band, behind `Within`.

With `choose`, mixtures of several sizes, alone and beside the run that `benchmarks.speaker choose speaker "as chosen"` made, are
measured on the 16 other voices, for `results/speaker-mixtures.json`. Needs REGARD_DATA.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.machine import machine, write
from benchmarks.speaker import COMPONENTS, DEVELOPMENT, FOLDER, NEAREST, SECONDS, VARIANTS, embedded, folders, percent
from regard.data.examples import Array, Dataset
from regard.data.speech import STRANGERS, Sounds
from regard.speaker.calibration import Cohort
from regard.speaker.rates import Trials
from regard.speaker.voices import Voices
from regard.speaker.within import Within

__all__ = ["moments", "untrained"]

Scored = dict[str, tuple[Array, list[str]]]


def moments(data: Dataset) -> Array:
    """`[n, 2 bands]` the mean and the deviation of each band of each example."""
    every = (data[n].values.astype(np.float64) for n in range(len(data)))
    return np.stack([np.concatenate([x.mean(0), x.std(0)]) for x in every])


def _row(model: str, scores: str, found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Of the rates that each seed found: their means and deviations."""
    each = {kept: [one[kept] for one in found] for kept in SECONDS}
    shown = {
        kept: f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
        for kept, values in each.items()
    }
    return {"model": model, "scores": scores, "seeds": len(found), "EER, %": shown}


def _rates(sounds: Scored, cohort: Cohort) -> dict[str, float]:
    return {kept: percent(Trials.of_pairs(x, speakers, cohort.scores)) for kept, (x, speakers) in sounds.items()}


def _sounds(voices: Voices, labels: tuple[str, ...]) -> Scored:
    return {kept: embedded(voices, labels, seconds) for kept, seconds in SECONDS.items()}


def _ways(voices: Voices, sounds: Scored) -> dict[str, dict[str, float]]:
    """The rates of each way to score the pairs of these sounds."""
    both = voices.cohort(NEAREST, within=True)
    ways = {
        "cosines": Cohort(),
        f"normalized by the nearest {NEAREST} recordings": Cohort(both.vectors, NEAREST),
        "within-class covariance normalized": Cohort(within=both.within),
        "both": both,
    }
    return {name: _rates(sounds, way) for name, way in ways.items()}


def _alone(voices: Voices, sounds: Scored) -> dict[str, float]:
    """The rates of the cosines of the mixture's vectors, which stand behind the network's."""
    return _rates({kept: (x[:, voices.task.width :], names) for kept, (x, names) in sounds.items()}, Cohort())


def _rows(model: str, found: Sequence[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    return [_row(model, way, [each[way] for each in found]) for way in found[0]]


def trained(variant: str, labels: tuple[str, ...] = STRANGERS) -> list[dict[str, Any]]:
    """One row for each way to score the pairs of these voices, over the runs of a variant."""
    runs = [Voices.open(folder) for folder in folders(variant)]
    return _rows(variant, [_ways(each, _sounds(each, labels)) for each in runs])


def mixed(variant: str, labels: tuple[str, ...] = STRANGERS) -> list[dict[str, Any]]:
    """The same with mixtures beside the networks, and their vectors alone."""
    runs = [Voices.open(folder) for folder in folders(variant)]
    joined = [replace(each, mixture=each.learned_mixture(COMPONENTS)) for each in runs]
    sounds = [_sounds(each, labels) for each in joined]
    beside = _rows(f"{variant}, a mixture beside it", [_ways(*each) for each in zip(joined, sounds, strict=True)])
    alone = [_alone(*each) for each in zip(joined, sounds, strict=True)]
    return [*beside, _row(f"mixture of {COMPONENTS} Gaussians over frames", "cosines", alone)]


def choose() -> None:
    """The sizes of mixtures, on the 16 other voices."""
    voices, rows = Voices.open(FOLDER / "choices" / "speaker" / "as-chosen-2000"), []
    for components in (16, 32, 64, 128, 256):
        begin = time.process_time()
        mixture = voices.learned_mixture(components)
        spent = time.process_time() - begin
        joined = replace(voices, mixture=mixture)
        sounds = _sounds(joined, DEVELOPMENT)
        errors = {
            "alone": _alone(joined, sounds),
            "beside the network": _rates(sounds, Cohort()),
            "the same, both normalized": _rates(sounds, joined.cohort(NEAREST, within=True)),
        }
        row: dict[str, Any] = {"Gaussians": components, "seconds of a core to learn": round(spent, 1)}
        for title, found in errors.items():
            row[f"EER of 16 others, {title}, %"] = {kept: round(each, 2) for kept, each in found.items()}
        rows.append(row)
    data = "speechocean762 adults, 64 speakers; EER: 16 of the training part's, kept out"
    write("speaker-mixtures", {"case": "speaker-mixtures", "data": data, "rows": rows, "machine": machine()})


def untrained(labels: tuple[str, ...] = STRANGERS, hidden: tuple[str, ...] = STRANGERS) -> dict[str, Any]:
    """The mean and deviation of each band, standardized, behind `Within`, both learned from the training part without `hidden`."""
    reader = VARIANTS["simple"]().data
    assert isinstance(reader, Sounds)
    reader = replace(reader, unseen=hidden)
    encoding = reader.fit()
    parts = [replace(reader, train_crop=seconds).training(encoding) for seconds in SECONDS.values()]
    x = np.concatenate([moments(part) for part in parts])
    speakers = [
        encoding.labels[int(target)] for part in parts for target in part.targets if isinstance(target, np.ndarray)
    ]
    center, deviation = x.mean(0), x.std(0)
    cohort = Cohort(within=Within.of(speakers, (x - center) / deviation, share=0.02))
    sounds: Scored = {}
    for kept, seconds in SECONDS.items():
        data, names = replace(reader, unseen=labels, crop=seconds).strangers(encoding)
        sounds[kept] = (moments(data) - center) / deviation, names
    return _row("mean and deviation of each band", cohort.name, [_rates(sounds, cohort)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", choices=("report", "choose"), default="report")
    if parser.parse_args().what == "choose":
        choose()
        return
    rows = [each for variant in VARIANTS if folders(variant) for each in trained(variant)]
    rows += mixed("recipe speaker") if folders("recipe speaker") else []
    write(
        "speaker-scores",
        {
            "case": "speaker-scores",
            "data": "speechocean762 adults, all pairs of 16 strangers' utterances",
            "rows": [*rows, untrained()],
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
