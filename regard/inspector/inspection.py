"""`Inspection`: what a page may ask of a trained model and one input. Nothing is computed before it is asked for."""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.batch import collate
from regard.data.examples import Dataset, Example, VectorSet
from regard.errors import InputError
from regard.inspector.calls import record
from regard.inspector.explain import chosen_example
from regard.inspector.seen import Seen, seen_in
from regard.inspector.weights import at_once, head_weights
from regard.models.model import places_of
from regard.models.sequences import SequenceModel

__all__ = ["CELLS", "MOST_VECTORS", "Answer", "Inspection"]

CELLS = 512
"""The side of a matrix, in cells, above which several pairs share a cell."""
MOST_VECTORS = 65_536
"""Of one input: the weights of a row must fit into memory many times."""
_CACHED = 64 << 20  # bytes of answers
_PROBABILITIES = 5  # predictions of one vector that are named


@dataclass(frozen=True)
class Answer:
    """What is answered: plain JSON, and arrays of numbers beside it.

    Attributes:
        content: JSON. buffers: little-endian float32 unless `content` says otherwise.
    """

    content: Mapping[str, Any]
    buffers: tuple[bytes, ...] = ()


@dataclass
class Inspection:
    """A trained model and one example of an input.

    Args:
        model, task: of the run. example: the input. name: what the run is called.
        target: the ids to write, of a model that writes sequences; None for those that it finds.
        title: what the input is called; as the example if not given.

    Raises:
        InputError: a model without attention, an input without vectors or with more than `MOST_VECTORS`.
    """

    model: nn.Module
    task: nn.Module
    example: Example
    name: str = "run"
    target: VectorSet | None = None
    title: str = ""
    written: tuple[str, ...] | None = field(default=None, init=False)
    seen: list[Seen] = field(init=False, repr=False)
    prediction: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.example.values)
        if not count:
            raise InputError(f"{self.example.name!r} has no vectors, expected at least one to look at")
        if count > MOST_VECTORS:
            raise InputError(f"{self.example.name!r} has {count:,} vectors, expected at most {MOST_VECTORS:,}")
        self.title = self.title or self.example.name
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, Answer] = OrderedDict()
        self._compute()
        if not self.seen:
            raise InputError(f"the model of {self.name} has no attention, expected one that attends, to look inside")

    @classmethod
    def of_run(
        cls,
        run: Any,
        inputs: Iterable[Dataset],
        set: int = 0,  # noqa: A002
        target: VectorSet | None = None,
        files: bool = False,
    ) -> Inspection:
        """The inspection of a run's model on one of some inputs.

        Args:
            files: whether inputs are called by their paths, of which the page is told the last part alone.
            run, inputs, set, target: as in `explain_run` and `align_run`.
        """
        example = chosen_example(inputs, set)
        title = example.name.rpartition("/")[2] if files else example.name
        return cls(run.model, run.task, example, run.folder.name, target, title=title or example.name)

    @torch.no_grad()
    def _compute(self) -> None:
        """Run the model once, and keep what went into its attentions."""
        whole = nn.ModuleDict({"model": self.model, "task": self.task}).eval()
        batch = collate([self.example])
        task: Any = self.task
        read = task.read(batch)
        (self.prediction,) = task.predictions(task.answer(self.model(read), read), batch)
        example, begin = self.example, ""
        if isinstance(self.model, SequenceModel):
            example, begin = self._writing(batch)
        batch = collate([example])
        read = task.read(batch)
        calls = record(whole, lambda: task(self.model(read), read))
        encoder = getattr(self.model, "encoder", self.model) if self.written is not None else self.model
        own = [call.layout.total for call in calls if call.key_layout is call.layout]
        length = len(self.example.values)
        names = [place.name for place in places_of(encoder, length, own[0] if own else length, self.example.tokens)]
        self.seen = seen_in(whole, calls, names, self.written, begin)

    def _writing(self, batch: Any) -> tuple[Example, str]:
        """The example with what is written as its target, and what stands before the first id."""
        task: Any = self.task
        if self.target is None:
            found = task.decode(batch)[0][0]
            ids = (*found.ids, *((task.end,) if found.finished else ()))
            if not ids:
                raise InputError(f"for {self.example.name!r} nothing is written, expected at least one id to look at")
            self.target = VectorSet(np.array(ids, np.int64))
        self.written = tuple(task.entries[n] for n in self.target.values.tolist())
        return replace(self.example, target=self.target, target_kind="sets"), task.entries[task.begin]

    def answer(self, question: Mapping[str, Any]) -> Answer:
        """The answer to a question, `{"ask": "matrix", "layer": 0, "head": 0}`; `ASKED` names all.

        Raises:
            InputError: a question that is none, or about what is not there.
        """
        key = json.dumps(question, sort_keys=True)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            name = question.get("ask")
            if name not in ASKED:
                raise InputError(f"{name!r} was asked, expected one of {', '.join(ASKED)}")
            found = ASKED[name](self, _Asked(question))
            self._cache[key] = found
            while sum(len(b) for each in self._cache.values() for b in each.buffers) > _CACHED and len(self._cache) > 1:
                self._cache.popitem(last=False)
            return found

    def questions(self, layer: int | None = None) -> Iterator[dict[str, Any]]:
        """All that a page asks of every layer, or of one alone.

        Raises:
            InputError: a layer that is not there.
        """
        yield {"ask": "overview"}
        chosen = range(len(self.seen)) if layer is None else [self._layer(layer)]
        for n in chosen:
            for head in range(self.seen[n].heads):
                yield {"ask": "matrix", "layer": n, "head": head}

    def _layer(self, layer: int) -> int:
        return _Asked({"layer": layer}).index("layer", len(self.seen), "layers with attention")

    def overview(self, asked: _Asked) -> Answer:
        """What there is: layers and heads, what queries and keys are called, what is predicted."""
        axes: list[dict[str, Any]] = []
        layers = []
        for seen in self.seen:
            numbers = []
            for axis in (seen.queries, seen.keys):
                known = {"of": axis.of, "names": list(axis.names)}
                if known not in axes:
                    axes.append(known)
                numbers.append(axes.index(known))
            layers.append(
                {
                    "module": seen.module,
                    "kind": seen.kind,
                    "heads": seen.heads,
                    "attention": seen.attention,
                    "queries": numbers[0],
                    "keys": numbers[1],
                }
            )
        return Answer(
            {
                "run": self.name,
                "input": self.title,
                "axes": axes,
                "layers": layers,
                "prediction": predicted(self.prediction),
            }
        )

    @torch.no_grad()
    def matrix(self, asked: _Asked) -> Answer:
        """The weights of a head as cells `[rows, columns]`, each the largest of the pairs that share it; -inf where all are hidden.

        Beside them the smallest and the largest sum of the weights of the queries of each row of cells.
        """
        seen, head = self._head(asked)
        order, columns = seen.rows(), seen.columns()
        rows = asked.stretch("rows", len(order))
        keys = asked.stretch("keys", len(columns))
        step = max(1, math.ceil(len(rows) / CELLS)), max(1, math.ceil(len(keys) / CELLS))
        cells, sums = [], []
        for begin in range(rows.start, rows.stop, _chunk(seen, step[0])):
            part = order[begin : min(rows.stop, begin + _chunk(seen, step[0]))]
            weights = _weights_of(seen, part, head)
            sums.append(torch.where(weights.isneginf(), 0, weights).sum(1))
            chosen = weights[:, columns[keys.start : keys.stop]]
            cells.append(_largest(chosen, step))
        total = torch.cat(sums)
        least, most = -_largest(-total[:, None], (step[0], 1)), _largest(total[:, None], (step[0], 1))
        picture = torch.cat(cells)
        content = {
            "rows": [rows.start, rows.stop],
            "keys": [keys.start, keys.stop],
            "step": list(step),
            "shape": list(picture.shape),
        }
        return Answer(content, (_bytes(picture), _bytes(least), _bytes(most)))

    def _head(self, asked: _Asked) -> tuple[Seen, int]:
        seen = self.seen[asked.index("layer", len(self.seen), "layers with attention")]
        return seen, asked.index("head", seen.heads, "heads")


def predicted(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """A written prediction without its name, with the likeliest labels alone, and NaN as a text, because JSON has none."""
    return {name: _bounded(value) for name, value in prediction.items() if name != "name"}


def _bounded(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) > _PROBABILITIES and all(isinstance(each, float) for each in value.values()):
            best = sorted(value, key=lambda name: -value[name])[:_PROBABILITIES]
            return {name: _bounded(value[name]) for name in best}
        return {name: _bounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_bounded(each) for each in value[:CELLS]]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _chunk(seen: Seen, step: int) -> int:
    """How many queries to compute at once: a multiple of those that share a cell."""
    return max(1, at_once(seen.calls[0]) // step) * step


def _weights_of(seen: Seen, part: list[tuple[int, int]], head: int) -> Tensor:
    """`[queries, keys]` of some `rows()` of an attention, keys in packed order."""
    if len(seen.calls) == 1:
        return head_weights(seen.calls[0], torch.tensor([row for _, row in part], dtype=torch.int64), head)
    return torch.cat([head_weights(seen.calls[n], torch.tensor([row]), head) for n, row in part])


def _largest(x: Tensor, step: tuple[int, int]) -> Tensor:
    """The maximum of each cell of so many rows and columns."""
    down, across = step
    if step == (1, 1):
        return x
    tall, wide = (-(-size // width) * width for size, width in zip(x.shape, step, strict=True))
    padded = torch.nn.functional.pad(x, (0, wide - x.shape[1], 0, tall - x.shape[0]), value=-torch.inf)
    return padded.view(tall // down, down, wide // across, across).amax((1, 3))


def _bytes(x: Tensor) -> bytes:
    return x.to(torch.float32).contiguous().numpy().astype("<f4").tobytes()


class _Asked:
    """A question, whose fields are checked as they are read."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def index(self, name: str, count: int, things: str) -> int:
        """A number from 0 to `count` - 1.

        Raises:
            InputError: another one, or none.
        """
        found = self.fields.get(name, 0)
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < count:
            raise InputError(f"{name} {found!r} was asked for, expected 0 to {count - 1}: there are {count} {things}")
        return found

    def stretch(self, name: str, count: int) -> range:
        """A stretch `[first, end]` of 0 to `count`; all where it is not told."""
        found = self.fields.get(name, [0, count])
        if (
            not isinstance(found, list)
            or len(found) != 2
            or not all(isinstance(each, int) and not isinstance(each, bool) for each in found)
            or not 0 <= found[0] < found[1] <= count
        ):
            raise InputError(f"{name} {found!r} were asked for, expected [first, end] between 0 and {count}")
        return range(*found)


ASKED: dict[str, Callable[[Inspection, _Asked], Answer]] = {
    "overview": Inspection.overview,
    "matrix": Inspection.matrix,
}
"""Every question by name, and what answers it."""
