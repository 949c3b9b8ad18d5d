"""`Model`: from a batch to hidden vectors, by a front, positions and a stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from torch import nn

from regard.data.batch import Batch
from regard.errors import InputError
from regard.layers.blocks import Stack
from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.memory import Memory
from regard.layers.pooling import ClassVector
from regard.layers.states import LayerState
from regard.models.front import ModelFront
from regard.models.positions import ModelPositions
from regard.sets import VectorSets

__all__ = ["Model", "Place", "Places", "beginners", "check_batch", "places_of"]


class Place(NamedTuple):
    """Which inputs a hidden vector stands for.

    Args:
        inputs: their indices; none for a class vector.
        name: their tokens; without tokens the index, or the first and the last one; "[class]" for a class vector.
        none: what a vector is that stands for no input.
    """

    inputs: range
    name: str
    none: Literal["class", "learned"] = "class"

    @property
    def span(self) -> str:
        """The index, the first and the last one, or what a vector is that stands for no input.

        >>> [Place(range(*ends), "").span for ends in ((3, 4), (3, 6), (0, 0))]
        ['3', '3-5', 'class']
        """
        if len(self.inputs) < 2:
            return str(self.inputs[0]) if self.inputs else self.none
        return f"{self.inputs[0]}-{self.inputs[-1]}"


Places = Sequence[Place]


@checked()
class Model(nn.Module):
    """stack(dropout(positions(front(batch)))): what every model is, whatever its pieces are.

    Args:
        front: from a batch to vectors.
        stack: from sets, and positions for each block or None, to sets of vectors of its `width`; it has a `context`.
        positions: None for none.
        class_vector: what puts a vector in front of each set, after positions, or None.
        dropout: on the vectors that enter the stack, while training.
    """

    options: Any = None
    """The options that made it, where some did."""

    def __init__(
        self,
        front: ModelFront,
        stack: nn.Module,
        positions: ModelPositions | None = None,
        class_vector: ClassVector | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.front = front
        self.positions = positions or ModelPositions()
        self.class_vector = class_vector or nn.Identity()
        self.dropout = Dropout(dropout)
        self.stack = stack

    @property
    def width(self) -> int:
        """Of the hidden vectors."""
        width: Any = self.stack.width
        return int(width)

    @property
    def step(self) -> int:
        """The number of vectors of a set that become one."""
        return self.front.step

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and after one its hidden vector depends on."""
        if isinstance(self.class_vector, ClassVector):
            return math.inf, math.inf
        reach: Any = self.stack.context
        before, after = reach
        first, last = self.front.context
        return before * self.step + first, after * self.step + self.step - 1 + last

    def covered(self, length: int) -> list[range]:
        """For each hidden vector of a set of `length` inputs, the indices of those that it stands for; none for a class vector.

        With a `step` of k that is k inputs, of which the last vector may have fewer; a `reach` lets it look at more.
        """
        first = [range(0)] if isinstance(self.class_vector, ClassVector) else []
        return first + [range(n, min(n + self.step, length)) for n in range(0, length, self.step)]

    def forward(
        self, batch: Batch, states: Sequence[LayerState] | None = None, memory: Memory | None = None
    ) -> VectorSets:
        """Hidden vectors of `batch.inputs`.

        Args:
            states: of a model that `grows`, as `stack.new_states` gives them, to go on from: the inputs are the next of each set.
            memory: of the streams that the inputs are segments of (`regard.models.remembering.memory_of`).

        Raises:
            InputError: what is no batch, or one whose sets do not go on where the memory ends.
        """
        check_batch(batch)
        if memory is not None:
            batch = replace(batch, inputs=memory.begin(batch.inputs, batch.starts))
        sets = self.entered(batch)
        per_block = self.positions.per_block(sets)
        sets = sets.with_values(self.dropout(sets.values))
        # Stacks of other kinds take no more than what they need.
        given = {name: each for name, each in (("states", states), ("memory", memory)) if each is not None}
        hidden: VectorSets = self.stack(sets, per_block, **given)
        return hidden

    def entered(self, batch: Batch) -> VectorSets:
        """What enters the stack, before dropout and positions for each block: class_vector(positions(front(batch))).

        Raises:
            InputError: what is no batch.
        """
        check_batch(batch)
        sets: VectorSets = self.class_vector(self.positions(self.front(batch)))
        return sets

    @property
    def grows(self) -> bool:
        """Whether it can go on from states: each hidden vector is made of one input, and in the stack of those before."""
        one_each = self.step == 1 and not isinstance(self.class_vector, ClassVector)
        return one_each and not any(self.front.context) and isinstance(self.stack, Stack) and self.context[1] <= 0


def check_batch(batch: object) -> None:
    """Refuse what is no batch.

    Raises:
        InputError: sets or a tensor, or something else.
    """
    if not isinstance(batch, Batch):
        raise InputError(f"a model was given {type(batch).__name__}, expected a Batch, such as Batch(sets)")


def places_of(model: nn.Module, length: int, count: int, tokens: Sequence[str] | None) -> Places:
    """The place of each of a set's `count` hidden vectors.

    Args:
        model: that made them; the vectors of one that is no `Model` are numbered where they are not as many as the inputs.
        length: the number of inputs. tokens: what those are called, if anything.
    """
    covered = model.covered(length) if isinstance(model, Model) else [range(n, n + 1) for n in range(length)]
    if len(covered) != count:
        covered, tokens = [range(n, n + 1) for n in range(count)], None
    places = []
    for inputs in covered:
        bare = Place(inputs, "")
        words = "[class]" if not inputs else bare.span if tokens is None else " ".join(tokens[n] for n in inputs)
        places.append(Place(inputs, words))
    return places


def beginners(model: nn.Module) -> list[Any]:
    """The pieces of a model that have something to do before training, such as reading word vectors, in `begin_training()`."""
    return [piece for piece in model.modules() if hasattr(piece, "begin_training")]
