"""`Run`: a run directory opened to be evaluated, or to predict with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from torch import nn

from regard.data.encoding import Encoding
from regard.data.examples import Dataset, Listed, Part, check_part
from regard.data.fingerprint import fingerprint
from regard.data.reader import Reader
from regard.data.targets import unseen_labels
from regard.errors import InputError
from regard.files import json_line
from regard.layers.narrow_weights import narrow
from regard.layers.weight_types import Weights
from regard.models.remembering import memory_of
from regard.tasks.base import Task
from regard.tasks.corpus import corpus_metrics
from regard.train.card import CARD, add_evaluation, read_facts
from regard.train.embedding import Embedding, embeddings
from regard.train.experiment import Experiment
from regard.train.folder import save
from regard.train.opening import read_run
from regard.train.scoring import defined, device_of, run, targets_of, trivial_metrics, watched

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """A trained model with all that belongs to it; `Run.open` reads it from a folder.

    Args:
        folder: where it lies.
        experiment: what was trained.
        encoding: what was learned from the training part.
        model: with the best weights.
        task: with the best weights.
        weights: the type of those of linear layers; see `open`.
    """

    folder: Path
    experiment: Experiment
    encoding: Encoding
    model: nn.Module
    task: Task
    weights: Weights = "float32"

    @classmethod
    def open(cls, folder: Path | str, weights: Weights = "float32") -> Run:
        """Reads a run directory; of `checkpoints/` nothing is needed, and nothing is ever unpickled.

        Args:
            weights: the type of the weights of linear layers: "float32", as they were trained, or "bfloat16", "float16" or "int8",
                which are quicker on processors that have instructions for them, and less exact (`regard.layers.narrow_weights`).

        Raises:
            InputError: a file that is missing or was altered; the sentence names it. int8 on a GPU.
        """
        experiment, encoding, model, task = read_run(Path(folder))
        if weights == "int8" and device_of(experiment.training).type != "cpu":
            raise InputError(f"{folder} would be computed on a GPU, expected the CPU for weights of int8")
        narrow(model, weights)
        narrow(task, weights)
        return cls(Path(folder), experiment, encoding, model, task, weights)

    @property
    def parameters(self) -> int:
        """The number of trained numbers."""
        return sum(parameter.numel() for module in (self.model, self.task) for parameter in module.parameters())

    def evaluate(
        self, part: Part | None = None, path: Path | str | None = None, memory: int | None = None
    ) -> dict[str, Any]:
        """Metrics on a part of the data, and those of the best model that never looks at its input.

        Writes `evaluation.json` (what is returned) and `predictions-PART.jsonl`, one line for each set, in order; for
        another part than test the first is `evaluation-PART.json`. For other data PART is `NAME-HASH-PART`, by the name and the
        path of the data, and for weights of another type than they were trained in it begins with that, as in `int8-test`.

        Args:
            part: of the data; "test" if not given, but "all" of other data that is not divided into parts.
            path: where the data of the run lie now, or other labeled data. That it is the same is known by its `fingerprint`.
            memory: how many vectors a model of `Segments` remembers of each stream; as many as while it was trained if None.

        Returns:
            `part`, `metrics` and `baseline` (by name), `baselines` (the same of further models, by theirs), `monitor` (the name
            that counts, and "max" or "min"), the numbers of `sets`, `vectors`, `targets` and `parameters`, `seconds`, and the file
            of `predictions` in the run's folder; of other data its `path`; and where labels of the part have no training example,
            so that their targets count as wrong, `unseen`: how many targets each has; and the `memory` of a model that has one.

        Raises:
            InputError: data that cannot be read, or are not where they were.
        """
        began = time.monotonic()
        reader, part, elsewhere = self._labeled(part, path)
        other = elsewhere if self.weights == "float32" else f"{self.weights}-{elsewhere}"
        data = reader.part(part, self.encoding)
        targets, metrics = targets_of(data), self.task.metrics()
        total, weight, count, vectors = 0.0, 0.0, 0, 0
        corpus, remembered = corpus_metrics(self.experiment.task), memory_of(self.model, memory)
        predictions: list[dict[str, Any]] = []
        for batch, output in run(self.model, self.task, data, self.experiment.training, memory=remembered):
            self.task.score(metrics, output, batch)
            loss, share = self.task.loss(output, batch)
            total, weight, vectors = total + float(loss), weight + float(share), vectors + len(batch.inputs.values)
            count += int(self.task.target_count(output, batch))
            predictions += self.task.predictions(output, batch)
        computed = ({"loss": total / weight} if weight else {}) | defined(metrics.compute())
        computed |= defined({metric.name: metric.of(predictions) for metric in corpus})
        trivial, others = trivial_metrics(self.task, targets, corpus), self.task.baselines(targets)
        evaluation = {
            "part": part,
            **({"path": reader.path} if elsewhere else {}),
            "metrics": computed,
            "baseline": trivial,
            **({"baselines": others} if others else {}),
            "monitor": list(watched(self.task, self.experiment)),
            "sets": len(data),
            "vectors": vectors,
            "targets": count,
            **({"unseen": dict(unseen)} if (unseen := unseen_labels(data)) else {}),
            "parameters": self.parameters,
            **({"weights": self.weights} if other != elsewhere else {}),
            **({"memory": remembered.length} if remembered else {}),
            **self.task.report(predictions),
            "seconds": round(time.monotonic() - began, 3),
            "predictions": f"predictions-{other}{part}.jsonl",
        }
        self._save(evaluation, predictions, part, other)
        return evaluation

    def _save(
        self, evaluation: dict[str, Any], predictions: Sequence[Mapping[str, Any]], part: Part, other: str
    ) -> None:
        """The two files of an evaluation, and, where `other` is empty, as all is the run's own, the numbers of its card."""
        name = "evaluation.json" if part == "test" and not other else f"evaluation-{other}{part}.json"
        lines = "".join(f"{json_line(prediction)}\n" for prediction in predictions)
        save(self.folder / evaluation["predictions"], lines)
        save(self.folder / name, json.dumps(evaluation, indent=1) + "\n")
        if not other:
            add_evaluation(self.folder, part, evaluation["metrics"], evaluation["baseline"])

    def part(self, name: Part = "test") -> Dataset:
        """The labeled examples of a part of the run's data.

        Raises:
            InputError: data that cannot be read, or are not where they were.
        """
        return self._labeled(name, None)[0].part(name, self.encoding)

    def _labeled(self, part: Part | None, path: Path | str | None) -> tuple[Reader, Part, str]:
        """The reader of labeled data, the part to read, and what files about data other than the run's are called."""
        reader: Any = self.experiment.data
        if path is None:
            if reader.path is not None and not Path(reader.path).exists():
                expected = "expected the place where it lies now, by --data.path or the argument `path`"
                raise InputError(f"{self.folder} was trained on {reader.path}, which is not there, {expected}")
            return reader, check_part(part or "test"), ""
        place = Path(path).absolute()
        reader = replace(reader, path=str(place))
        if place.exists() and fingerprint(place) == self._fingerprint:
            return reader, check_part(part or "test"), ""
        undivided = part is None and not getattr(reader, "names_parts", lambda: True)()
        digest = hashlib.sha256(os.fsencode(place)).hexdigest()
        name = re.sub(r"[^\w.]+", "_", place.name)[:60]
        return reader, "all" if undivided else check_part(part or "test"), f"{name}-{digest[:8]}-"

    @property
    def _fingerprint(self) -> str | None:
        """Of the data that the run was trained on; None where its card does not say."""
        return read_facts(self.folder).get("fingerprint") if (self.folder / CARD).is_file() else None

    def predict(self, paths: Iterable[str | Path]) -> Iterator[dict[str, Any]]:
        """One JSON object for each set of some files or folders; see `inputs`. Texts themselves are for `predict_texts`."""
        return self.predictions(self.inputs(paths))

    def predict_texts(self, texts: Iterable[str], names: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """One JSON object for each text; whatever a text says, no file is opened.

        Args:
            texts: for a run whose data are texts. names: what the answers are called; the texts themselves if not given.

        Raises:
            InputError: a run of other data, or what is no text.
        """
        return self.predictions([self.texts(texts, names)])

    def predict_values(self, values: Iterable[Any], names: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """One JSON object for each value in memory; see `examples`."""
        return self.predictions([self.examples(values, names)])

    def predictions(self, parts: Iterable[Dataset]) -> Iterator[dict[str, Any]]:
        """One JSON object for each example of some data sets."""
        for part in parts:
            for batch, output in run(self.model, self.task, part, self.experiment.training):
                yield from self.task.predictions(output, batch)

    def embed(self, paths: Iterable[str | Path], vectors: bool = False) -> Iterator[Embedding]:
        """The embedding of each set of some files or folders, or of each of its vectors; see `inputs` and `embeddings`."""
        return self.embeddings(self.inputs(paths), vectors)

    def embed_texts(
        self, texts: Iterable[str], names: Iterable[str] | None = None, vectors: bool = False
    ) -> Iterator[Embedding]:
        """The embedding of each text, or of each of its vectors; see `predict_texts` and `embeddings`."""
        return self.embeddings([self.texts(texts, names)], vectors)

    def embeddings(self, parts: Iterable[Dataset], vectors: bool = False) -> Iterator[Embedding]:
        """The embedding of each example of some data sets, such as `[run.examples(values)]`.

        Args:
            vectors: the model's vectors instead of one for each set; see `Embedding`.
        """
        for part in parts:
            yield from embeddings(self.model, self.task, part, self.experiment.training, vectors)

    def inputs(self, paths: Iterable[str | Path]) -> Iterator[Dataset]:
        """The unlabelled examples of files and folders, as the reader of the run's data reads them.

        `-` is standard input: lines of text, each as soon as it arrives, or one file of other data.

        Raises:
            InputError: a path that cannot be read, or data that are not read from a stream.
        """
        return self._inputs([str(path) for path in _listed(paths, "paths")])

    def _inputs(self, paths: Sequence[str]) -> Iterator[Dataset]:
        reader = self.experiment.data
        for streamed, group in groupby(paths, lambda path: path == "-"):
            if streamed:
                yield from reader.stream(sys.stdin.buffer, self.encoding)
            else:
                yield reader.inputs(list(group), self.encoding)

    def texts(self, texts: Iterable[str], names: Iterable[str] | None = None) -> Dataset:
        """The examples of texts in memory; see `predict_texts`."""
        reader: Any = self.experiment.data
        if not hasattr(reader, "texts"):
            raise InputError(f"the run reads data of the type {type(reader).__name__}, expected one that reads texts")
        texts = _listed(texts, "texts")
        for text in texts:
            if not isinstance(text, str):
                raise InputError(f"a text is of the type {type(text).__name__}, expected a string")
        found: Dataset = reader.texts(texts, _names(names, texts, texts), self.encoding)
        return found

    def examples(self, values: Iterable[Any], names: Iterable[str] | None = None) -> Listed:
        """The examples of values in memory: texts, samples, the bytes of files, graphs, whatever the reader's `example` takes.

        Args:
            values: of the examples. names: what they are called; "value 1", "value 2", ... if not given.

        Raises:
            InputError: a value that the reader cannot read, or another number of names.
        """
        values = _listed(values, "values")
        named = zip(values, _names(names, values, [f"value {n}" for n in range(1, len(values) + 1)]), strict=True)
        return Listed([self.experiment.data.example(value, self.encoding, name) for value, name in named])


def _listed(values: Iterable[Any], what: str) -> list[Any]:
    """The values, if there are several of them and not the letters of one."""
    if isinstance(values, (str, bytes, Path)):
        raise InputError(f"{what} are {values!r:.40}, expected a list of them")
    return list(values)


def _names(names: Iterable[str] | None, values: Sequence[Any], otherwise: Sequence[str]) -> Sequence[str]:
    """The names of values, one each."""
    found = otherwise if names is None else [str(name) for name in names]
    if len(found) != len(values):
        raise InputError(f"there are {len(found)} names for {len(values)} values, expected one each")
    return found
