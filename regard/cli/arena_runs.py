"""Runs of the arena: systems of equal size trained one after another, and their scores in one table."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regard.cli.folders import expand
from regard.errors import InputError, nearest
from regard.files import read_json
from regard.models.encoder import Encoder
from regard.recipes import RECIPES
from regard.recipes.systems import SYSTEMS, name_of, system
from regard.train import Experiment
from regard.train.card import read_facts
from regard.train.experiment import by_seed
from regard.train.folder import CONFIG, read_config

__all__ = ["TASKS", "UnscoredError", "missing", "scores", "show", "train"]

TASKS = tuple(name.removeprefix("arena-") for name in RECIPES if name.startswith("arena-"))
"""The tasks that can be trained."""

# What a system decides.
_OF_SYSTEMS = ("--model.attention", "--model.mixer", "--model.norm")
_COLUMNS = ("task", "system", "seeds", "accuracy", "without looking", "parameters", "trained", "steps", "seconds")


def train(task: str, systems: Sequence[str], data: str | None, folder: Path, options: Sequence[str]) -> None:
    """Train the recipe of a task once with each system, and evaluate it: a run `TASK-SYSTEM` below a folder for each.

    A run that has been evaluated is left as it is, one that was ended goes on.

    Args:
        task: one of `TASKS`. systems: names of `SYSTEMS` or text forms. data: the folder of the task; None for what is published.
        folder: of the runs. options: further ones of `regard train`.

    Raises:
        InputError: an unknown task or system, or what training and evaluation refuse.
    """
    from regard.cli import evaluate
    from regard.cli import train as trained

    if task not in TASKS:
        raise InputError(f"the arena has no task {task!r}: {nearest(task, TASKS)}")
    for option in options:
        if option.partition("=")[0] in _OF_SYSTEMS:
            raise InputError(f"arena train has {option}, expected --attention, which says what each run attends by")
    recipe = f"arena-{task}"
    model = RECIPES[recipe].experiment().model
    # All of them before the first is trained.
    made = {name: system(name).of(model) for name in systems or SYSTEMS}
    for name, options_of in made.items():
        run = folder / f"{task}-{_called(name)}"
        if (run / CONFIG).is_file():
            _check_same(run, options_of)
        if (run / "evaluation.json").is_file():
            print(f"{run} is there already")
            continue
        if (run / CONFIG).is_file():
            trained.run(["--resume", str(run)])
        else:
            given = [] if data is None else ["--data.path", data]
            chosen = [f"{each}={getattr(options_of, each.removeprefix('--model.'))}" for each in _OF_SYSTEMS]
            trained.run([recipe, "--folder", str(run), *given, *chosen, *options])
        evaluate.run([str(run)])


def _called(name: str) -> str:
    """What a run's folder is called by: a system's name, or the beginning of a text form and what tells it from all others.

    >>> _called("local"), _called("Attention(pattern=Causal())")
    ('local', 'attention-pattern-causal-9705ec89')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if name in SYSTEMS else f"{plain[:60].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _check_same(run: Path, model: Encoder) -> None:
    """Refuse a run that is there already and attends otherwise.

    Raises:
        InputError: its model has another attention, mixer or norm.
    """
    there: Any = read_config(run).model
    for option in _OF_SYSTEMS:
        name = option.removeprefix("--model.")
        if getattr(there, name, None) != getattr(model, name):
            raise InputError(
                f"{run} has model.{name} {getattr(there, name, None)!r}, expected {getattr(model, name)!r}"
            )


class _Score(NamedTuple):
    """What a run scored, and how it was trained."""

    folder: Path
    experiment: Experiment
    task: str
    system: str
    accuracy: float
    baseline: float
    parameters: int
    trained: str
    steps: float
    seconds: float


class UnscoredError(InputError):
    """A run that has no score in the arena: it is of another recipe, or was not evaluated."""


def _score(folder: Path) -> _Score:
    experiment = read_config(folder)
    if experiment.recipe.removeprefix("arena-") not in TASKS:
        raise UnscoredError(f"{folder} is a run of {experiment.recipe}, expected one of a task of the arena")
    path = folder / "evaluation.json"
    if not path.is_file():
        raise UnscoredError(f"{folder} has no evaluation.json, expected a run that `regard evaluate` has evaluated")
    found, facts = read_json(path), read_facts(folder)
    try:
        accuracy, baseline = (float(found[name]["accuracy"]) for name in ("metrics", "baseline"))
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path} has no accuracy beside that of its baseline, expected what evaluation wrote"
        ) from None
    task = experiment.recipe.removeprefix("arena-")
    how = _trained(experiment)
    try:
        name, steps = name_of(experiment.model), float(facts.get("steps", 0))
    except (TypeError, ValueError):
        raise InputError(f"{folder / 'card.md'} has steps {facts['steps']!r}, expected their number") from None
    return _Score(folder, experiment, task, name, accuracy, baseline, facts["parameters"], how, steps, facts["seconds"])


def _trained(experiment: Experiment) -> str:
    """How much of the published training it had."""
    published = (
        RECIPES[experiment.recipe].experiment().training if experiment.recipe in RECIPES else experiment.training
    )
    chosen = experiment.training
    how = f"{chosen.minutes:g} minutes" if chosen.minutes else f"{chosen.epochs} of {published.epochs} epochs"
    return f"{how} after {Path(chosen.start).name}" if chosen.start else how


def scores(runs: Sequence[str], leave_out: Callable[[UnscoredError], None] | None = None) -> list[dict[str, Any]]:
    """A row for each task and system, the best system of a task first; runs that differ in their seed alone are one row.

    Args:
        runs: run folders, and folders of them.
        leave_out: is told of each run without a score that a folder holds, which then is left out; None refuses it.

    Raises:
        InputError: a folder that is no evaluated run of the arena, or two runs that do not even differ in their seed.
    """
    found = []
    for folder in expand(runs):
        try:
            score = _score(folder)
        except UnscoredError as error:
            if leave_out is None or str(folder) in {str(Path(name)) for name in runs}:
                raise
            leave_out(error)
            continue
        found.append(score)
    rows = []
    for group in by_seed([score.experiment for score in found]):
        members = [found[n] for n in group]
        first, values = members[0], [score.accuracy for score in members]
        seeds: dict[int, Path] = {}
        for score in members:
            other = seeds.setdefault(score.experiment.training.seed, score.folder)
            if other != score.folder:
                raise InputError(
                    f"{score.folder} and {other} are the same training, expected one of them, or other seeds"
                )
        row = {"task": first.task, "system": first.system, "seeds": len(members), "accuracy": statistics.fmean(values)}
        row |= {"deviation": statistics.stdev(values)} if len(values) > 1 else {}
        row |= {"without looking": first.baseline, "parameters": first.parameters, "trained": first.trained}
        means = {name: statistics.fmean(getattr(score, name) for score in members) for name in ("steps", "seconds")}
        rows.append(row | means)
    return sorted(rows, key=lambda row: (TASKS.index(row["task"]), -row["accuracy"]))


def missing(rows: Iterable[dict[str, Any]]) -> list[str]:
    """A sentence for each task of the rows about the systems that it has no row of.

    >>> missing([{"task": "text", "system": name} for name in SYSTEMS if name not in ("local", "etc")])
    ['text: no run of local, etc yet']
    """
    there: dict[str, set[str]] = {}
    for row in rows:
        there.setdefault(row["task"], set()).add(row["system"])
    lacking = {task: [name for name in SYSTEMS if name not in systems] for task, systems in there.items()}
    return [f"{task}: no run of {', '.join(names)} yet" for task, names in lacking.items() if names]


def show(rows: Iterable[dict[str, Any]], as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    from regard.cli.table import print_table

    if as_json:
        print(json.dumps(list(rows), indent=1))
        return
    cells = []
    for row in rows:
        spread = f" ± {row['deviation']:.4f}" if "deviation" in row else ""
        values = row | {
            "accuracy": f"{row['accuracy']:.4f}{spread}",
            "without looking": f"{row['without looking']:.4f}",
            "parameters": f"{row['parameters']:,}",
            "steps": f"{row['steps']:,.0f}",
            "seconds": f"{row['seconds']:.0f}",
        }
        cells.append([str(values[name]) for name in _COLUMNS])
    print_table(_COLUMNS, cells)
