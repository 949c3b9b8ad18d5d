"""Metrics of a model on a part of the data, beside those of the best model that never looks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from regard.data.batch import Batch, collate
from regard.data.examples import Dataset
from regard.errors import InputError
from regard.sets import VectorSets
from regard.tasks.modules import Task
from regard.train.experiment import Training

__all__ = ["defined", "device_of", "in_order", "run", "targets_of", "trivial_metrics"]


def in_order(lengths: Sequence[int], budget: int) -> Iterator[range]:
    """The examples in their own order, as many at a time as hold `budget` vectors, and at least one.

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
    """Where to compute: a GPU where there is one, unless the options say otherwise.

    Raises:
        InputError: they ask for a GPU where there is none.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("training.device is 'cuda', but torch finds no GPU here")
    return torch.device("cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu")


@torch.no_grad()
def run(
    model: nn.Module,
    task: Task,
    part: Dataset,
    options: Training,
    output: Callable[[VectorSets], torch.Tensor] | None = None,
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Each batch of a part, in order, and the task's output for it, or another one of its own, both on the CPU."""
    output = output or task
    device = device_of(options)
    model.to(device).eval()
    task.to(device).eval()
    for indices in in_order(part.lengths, options.batch_vectors):
        batch = collate([part[i] for i in indices])
        sets = model(batch.to(device))
        yield batch, output(sets).cpu()
    model.cpu()
    task.cpu()


def targets_of(part: Dataset) -> torch.Tensor:
    """`[targets]` all targets of a part, those that are not there included.

    Raises:
        InputError: a part without examples or without targets, or an example that is not labeled.
    """
    found = []
    for i in range(len(part)):
        example = part[i]
        if example.target is None:
            raise InputError(f"{example.name} has no target, expected a labeled part")
        found.append(torch.as_tensor(example.target).reshape(-1))
    if not found:
        raise InputError("the part has no examples, expected at least one")
    return torch.cat(found)


def trivial_metrics(task: Task, targets: torch.Tensor) -> dict[str, float]:
    """What the most frequent label, or the mean, of the training part scores on these targets."""
    metrics = task.metrics()
    task.score(metrics, task.trivial(targets), targets)
    return defined(metrics.compute())


def defined(metrics: dict[str, Any]) -> dict[str, float]:
    """Metrics as plain numbers; one that is not defined is left out."""
    found = {name: float(value) for name, value in metrics.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}
