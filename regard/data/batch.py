"""`Batch`: what a loader gives, a model reads and a task compares with; `collate` makes one of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.data.examples import Array, Example
from regard.errors import InputError
from regard.sets import Layout, VectorSets

__all__ = ["Batch", "Spelling", "collate"]

T = TypeVar("T", bound="_Moved")


class _Moved:
    """A dataclass whose fields can be moved, where they can be."""

    def to(self: T, device: torch.device | str, non_blocking: bool = False) -> T:
        """The same on another device."""
        return self._each(lambda field: field.to(device, non_blocking=non_blocking))

    def pin_memory(self: T) -> T:
        """The same in memory from which a GPU can copy by itself."""
        return self._each(lambda field: field.pin_memory())

    def _each(self: T, change: Callable[[Any], Any]) -> T:
        """A copy with `change` applied to every field that is a tensor or made of some."""
        values: dict[str, Any] = {entry.name: getattr(self, entry.name) for entry in fields(self)}  # type: ignore[arg-type]
        changed = {name: change(value) for name, value in values.items() if hasattr(value, "pin_memory")}
        return replace(self, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Spelling(_Moved):
    """Inner sequences of the vectors of a batch, such as the characters of its words, each distinct one once.

    Args:
        sequences: one set of ids for each distinct sequence.
        index: `[t]` int64, the set of `sequences` that belongs to each vector of the batch.
    """

    sequences: VectorSets
    index: Tensor


@dataclass(frozen=True, eq=False)
class Batch(_Moved):
    """Sets that are processed together, and what is known about them.

    Args:
        inputs: the sets, with coordinates, edges and edge values.
        targets: `[t]` or `[s]`, one for each vector or set; None where an example has none.
        context: a second set for each set, or None.
        spelling: the inner sequences of the vectors, or None.
        names: what each set is called in predictions.
        tokens: for each set what its vectors are called, or None.

    >>> batch = Batch(VectorSets.pack([torch.ones(2, 3)]))
    >>> batch.targets is None, batch.to("cpu").inputs
    (True, VectorSets(values [2, 3] float32, 1 sets))
    """

    inputs: VectorSets
    targets: Any = None
    context: VectorSets | None = None
    spelling: Spelling | None = None
    names: tuple[str, ...] = ()
    tokens: tuple[tuple[str, ...] | None, ...] = ()

    def __len__(self) -> int:
        """The number of sets."""
        return len(self.inputs)

    def emptied(self) -> Batch:
        """A batch of no sets, with the widths and types of this one."""
        spelling = self.spelling
        return Batch(
            self.inputs.select([]),
            None if self.targets is None else self.targets[:0],
            None if self.context is None else self.context.select([]),
            None if spelling is None else Spelling(spelling.sequences.select([]), spelling.index[:0]),
        )


def collate(examples: Sequence[Example]) -> Batch:
    """One batch from examples that have the same fields.

    Raises:
        InputError: no example at all, or examples that differ in width or in what they have.

    >>> ids = [np.array([3, 1]), np.array([1])]
    >>> batch = collate([Example(values, np.array(0), "a") for values in ids])
    >>> batch.inputs, batch.targets.tolist()
    (VectorSets(values [3] int64, 2 sets), [0, 0])
    """
    if not examples:
        raise InputError("there are no examples to make a batch of, expected at least one")
    lengths = [len(example.values) for example in examples]
    values = _join(examples, "values")
    assert values is not None
    offsets = np.cumsum([0, *lengths])
    # `Layout` checks that edges stay inside their set and are not repeated: readers promise it for each example.
    edges = _join(examples, "edges", axis=1, shifts=offsets)
    parts = [torch.from_numpy(offsets), _join(examples, "coords"), edges, _join(examples, "edge_values"), None]
    return Batch(
        VectorSets(values, Layout._trusted(parts)),
        None if any(example.target is None for example in examples) else _join(examples, "target"),
        spelling=_spelling(examples),
        names=tuple(example.name for example in examples),
        tokens=tuple(example.tokens for example in examples),
    )


def _join(examples: Sequence[Example], field: str, axis: int = 0, shifts: Array | None = None) -> Tensor | None:
    parts = [getattr(example, field) for example in examples]
    if parts[0] is None:
        odd = next((i for i, part in enumerate(parts) if part is not None), None)
    else:
        # Along the other axes, and in kind, all must be like the first.
        alike = (parts[0].dtype, parts[0].ndim, parts[0].shape[1 - axis : 2 - axis])
        odd = next(
            (i for i, p in enumerate(parts) if p is None or (p.dtype, p.ndim, p.shape[1 - axis : 2 - axis]) != alike),
            None,
        )
    if odd is not None:
        found, first = (None if p is None else f"{list(p.shape)} {p.dtype}" for p in (parts[odd], parts[0]))
        name = examples[odd].name
        raise InputError(f"the example {name!r} has {field} {found}, expected them like {examples[0].name!r}: {first}")
    if parts[0] is None:
        return None
    if shifts is not None:
        parts = [part + shift for part, shift in zip(parts, shifts[:-1], strict=True)]
    return torch.from_numpy(np.stack(parts) if parts[0].ndim == 0 else np.concatenate(parts, axis))


def _spelling(examples: Sequence[Example]) -> Spelling | None:
    """The distinct inner sequences, and which one belongs to each vector."""
    if any(example.inner is None for example in examples):
        return None
    places: dict[bytes, int] = {}
    unique: list[Array] = []
    index = []
    for example in examples:
        for sequence in example.inner or ():
            key = sequence.tobytes()
            if key not in places:
                places[key] = len(unique)
                unique.append(sequence)
            index.append(places[key])
    values = np.concatenate(unique) if unique else np.zeros(0, np.int64)
    layout = Layout.of_lengths([len(sequence) for sequence in unique])
    return Spelling(VectorSets(torch.from_numpy(values), layout), torch.tensor(index, dtype=torch.int64))


# To `torch.export` a batch is its tensors: the names of the fields that are there tell one structure from another, and what
# people call sets and vectors is no input of a graph.
def _register(kind: type, names: Sequence[str]) -> None:
    def flatten(value: Any) -> tuple[list[Any], str]:
        there = [name for name in names if getattr(value, name) is not None]
        return [getattr(value, name) for name in there], " ".join(there)

    def flatten_with_keys(value: Any) -> tuple[list[tuple[Any, Any]], str]:
        parts, there = flatten(value)
        return [(pytree.GetAttrKey(name), part) for name, part in zip(there.split(), parts, strict=True)], there

    def unflatten(parts: Iterable[Any], there: str) -> Any:
        return kind(**dict(zip(there.split(), parts, strict=True)))

    pytree.register_pytree_node(
        kind,
        flatten,
        unflatten,
        serialized_type_name=f"regard.{kind.__name__}",
        flatten_with_keys_fn=flatten_with_keys,
    )


_register(Spelling, ("sequences", "index"))
_register(Batch, ("inputs", "targets", "context", "spelling"))
# What is stored may be loaded without trusting the file.
torch.serialization.add_safe_globals([Batch, Spelling])
