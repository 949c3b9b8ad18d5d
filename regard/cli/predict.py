"""`regard predict`: labels and probabilities for new inputs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.cli.answers import check_conllu, conllu, table, with_all_probabilities, with_beam
from regard.cli.boxes import with_pictures
from regard.cli.gaps import filled_gaps, is_hugging_face
from regard.cli.options import add_weights, parse, parser, weights_of
from regard.cli.sources import add_sources, datasets, sources_of, with_ids
from regard.errors import InputError
from regard.files import json_line
from regard.train.folder import read_config

if TYPE_CHECKING:
    from regard.train import Run

__all__ = ["run"]

_DESCRIPTION = """Labels and probabilities, one JSON object per line for each set of vectors; or a table, or a treebank.
INPUT is what the data of the run is made of: CoNLL-U or plain text, tables or JSON lines of texts, sounds, pictures,
a folder with nodes.csv or testdata.json. A whole sentence is a text itself, and --text takes any text and never opens a file.
Without INPUT, or where it is -, standard input is read: a text on each line, or a JSON object with "text" on each, answered
as it arrives; or one sound or picture file.
RUN may also be a folder of a BERT that guesses hidden tokens, in Hugging Face's format: what may stand where a text has [MASK]."""
_OUTPUTS = ("text", "csv", "probabilities", "conllu", "id", "out")
_VECTORS = 40  # that --show prints of one set


def run(arguments: Sequence[str]) -> int:
    options = parser("predict", _DESCRIPTION)
    options.add_argument("run", metavar="RUN", help="a run folder, or a BERT in Hugging Face's format")
    add_sources(options)
    options.add_argument("--show", type=int, metavar="N", help="draw N examples of the test part instead")
    options.add_argument(
        "--csv", action="store_true", help="lines `Id,Category`: names and labels, as Kaggle takes them"
    )
    options.add_argument(
        "--probabilities", action="store_true", help="with --csv, a column of probabilities for each label"
    )
    options.add_argument(
        "--conllu", action="store_true", help="CoNLL-U: the input's lines, with the predicted column filled in"
    )
    options.add_argument(
        "--id", default="", metavar="COLUMN", help="of a table or JSON lines, which names the predictions"
    )
    options.add_argument("--beam", type=int, metavar="WIDTH", help="of sequences: so many go on at each step")
    options.add_argument("--n-best", type=int, metavar="N", help="of sequences: so many are given of each input")
    add_weights(options)
    options.add_argument(
        "--out",
        default="",
        metavar="PLACE",
        help="of boxes: a folder for the pictures with their boxes, or a file for one",
    )
    chosen = parse(options, arguments)
    _check(chosen)
    if is_hugging_face(chosen.run):
        _print(filled_gaps(chosen.run, chosen.inputs, chosen.text))
        return 0
    if chosen.show is None:
        # Before anything heavy is imported.
        reader = with_ids(read_config(Path(chosen.run)).data, chosen.id)
        sources = sources_of(reader, chosen.inputs, chosen.text, "predict")

    from regard.train import Run

    opened = with_beam(Run.open(chosen.run, weights_of(chosen)), chosen.beam, chosen.n_best)
    if chosen.show is not None:
        print("\n\n".join(_shown(opened, chosen.show)))
        return 0
    opened = replace(opened, experiment=replace(opened.experiment, data=reader))
    if chosen.csv and opened.task.target_kind == "sets":
        raise InputError("the run predicts sets, expected one per set for --csv")
    if chosen.conllu:
        check_conllu(reader, opened.task.target_kind)
        for sentence in conllu(opened, sources):
            print(sentence, end="", flush=True)
        return 0
    opened, labels = with_all_probabilities(opened) if chosen.probabilities else (opened, ())
    predictions = opened.predictions(datasets(opened, sources))
    if chosen.out:
        predictions = with_pictures(opened, list(datasets(opened, sources)), chosen.out)
    if chosen.csv:
        # Nothing is printed where an input is refused.
        csv.writer(sys.stdout, lineterminator="\n").writerows(list(table(_counted(predictions), labels)))
        return 0
    _print(predictions)
    return 0


def _print(predictions: Iterable[dict[str, Any]]) -> None:
    for prediction in _counted(predictions):
        print(json_line(prediction), flush=True)


def _check(chosen: Any) -> None:
    """Refuse options that do not go together."""
    if chosen.show is not None:
        given = {"INPUT": chosen.inputs} | {f"--{name}": chosen[name] for name in _OUTPUTS}
        for name in (name for name, value in given.items() if value):
            raise InputError(f"--show draws examples of the test part, expected no {name} with it")
        if chosen.show < 1:
            raise InputError(f"--show is {chosen.show}, expected at least 1")
    if chosen.csv and chosen.conllu:
        raise InputError("--csv and --conllu are two forms of the answer, expected one of them")
    if chosen.probabilities and not chosen.csv:
        raise InputError("--probabilities are columns of --csv, expected it as well: JSON lines have them anyway")
    if is_hugging_face(chosen.run):
        given = {f"--{name}": chosen[name.replace("-", "_")] for name in (*_OUTPUTS[1:], "show", "beam", "n-best")}
        given["--weights"] = chosen.weights != "float32"
        for name in (name for name, value in given.items() if value):
            raise InputError(
                f"{chosen.run} is a BERT in Hugging Face's format, which fills gaps, expected no {name} with it"
            )


def _shown(opened: Run, count: int) -> Iterator[str]:
    """Examples from all over the test part, drawn beside their predictions."""
    from regard.cli.draw import draw
    from regard.data.examples import Listed
    from regard.data.targets import unseen_labels
    from regard.train.scoring import run as outputs

    part = opened.part("test")
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
