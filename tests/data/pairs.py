"""A reader of pairs with targets that are sets, and a task for it: words to be said again as another set of words tells."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from regard.data.batch import Batch
from regard.data.encoding import WORD, Encoding
from regard.data.examples import Example, Listed, Part, VectorSet, split
from regard.data.reader import Reader
from regard.errors import InputError
from regard.sets import VectorSets
from regard.tasks.base import Task
from regard.train.kinds import KINDS, Kind

UNKNOWN = "?"


@dataclass
class Retold:
    """Lines of a JSON object with `words`, how they are to be `told` (words as well), and the `answer`, as many words.

    Args:
        path: of the file.
    """

    path: str | None = None

    published = ""

    def fit(self) -> Encoding:
        lines = self._lines("train")
        words, told, answer = (
            Encoding(columns={WORD: (UNKNOWN, *sorted({word for line in lines for word in line[field].split()}))})
            for field in ("words", "told", "answer")
        )
        return Encoding(answer, words.columns, context=told)

    def part(self, name: Part, encoding: Encoding) -> Listed:
        return Listed([self._example(line, encoding, line["id"]) for line in self._lines(name)])

    def training(self, encoding: Encoding) -> Listed:
        return self.part("train", encoding)

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Listed:
        lines = [
            (f"{path}:{n}", line) for path in sources for n, line in enumerate(Path(path).read_text().splitlines(), 1)
        ]
        return Listed([self.example(json.loads(line), encoding, name) for name, line in lines])

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        if not isinstance(value, dict):
            raise InputError(f"{name} is no JSON object, expected one with words and told")
        return self._example({"words": value["words"], "told": value["told"]}, encoding, name)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        for n, line in enumerate(file, 1):
            yield Listed([self.example(json.loads(line), encoding, f"standard input:{n}")])

    def _lines(self, part: Part) -> list[dict[str, str]]:
        lines = [json.loads(line) for line in Path(self.path or "").read_text().splitlines()]
        parts = split([line["id"] for line in lines])
        return [line for line, its in zip(lines, parts, strict=True) if its == part]

    @staticmethod
    def _example(line: dict[str, str], encoding: Encoding, name: str) -> Example:
        assert encoding.context is not None
        assert isinstance(encoding.targets, Encoding)
        context = VectorSet(ids(line["told"], encoding.context), tokens=tuple(line["told"].split()))
        target = VectorSet(ids(line["answer"], encoding.targets)) if "answer" in line else None
        values, tokens = ids(line["words"], encoding), tuple(line["words"].split())
        return Example(values, target, name, "sets", tokens=tokens, context=context)


READER: type[Reader] = Retold


def ids(text: str, encoding: Encoding) -> np.ndarray:
    known = {word: i for i, word in enumerate(encoding.words) if i}
    return np.array([known.get(word, 0) for word in text.split()], np.int64)


@dataclass(frozen=True)
class Retell:
    """A word for each word, as the context asks for it.

    Args:
        dropout: nothing drops out.
    """

    dropout: float = 0.0


class RetellTask(Task):
    """Scores of all answers for each word: W (h_i * mean of the context's vectors)."""

    target_kind = "sets"
    monitor = ("accuracy", "max")
    counts: Tensor

    def __init__(self, config: Retell, width: int, encoding: Encoding) -> None:
        super().__init__()
        if encoding.context is None or not isinstance(encoding.targets, Encoding):
            raise InputError("the task is about pairs whose targets are words, expected data that has both")
        self.answers = encoding.targets.words
        self.told = nn.Embedding(len(encoding.context.words), width)
        self.head = nn.Linear(width, len(self.answers))
        self.register_buffer("counts", torch.zeros(len(self.answers)))

    def forward(self, hidden: VectorSets, batch: Batch) -> Tensor:
        assert batch.context is not None
        told = torch.stack([self.told(words).mean(0) for words in batch.context.unpack()])
        output: Tensor = self.head(hidden.values * told.index_select(0, batch.inputs.layout.set_of_row))
        return output

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = batch.target_sets.values
        return cross_entropy(output, targets, reduction="sum"), torch.tensor(len(targets))

    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {"accuracy": MulticlassAccuracy(len(self.answers), average="micro", validate_args=False)}
        )

    def score(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        metrics.update(output.argmax(-1), batch.target_sets.values)

    def observe(self, batch: Batch) -> None:
        self.counts.copy_(torch.bincount(batch.target_sets.values, minlength=len(self.answers)))

    def trivial(self, batch: Batch) -> Tensor:
        return self.counts.expand(len(batch.target_sets.values), -1)

    def predictions(self, output: Tensor, batch: Batch) -> list[dict[str, Any]]:
        lengths = batch.inputs.layout.lengths.tolist()
        answers = [" ".join(self.answers[i] for i in each.argmax(-1).tolist()) for each in output.split(lengths)]
        return [{"name": name, "answer": answer} for name, answer in zip(batch.names, answers, strict=True)]


KINDS["data"]["Retold"] = Kind("pairs")
KINDS["task"]["Retell"] = Kind("pairs", "pairs:RetellTask")
