"""A model on sound that never ends: pieces in, final vectors out, a bounded past in between."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from regard.data.batch import Batch
from regard.errors import InputError
from regard.sets import Layout, VectorSets

__all__ = ["Stream", "Streamable"]


class Streamable(Protocol):
    """A model that says how far around a frame it looks."""

    context: tuple[float, float]
    """How many frames before and behind a frame its vector depends on."""
    step: int
    """So many frames become one vector."""

    def __call__(self, batch: Batch) -> VectorSets: ...


class Stream:
    """What `model` gives for one long set, piece by piece, equal to what it gives for the whole.

    A vector is final once the frames behind it that it depends on are there: that is the latency, `model.context[1]` frames. Of the
    frames before, those that later vectors depend on are kept, and nothing else. Each piece is computed with its surroundings, so
    pieces should be longer than the context.

    Args:
        model: whose context is finite.

    Raises:
        InputError: a model that looks at the whole set.
    """

    def __init__(self, model: Streamable) -> None:
        self.model = model
        before, behind = model.context
        if not math.isfinite(before + behind):
            raise InputError(
                "the model looks at whole sets, expected one whose vectors depend on neighbors: attention with a window, such as "
                "Window(64, 16), and nothing recurrent"
            )
        self.latency = int(behind)
        """In frames."""
        # What is kept begins where a vector begins.
        self._before = -(-int(before) // model.step) * model.step
        self._kept: Tensor | None = None
        self._first = 0
        self._received = 0
        self._given = 0

    def accept(self, frames: Tensor) -> Tensor:
        """`[n, width]` the vectors that are final now, for the next frames `[m, d]`."""
        self._kept = frames if self._kept is None else torch.cat([self._kept, frames])
        self._received += len(frames)
        return self._up_to(max(0, self._received - self.latency) // self.model.step)

    def finish(self) -> Tensor:
        """The vectors that waited for more; the stream begins anew."""
        rest = self._up_to(-(-self._received // self.model.step))
        self._kept, self._first, self._received, self._given = None, 0, 0, 0
        return rest

    @torch.no_grad()
    def _up_to(self, number: int) -> Tensor:
        """The vectors from the last one given to that number, and what is not needed any more is let go."""
        if self._kept is None:
            raise InputError("the stream has no frames, expected some before its end")
        step = self.model.step
        layout = Layout(
            torch.tensor([0, len(self._kept)], device=self._kept.device),
            starts=torch.tensor([self._first], device=self._kept.device),
        )
        number = max(number, self._given)
        if number == self._given:
            frames = self._kept[:0]
            empty = Layout.of_lengths(torch.zeros(1, dtype=torch.int64, device=frames.device))
            return self.model(Batch(VectorSets(frames, empty))).values
        vectors = self.model(Batch(VectorSets(self._kept, layout))).values
        found = vectors[self._given - self._first // step : number - self._first // step]
        self._given = number
        first = max(self._first, number * step - self._before)
        self._kept, self._first = self._kept[first - self._first :].clone(), first
        return found
