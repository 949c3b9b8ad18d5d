"""`regard predict`: labels and probabilities for new inputs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from regard.cli.options import parse, parser
from regard.errors import InputError

if TYPE_CHECKING:
    from regard.train import Run

__all__ = ["run"]

_DESCRIPTION = """Labels and probabilities, one JSON object per line for each set of vectors; or a table of labels.
INPUT is what the data of the run is made of: CoNLL-U or plain text, tables or JSON lines of texts, sounds, pictures,
a folder with nodes.csv or testdata.json.
Without INPUT, or where it is -, standard input is read: a text on each line, or a JSON object with "text" on each, answered
as it arrives; or one sound or picture file."""
_VECTORS = 40  # that --show prints of one set


def run(arguments: Sequence[str]) -> int:
    options = parser("predict", _DESCRIPTION)
    options.add_argument("run", metavar="RUN", help="a run folder")
    options.add_argument("inputs", metavar="INPUT", nargs="*", help="files, or - for standard input")
    options.add_argument("--show", type=int, metavar="N", help="draw N examples of the test part instead")
    options.add_argument(
        "--csv", action="store_true", help="lines `Id,Category`: names and labels, as Kaggle takes them"
    )
    chosen = parse(options, arguments)
    if chosen.show is not None:
        if chosen.inputs or chosen.csv:
            beside = "INPUT" if chosen.inputs else "--csv"
            raise InputError(f"--show draws examples of the test part, expected no {beside} with it")
        if chosen.show < 1:
            raise InputError(f"--show is {chosen.show}, expected at least 1")
    elif not chosen.inputs and sys.stdin.isatty():
        raise InputError("predict needs an INPUT, expected files, or - to type lines")

    from regard.train import Run

    opened = Run.open(chosen.run)
    if chosen.show is not None:
        print("\n\n".join(_shown(opened, chosen.show)))
        return 0
    if chosen.csv and opened.task.target_kind != "set":
        predicted = "one label per vector" if opened.task.target_kind == "vector" else "sets"
        raise InputError(f"the run predicts {predicted}, expected one per set for --csv")
    predictions = _counted(opened.predict(chosen.inputs or ["-"]))
    if chosen.csv:
        _print_table(list(predictions))
        return 0
    for prediction in predictions:
        print(json.dumps(prediction, ensure_ascii=False), flush=True)
    return 0


def _print_table(predictions: Sequence[dict[str, Any]]) -> None:
    """`Id,Category`, then the name of each set and its label or number."""
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("Id", "Category"))
    for prediction in predictions:
        rows.writerow((prediction["name"], prediction.get("label", prediction.get("number"))))


def _shown(opened: Run, count: int) -> Iterator[str]:
    """Examples from all over the test part, drawn beside their predictions."""
    from regard.cli.draw import draw
    from regard.data.examples import Listed
    from regard.data.targets import unseen_labels
    from regard.train.scoring import run as outputs

    part = opened.experiment.data.part("test", opened.encoding)
    examples = [part[i * len(part) // count] for i in range(min(count, len(part)))]
    chosen = Listed(examples, unseen_labels(part))
    first = 0
    for batch, output in outputs(opened.model, opened.task, chosen, opened.experiment.training):
        for prediction in opened.task.predictions(output, batch):
            yield draw(chosen[first], prediction, count if len(part) == 1 else _VECTORS)
            first += 1


def _counted(predictions: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same, with their number on standard error where the predictions themselves go elsewhere."""
    if sys.stdout.isatty() or not sys.stderr.isatty():
        yield from predictions
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.completed} predicted"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=None)
        for prediction in predictions:
            progress.advance(task)
            yield prediction
