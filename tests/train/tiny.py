"""A training small enough to be repeated, killed and resumed within seconds.

Run as a script it trains in a process of its own:  tiny.py FOLDER [--resume] [NAME=VALUE of `Training` ...]
"""

import os
import sys
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from regard.data.encoding import Encoding, Labels, Numbers
from regard.data.examples import Example, Listed
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerSetLabel, PerSetNumber, PerVectorLabel, PerVectorNumber
from regard.train import Experiment, Optimizer, Training
from regard.train.kinds import KINDS, Kind

SIZES = {"train": 61, "validation": 20, "test": 20}


@dataclass
class Tiny:
    """Sets of 0 to 7 vectors; the label says whether the first number is positive on average.

    Args:
        path: nowhere.
        target: what the examples are labeled with.
        seed: of the numbers.
        examples: of the training part; 0 is the usual number.
    """

    path: str | None = None
    target: Literal["set label", "vector label", "set number", "vector number"] = "set label"
    seed: int = 0
    examples: int = 0

    published = ""

    def fit(self):
        if "number" in self.target:
            return Encoding(width=3, targets=Numbers(10.0, 2.0))
        return Encoding(Labels(("down", "up")), width=3)

    def part(self, name, encoding):
        generator = np.random.default_rng([self.seed, list(SIZES).index(name)])
        size = self.examples if self.examples and name == "train" else SIZES[name]
        return Listed([self._example(generator, f"{name}-{i}") for i in range(size)])

    def training(self, encoding):
        return self.part("train", encoding)

    def _example(self, generator, name):
        values = generator.normal(size=(generator.integers(0, 8), 3)).astype(np.float32)
        number = values[:, 0] if "vector" in self.target else values[:, 0].sum()
        kind = np.int64 if "label" in self.target else np.float32
        target = np.asarray(number > 0 if kind is np.int64 else number, kind)
        return Example(values, target, name, "vector" if "vector" in self.target else "set")

    def inputs(self, sources, encoding):
        try:
            rows = [np.array([[float(x) for x in source.split(",")]], np.float32) for source in sources]
        except ValueError:
            raise InputError(f"{sources} are not numbers, expected three each") from None
        return Listed([Example(row, None, source) for row, source in zip(rows, sources, strict=True)])

    def example(self, value, encoding, name=""):
        return Example(np.array(value, np.float32), None, name)

    def stream(self, file, encoding):
        for line in file:
            yield self.inputs([line.decode().strip()], encoding)


KINDS["data"]["Tiny"] = Kind("tiny")
TASKS = {
    "set label": PerSetLabel(pool="mean", class_weights="balanced"),
    "vector label": PerVectorLabel(label_smoothing=0.1),
    "set number": PerSetNumber(),
    "vector number": PerVectorNumber(),
}


def experiment(target="set label", **training):
    options = {
        "epochs": 3,
        "batch_vectors": 32,
        "checkpoint_every": 4,
        "log_every": 1,
        "device": "cpu",
        "progress": False,
    }
    return Experiment(
        "tiny",
        Tiny(target=target),
        Encoder(width=8, layers=1, heads=2, feed_forward=8, dropout=0.2, positions=Positions("none")),
        TASKS[target],
        Optimizer(learning_rate=1e-2, warm_up=3),
        replace(Training(), **(options | training)),
    )


def main(arguments):
    from regard.train import fit

    options = dict(each.split("=") for each in arguments[1:] if "=" in each)
    fit(experiment(**{name: int(value) for name, value in options.items()}), arguments[0], "--resume" in arguments)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1:])
