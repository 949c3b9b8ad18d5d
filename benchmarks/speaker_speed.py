"""How fast the rungs of speaker recognition train, beside a plain PyTorch loop of the course's sample.

    python -m benchmarks.speaker_speed [--threads N] [--rungs simple boss]

Both train a model of the same sizes on the same cached features, in batches of 32 segments of 128 frames cut anew. Seconds per step
are those that further epochs add to a whole training (reading, batching, forward, backward, optimizer), the median of several;
setting up is not counted. Writes `results/speaker-speed.json`. Needs REGARD_DATA.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.machine import machine, write
from regard.data.examples import Dataset
from regard.recipes.speaker import speaker_boss, speaker_medium, speaker_simple, speaker_strong
from regard.train import Experiment, fit
from regard.train.card import read_facts

__all__ = ["main"]

_RUNGS = {"simple": speaker_simple, "medium": speaker_medium, "strong": speaker_strong, "boss": speaker_boss}
_STEPS = 35  # of an epoch: 1,120 utterances in batches of 32
_REPEATS = 3


class Sample(nn.Module):
    """The sample of the course's homework 4: Linear, one encoder layer, the mean over time, Linear-ReLU-Linear; nothing masked."""

    def __init__(self, speakers: int) -> None:
        super().__init__()
        self.prenet = nn.Linear(40, 80)
        self.encoder = nn.TransformerEncoderLayer(80, 2, 256, 0.1, batch_first=True)
        self.head = nn.Sequential(nn.Linear(80, 80), nn.ReLU(), nn.Linear(80, speakers))

    def forward(self, mels: Tensor) -> Tensor:
        found: Tensor = self.head(self.encoder(self.prenet(mels)).mean(1))
        return found


def plain(part: Dataset, speakers: int, epochs: int) -> float:
    """Seconds of a training loop as one would write it."""

    def collate(examples: list[Any]) -> tuple[Tensor, Tensor]:
        mels = [torch.from_numpy(each.values) for each in examples]
        targets = torch.tensor([int(each.target) for each in examples])
        return nn.utils.rnn.pad_sequence(mels, batch_first=True, padding_value=-20), targets

    model = Sample(speakers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader: Any = DataLoader(part, 32, shuffle=True, drop_last=True, collate_fn=collate)  # type: ignore[arg-type]
    begin = time.perf_counter()
    for epoch in range(epochs):
        part.set_epoch(epoch)  # type: ignore[attr-defined]
        for mels, targets in loader:
            cross_entropy(model(mels), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
    return time.perf_counter() - begin


def ours(experiment: Experiment, epochs: int) -> tuple[float, int]:
    """Seconds of a training, and the number of parameters."""
    training = replace(experiment.training, epochs=epochs, validate_every=1000, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fit(replace(experiment, training=training), Path(folder) / "run")
        return time.perf_counter() - begin, int(read_facts(Path(folder) / "run")["parameters"])


def per_step(train: Callable[[int], float]) -> float:
    """Seconds that a step takes: those of four epochs more, the median of several."""
    train(1)
    times = [(train(5) - train(1)) / (4 * _STEPS) for _ in range(_REPEATS)]
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rungs", nargs="+", choices=_RUNGS, default=list(_RUNGS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = speaker_simple().data
    encoding = data.fit()
    part = data.training(encoding)
    rows: list[dict[str, Any]] = []
    sample = sum(each.numel() for each in Sample(len(encoding.labels)).parameters())

    def row(name: str, parameters: int, seconds: float) -> None:
        rows.append(
            {
                "training": name,
                "parameters": parameters,
                "ms a step": round(1e3 * seconds, 1),
                "segments per second": round(32 / seconds),
                "minutes for 10,000 steps": round(1e4 * seconds / 60, 1),
            }
        )

    row("plain PyTorch loop of the sample", sample, per_step(lambda epochs: plain(part, len(encoding.labels), epochs)))
    for name in options.rungs:
        experiment = _RUNGS[name]
        parameters = ours(experiment(), 1)[1]
        row(f"speaker-{name}", parameters, per_step(lambda epochs, make=experiment: ours(make(), epochs)[0]))  # type: ignore[misc]
    rows[1]["times the plain loop"] = round(rows[0]["ms a step"] / rows[1]["ms a step"], 2)
    write(
        "speaker-speed",
        {
            "case": "speaker-speed",
            "data": "speechocean762 adults, 32 segments of 128 frames a step",
            "rows": rows,
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
