"""Predictions in the forms that other programs read: tables, and CoNLL-U."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from regard.cli.sources import Source, tell_skips
from regard.data.conllu import filled, is_conllu, sentence_files, written
from regard.data.text import Conllu
from regard.errors import InputError

if TYPE_CHECKING:
    from regard.data.reader import Reader
    from regard.train import Run

__all__ = ["check_conllu", "conllu", "table", "with_all_probabilities", "with_beam"]


def with_all_probabilities(run: Run) -> tuple[Run, Sequence[str]]:
    """The run, whose task tells the probability of every label, and the labels.

    Raises:
        InputError: a task without labels.
    """
    labels: Sequence[str] = getattr(run.task, "labels", ())
    if not labels:
        raise InputError("the run predicts no label, expected one that does for --probabilities")
    task: Any = run.task
    if hasattr(task.config, "top"):
        task.config = replace(task.config, top=len(labels))
    return run, labels


def with_beam(run: Run, beam: int | None, n_best: int | None) -> Run:
    """The run, whose task writes with a beam of this width, and gives so many texts of each set; None leaves what training had.

    Raises:
        InputError: a task that writes no sequences, or numbers that are not in its bounds.
    """
    if beam is None and n_best is None:
        return run
    task: Any = run.task
    if not hasattr(task.config, "n_best"):
        kind = type(task.config).__name__
        raise InputError(
            f"the run has the task {kind}, which writes no sequences, expected neither --beam nor --n-best"
        )
    for name, value in (("--beam", beam), ("--n-best", n_best)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}, expected at least 1")
    if beam is not None and n_best is not None and n_best > beam:
        raise InputError(f"--n-best is {n_best}, expected at most --beam, which is {beam}")
    width = beam or max(task.config.beam, n_best or 1)
    task.config = replace(task.config, beam=width, n_best=n_best or min(task.config.n_best, width))
    return run


def table(predictions: Iterable[dict[str, Any]], labels: Sequence[str] = ()) -> Iterator[list[Any]]:
    """A header, and a row for each prediction: `Id` and `Category`, then the probability of each of the labels.

    A category is a label, a number, or several labels with ";" between.

    A prediction per vector has `Vector`, its place in the set from 0, and `Token`, what it is called, between the two.

    Raises:
        InputError: predictions that are neither a label nor a number.
    """
    for n, prediction in enumerate(predictions):
        vectors = prediction.get("vectors")
        if not n:
            yield ["Id", *([] if vectors is None else ["Vector", "Token"]), "Category", *labels]
        name = prediction["name"]
        if vectors is None:
            yield [name, *_cells(prediction, labels)]
        for place, vector in enumerate(vectors or ()):
            yield [name, place, vector.get("token", ""), *_cells(vector, labels)]


def _cells(prediction: dict[str, Any], labels: Sequence[str]) -> list[Any]:
    told = prediction.get("probabilities", {})
    category = next((prediction[name] for name in ("label", "number", "labels") if name in prediction), None)
    if category is None:
        raise InputError("the run predicts neither a label nor a number, expected one for --csv")
    return [";".join(category) if isinstance(category, list) else category, *(told[label] for label in labels)]


def check_conllu(reader: Reader, task_kind: str) -> None:
    """Refuse a run whose predictions are no column of CoNLL-U.

    Raises:
        InputError: a run of other data, or with another task than a label for each word.
    """
    if not isinstance(reader, Conllu) or task_kind != "vector":
        raise InputError(
            "the run does not label the words of sentences in CoNLL-U, expected one that does for --conllu"
        )


def conllu(run: Run, sources: Sequence[Source]) -> Iterator[str]:
    """The lines of CoNLL-U files with the predicted column filled in, all else as it was; other sentences as new ones."""
    reader = run.experiment.data
    assert isinstance(reader, Conllu)
    for source in sources:
        if source.is_text:
            yield from _new(run.predict_texts([source.value], [""]), reader.column, source.value)
            continue
        tell_skips(reader, source.value)
        for file in [source.value] if source.value == "-" else sentence_files(source.value):
            predictions = run.predict([file])
            if file != "-" and is_conllu(file):
                yield from filled(file, reader.column, [_labels(prediction) for prediction in predictions])
            else:
                yield from _new(predictions, reader.column)


def _new(predictions: Iterable[dict[str, Any]], column: str, text: str = "") -> Iterator[str]:
    for prediction in predictions:
        words = [vector["token"] for vector in prediction["vectors"]]
        yield written(words, _labels(prediction), column, "" if text else prediction["name"], text)


def _labels(prediction: dict[str, Any]) -> list[str]:
    return [str(vector["label"] if "label" in vector else vector["number"]) for vector in prediction["vectors"]]
