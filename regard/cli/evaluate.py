"""`regard evaluate`: metrics on a part of the data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from regard.cli.folders import expand
from regard.cli.options import add_weights, parse, parser, weights_of
from regard.cli.table import print_table
from regard.data.targets import listed_labels
from regard.errors import InputError, check_number

__all__ = ["run"]

_DESCRIPTION = """Metrics on the test part, beside those of the best model that never looks at its input:
the most frequent label, or the mean. Writes evaluation.json and predictions-test.jsonl into the run folder.
A part of at most 1,000 sets has intervals, as `regard compare` computes them.
Other data than the run's, by --data.path, and other --weights are written under names of their own.
The first also holds the numbers of each label and which labels are confused; --per-class and --confusion print them."""
_FEW = 1000  # sets, or targets of one set, whose choice is told as an interval
_MATRIX = 15  # labels of a matrix that is printed
_REPORTS = {"labels": "--per-class", "confusion": "--confusion"}


def run(arguments: Sequence[str]) -> int:
    options = parser("evaluate", _DESCRIPTION)
    options.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, or a folder of them")
    options.add_argument(
        "--part", type=Literal["test", "validation", "train", "all"] | None, help="of the data; test if not given"
    )
    options.add_argument(
        "--data.path",
        metavar="PATH",
        help="where the data lie now, or other labeled data: all of it if it is not divided",
    )
    options.add_argument(
        "--memory",
        type=int,
        metavar="N",
        help="how many vectors a model of Segments remembers; as many as while it was trained if not given",
    )
    add_weights(options)
    options.add_argument("--per-class", action="store_true", help="precision, recall and F1 of each label")
    options.add_argument(
        "--confusion", action="store_true", help="which labels are taken for which; of many the most frequent pairs"
    )
    chosen = parse(options, arguments)
    check_number("evaluate", "--memory", chosen.memory, "int | None", least=0)
    folders = expand(chosen.runs)
    asked = [name for name, wanted in (("labels", chosen.per_class), ("confusion", chosen.confusion)) if wanted]

    from regard.train import Run

    weights = weights_of(chosen)
    runs = {folder: Run.open(folder, weights) for folder in folders} if asked else {}
    # All of them before any is evaluated.
    for folder, opened in runs.items():
        for name in asked:
            if name not in opened.task.reports:
                kind = type(opened.experiment.task).__name__
                raise InputError(f"{folder} has the task {kind}, which has nothing for {_REPORTS[name]} to show")
    for folder in folders:
        opened = runs.pop(folder) if asked else Run.open(folder, weights)
        found = opened.evaluate(chosen.part, chosen.data.path, chosen.memory)
        spans = _intervals(folder, found)
        baselines = {"without looking": found["baseline"], **found.get("baselines", {})}
        rows = []
        for name, value in found["metrics"].items():
            cells = [name, f"{value:.4f}", *([spans.get(name, "")] if spans else [])]
            rows.append([*cells, *(f"{each[name]:.4f}" if name in each else "" for each in baselines.values())])
        counts = ", ".join(f"{found[unit]:,} {unit}" for unit in ("sets", "vectors", "targets"))
        part = "all parts" if found["part"] == "all" else f"{found['part']} part"
        data = _about(found)
        columns = ["metric", "model", *(["95 % interval"] if spans else []), *baselines]
        print_table(columns, rows, f"{folder}, {part}{data}: {counts}")
        if "unseen" in found:
            print(listed_labels(found["unseen"], found["part"]))
        if chosen.per_class:
            print()
            _print_labels(found["labels"])
        if chosen.confusion:
            print()
            _print_confusion(found["confusion"])
    return 0


def _about(found: dict[str, Any]) -> str:
    """Of what data, and with what weights, where either is another than the run's."""
    data = f" of {found['path']}" if "path" in found else ""
    return data + (f", weights in {found['weights']}" if "weights" in found else "")


def _intervals(folder: Path, found: dict[str, Any]) -> dict[str, str]:
    """What the choice of test examples leaves open of each metric, where they are few: chance is largest there."""
    from regard.inspector.compare import interval
    from regard.inspector.grading import grade
    from regard.tasks.corpus import corpus_metrics
    from regard.train.folder import read_config

    task = read_config(folder).task
    try:
        graded = grade(folder / found["predictions"], corpus_metrics(task), bool(getattr(task, "roc_auc", False)))
    except InputError:
        # Answers that are compared otherwise, such as several labels.
        return {}
    spans = {}
    for name, outcome in graded.outcomes.items():
        if outcome.units <= _FEW:
            low, high = interval(outcome)
            spans[name] = f"{low:.4f} to {high:.4f}"
            if name == "mse":
                spans["rmse"] = f"{low**0.5:.4f} to {high**0.5:.4f}"
    return spans


def _print_labels(labels: dict[str, dict[str, Any]]) -> None:
    """A row for each label."""
    columns = list(next(iter(labels.values()), {}))
    rows = [[label, *(_number(scores[name]) for name in columns)] for label, scores in labels.items()]
    print_table(["label", *columns], rows)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _print_confusion(confusion: dict[str, Any]) -> None:
    """The matrix where it fits the eye, and the pairs that are confused most often."""
    labels = confusion.get("labels", ())
    if 0 < len(labels) <= _MATRIX:
        rows = [
            [label, *(f"{count:,}" for count in counts)]
            for label, counts in zip(labels, confusion["counts"], strict=True)
        ]
        print_table(["target \\ predicted", *labels], rows)
        return
    total = confusion["left_out"] + sum(count for _, _, count in confusion["confused"])
    more = f"; {confusion['left_out']:,} others are of rarer pairs" if confusion["left_out"] else ""
    rows = [[target, label, f"{count:,}"] for target, label, count in confusion["confused"]]
    print_table(["target", "predicted", "count"], rows, f"{total:,} mistakes{more}")
