"""What the level of a recording does to voices: the same recordings louder and quieter, compared with those as they were recorded.

    python -m benchmarks.speaker choose speaker "as chosen"
    python -m benchmarks.speaker choose speaker "the level not subtracted"
    python -m benchmarks.speaker_levels

takes the two runs that the first commands made and writes `results/speaker-levels.json`: all pairs of the 16 other voices'
whole utterances, one of each pair with a gain, rounded to 16 bits and clipped as a recorder would. The threshold lets one pair of
two speakers in a hundred pass where both are as they were recorded. Needs REGARD_DATA.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine, write
from benchmarks.speaker import DEVELOPMENT, FOLDER, percent, sounds
from regard.data.examples import Array, Listed
from regard.data.sound import read_sound
from regard.speaker.rates import Trials, at_threshold, rates, threshold_for
from regard.speaker.vectors import cosines
from regard.speaker.voices import Voices

__all__ = ["GAINS", "gained"]

GAINS = (-30, -20, -12, -6, 6, 10)
"""In decibels."""
_RUNS = {"not subtracted": "the-level-not-subtracted-2000", "level subtracted": "as-chosen-2000"}


def gained(samples: Array, decibels: float) -> Array:
    """The samples as a recorder of 16 bits would have them with this gain."""
    scaled = np.round(samples * 10 ** (decibels / 20) * 32768)
    found: Array = np.clip(scaled, -32768, 32767).astype(np.float32) / 32768
    return found


def crossed(one: NDArray[Any], other: NDArray[Any], speakers: NDArray[np.str_]) -> Trials:
    """Every two recordings, the second of them of `other`; both have the same recordings in the same order."""
    first, second = np.triu_indices(len(speakers), 1)
    _, numbers = np.unique(speakers, return_inverse=True)
    return Trials(cosines(one, other)[first, second], numbers[first], numbers[second])


def measured(voices: Voices) -> dict[str, dict[str, float]]:
    """For each gain the equal error rate, and the misses and false acceptances at the threshold, in percent."""
    reader = replace(sounds(voices.run), unseen=DEVELOPMENT)
    listing = reader.listing("unseen")
    speakers = np.array([label for _, label in listing])
    recorded = [read_sound(reader.root / name) for name, _ in listing]

    def vectors(decibels: float | None) -> NDArray[np.float32]:
        played = [samples if decibels is None else gained(samples, decibels) for samples in recorded]
        return voices.embed(Listed([reader.example(samples, voices.run.encoding) for samples in played]))

    plain = vectors(None)
    trials = crossed(plain, plain, speakers)
    threshold = threshold_for(trials.scores, trials.targets, 0.01)
    rows = {}
    for gain in (None, *GAINS):
        trials = crossed(plain, plain if gain is None else vectors(gain), speakers)
        miss, accepted = at_threshold(rates(trials.scores, trials.targets), threshold)
        name = "as recorded" if gain is None else f"{gain:+} dB"
        rows[name] = {"EER": percent(trials), "misses": 100 * miss, "false acceptances": 100 * accepted}
    return rows


def main() -> None:
    found = {name: measured(Voices.open(FOLDER / "choices" / "speaker" / run)) for name, run in _RUNS.items()}
    rows = [
        {"gain": gain}
        | {f"{measure}, %": {name: round(found[name][gain][measure], 2) for name in _RUNS} for measure in measures}
        for gain, measures in found["not subtracted"].items()
    ]
    data = "speechocean762 adults, 64 speakers; 16 of the training part's, kept out; one of each pair with the gain"
    write("speaker-levels", {"case": "speaker-levels", "data": data, "rows": rows, "machine": machine()})


if __name__ == "__main__":
    main()
