"""An hour of speech: time and memory of full and of truncated attention, and what the truncation costs in error.

    python -m benchmarks.long_speech
    python -m benchmarks.long_speech --run runs/bench/speaker/strong/0 [--windowed-run FOLDER] [--window "Window(32, 32)"]

It joins utterances of speechocean762 to an hour and embeds it on one core, each row in a process of its own, and writes
`results/long-speech.json`. Weights are untrained: no time depends on them. Seconds are those that the processor worked. Memory is
the highest resident set of the process while it embeds, above what it had when model and frames were there.

With `--run` it measures trained runs on the voices that were kept from them (`data.unseen`), on whole utterances: the equal error
rate of the run, of the run with its attention cut to a window after training, and of a run that was trained with the window; it
writes `results/long-speech-errors.json`. Both need REGARD_DATA.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import machine, write
from regard import Attention, VectorSets
from regard.attention.vocabulary import parse
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.data.speech import Sounds
from regard.models.conformer import Conformer
from regard.models.encoder import Encoder
from regard.models.pieces import attention_of
from regard.models.streaming import Stream
from regard.recipes.speaker import speaker_boss, speaker_medium
from regard.speaker.rates import equal_error_rate, interval, rates
from regard.speaker.voices import Voices
from regard.train import Experiment
from regard.train.kinds import build

__all__ = ["ROWS", "embed_once", "errors", "main", "windowed"]

_MINUTE = 6000
_PIECE = 1000
# Each side of a window is 1.28 seconds.
_CONFORMER, _ENCODER = "Window(32, 32)", "Window(128, 128)"
# Model, window ("" for full attention), minutes of sound, whether as a stream.
ROWS: list[tuple[str, str, int, bool]] = [
    ("relative", "", 5, False),
    ("conformer", "", 5, False),
    ("conformer", "", 60, False),
    ("conformer", _CONFORMER, 5, False),
    ("conformer", _CONFORMER, 60, False),
    ("conformer", _CONFORMER, 60, True),
    ("encoder", "", 10, False),
    ("encoder", _ENCODER, 10, False),
    ("encoder", _ENCODER, 60, False),
    ("encoder", _ENCODER, 60, True),
]
# The rungs' models; the Conformer without relative positions too, which the executor `fused` does not compute.
MODELS: dict[str, tuple[str, Callable[[], Experiment]]] = {
    "relative": ("Conformer with relative positions (Shaw), 25 vectors a second", speaker_boss),
    "conformer": (
        "Conformer, 25 vectors a second",
        lambda: replace(boss := speaker_boss(), model=replace(boss.model, attention=repr(Attention()))),
    ),
    "encoder": ("Transformer, 100 vectors a second", speaker_medium),
}


def windowed(model: Conformer | Encoder, window: str) -> Conformer | Encoder:
    """The same model whose attention has another pattern; "" leaves it."""
    if not window:
        return model
    return replace(model, attention=repr(replace(attention_of(model.attention), pattern=parse(window))))


def frames(minutes: int) -> torch.Tensor:
    """`[minutes * 6000, 40]` of utterances, one after another, and from the beginning again where they end."""
    reader = Sounds(normalize="none")
    part = reader.part("train", reader.fit())
    found: list[Any] = []
    count = 0
    while count < minutes * _MINUTE:
        found.append(part[len(found) % len(part)].values)
        count += len(found[-1])
    return torch.from_numpy(np.concatenate(found)[: minutes * _MINUTE])


def embed_once(name: str, window: str, values: torch.Tensor, stream: bool) -> tuple[torch.Tensor, dict[str, float]]:
    """The vectors of a sound: its embedding of the whole at once, or the mean of a stream's vectors; and what that took."""
    experiment = MODELS[name][1]()
    encoding = Encoding(Labels(("a", "b")), width=values.shape[1])
    torch.manual_seed(0)
    model: Any = build(windowed(experiment.model, window), encoding).eval()
    task = build(experiment.task, model.width, encoding).eval()

    def whole(frames: torch.Tensor) -> torch.Tensor:
        embedding: torch.Tensor = task.embed(model(Batch(VectorSets.pack([frames]))))[0]
        return embedding

    def streamed(frames: torch.Tensor) -> torch.Tensor:
        pieces = Stream(model)
        total, count = torch.zeros(model.width), 0
        for piece in [*frames.split(_PIECE), None]:
            found = pieces.finish() if piece is None else pieces.accept(piece)
            total, count = total + found.sum(0), count + len(found)
        return total / count

    call = streamed if stream else whole
    with torch.no_grad():
        call(values[: 2 * _PIECE])  # what is compiled or derived once does not count
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.process_time()
        found = call(values)
        seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found, {"seconds": seconds, "MB": (peak - before) / 1024, "vectors": -(-len(values) // model.step)}


def measure(row: tuple[str, str, int, bool]) -> dict[str, Any]:
    """A row of the table, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.long_speech", "--row", json.dumps(row)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = json.loads(done.stdout.splitlines()[-1])
    name, window, minutes, stream = row
    return {
        "model": MODELS[name][0],
        "attention": (window or "full") + (", as a stream in pieces of 10 s" if stream else ""),
        "minutes of sound": minutes,
        "vectors": took["vectors"],
        "seconds of a core": round(took["seconds"], 2),
        "seconds of sound per second": round(60 * minutes / took["seconds"]),
        "peak MB": round(took["MB"]),
    }


def cut(voices: Voices, window: str) -> Voices:
    """The run with its attention cut to a window after training."""
    model = build(windowed(voices.run.experiment.model, window), voices.run.encoding)
    model.load_state_dict(voices.run.model.state_dict())
    return replace(voices, run=replace(voices.run, model=model.eval()))


def errors(full: Path, trained_with: Path | None, window: str) -> list[dict[str, Any]]:
    """The equal error rate of strangers: of a run, of the run cut to a window, and of another that was trained with one."""
    whole = Voices.open(full)
    ways = {"full": whole, f"{window} after training": cut(whole, window)}
    if trained_with is not None:
        other = Voices.open(trained_with)
        attention: Any = attention_of(other.run.experiment.model.attention)
        ways[f"{attention.pattern} from the beginning"] = other
    rows = []
    for name, voices in ways.items():
        trials = voices.trials("unseen")
        low, high = interval(trials)
        rate = equal_error_rate(rates(trials.scores, trials.targets))
        row = {"attention": name, "equal error rate": round(rate, 4), "95 % interval": f"{low:.4f} to {high:.4f}"}
        rows.append(row | {"recipe": voices.run.experiment.recipe, "parameters": voices.run.parameters})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--row", type=json.loads)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--windowed-run", type=Path)
    parser.add_argument("--window", default=_CONFORMER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.row:
        name, window, minutes, stream = options.row
        print(json.dumps(embed_once(name, window, frames(minutes), stream)[1]))
    elif options.run:
        found = errors(options.run, options.windowed_run, options.window)
        data = "unseen voices of speechocean762's adults, whole utterances, cosines; intervals by speaker"
        write("long-speech-errors", {"case": "long-speech-errors", "data": data, "rows": found})
    else:
        data = "utterances of speechocean762's adults joined; seconds that the processor worked, whatever else ran; "
        data += "memory above model and frames"
        result = {"case": "long-speech", "data": data, "rows": [measure(row) for row in ROWS], "machine": machine()}
        write("long-speech", result)


if __name__ == "__main__":
    main()
