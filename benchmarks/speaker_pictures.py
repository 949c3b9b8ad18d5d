"""What the pictures of `docs/speech.md` show of trained runs: error trade-offs, margins, and where pooling looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.attention.verb import attention_weights
from regard.data.features import SHIFT, voiced_frames
from regard.data.sound import read_sound
from regard.data.speech import STRANGERS, Sounds
from regard.data.voice import VoiceActivity
from regard.layers.attention import Attend
from regard.speaker.calibration import Cohort
from regard.speaker.rates import Trials, rates
from regard.speaker.voices import Voices
from regard.train.scoring import run as outputs

__all__ = ["pictures"]

_POINTS, _BINS = 80, 50
_VOICE = VoiceActivity(detect=True)


def pictures(
    runs: Mapping[str, Path], seconds: Mapping[str, float], calibrated: Mapping[str, tuple[Voices, Cohort]]
) -> dict[str, Any]:
    """Of one run of each variant: `det`, `margins` and, where the pooling has weights, `pooling`.

    Args:
        runs: variant -> folder. seconds: how much of each utterance is kept, by name; 0 keeps all.
        calibrated: more curves for `det`, of scores that are no plain cosines.
    """
    voices = {name: Voices.open(folder) for name, folder in runs.items()}
    scored = {name: (each, Cohort()) for name, each in voices.items()} | dict(calibrated)
    return {
        "det": {name: {kept: trade_off(*each, s) for kept, s in seconds.items()} for name, each in scored.items()},
        "margins": {name: margins(each) for name, each in voices.items() if each.task.config.hidden},
        "pooling": {
            name: where_it_looks(each) for name, each in voices.items() if each.task.config.pool == "attention"
        },
    }


def trade_off(voices: Voices, cohort: Cohort, seconds: float) -> dict[str, list[float]]:
    """Points of the curve of misses against false acceptances of strangers, evenly spaced along it."""
    run = voices.run
    data, speakers = replace(voices.sound_reader, unseen=STRANGERS, crop=seconds).strangers(run.encoding)
    trials = Trials.of_pairs(voices.embed(data), speakers, cohort.scores)
    found = rates(trials.scores, trials.targets)
    # Along the curve on which both rates count by their logarithm, as they are drawn.
    way = np.log(found.miss + 1e-3) - np.log(found.false_acceptance + 1e-3)
    at = np.searchsorted(way, np.linspace(way[0], way[-1], _POINTS)).clip(0, len(way) - 1)
    return {
        "miss": np.round(found.miss[at], 5).tolist(),
        "false acceptance": np.round(found.false_acceptance[at], 5).tolist(),
    }


def margins(voices: Voices) -> dict[str, Any]:
    """How far the cosine of the true class is above the largest other, over the middle seconds of the test part.

    Cosines are those of the vector that enters the last layer with the layer's weights, whatever the loss.
    """
    run, task = voices.run, voices.task
    data = replace(run.experiment.data, crop=1.0).part("test", run.encoding)
    found: list[Tensor] = []
    for batch, vectors in outputs(run.model, task, data, run.experiment.training, task.embed):
        vectors = vectors if task.cosine else vectors.relu()
        weight = task.head.weight
        assert isinstance(weight, Tensor)
        cosines = torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(weight).T
        own = batch.target_values("set")[:, None]
        largest = cosines.scatter(1, own, -torch.inf).amax(1)
        found.append(cosines.gather(1, own)[:, 0] - largest)
    values = torch.cat(found).detach().numpy()
    counts, edges = np.histogram(values, _BINS, (-1, 1))
    return {
        "counts": counts.tolist(),
        "edges": np.round(edges, 4).tolist(),
        "median": round(float(np.median(values)), 4),
    }


def where_it_looks(voices: Voices) -> dict[str, Any]:
    """The weights of self-attention pooling over one utterance, and what of them falls on voice over all of the test part."""
    run = voices.run
    reader = run.experiment.data
    assert isinstance(reader, Sounds), "the ladder is trained on sounds"
    data = reader.part("test", run.encoding)
    step = int(getattr(run.model, "step", 1))
    weights = _weights(voices, data)
    on_voice, voiced = [], []
    masks = []
    for n, each in enumerate(weights):
        mask = voiced_frames(reader.root / data[n].name, _VOICE)
        # A vector counts as voiced by the part of its frames that are.
        mask = np.pad(mask.astype(float), (0, -len(mask) % step), mode="edge").reshape(-1, step).mean(1)[: len(each)]
        masks.append(mask)
        on_voice.append(float((each * mask).sum()))
        voiced.append(float(mask.mean()))
    # The picture shows the utterance with the median share of silence among those of three to five seconds.
    lengths = np.array([len(each) * step / 100 for each in weights])
    shown = [n for n in np.argsort(voiced) if 3 <= lengths[n] <= 5]
    one = int(shown[len(shown) // 4])
    samples = read_sound(reader.root / data[one].name)
    block = SHIFT * step
    loud = [float(np.abs(samples[i : i + block]).max()) for i in range(0, len(weights[one]) * block, block)]
    return {
        "weight on voice": round(float(np.mean(on_voice)), 4),
        "voice": round(float(np.mean(voiced)), 4),
        "utterances": len(weights),
        "name": data[one].name,
        "seconds per vector": step / 100,
        "weights": np.round(weights[one], 5).tolist(),
        "voiced": np.round(masks[one], 2).tolist(),
        "loudness": np.round(loud, 4).tolist(),
    }


def _weights(voices: Voices, data: Any) -> list[np.ndarray]:
    """Of each utterance `[vectors]`, whatever the batch it came in."""
    found: list[np.ndarray] = []

    def note(attend: Attend, inputs: tuple[Any, ...]) -> None:
        q, k, _, one, layout = inputs
        weights = attention_weights(attend.attention, q, k, one, layout, dict(attend.learned))
        found.extend(each.detach().numpy() for each in weights.values[:, 0].split(layout.lengths.tolist()))

    run, task = voices.run, voices.task
    assert task.pool is not None, "a label for each set is pooled"
    handle = task.pool.attend.register_forward_pre_hook(note)  # type: ignore[union-attr]
    try:
        for _ in outputs(run.model, task, data, run.experiment.training):
            pass
    finally:
        handle.remove()
    return found
