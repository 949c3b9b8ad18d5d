"""`Inspection`: a trained model and one input that it has read, with all that went into its attentions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.batch import Batch, collate
from regard.data.examples import Array, Dataset, Example, VectorSet
from regard.errors import InputError
from regard.inspector.around import Around, watched
from regard.inspector.calls import record
from regard.inspector.explain import chosen_example
from regard.inspector.seen import Axis, Seen, seen_in
from regard.inspector.stems import StemGrid, has_stem, stem_grid, without_places
from regard.inspector.switching import Off, switched_off
from regard.layers.attention import Attend, SelfAttention
from regard.models.model import places_of
from regard.models.sequences import SequenceModel

__all__ = ["MOST_VECTORS", "Inspection"]

MOST_VECTORS = 65_536
"""Of one input: the weights of a row must fit into memory many times."""


@dataclass
class Inspection:
    """A trained model and one example of an input.

    Args:
        model, task: of the run. example: the input. name: what the run is called.
        target: the ids to write, of a model that writes sequences; None for those that it finds.
        title: what the input is called; as the example if not given.
        reader: of the run's data. samples: of a sound, at 16 kHz, for the page to draw and play.

    Attributes:
        written: the ids that are written, of a model that writes sequences.
        seen: the attentions, as they read the example. around: what surrounds them.
        prediction: as the task writes it. grid: where the vectors lie that a stem has made of a picture's; None of others.

    Raises:
        InputError: a model without attention, an input without vectors or with more than `MOST_VECTORS`.
    """

    model: nn.Module
    task: Any
    example: Example
    name: str = "run"
    target: VectorSet | None = None
    title: str = ""
    reader: Any = None
    samples: Array | None = None
    written: tuple[str, ...] | None = field(default=None, init=False)
    seen: list[Seen] = field(init=False, repr=False)
    around: dict[Attend, Around] = field(init=False, repr=False)
    prediction: dict[str, Any] = field(init=False, repr=False)
    grid: StemGrid | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.example.values)
        if not count:
            raise InputError(f"{self.example.name!r} has no vectors, expected at least one to look at")
        if count > MOST_VECTORS:
            raise InputError(f"{self.example.name!r} has {count:,} vectors, expected at most {MOST_VECTORS:,}")
        self.title = self.title or self.example.name
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
        samples: Array | None = None,
        named: bool = False,
    ) -> Inspection:
        """The inspection of a run's model on one of some inputs.

        Args:
            files: whether inputs are called by their paths, of which the page is told the last part alone.
            samples: of a sound, at 16 kHz. named: whether it is called by its input, in place of its run.
            run, inputs, set, target: as in `explain_run` and `align_run`.
        """
        example = chosen_example(inputs, set)
        title = example.name.rpartition("/")[2] if files else example.name
        reader = run.experiment.data
        name = title if named else run.folder.name
        return cls(run.model, run.task, example, name, target, title or example.name, reader, samples)

    @torch.no_grad()
    def _compute(self) -> None:
        """Run the model once, and keep what went into its attentions."""
        whole = nn.ModuleDict({"model": self.model, "task": self.task}).eval()
        batch = collate([self.example])
        self.prediction = self._predicted(batch)
        begin = ""
        if isinstance(self.model, SequenceModel):
            batch, begin = self._writing(batch)
        read = self.task.read(batch)
        with watched(whole) as self.around:
            calls = record(whole, lambda: self.task(self.model(read), read))
        encoder = getattr(self.model, "encoder", self.model) if self.written is not None else self.model
        length = len(self.example.values)
        # Of the first that attends within the inputs, whose vectors are not made of several.
        within = [call for call in calls if call.key_layout is call.layout or call.keys is not None]
        own = [call.layout for call in within if call.queries is None]
        own += [call.key_layout for call in calls if call.kind == "pooling"]
        count = 1 + int(own[0].index.max()) if own and own[0].total else length
        places = places_of(encoder, length, count, self.example.tokens)
        seen = seen_in(whole, calls, places, self.written, begin)
        self.grid = stem_grid(encoder, own[0]) if own else None
        if self.grid is None and has_stem(encoder):
            seen = without_places(seen)
        self.seen = [self._with_boxes(each) for each in seen]

    @property
    def boxes(self) -> list[dict[str, Any]]:
        """The boxes that are predicted, left, top, right and bottom as parts of the picture; none where no boxes are."""
        wide, high = self.example.pixels or (1, 1)
        return [
            {**box, "box": [end / size for end, size in zip(box["box"], (wide, high) * 2, strict=True)]}
            for box in self.prediction.get("boxes", ())
        ]

    def _with_boxes(self, seen: Seen) -> Seen:
        """The attention with its learned vectors called by the boxes that they become."""
        names = {box["query"]: f"{box['query']}: {box['label']} {box['score']:.2f}" for box in self.boxes}
        return replace(seen, queries=_boxed(seen.queries, names), keys=_boxed(seen.keys, names))

    def _predicted(self, batch: Batch) -> dict[str, Any]:
        read = self.task.read(batch)
        found: dict[str, Any]
        (found,) = self.task.predictions(self.task.answer(self.model(read), read), batch)
        return found

    def _writing(self, batch: Batch) -> tuple[Batch, str]:
        """The batch with what is written as its target, and what stands before the first id."""
        task = self.task
        if self.target is None:
            found = task.decode(batch)[0][0]
            ids = (*found.ids, *((task.end,) if found.finished else ()))
            if not ids:
                raise InputError(f"for {self.example.name!r} nothing is written, expected at least one id to look at")
            self.target = VectorSet(np.array(ids, np.int64))
        self.written = tuple(task.entries[n] for n in self.target.values.tolist())
        return self._with_target(), task.entries[task.begin]

    def _with_target(self) -> Batch:
        return collate([replace(self.example, target=self.target, target_kind="sets")])

    def module_of(self, seen: Seen) -> Attend:
        """The module that attends."""
        module = seen.calls[0].module
        assert module is not None
        return module

    def turned(self, module: Attend | None) -> bool:
        """Whether queries and keys of an attention are turned by their positions (rotary)."""
        layers = [each for each in self.model.modules() if isinstance(each, SelfAttention) and each.attend is module]
        return any(layer.rotation is not None for layer in layers)

    def likeliest(self, seen: Seen, query: int) -> Tensor:
        """The score of what is predicted, one number: of the set, of the vector of a query, or of the id that is written there.

        Args:
            seen: an attention, whose query it is.

        Raises:
            InputError: predictions that are no labels or numbers.
        """
        if isinstance(self.model, SequenceModel):
            batch = self._with_target()
            logits = self.model.logits(self.model(self.task.read(batch)).values)
            ids, place = batch.target_sets.values, query if seen.queries.of == "written" else 0
            return logits[place].log_softmax(0)[ids[place]]
        batch = collate([self.example])
        read = self.task.read(batch)
        output = self.task(self.model(read), read)
        if not isinstance(output, Tensor) or not output.is_floating_point() or not len(output):
            raise InputError(f"{self.name} predicts more than labels or numbers, expected one of those for a gradient")
        place = 0
        if len(output) > 1:
            inputs = seen.queries.spans[query] if seen.queries.spans else (query, query + 1)
            place = inputs[0]
            if inputs[0] == inputs[1] or place >= len(output):
                raise InputError(f"query {query} has no prediction of its own, expected one of the input's vectors")
        return output[place].max()

    @torch.no_grad()
    def without(self, changes: Sequence[Off]) -> dict[str, Any]:
        """What is predicted while something is switched off; of what was written, how likely each id still is.

        Raises:
            InputError: what cannot be switched off.
        """
        with switched_off(changes):
            if not isinstance(self.model, SequenceModel):
                return self._predicted(collate([self.example]))
            batch = self._with_target()
            logits = self.model.logits(self.model(self.task.read(batch)).values)
        ids = batch.target_sets.values
        likely = logits.log_softmax(1)[torch.arange(len(ids)), ids].exp().tolist()
        assert self.written is not None
        return {
            "vectors": [{"token": w, "label": w, "probability": p} for w, p in zip(self.written, likely, strict=True)]
        }


def _boxed(axis: Axis, names: dict[int, str]) -> Axis:
    """The axis with the names of boxes, where it is of as many vectors that stand for no input."""
    learned = len(axis.names) == len(names) and bool(axis.spans) and all(first == end for first, end in axis.spans)
    return replace(axis, names=tuple(names[n] for n in range(len(names)))) if learned else axis
