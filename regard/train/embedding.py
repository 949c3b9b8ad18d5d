"""Embeddings: what a trained model makes of a set, or of each of its vectors, before its task decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from regard.data.examples import Array, Dataset
from regard.layers.pooling import Mean
from regard.models.model import Places, places_of
from regard.tasks.base import Task
from regard.train.experiment import Training
from regard.train.scoring import run

if TYPE_CHECKING:
    from torch import Tensor

    from regard.sets import VectorSets

__all__ = ["Embedding", "embeddings"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """The embedding of one set.

    Args:
        name: of the set.
        values: `[d]` float32 what the task's classes are told apart by: its pooled vectors, after its hidden layer where it has
            one; the mean of the model's vectors where the task has no pooling. Or `[n, d]`, the model's vectors.
        places: what each of n vectors is called: its token, or its place in the set from 0; "0-3" where it was made of several,
            "[class]" for a class vector. Empty for one vector.
    """

    name: str
    values: Array
    places: tuple[str, ...] = ()


def embeddings(
    model: nn.Module, task: Task, part: Dataset, options: Training, vectors: bool = False
) -> Iterator[Embedding]:
    """The embedding of each example of a part, in order; or the model's vectors of each."""
    chosen: Callable[[VectorSets], Any] = (lambda hidden: hidden) if vectors else _pooling(model, task)
    for batch, output in run(model, task, part, options, chosen):
        if not vectors:
            yield from map(Embedding, batch.names, output.float().numpy())
            continue
        lengths = batch.inputs.layout.lengths.tolist()
        for name, tokens, length, rows in zip(batch.names, batch.tokens, lengths, output.unpack(), strict=True):
            places: Places = places_of(model, length, len(rows), tokens)
            yield Embedding(name, rows.float().numpy(), tuple(place.name for place in places))


def _pooling(model: nn.Module, task: Task) -> Callable[[VectorSets], Tensor]:
    embed: Callable[[VectorSets], Tensor] | None = getattr(task, "embed", None) or getattr(task, "pool", None)
    if embed is not None:
        return embed
    width: Any = model.width
    return Mean(int(width))
