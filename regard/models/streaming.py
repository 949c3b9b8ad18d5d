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

    @property
    def context(self) -> tuple[float, float]:
        """How many frames before and after a frame its vector depends on."""
        ...

    @property
    def step(self) -> int:
        """The number of frames that become one vector."""
        ...

    def __call__(self, batch: Batch) -> VectorSets: ...


class Stream:
    """What `model` gives for one long set, piece by piece, equal to what it gives for the whole.

    A vector is final once the later frames that it depends on are there: that is the latency, `model.context[1]` frames. Of the
    frames before, those that later vectors depend on are kept, and nothing else. Each piece is computed with its surroundings, so
    pieces should be longer than the context.

    Args:
        model: whose context is finite.

    Raises:
        InputError: a model that looks at the whole set.
    """

    def __init__(self, model: Streamable) -> None:
        self.model = model
        before, after = model.context
        if not math.isfinite(before + after):
            raise InputError(
                "the model looks at whole sets, expected one whose vectors depend on neighbors: attention with a window, such as "
                "Window(64, 16), and nothing recurrent"
            )
        self.latency = int(after)
        """In frames."""
        # The cached frames begin where a vector begins.
        self._before = -(-int(before) // model.step) * model.step
        self._cached: Tensor | None = None
        self._first = 0
        self._received = 0
        self._emitted = 0

    def accept(self, frames: Tensor) -> Tensor:
        """`[n, width]` the vectors that are final now, for the next frames `[m, d]`."""
        self._cached = frames if self._cached is None else torch.cat([self._cached, frames])
        self._received += len(frames)
        return self._up_to(max(0, self._received - self.latency) // self.model.step)

    def finish(self) -> Tensor:
        """The vectors that waited for more; the stream begins anew."""
        rest = self._up_to(-(-self._received // self.model.step))
        self._cached, self._first, self._received, self._emitted = None, 0, 0, 0
        return rest

    @torch.no_grad()
    def _up_to(self, number: int) -> Tensor:
        """The vectors after the last one emitted, up to that number; frames that no later vector needs are dropped."""
        if self._cached is None:
            raise InputError("the stream has no frames, expected some before its end")
        step = self.model.step
        layout = Layout(
            torch.tensor([0, len(self._cached)], device=self._cached.device),
            starts=torch.tensor([self._first], device=self._cached.device),
        )
        number = max(number, self._emitted)
        if number == self._emitted:
            frames = self._cached[:0]
            empty = Layout.of_lengths(torch.zeros(1, dtype=torch.int64, device=frames.device))
            return self.model(Batch(VectorSets(frames, empty))).values
        vectors = self.model(Batch(VectorSets(self._cached, layout))).values
        final = vectors[self._emitted - self._first // step : number - self._first // step]
        self._emitted = number
        first = max(self._first, number * step - self._before)
        self._cached, self._first = self._cached[first - self._first :].clone(), first
        return final
