"""Pictures: a Vision Transformer, one with a convolutional stem, and a convolutional network, as training pictures become more.

    python -m benchmarks.pictures [--sizes 500,2000] [--seeds 1] [--updates 300] [--batch 64] [--test 10000] [--device cpu]

trains each of the three, which have equally many parameters up to a percent, with equally many updates on the first so many
training pictures of Fashion-MNIST in an order drawn by the seed, and tests it once. A run is written as soon as it is there, and
one that is there with the same setting is not computed again; `results/pictures.json`. Of those that attend, it says how far each
head of each layer looks on 64 validation pictures, in pixels. Needs REGARD_DATA.

    python -m benchmarks.pictures --speed

times training steps of the three and of the recipes instead, in float32 and in `bf16-mixed`, in pictures per second of processor
time on one thread, as a quiet machine would take; `results/pictures-speed.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from benchmarks.machine import RESULTS, machine, write
from regard.data.batch import Batch, collate
from regard.data.encoding import Encoding
from regard.data.pictures import Pictures
from regard.inspector.distances import attention_distances
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.recipes import RECIPES
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer
from regard.train.kinds import build
from regard.train.learner import parameter_groups, rate

__all__ = ["MODELS", "Setting", "main", "run", "speed"]

_ATTENDING = Encoder(
    width=96, layers=4, heads=4, feed_forward=192, activation="gelu", positions=Positions("learned"), dropout=0.0
)
# For each: patch, model, pooling, and how many pixels lie between two of its vectors.
MODELS: dict[str, tuple[int, Encoder, str, int]] = {
    "Vision Transformer": (4, _ATTENDING, "attention", 4),
    "with a convolutional stem": (
        1,
        replace(_ATTENDING, feed_forward=160, front=Front(stem="convolution2d", stages=(32,))),
        "attention",
        4,
    ),
    "convolutional network": (
        1,
        Encoder(
            width=132,
            layers=0,
            positions=Positions("none"),
            front=Front(stem="convolution2d", stages=(32, 64), convolutions=2, norm=True),
            dropout=0.0,
        ),
        "mean",
        8,
    ),
}
_OPTIMIZER = Optimizer(learning_rate=1e-3, weight_decay=0.05, betas=(0.9, 0.999), warm_up=100)


@dataclass(frozen=True)
class Setting:
    """One training: how many pictures, updates and pictures an update, and the seed of all that is drawn."""

    pictures: int
    updates: int = 300
    batch: int = 64
    test: int = 10_000
    seed: int = 0
    device: str = "cpu"


def _reader(patch: int, **options: Any) -> Pictures:
    return Pictures(f"{os.environ['REGARD_DATA']}/fashion-mnist", size=28, patch=patch, color="gray", **options)


def _made(name: str, encoding: Encoding) -> tuple[nn.Module, Any]:
    _, options, pool, _ = MODELS[name]
    model = build(options, encoding)
    task = build(PerSetLabel(pool=pool, label_smoothing=0.1), model.width, encoding)  # type: ignore[arg-type]
    return model, task


def run(name: str, setting: Setting, reader: Pictures) -> dict[str, Any]:
    """Train one model and test it once."""
    encoding = reader.fit()
    part: Any = reader.training(encoding)
    drawn = torch.Generator().manual_seed(setting.seed)
    chosen = torch.randperm(len(part), generator=drawn)[: setting.pictures]
    torch.manual_seed(setting.seed)
    model, task = _made(name, encoding)
    both = nn.ModuleList([model, task]).to(setting.device)
    optimizer = torch.optim.AdamW(parameter_groups(both, _OPTIMIZER), _OPTIMIZER.learning_rate, _OPTIMIZER.betas)
    queue: list[int] = []
    epoch, begin = 0, time.perf_counter()
    for step in range(setting.updates):
        if len(queue) < min(setting.batch, len(chosen)):
            queue = chosen[torch.randperm(len(chosen), generator=drawn)].tolist()
            part.set_epoch(epoch)
            epoch += 1
        indices, queue = queue[: setting.batch], queue[setting.batch :]
        batch = collate([part[i] for i in indices]).to(setting.device)
        for group in optimizer.param_groups:
            group["lr"] = _OPTIMIZER.learning_rate * rate(_OPTIMIZER, step, setting.updates)
        total, count = task.loss(task(model(batch), batch), batch)
        optimizer.zero_grad()
        (total / count).backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - begin
    both.eval()
    return {
        "model": name,
        "pictures": setting.pictures,
        "accuracy": _accuracy(model, task, reader.part("test", encoding), setting),
        "parameters": sum(each.numel() for each in both.parameters()),
        "seconds": round(seconds, 1),
        "setting": vars(setting),
        "distances": _distances(name, model, reader.part("validation", encoding), setting),
    }


@torch.inference_mode()
def _accuracy(model: nn.Module, task: Any, part: Any, setting: Setting) -> float:
    right, count = 0, min(setting.test, len(part))
    for first in range(0, count, 250):
        batch = _batch(part, range(first, min(first + 250, count)), setting.device)
        right += int((task(model(batch), batch).argmax(-1) == batch.target_values("set")).sum())
    return right / count


def _batch(part: Any, indices: Sequence[int], device: str) -> Batch:
    return collate([part[i] for i in indices]).to(device)


def _distances(name: str, model: nn.Module, part: Any, setting: Setting) -> list[list[float]]:
    """Pixels, for each layer those of its heads; none where nothing attends."""
    _, options, _, apart = MODELS[name]
    if not options.layers:
        return []
    found = attention_distances(model.cpu(), _batch(part, range(min(64, len(part))), "cpu"))
    return [[round(apart * float(head), 2) for head in layer] for layer in found]


def speed(batch: int = 128, repeats: int = 5) -> None:
    """Pictures per second of training, of each model of the sweep and of the recipes, in turn; the fastest of some repeats."""
    torch.set_num_threads(1)
    steps: dict[str, Any] = {}
    for name, (patch, model, pool, _) in MODELS.items():
        steps[name] = _stepping(Experiment("", _reader(patch), model, PerSetLabel(pool=pool)), batch)  # type: ignore[arg-type]
    for name in ("clothes", "clothes-stem", "clothes-cnn"):
        experiment = RECIPES[name].experiment()
        steps[f"recipe {name}"] = _stepping(replace(experiment, data=_reader(experiment.data.patch)), batch)  # type: ignore[attr-defined]
    best = {name: [0.0, 0.0] for name in steps}
    for _ in range(repeats):
        for name, (step, _) in steps.items():
            for half in (False, True):
                begin = time.process_time()
                step(half)
                best[name][half] = max(best[name][half], batch / (time.process_time() - begin))
    rows = [
        {
            "model": name,
            "parameters": steps[name][1],
            "pictures per second, training": round(full),
            "in bf16-mixed": round(narrow),
            "gain": f"{narrow / full:.2f}x",
        }
        for name, (full, narrow) in best.items()
    ]
    split = f"batches of {batch} pictures of 28 x 28, seconds of processor time, the fastest of {repeats} steps each"
    write("pictures-speed", {"data": "Fashion-MNIST", "split": split, "rows": rows, "machine": machine()})


def _stepping(experiment: Experiment, count: int) -> tuple[Any, int]:
    """What takes one training step, in float32 or in `bf16-mixed`, and how many parameters it moves."""
    encoding = experiment.data.fit()
    part = experiment.data.part("validation", encoding)
    batch = _batch(part, range(count), "cpu")
    model = build(experiment.model, encoding)
    task = build(experiment.task, model.width, encoding)
    parameters = [*model.parameters(), *task.parameters()]
    optimizer = torch.optim.AdamW(parameters, 1e-3, fused=True)

    def step(half: bool = False) -> None:
        # A layout is new in each batch, and so is what it keeps.
        fresh = replace(batch, inputs=batch.inputs.select(range(count)))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            total, known = task.loss(task(model(fresh), fresh), fresh)
        optimizer.zero_grad()
        (total / known).backward()
        optimizer.step()

    step()
    step(half=True)
    return step, sum(each.numel() for each in parameters)


def _written(rows: list[dict[str, Any]], setting: Setting) -> None:
    split = (
        f"{setting.updates} updates of {setting.batch} pictures, mirrored in half of the epochs; AdamW, "
        f"rate {_OPTIMIZER.learning_rate:g} along a cosine, decay {_OPTIMIZER.weight_decay:g}, label smoothing 0.1; "
        f"tested once on {setting.test:,} pictures"
    )
    write(
        "pictures",
        {"data": "Fashion-MNIST", "split": split, "rows": _summed(rows), "runs": rows, "machine": machine()},
        show=False,
    )


def _summed(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each model: its accuracy for each number of pictures, the mean over seeds."""
    rows = []
    for name in MODELS:
        own = [each for each in runs if each["model"] == name]
        if own:
            sizes = sorted({each["pictures"] for each in own})
            means = {
                f"{size:,} pictures": statistics.mean(each["accuracy"] for each in own if each["pictures"] == size)
                for size in sizes
            }
            rows.append({"model": name, "metric": "accuracy", "parameters": own[0]["parameters"], "test": means})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweep, or time steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="500,2000")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--speed", action="store_true")
    for name, default in (("seeds", 1), ("updates", 300), ("batch", 64), ("test", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    if options.speed:
        speed()
        return 0
    path = RESULTS / "pictures.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    readers = {patch: _reader(patch, flip=True) for patch in (1, 4)}
    for seed in range(options.seeds):
        for size in map(int, options.sizes.split(",")):
            for name, (patch, *_) in MODELS.items():
                setting = Setting(size, options.updates, options.batch, options.test, seed, options.device)
                if any(each["model"] == name and each["setting"] == vars(setting) for each in runs):
                    continue
                runs.append(run(name, setting, readers[patch]))
                _written(runs, setting)
                print(*(runs[-1][key] for key in ("model", "pictures", "accuracy", "seconds")), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
