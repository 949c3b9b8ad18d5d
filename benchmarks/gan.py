"""The self-attention GAN on Fashion-MNIST with and without attention, and what its distances mean: a floor and two ceilings.

    python -m benchmarks.gan DATA JUDGE [--seeds 3] [--epochs 20] [--bounds] [--quick] [--trained RUN ...]

DATA is a folder of idx files, JUDGE a run of the recipe `clothes-cnn` on it. Trains each way with each seed, and evaluates on the
test part. The floor is the distance of as many training pictures from the test part, the ceilings those of test pictures blurred
(the mean of 3 x 3) and of noise. `--bounds` measures these alone; `--trained` evaluates runs with this judge that are there,
and trains none. Writes `results/clothes-gan.json`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from benchmarks.machine import machine, write
from regard.data.batch import collate
from regard.data.patches import PictureSet
from regard.recipes import clothes_gan
from regard.tasks.frechet import FrechetDistance
from regard.tasks.written_pictures import Judge
from regard.train import Run, fit
from regard.train.card import read_facts

__all__ = ["bounds", "main", "trained"]

_AT_ONCE = 256
_Change = Callable[[NDArray[Any], int], NDArray[Any]]


def _blurred(pixels: NDArray[Any], index: int) -> NDArray[Any]:
    found: NDArray[Any] = uniform_filter(pixels, size=(3, 3, 1), mode="nearest")
    return found


def _noise(pixels: NDArray[Any], index: int) -> NDArray[Any]:
    return np.random.default_rng(index).integers(0, 256, pixels.shape, np.uint8)


def _features(judge: Judge, part: PictureSet, count: int, change: _Change | None = None) -> Iterator[torch.Tensor]:
    """Of the first pictures of a part, some at a time."""
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count))
        pixels = [part.pixels[n] if change is None else change(part.pixels[n], n) for n in numbers]
        batch = collate([part.patches.example(each, str(n)) for n, each in zip(numbers, pixels, strict=True)])
        yield judge(batch.inputs)[0]


def bounds(data: str, run: str, most: int = 10_000) -> dict[str, float]:
    """The distance from the test part of training pictures, of blurred test pictures, and of noise."""
    opened = Run.open(run)
    reader: Any = opened.experiment.data
    reader = replace(reader, path=data)
    parts = {name: reader.part(name, opened.encoding) for name in ("train", "test")}
    task: Any = opened.task
    judge, count = Judge(opened.model, task, opened.encoding), min(most, *map(len, parts.values()))
    others = {
        "training pictures": (parts["train"], None),
        "blurred": (parts["test"], _blurred),
        "noise": (parts["test"], _noise),
    }
    found = {}
    for name, (part, change) in others.items():
        distance = FrechetDistance(task.width)
        pairs = zip(_features(judge, parts["test"], count), _features(judge, part, count, change), strict=True)
        for real, other in pairs:
            distance.update(real, other)
        found[name] = float(f"{float(distance.compute()):.4g}")
        print(name, found[name], flush=True)
    return found


def trained(data: str, run: str, attention: bool, seed: int, epochs: int) -> dict[str, Any]:
    """A row: the test metrics of a training, beside its parameters and seconds."""
    plain = clothes_gan()
    experiment = replace(
        plain,
        data=replace(plain.data, path=data),
        model=replace(plain.model, self_attention=attention),
        task=replace(plain.task, judge=run),
        training=replace(plain.training, epochs=epochs, seed=seed, progress=False),
    )
    with tempfile.TemporaryDirectory() as folder:
        return evaluated(fit(experiment, Path(folder) / "run"))


def evaluated(folder: Path) -> dict[str, Any]:
    """A row: the test metrics of a run, beside its parameters, epochs, steps and seconds."""
    run = Run.open(folder)
    model: Any = run.experiment.model
    evaluation, facts = run.evaluate(), read_facts(folder)
    row = {"attention": "yes" if model.self_attention else "no", "seed": run.experiment.training.seed}
    row |= {"parameters": evaluation["parameters"], "epochs": facts["epoch"], "steps": facts["steps"]}
    row |= {"seconds": facts["seconds"]}
    print(row, evaluation["metrics"], flush=True)
    return row | {name: float(f"{value:.4g}") for name, value in evaluation["metrics"].items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; `--quick` trains one epoch with one seed and writes nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gan")
    parser.add_argument("data", help="a folder of idx files")
    parser.add_argument("judge", help="a run of clothes-cnn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--bounds", action="store_true", help="the floor and the ceilings alone")
    parser.add_argument("--quick", action="store_true", help="one epoch, one seed, nothing written")
    parser.add_argument(
        "--trained", nargs="+", type=Path, default=[], metavar="RUN", help="runs to evaluate in place of trainings"
    )
    options = parser.parse_args(arguments)
    seeds, epochs = (1, 1) if options.quick else (options.seeds, options.epochs)
    limits = bounds(options.data, options.judge)
    rows = [evaluated(folder) for folder in options.trained]
    if not options.bounds and not rows:
        rows = [
            trained(options.data, options.judge, attention, seed, epochs)
            for seed in range(seeds)
            for attention in (True, False)
        ]
    if not options.quick:
        about = "Fashion-MNIST; distances by the features of a clothes-cnn of our own, no Inception"
        write(
            "clothes-gan",
            {
                "case": "clothes-gan",
                "data": about,
                "rows": rows,
                "summary": {f"fid of {name}": value for name, value in limits.items()},
                "machine": machine(),
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
