"""The model card: what was trained on what, with which seeds and versions, and how well, beside the trivial baseline."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import regard
from regard.data.fingerprint import fingerprint
from regard.data.registry import DATASETS
from regard.errors import InputError
from regard.files import read_whole
from regard.train.experiment import Experiment, to_yaml
from regard.train.folder import save
from regard.train.values import LONGEST_YAML, named, read_yaml

__all__ = ["CARD", "add_evaluation", "read_facts", "table", "write_card"]

CARD = "card.md"
_COUNTED = ("parameters", "seconds")
_SHOWN = ("torch", "lightning", "torchmetrics", "numpy", "safetensors")


def write_card(
    folder: Path,
    experiment: Experiment,
    trained: dict[str, Any],
    found: dict[str, float],
    trivial: dict[str, float],
    beginning: Sequence[str] = (),
) -> None:
    """Writes `card.md`.

    Args:
        trained: facts of the training, as they stand in the head of the card: parameters, seconds, ...
        found: what validation found at the best epoch.
        trivial: what the best model that never looks scores there.
        beginning: what was taken from the run that the training began with.
    """
    import yaml  # type: ignore[import-untyped]

    versions = {"regard": regard.__version__, "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in _SHOWN}
    head: dict[str, Any] = {
        "library_name": "regard",
        "recipe": experiment.recipe,
        "task": type(experiment.task).__name__,
        "model": type(experiment.model).__name__,
        "seed": experiment.training.seed,
        **trained,
        "validation": found,
        "validation_trivial": trivial,
        "versions": versions,
    }
    if experiment.data.path is not None and Path(experiment.data.path).exists():
        head["fingerprint"] = fingerprint(Path(experiment.data.path))
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {experiment.recipe}",
        f"{head['model']} for {head['task']}: {trained['parameters']:,} parameters, "
        f"trained in {trained['seconds']:.0f} s on {trained['device']}, the weights of epoch {trained['epoch']}.",
        *(
            [f"## Begun with {experiment.training.start}\n\n" + "\n".join(f"- {line}" for line in beginning)]
            if beginning
            else []
        ),
        f"## Data\n\n{_data(experiment)}",
        f"## Validation part\n\n{table(found, trivial)}",
        f"## Configuration\n\n```yaml\n{to_yaml(experiment)}```",
    ]
    save(folder / CARD, "\n\n".join(parts) + "\n")


def add_evaluation(folder: Path, part: str, found: dict[str, float], trivial: dict[str, float]) -> None:
    """Puts what an evaluation found into the card, in place of what an earlier one of that part found."""
    path = folder / CARD
    if not path.is_file():
        return
    title = f"Evaluation on the {part} part"
    *sections, configuration = path.read_text(encoding="utf-8").split("\n\n## ")
    kept = [each for each in sections if not each.startswith(f"{title}\n")]
    save(path, "\n\n## ".join([*kept, f"{title}\n\n{table(found, trivial)}", configuration]))


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts in the head of a run's card.

    Raises:
        InputError: the card is missing or has no head: training has not ended, or the file was altered.
    """
    path = folder / CARD
    try:
        found = read_yaml(read_whole(path, LONGEST_YAML).decode().split("---\n")[1], str(path))
    except (OSError, UnicodeDecodeError, IndexError, InputError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path} is missing or has no head, expected the card that training writes when it ends")
    for name in _COUNTED:
        value = found.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise InputError(f"{path} says {name}: {named(value)}, expected the number that training wrote")
    return found


def table(found: dict[str, float], trivial: dict[str, float]) -> str:
    """Metrics as a table in Markdown, beside those of the trivial baseline."""
    rows = [
        f"| {name} | {value:.4f} | {f'{trivial[name]:.4f}' if name in trivial else ''} |"
        for name, value in found.items()
    ]
    return "\n".join(["| metric | model | without looking |", "|---|---|---|", *rows])


def _data(experiment: Experiment) -> str:
    reader, path = type(experiment.data).__name__, experiment.data.path
    if path is not None:
        return f"The user's own, read from `{path}` by `{reader}`; its licence is for the user to state."
    published = DATASETS.get(experiment.data.published)
    if published is None:
        return f"Read by `{reader}`."
    lines = [f"{published.title}.", "", f"- source: <{published.source}>", f"- licence: {published.licence}"]
    lines += [f"- citation: {published.citation}"]
    return "\n".join(lines + [f"- `{name}`: SHA-256 `{digest}`" for name, digest in published.files.items()])
