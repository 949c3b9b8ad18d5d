"""The output of a model on a part of the data, and the metrics of the best model that never looks at its input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from regard.data.batch import Batch, collate, collate_targets
from regard.data.batching import measured
from regard.data.examples import Dataset, Example
from regard.data.targets import unseen_labels
from regard.errors import InputError, nearest
from regard.layers.memory import Memory
from regard.models.layerwise import layer_by_layer
from regard.models.model import Model
from regard.sets import VectorSets
from regard.tasks.base import Task
from regard.tasks.corpus import CorpusMetric, corpus_metrics
from regard.train.experiment import Experiment, Training
from regard.train.pairs import check_pairs

__all__ = [
    "defined",
    "device_of",
    "hidden_of",
    "in_order",
    "run",
    "targets_of",
    "trivial_metrics",
    "validated",
    "watched",
]


def in_order(lengths: Sequence[int], budget: int) -> Iterator[range]:
    """Consecutive examples that together hold at most `budget` vectors, or one that holds more.

    >>> list(in_order([3, 3, 9, 1], 6))
    [range(0, 2), range(2, 3), range(3, 4)]
    """
    first = total = 0
    for i, length in enumerate(lengths):
        if i > first and total + length > budget:
            yield range(first, i)
            first, total = i, 0
        total += length
    if first < len(lengths):
        yield range(first, len(lengths))


def device_of(options: Training) -> torch.device:
    """The device to compute on: a GPU if there is one, unless the options ask for the CPU.

    So a run that was trained on a GPU is evaluated, and predicts, where there is none.
    """
    return torch.device("cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu")


@torch.no_grad()
def run(
    model: nn.Module,
    task: Task,
    part: Dataset,
    options: Training,
    output: Callable[[VectorSets], Any] | None = None,
    answers: bool = True,
    memory: Memory | None = None,
) -> Iterator[tuple[Batch, Any]]:
    """Each batch of a part, in order, and the task's output for it, both on the CPU.

    Args:
        memory: of the streams of a part that has some, which a model that remembers segments goes on from.
        output: what to compute from the hidden vectors in place of the task's output.
        answers: whether the output is all that is written (`Task.answer`), or what the loss and the metrics need.
    """
    device = device_of(options)
    check_pairs(model, part, device)
    model.to(device).eval()
    task.to(device).eval()
    unseen = (*unseen_labels(part),)
    for indices in in_order(*measured(part, options.batch_vectors)):
        batch = replace(collate([part[i] for i in indices]), unseen=unseen)
        moved = task.read(batch.to(device))
        hidden = hidden_of(model, moved, options, memory)
        of_task = task.answer if answers else task
        computed = of_task(hidden, moved) if output is None else output(hidden)
        yield batch, pytree.tree_map_only(torch.Tensor, torch.Tensor.cpu, computed)
    model.cpu()
    task.cpu()


def hidden_of(model: nn.Module, batch: Batch, options: Training, memory: Memory | None = None) -> VectorSets:
    """The hidden vectors that a model in evaluation gives, layer by layer where there are more than `training.layer_rows`.

    Args:
        memory: that the model goes on from, where it remembers segments.
    """
    if memory is not None:
        remembered: VectorSets = model(batch, memory=memory)
        return remembered
    if isinstance(model, Model) and 0 < options.layer_rows < batch.inputs.layout.total:
        return layer_by_layer(model, batch, options.layer_rows)
    hidden: VectorSets = model(batch)
    return hidden


def targets_of(part: Dataset) -> Batch:
    """All targets of a part as recorded, gaps included, in a batch whose inputs have no features; no example is read.

    Raises:
        InputError: a part without examples, or an example that is not labeled.
    """
    bare = []
    for i, (target, length) in enumerate(zip(part.targets, part.lengths, strict=True)):
        if target is None:
            raise InputError(f"{part[i].name} has no target, expected a labeled part")
        # Lengths may be upper bounds, but not where each vector has a target.
        count = len(target) if part.target_kind == "vector" and isinstance(target, np.ndarray) else length
        bare.append(Example(np.zeros((count, 0)), target, f"example {i}", part.target_kind))
    if not bare:
        raise InputError("the part has no examples, expected at least one")
    return replace(collate_targets(bare), unseen=(*unseen_labels(part),))


def validated(task: Task, experiment: Experiment) -> tuple[CorpusMetric, ...]:
    """The corpus metrics that validation computes from written predictions (`training.corpus_every`), beside the task's own.

    Raises:
        InputError: it should, and there is none.
    """
    if not experiment.training.corpus_every:
        return ()
    own = task.metrics()
    found = tuple(each for each in corpus_metrics(experiment.task) if each.name not in own and each.installed)
    if not found:
        every = f"training.corpus_every is {experiment.training.corpus_every}"
        raise InputError(
            f"{every}, and the task has no other metrics of whole parts than every validation has, expected 0"
        )
    return found


def watched(task: Task, experiment: Experiment) -> tuple[str, str]:
    """The validation metric that says which weights are the best, and whether by its "max" or "min".

    Raises:
        InputError: `training.watch` names no metric of the task, one that does not say whether more or less is better, or one
            that validation is not asked for.
    """
    name = experiment.training.watch
    if name in ("", task.monitor[0]):
        return task.monitor
    metrics = task.metrics()
    corpus = {each.name: each for each in corpus_metrics(experiment.task) if each.name not in metrics}
    if name in corpus:
        if not corpus[name].installed:
            raise InputError(f"training.watch is {name!r}, which needs {corpus[name].package}: it is not installed")
        if not experiment.training.corpus_every:
            missing = "expected --training.corpus_every of at least 1"
            raise InputError(f"training.watch is {name!r}, which is computed from written predictions: {missing}")
        return name, "max" if corpus[name].higher_is_better else "min"
    known = ("loss", *(str(each) for each in metrics.keys()), *corpus)  # noqa: SIM118
    if name not in known:
        raise InputError(f"training.watch is {name!r}, which the task does not compute: {nearest(name, known)}")
    higher = False if name == "loss" else metrics[name].higher_is_better
    if higher is None:
        raise InputError(f"training.watch is {name!r}, which does not say whether more of it is better: choose another")
    return name, "max" if higher else "min"


def trivial_metrics(
    task: Task, batch: Batch, corpus: Sequence[CorpusMetric] = (), examples: int | None = None
) -> dict[str, float]:
    """The metrics of the best model that never looks at its input, for these targets.

    Args:
        corpus: those of whole parts that are wanted too. examples: how many, the first ones, these are of; None for all.
    """
    metrics, output = task.metrics(), task.trivial(batch)
    task.score(metrics, output, batch)
    written = task.predictions(output, batch)[:examples] if corpus else []
    return defined(metrics.compute()) | defined({metric.name: metric.of(written) for metric in corpus})


def defined(metrics: dict[str, Any]) -> dict[str, float]:
    """Metrics as plain numbers; one that is not defined is left out."""
    numbers = {name: float(value) for name, value in metrics.items()}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}
