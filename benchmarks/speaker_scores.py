"""What scores do with the same vectors of strangers, and what needs no training: equal error rates of each way to compare.

    python -m benchmarks.speaker_scores

takes the runs of each variant in `runs/bench/speaker`, scores the pairs of strangers by cosines, normalized by voices of the
training part, and behind `Within`, and writes `results/speaker-scores.json`. Its last row has no model: the mean and deviation of
each band, behind `Within`. Needs REGARD_DATA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.machine import machine, write
from benchmarks.speaker import SECONDS, VARIANTS, embedded, folders, percent
from regard.data.examples import Array, Dataset
from regard.data.speech import STRANGERS
from regard.recipes.speaker import speaker_simple
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


def trained(variant: str, labels: tuple[str, ...] = STRANGERS) -> list[dict[str, Any]]:
    """One row for each way to score the pairs of these voices, over the runs of a variant."""
    found: dict[str, list[dict[str, float]]] = {}
    for folder in folders(variant):
        voices = Voices.open(folder)
        sounds: Scored = {kept: embedded(voices, labels, seconds) for kept, seconds in SECONDS.items()}
        both = voices.cohort(20, within=True)
        ways = {
            "cosines": Cohort(),
            "normalized by the nearest 20 voices": Cohort(both.vectors, 20),
            "within-class covariance normalized": Cohort(within=both.within),
            "both": both,
        }
        for name, way in ways.items():
            found.setdefault(name, []).append(_rates(sounds, way))
    return [_row(variant, name, rates) for name, rates in found.items()]


def untrained(labels: tuple[str, ...] = STRANGERS, hidden: tuple[str, ...] = STRANGERS) -> dict[str, Any]:
    """The mean and deviation of each band, standardized, behind `Within`, both learned from the training part without `hidden`."""
    reader = replace(speaker_simple().data, unseen=hidden)
    encoding = reader.fit()
    parts = [replace(reader, train_crop=seconds).part("train", encoding) for seconds in SECONDS.values()]
    x = np.concatenate([moments(part) for part in parts])
    speakers = [encoding.labels[int(part[n].target)] for part in parts for n in range(len(part))]
    center, deviation = x.mean(0), x.std(0)
    cohort = Cohort(within=Within.of(speakers, (x - center) / deviation, share=0.02))
    sounds: Scored = {}
    for kept, seconds in SECONDS.items():
        data, names = replace(reader, unseen=labels, crop=seconds).strangers(encoding)
        sounds[kept] = (moments(data) - center) / deviation, names
    return _row("mean and deviation of each band", cohort.name, [_rates(sounds, cohort)])


def main() -> None:
    rows = [each for variant in VARIANTS if folders(variant) for each in trained(variant)]
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
