"""Tasks that are neither a label nor a number, small enough to be trained within seconds."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from tiny import SIZES
from torch import nn
from torchmetrics import MeanMetric, MetricCollection

from regard.data.encoding import Encoding, Labels, Numbers
from regard.data.examples import Example, Listed, VectorSet
from regard.layers.pooling import pooling
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.sets import Layout, VectorSets
from regard.tasks.base import Task
from regard.tasks.configs import PerSetLabel, PerSetNumber
from regard.tasks.corpus import CorpusMetric
from regard.tasks.label import SetLabelTask
from regard.tasks.number import SetNumberTask
from regard.train import Experiment, Optimizer, Training
from regard.train.kinds import KINDS, Kind


@dataclass
class Toys:
    """Sets of 1 to 6 vectors, each with a second set as its context.

    Args:
        path: nowhere.
        target: "ends" are the first two numbers of the lowest and of the highest vector, or of the one vector; "higher" says
            whether the context is higher on average; "sum" is the sum of all first numbers.
    """

    path: str | None = None
    target: Literal["ends", "higher", "sum"] = "ends"

    published = ""

    def fit(self):
        targets = {"ends": None, "higher": Labels(("lower", "higher")), "sum": Numbers(0.0, 1.0)}
        return Encoding(width=3, targets=targets[self.target])

    def part(self, name, encoding):
        generator = np.random.default_rng(list(SIZES).index(name))
        return Listed([self._example(generator, f"{name}-{i}") for i in range(SIZES[name])])

    def training(self, encoding):
        return self.part("train", encoding)

    def _example(self, generator, name):
        own, other = (generator.normal(size=(generator.integers(1, 7), 3)).astype(np.float32) for _ in range(2))
        context = VectorSet(other)
        if self.target == "ends":
            order = own[np.argsort(own[:, 0])]
            ends = order[[0, -1]] if len(own) > 1 else order
            return Example(own, VectorSet(ends[:, :2]), name, "sets", context=context)
        number = np.float32(own[:, 0].sum()) if self.target == "sum" else np.array(int(own.mean() < other.mean()))
        return Example(own, np.asarray(number), name, context=context)

    def inputs(self, sources, encoding):
        rows = [np.array([[float(x) for x in source.split(",")]], np.float32) for source in sources]
        return Listed([self.example(row, encoding, name) for row, name in zip(rows, sources, strict=True)])

    def example(self, value, encoding, name=""):
        return Example(value, None, name, context=VectorSet(-value))

    def stream(self, file, encoding):
        for line in file:
            yield self.inputs([line.decode().strip()], encoding)


def hits(prediction):
    """How many targets have a place within a distance of 1, and how many targets and places there are."""
    if "target" not in prediction:
        return None
    targets, places = prediction["target"], prediction["places"]
    return sum(any(math.dist(t, p) < 1 for p in places) for t in targets), len(targets) + len(places)


def f1(records):
    return 2 * sum(near for near, _ in records) / sum(every for _, every in records)


@dataclass(frozen=True)
class Slots:
    """For each set some places, of which each target should have one nearby.

    Args:
        count: of the places.
    """

    count: int = 2

    corpus_metrics: ClassVar = (CorpusMetric("f1", hits, f1),)


class SlotsTask(Task):
    """loss = sum over target vectors of the squared distance of the nearest place."""

    target_kind = "sets"
    monitor = ("distance", "min")

    def __init__(self, config, width, encoding):
        super().__init__()
        self.config = config
        self.pool, self.head = pooling("statistics", width), nn.Linear(2 * width, 2 * config.count)
        self.register_buffer("center", torch.zeros(2))

    def observe(self, batch):
        self.center.copy_(batch.target_sets.values.mean(0))

    def forward(self, hidden, batch):
        return self._places(self.head(self.pool(hidden)).view(-1, 2))

    def _places(self, values):
        return VectorSets(values, Layout.of_lengths([self.config.count] * (len(values) // self.config.count)))

    def _distances(self, output, batch):
        targets = batch.target_sets
        places = output.values.view(-1, self.config.count, 2)[targets.layout.set_of_row]
        return (places - targets.values[:, None]).square().sum(2).amin(1)

    def loss(self, output, batch):
        distances = self._distances(output, batch)
        return distances.sum(), torch.tensor(len(distances))

    def metrics(self):
        return MetricCollection({"distance": MeanMetric()})

    def score(self, metrics, output, batch):
        metrics.update(self._distances(output, batch))

    def trivial(self, batch):
        return self._places(self.center.expand(len(batch) * self.config.count, 2))

    def predictions(self, output, batch):
        targets = [None] * len(batch) if batch.targets is None else batch.target_sets.unpack()
        found = []
        for name, places, target in zip(batch.names, output.unpack(), targets, strict=True):
            answer = {} if target is None else {"target": target.tolist()}
            found.append({"name": name, "places": places.tolist()} | answer)
        return found


@dataclass(frozen=True)
class Compared(PerSetLabel):
    """A label for each pair of a set and its context."""


class ComparedTask(SetLabelTask):
    """The usual label, from the difference of the set's vector and of its context's."""

    def __init__(self, config, width, encoding):
        super().__init__(config, width, encoding)
        self.other = nn.Linear(encoding.width, width)

    def forward(self, hidden, batch):
        return self.head(self.embed(hidden) - self.other(self.pool(batch.context)))


@dataclass(frozen=True)
class Contested(PerSetNumber):
    """A number for each set, from vectors in which a critic should not find what the context is."""


class ContestedTask(SetNumberTask):
    """The critic guesses the context's mean from the pooled vectors; the model is trained against it."""

    def __init__(self, config, width, encoding):
        super().__init__(config, width, encoding)
        self.critic = nn.Linear(width, encoding.width)

    def guess(self, hidden, batch):
        """The sum of the critic's squared errors."""
        return (self.critic(self.pool(hidden)) - self.pool(batch.context)).square().sum()

    def learner(self, base):
        return type("ContestedLearner", (_TwoOptimizers, base), {})


class _TwoOptimizers:
    """A step of the critic with plain momentum, then one of everything else against it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.automatic_optimization = False

    def configure_optimizers(self):
        usual, critics = super().configure_optimizers(), list(self.task.critic.parameters())
        for group in usual["optimizer"].param_groups:
            group["params"] = [p for p in group["params"] if all(p is not other for other in critics)]
        critic = torch.optim.SGD(critics, 0.01, momentum=0.9)
        return [usual["optimizer"], critic], [usual["lr_scheduler"]]

    def training_step(self, batch, batch_idx):
        (main, _), (_, critic) = self.optimizers(), self.optimizers(use_pl_optimizer=False)
        hidden = self.model(batch)
        critic.zero_grad()
        self.manual_backward(self.task.guess(hidden.with_values(hidden.values.detach()), batch) / len(batch))
        critic.step()
        main.zero_grad()
        loss = self.scaled(*self.task.loss(self.task(hidden, batch), batch))
        self.manual_backward(loss - 0.1 * self.task.guess(hidden, batch) / len(batch))
        self.clip_gradients(main, self.experiment.training.clip, "norm")
        main.step()
        self.lr_schedulers().step()


KINDS["data"]["Toys"] = Kind("toys")
KINDS["task"] |= {name: Kind("toys", f"toys:{name}Task") for name in ("Slots", "Compared", "Contested")}
TASKS = {"ends": Slots(), "higher": Compared(), "sum": Contested()}


def experiment(target, **training):
    options = {
        "epochs": 3,
        "batch_vectors": 32,
        "checkpoint_every": 4,
        "log_every": 1,
        "device": "cpu",
        "progress": False,
    }
    return Experiment(
        "toys",
        Toys(target=target),
        Encoder(width=8, layers=1, heads=2, feed_forward=8, dropout=0.1, positions=Positions("none")),
        TASKS[target],
        Optimizer(learning_rate=1e-2, warm_up=3),
        replace(Training(), **(options | training)),
    )
