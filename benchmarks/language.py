"""Language models: hidden words of held-out novels, and the next character of Shakespeare's plays, beside counts of n-grams.

    python -m benchmarks.language gaps RUN [RUN ...]          # runs of `pretraining`
    python -m benchmarks.language characters RUN [RUN ...]    # runs of `characters`
    python -m benchmarks.language begun RUN [RUN ...]         # runs that began with one of `pretraining`, and others beside them

Reads the test part once for each run, and writes `results/gaps.json`, `results/characters.json` or `results/begun.json`. Of the
novels a sixth or so of the tokens is hidden, all of them by `[MASK]`, the same ones for every model that cuts texts alike. The
n-grams are counted in the training part of the first run: those of gaps take the most frequent token between the same two
neighbors, else after the one before, else of all; those of characters are interpolated (Witten and Bell 1991), with the order
that validation is best with.
"""

from __future__ import annotations

import argparse
import lzma
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from benchmarks.machine import machine, write
from regard.data.encoding import Encoding
from regard.data.examples import IGNORE, Array, Example, Listed, Part
from regard.data.masking import mask_id
from regard.data.passages import Passages
from regard.data.running_text import RunningText
from regard.tasks.masked import MaskedTokenTask
from regard.tasks.replaced import ReplacedTokenTask
from regard.train import Run
from regard.train.card import read_facts
from regard.train.experiment import by_seed
from regard.train.scoring import run as outputs

__all__ = ["by_neighbors", "gaps", "main", "nats", "rows_of_begun", "rows_of_characters", "rows_of_gaps"]

_SHARE = 0.15
_ORDERS = range(1, 8)


def gaps(data: Passages, encoding: Encoding) -> Listed:
    """The test novels in passages in which hidden tokens are all `[MASK]`."""
    part, mask = replace(data, dataset="novels", mask=_SHARE).part("test", encoding), mask_id(encoding)
    examples = []
    for n in range(len(part)):
        example = part[n]
        seen = np.where(_target(example) == IGNORE, example.values, mask)
        examples.append(Example(seen, example.target, example.name, "vector"))
    return Listed(examples)


def _target(example: Example) -> Array:
    """The targets of an example that has one for each vector."""
    return cast("Array", example.target)


def by_neighbors(train: Sequence[Array], seen: Array) -> dict[str, Array]:
    """`[n]` for each token of a sequence the one that counts say, by the name of what is counted.

    Args:
        train: `[m]` ids each. seen: `[n]` ids, with an id that no training sequence has where one is to be guessed.

    >>> found = by_neighbors([np.array([1, 2, 3, 2, 4, 2, 3])], np.array([1, 9, 3, 9]))
    >>> {name: guessed.tolist() for name, guessed in found.items()}
    {'most frequent': [2, 2, 2, 2], 'after the one before': [1, 2, 2, 2], 'between both neighbors': [1, 2, 2, 2]}
    """
    joined = np.concatenate([np.append(np.append(-1, ids), -1) for ids in train]).astype(np.int64) + 1
    around = np.append(np.append(-1, seen), -1).astype(np.int64) + 1
    size = int(max(joined.max(), around.max())) + 1
    common = int(np.bincount(joined[joined > 0]).argmax())
    found = {"most frequent": np.full(len(seen), common)}
    middle = joined[1:-1]
    keys = {"after the one before": (joined[:-2], around[:-2])}
    keys["between both neighbors"] = (joined[:-2] * size + joined[2:], around[:-2] * size + around[2:])
    guessed = found["most frequent"]
    for name, (contexts, wanted) in keys.items():
        guessed = _most_frequent(contexts[middle > 0], middle[middle > 0], wanted, guessed)
        found[name] = guessed
    return {name: each - 1 for name, each in found.items()}


def _most_frequent(contexts: Array, tokens: Array, wanted: Array, otherwise: Array) -> Array:
    """For each wanted context the token that most often stands in it; what is given otherwise where it never was."""
    size = int(tokens.max()) + 1
    pairs, counts = np.unique(contexts * size + tokens, return_counts=True)
    order = np.lexsort((-counts, pairs // size))
    known, first = np.unique(pairs[order] // size, return_index=True)
    at = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    return np.where(known[at] == wanted, pairs[order][first][at] % size, otherwise)


def nats(train: Array, ids: Array, order: int, size: int) -> float:
    """Mean of -log p of each id but the first, given so many before it, by counts that are interpolated with those of fewer.

    p(w | c) = (N(c, w) + T(c) p(w | c')) / (N(c) + T(c)), with T(c) how many distinct ids follow c, c' the context without its
    first id, and 1 / size without counts at all.

    >>> round(nats(np.array([0, 1, 0, 1, 0, 1]), np.array([0, 1, 0]), 1, 2), 3)
    0.158
    """
    probability = np.full(len(ids) - 1, 1 / size)
    for n in range(order + 1):
        there, here = _contexts(train, n, size), _contexts(ids, n, size)
        pairs, counts = np.unique(there * size + train[n:], return_counts=True)
        known, first = np.unique(pairs // size, return_index=True)
        kinds, totals = np.diff(np.append(first, len(pairs))), np.add.reduceat(counts, first)
        # The first ids have no context of n yet, and keep what fewer say.
        wanted = here[1:] if n == 0 else here
        target = ids[1:] if n == 0 else ids[n:]
        at = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        seen = known[at] == wanted
        pair = wanted * size + target
        place = np.searchsorted(pairs, pair).clip(max=len(pairs) - 1)
        count = np.where(pairs[place] == pair, counts[place], 0)
        of_these = probability[len(probability) - len(target) :]
        mixed = (count + kinds[at] * of_these) / (totals[at] + kinds[at])
        of_these[:] = np.where(seen, mixed, of_these)
    return float(-np.log(probability).mean())


def _contexts(ids: Array, n: int, size: int) -> Array:
    """`[len(ids) - n]` one number for the n ids before each."""
    code = np.zeros(len(ids) - n, np.int64)
    for before in range(n):
        code = code * size + ids[before : len(ids) - n + before]
    return code


def _minutes(run: Run) -> float:
    return round(read_facts(run.folder)["seconds"] / 60, 1)


def _guessed(run: Run, part: Listed) -> float:
    """The share of hidden tokens that the model's best guess is right for."""
    assert isinstance(run.task, MaskedTokenTask | ReplacedTokenTask)
    metrics = run.task.metrics()
    for batch, output in outputs(run.model, run.task, part, run.experiment.training):
        run.task.score(metrics, output, batch)
    found = metrics.compute()
    return float(found.get("guess_accuracy", found["accuracy"]))


def rows_of_gaps(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each run, and for each way of cutting texts those of counts."""
    found: list[dict[str, Any]] = []
    counted: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        data = run.experiment.data
        assert isinstance(data, Passages)
        part = gaps(data, run.encoding)
        hidden = sum(int((_target(part[n]) != IGNORE).sum()) for n in range(len(part)))
        cut = f"{data.tokens}, {len(next(iter(run.encoding.columns.values()))):,}"
        facts = {"tokens": cut, "gaps": hidden}
        found.append(
            {
                "model": run.experiment.recipe,
                "objective": type(run.experiment.task).__name__,
                "precision": run.experiment.training.precision,
            }
            | facts
            | {"accuracy": round(_guessed(run, part), 4), "parameters": run.parameters, "minutes": _minutes(run)}
        )
        if cut not in counted:
            counted[cut] = [
                {"model": f"counts, {name}"} | facts | {"accuracy": round(share, 4)}
                for name, share in _counted(data, run.encoding, part).items()
            ]
    return found + [row for rows in counted.values() for row in rows]


def _counted(data: Passages, encoding: Encoding, part: Listed) -> dict[str, float]:
    train = data.part("train", encoding).ids
    # One long sequence, in which no passage is the neighbor of another.
    examples = [part[n] for n in range(len(part))]
    seen = np.concatenate([np.append(example.values, IGNORE) for example in examples])
    targets = np.concatenate([np.append(_target(example), IGNORE) for example in examples])
    seen = np.where(seen == IGNORE, len(next(iter(encoding.columns.values()))), seen)
    hidden = targets != IGNORE
    return {name: float((ids == targets)[hidden].mean()) for name, ids in by_neighbors(train, seen).items()}


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in their seed alone are together."""
    return [[runs[n] for n in members] for members in by_seed([run.experiment for run in runs])]


def _spread(values: Sequence[float]) -> str:
    """The mean, and the deviation of several seeds."""
    deviation = f" ± {statistics.stdev(values):.4f} ({len(values)} seeds)" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def rows_of_begun(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each group of runs that differ in their seed alone: what they began with, and what they reach."""
    found: list[dict[str, Any]] = []
    for group in _groups(runs):
        first, start = group[0], group[0].experiment.training.start
        before = "nothing"
        if start:
            earlier = Run.open(start)
            before = f"{_minutes(earlier)} minutes of {type(earlier.experiment.task).__name__}"
        each = [run.evaluate("test") for run in group]
        metric = each[0]["monitor"][0]
        found.append(
            {
                "model": first.experiment.recipe,
                "begun with": before,
                "metric": metric,
                "reached": _spread([float(one["metrics"][metric]) for one in each]),
                "trivial baseline": round(float(each[0]["baseline"][metric]), 4),
                "parameters": first.parameters,
                "epochs": first.experiment.training.epochs,
                "minutes": statistics.median(_minutes(run) for run in group),
            }
        )
    return found


def rows_of_characters(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each group of runs that differ in their seed alone, then those of counts and of a compressor."""
    found: list[dict[str, Any]] = []
    for group in _groups(runs):
        values = [float(run.evaluate("test")["metrics"]["nats"]) for run in group]
        attention = getattr(group[0].experiment.model, "attention", "")
        found.append(
            {
                "model": f"characters, {attention}",
                "nats per character": _spread(values),
                "parameters": group[0].parameters,
                "epochs": group[0].experiment.training.epochs,
                "minutes": statistics.median(_minutes(run) for run in group),
            }
        )
    data, encoding = runs[0].experiment.data, runs[0].encoding
    assert isinstance(data, RunningText)
    ids = {part: _characters(data, encoding, part) for part in ("train", "validation", "test")}
    size = len(next(iter(encoding.columns.values())))
    best = min(_ORDERS, key=lambda order: nats(ids["train"], ids["validation"], order, size))
    packed = len(lzma.compress(bytes(ids["train"].astype(np.uint8)) + bytes(ids["test"].astype(np.uint8)), preset=9))
    packed -= len(lzma.compress(bytes(ids["train"].astype(np.uint8)), preset=9))
    for name, value in (
        (f"counts of {best + 1} characters, interpolated", nats(ids["train"], ids["test"], best, size)),
        ("counts of one character", nats(ids["train"], ids["test"], 0, size)),
        ("xz, what the test part adds to the training part", packed * 8 * math.log(2) / len(ids["test"])),
    ):
        found.append({"model": name, "nats per character": f"{value:.4f}"})
    return found


def _characters(data: RunningText, encoding: Encoding, part: Part) -> Array:
    """`[n]` the ids of all characters of a part, each once."""
    windows = data.part(part, encoding)
    pieces = [windows[0].values[:1], *(_target(windows[n]) for n in range(len(windows)))]
    return np.concatenate(pieces).astype(np.int64)


# By what is asked: its rows, the data, and how they are divided.
_RESULTS = {
    "gaps": (rows_of_gaps, "novels, 15 % of the tokens hidden", "4 test novels, in passages as in training"),
    "characters": (
        rows_of_characters,
        "tinyshakespeare",
        "1,003,854 / 55,770 / 55,770 characters, one after another",
    ),
    "begun": (rows_of_begun, "UD English EWT (tagging), SST-2 sentences (sentiment), IMDb (reviews)", "as published"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.language")
    parser.add_argument("what", choices=tuple(_RESULTS))
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    torch.set_num_threads(1)
    options = parser.parse_args()
    rows, data, split = _RESULTS[options.what]
    found = rows([Run.open(folder) for folder in options.runs])
    write(options.what, {"case": options.what, "data": data, "split": split, "rows": found, "machine": machine()})


if __name__ == "__main__":
    main()
