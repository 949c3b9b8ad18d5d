"""The contract of readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import Field
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol

from regard.data.encoding import Encoding
from regard.data.examples import Dataset, Example, Part
from regard.data.survey import Survey
from regard.errors import InputError

__all__ = ["STREAM", "Reader", "refused_stream", "refused_value"]

STREAM = "standard input"
"""What errors and predictions call the stream that `Reader.stream` reads."""


class Reader(Protocol):
    """A plain dataclass of options that reads one kind of data: `Experiment.data` is one, and mypy checks each.

    `fit` learns from the training part what all other methods need. Which examples a part has, and what is in them, does not
    depend on whether they are trained on: variation is what `training` adds, for training alone.

    A reader that gives pairs, or targets that are sets of their own, gives them as fields of its examples.

    A reader may have `input_options`, the names of those of its options without which the same ids or numbers would mean something
    else: a training that begins with a run is refused where the readers of both have such an option and its values differ.

    One whose values in memory may be texts has `texts(texts, names, encoding) -> Dataset`, which reads many at once; if they are no
    sentences, it has `recognizes(text) -> bool`, which tells a text from the name of a file that is not there. One whose inputs may
    be folders of files has `folder_files(folder) -> (paths, skips)`, so that what is skipped can be told. One whose data may come
    undivided has `names_parts() -> bool`, which tells whether the data says what belongs to which part. One
    whose texts can be drawn has `picture(text, weights, query) -> str`, an SVG of what one vector attends to, by number.
    One whose targets are texts may have `target(text, encoding) -> VectorSet`, so that one can be given to a command.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def path(self) -> str | None:
        """The user's own data; None is the published data set, which `regard.data.registry.locate` finds."""
        ...

    @property
    def published(self) -> str:
        """What `regard.data.registry` calls that published data set; empty where there is none."""
        ...

    def fit(self) -> Encoding:
        """Learn the encoding, from the training part only."""
        ...

    def part(self, name: Part, encoding: Encoding) -> Dataset:
        """The labelled examples of one part, as recorded."""
        ...

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each target of one part, as text, and the beginning of a sentence about it; no features are read.

        Raises:
            InputError: an empty part.
        """
        ...

    def training(self, encoding: Encoding) -> Dataset:
        """The examples of the training part as training reads them: varied anew in each epoch where that is asked for.

        Each example is a function of the reader's seed, the epoch and its index.
        """
        ...

    def survey(self) -> Survey:
        """What the data is: its format, parts and labels, and what was skipped; neither vectors nor sounds are computed."""
        ...

    @classmethod
    def claims(cls, place: Path) -> int:
        """How many files at a place, a file or a folder, look like what this reader reads; 0 where it is none of its business."""
        ...

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Dataset:
        """Unlabelled examples to predict for, from files, and from folders of them.

        A source names a file, a folder, or a published example (the number of a picture); a text is a value, which `example` takes.
        """
        ...

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """One unlabelled example of a value in memory: a text, samples, the bytes of a file, a graph.

        Raises:
            InputError: a value that the reader cannot read; `name` names it in the sentence.
        """
        ...

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Dataset]:
        """Unlabelled examples of a stream of bytes such as standard input, as soon as each is complete.

        Texts come one on each line; other data is one file.

        Raises:
            InputError: data that is not read from a stream.
        """
        ...


def refused_stream(reader: object, expected: str) -> InputError:
    """The error of a reader that reads files only."""
    return InputError(f"data of the type {type(reader).__name__} are not read from {STREAM}, expected {expected}")


def refused_value(value: object, name: str, expected: str) -> InputError:
    """The error of a reader that cannot read a value in memory."""
    return InputError(f"{name or 'the value'} is of the type {type(value).__name__}, expected {expected}")
