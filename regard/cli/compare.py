"""`regard compare`: runs side by side, with what chance alone could explain."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regard.cli.folders import expand
from regard.cli.options import parse, parser
from regard.cli.table import print_table
from regard.errors import InputError
from regard.inspector.compare import CorpusOutcome, Outcome, Verdict, holm, interval, mean, paired
from regard.inspector.grading import Graded, grade
from regard.tasks.corpus import CorpusMetric, corpus_metrics
from regard.train.card import read_facts
from regard.train.experiment import by_seed
from regard.train.folder import read_config

__all__ = ["run"]

_DESCRIPTION = """Runs that were evaluated on the same test part: metric with its 95 % interval, the difference from the
first run with a paired test, parameters, and seconds of training. Runs that differ in their seed alone are one row."""


@dataclass(frozen=True)
class _Row:
    """Runs of one experiment that differ in their seed alone.

    Args:
        name: what to call them.
        values: the metric of each run.
        outcome: of the run, or the mean of the runs.
        parameters: of the model.
        seconds: the mean time of a training.
    """

    name: str
    values: Sequence[float]
    outcome: Outcome | CorpusOutcome
    parameters: int
    seconds: float


def run(arguments: Sequence[str]) -> int:
    options = parser("compare", _DESCRIPTION)
    options.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run folder, or a folder of them; the first is compared with"
    )
    folders = expand(parse(options, arguments).runs)
    graded = [grade(folder / "predictions-test.jsonl", *_metrics(folder)) for folder in folders]
    for folder, other in zip(folders, graded, strict=True):
        _check_same_test(folders[0], graded[0], folder, other)
    shared = [metric for metric in graded[0].outcomes if all(metric in other.outcomes for other in graded)]
    if not shared:
        raise InputError(f"the runs share no metric with {folders[0]}, expected runs of one task")
    for metric in shared:
        rows = _rows(folders, graded, metric)
        _print(metric, rows, [paired(row.outcome, rows[0].outcome) for row in rows[1:]], graded[0])
        if metric != shared[-1]:
            print()
    return 0


def _metrics(folder: Path) -> tuple[Sequence[CorpusMetric], bool]:
    """The metrics of whole parts, and whether the area under the ROC curve is wanted."""
    # A folder without predictions is refused for that, whatever else it lacks.
    if not (folder / "predictions-test.jsonl").is_file():
        return (), False
    task = read_config(folder).task
    return corpus_metrics(task), bool(getattr(task, "roc_auc", False))


def _check_same_test(first: Path, graded: Graded, folder: Path, other: Graded) -> None:
    if graded.test == other.test:
        return
    lengths = len(graded.test), len(other.test)
    if lengths[0] != lengths[1]:
        found = f"{lengths[0]:,} and {lengths[1]:,} sets"
    else:
        found = next(f"{a[0]!r} and {b[0]!r}" for a, b in zip(graded.test, other.test, strict=True) if a != b)
    raise InputError(
        f"{first} and {folder} were evaluated on different test parts ({found}), expected the same sets and targets"
    )


def _rows(folders: Sequence[Path], graded: Sequence[Graded], metric: str) -> list[_Row]:
    """One row for each experiment, in the order in which they are named first."""
    return [
        _row([folders[n] for n in members], [graded[n].outcomes[metric] for n in members])
        for members in by_seed([read_config(folder) for folder in folders])
    ]


def _row(folders: Sequence[Path], outcomes: Sequence[Outcome | CorpusOutcome]) -> _Row:
    facts = [read_facts(folder) for folder in folders]
    return _Row(
        name=_name(folders),
        values=[outcome.metric for outcome in outcomes],
        outcome=mean(outcomes),
        parameters=facts[0]["parameters"],
        seconds=statistics.fmean(fact["seconds"] for fact in facts),
    )


def _name(folders: Sequence[Path]) -> str:
    """The run's folder; for several seeds what their folders share."""
    if len(folders) == 1:
        return str(folders[0])
    shared = re.sub(r",?\bseed=\d+$", "", folders[0].name)
    return str(folders[0].parent / shared) if shared != folders[0].name else f"{folders[0]} and {len(folders) - 1} more"


def _print(metric: str, rows: Sequence[_Row], verdicts: Sequence[Verdict], first: Graded) -> None:
    columns = ["run", "seeds", metric, "95 % interval"]
    columns += ["minus first", "95 % interval", "p"] if verdicts else []
    columns += ["parameters", "seconds"]
    adjusted = holm([verdict.p for verdict in verdicts])
    cells = []
    for n, row in enumerate(rows):
        spread = f" ± {statistics.stdev(row.values):.4f}" if len(row.values) > 1 else ""
        line = [
            row.name,
            str(len(row.values)),
            f"{statistics.fmean(row.values):.4f}{spread}",
            _span(*interval(row.outcome)),
        ]
        if verdicts and n == 0:
            line += ["", "", ""]
        elif verdicts:
            verdict = verdicts[n - 1]
            line += [f"{verdict.difference:+.4f}", _span(verdict.low, verdict.high), f"{adjusted[n - 1]:.4f}"]
        cells.append([*line, f"{row.parameters:,}", f"{row.seconds:.0f}"])
    print_table(columns, cells)
    print("\n" + "\n".join(_notes(rows, verdicts, first)))


def _notes(rows: Sequence[_Row], verdicts: Sequence[Verdict], first: Graded) -> list[str]:
    """How the numbers came about."""
    units = f"{rows[0].outcome.units:,} test {first.unit}s"
    kinds = {"Wilson's" if row.outcome.binary else f"bootstrap over the {units}" for row in rows}
    notes = [f"Intervals: {', '.join(sorted(kinds))}."]
    if verdicts:
        methods = ", ".join(sorted({verdict.method for verdict in verdicts}))
        several = "; p after Holm's correction for several tests" if len(verdicts) > 1 else ""
        notes.append(f"Test: {methods}, paired over the {units}{several}.")
    if first.unit == "target":
        notes.append(
            "The test part is one set, so its targets are taken as independent, which neighbors are not quite."
        )
    if any(len(row.values) > 1 for row in rows):
        notes.append("± is the standard deviation over seeds; intervals and test are about these trained models.")
    return notes


def _span(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}"
