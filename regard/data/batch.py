"""`Batch`: what a loader gives, a model reads and a task compares with; `collate` makes one of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.data.examples import Array, Example, TargetKind, VectorSet
from regard.errors import InputError
from regard.sets import Layout, VectorSets

__all__ = ["Batch", "Spelling", "collate", "collate_targets"]

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
        targets: by their kind `[t, ...]` per vector, `[s, ...]` per set, or a set for each set; int64 classes or float numbers, of
            which `IGNORE` and NaN are gaps; None where the examples have none. `UNSEEN - k` is the k-th label of `unseen`.
        context: a second set for each set, or None.
        spelling: the inner sequences of the vectors, or None.
        names: what each set is called in predictions.
        tokens: for each set what its vectors are called, or None.
        target_kind: "vector", "set" or "sets"; None without targets.
        context_tokens: for each set what the vectors of its context are called, or None.
        unseen: labels of the part that no training example has.
        target_texts: for each set the text that its target was cut from, or None.
        pixels: for each set the width and height of the picture that it was made of, or None.
        starts: for each set the place of its first vector in the stream that it is a segment of, 0 where it goes on from nothing; a
            memory (`regard.layers.memory`) goes on by them. Set b of a batch goes on where set b of the batch before ended.
        set_values: `[s, k]` numbers of each whole set, or None.

    >>> batch = Batch(VectorSets.pack([torch.ones(2, 3)]))
    >>> batch.targets is None, batch.to("cpu").inputs
    (True, VectorSets(values [2, 3] float32, 1 sets))
    """

    inputs: VectorSets
    targets: Tensor | VectorSets | None = None
    context: VectorSets | None = None
    spelling: Spelling | None = None
    names: tuple[str, ...] = ()
    tokens: tuple[tuple[str, ...] | None, ...] = ()
    target_kind: TargetKind | None = None
    context_tokens: tuple[tuple[str, ...] | None, ...] = ()
    unseen: tuple[str, ...] = ()
    target_texts: tuple[str | None, ...] = ()
    pixels: tuple[tuple[int, int] | None, ...] = ()
    starts: tuple[int, ...] = ()
    set_values: Tensor | None = None

    def __len__(self) -> int:
        """The number of sets."""
        return len(self.inputs)

    def target_values(self, kind: Literal["vector", "set"]) -> Tensor:
        """`[t, ...]` or `[s, ...]` the targets of a task that has one for each vector, or for each set.

        Raises:
            InputError: there are none, or they are of another kind.
        """
        targets = self._targets(kind)
        assert isinstance(targets, Tensor)
        return targets

    @property
    def target_sets(self) -> VectorSets:
        """The targets of a task whose targets are sets.

        Raises:
            InputError: there are none, or they are of another kind.
        """
        targets = self._targets("sets")
        assert isinstance(targets, VectorSets)
        return targets

    def _targets(self, kind: TargetKind) -> Tensor | VectorSets:
        if self.targets is None:
            whose = f"{self.names[0]} has" if self.names else "the examples have"
            raise InputError(f"{whose} no target, expected a labeled part")
        if self.target_kind != kind:
            wanted, described = _KINDS[kind], _KINDS[self.target_kind or "set"]
            raise InputError(f"the task has {wanted}, but the data has {described}: the data needs another task")
        return self.targets

    def emptied(self) -> Batch:
        """A batch of no sets, with the widths and types of this one."""
        targets, spelling = self.targets, self.spelling
        return Batch(
            self.inputs.select([]),
            targets.select([]) if isinstance(targets, VectorSets) else None if targets is None else targets[:0],
            None if self.context is None else self.context.select([]),
            None if spelling is None else Spelling(spelling.sequences.select([]), spelling.index[:0]),
            target_kind=self.target_kind,
            set_values=None if self.set_values is None else self.set_values[:0],
        )


_KINDS = {"vector": "one target per vector", "set": "one target per set", "sets": "a set of targets per set"}


def collate(examples: Sequence[Example]) -> Batch:
    """One batch from examples that have the same fields.

    Raises:
        InputError: no example at all, or examples that differ in width or in what they have.

    >>> ids = [np.array([3, 1]), np.array([1])]
    >>> batch = collate([Example(values, np.array(0), "a") for values in ids])
    >>> batch.inputs, batch.target_values("set").tolist()
    (VectorSets(values [3] int64, 2 sets), [0, 0])
    """
    names = _named(examples)
    contexts = [example.context for example in examples]
    return Batch(
        _sets(examples, names, ""),
        _joined_targets(examples, names),
        None if all(context is None for context in contexts) else _sets(contexts, names, "context "),
        spelling=_spelling(examples),
        names=names,
        tokens=tuple(example.tokens for example in examples),
        target_kind=None if examples[0].target is None else examples[0].target_kind,
        context_tokens=()
        if contexts[0] is None
        else tuple(None if context is None else context.tokens for context in contexts),
        target_texts=_target_texts(examples),
        pixels=tuple(example.pixels for example in examples),
        starts=tuple(example.start for example in examples),
        set_values=_set_values(examples, names),
    )


def collate_targets(examples: Sequence[Example]) -> Batch:
    """A batch of the targets alone, with the layout of its sets: the vectors of `inputs` have width 0.

    >>> batch = collate_targets([Example(np.ones((2, 9)), np.array([1, 0]), "a", "vector")])
    >>> batch.inputs, batch.target_values("vector").tolist()
    (VectorSets(values [2, 0] float32, 1 sets), [1, 0])
    """
    names = _named(examples)
    layout = Layout.of_lengths([len(example.values) for example in examples])
    inputs = VectorSets(torch.zeros(layout.total, 0), layout)
    kind = None if examples[0].target is None else examples[0].target_kind
    tokens = tuple(example.tokens for example in examples)
    return Batch(
        inputs,
        _joined_targets(examples, names),
        names=names,
        tokens=tokens,
        target_kind=kind,
        target_texts=_target_texts(examples),
    )


def _target_texts(examples: Sequence[Example]) -> tuple[str | None, ...]:
    """The text of each target that is a set of ids; nothing where none is."""
    targets = [example.target for example in examples]
    sets = any(isinstance(target, VectorSet) for target in targets)
    return tuple(target.text if isinstance(target, VectorSet) else None for target in targets) if sets else ()


def _named(examples: Sequence[Example]) -> tuple[str, ...]:
    if not examples:
        raise InputError("there are no examples to make a batch of, expected at least one")
    return tuple(example.name for example in examples)


def _sets(sets: Sequence[Example | VectorSet | None], names: Sequence[str], what: str) -> VectorSets:
    """The sets one after another; `what` begins the names of their fields in errors."""
    without = next((i for i, one in enumerate(sets) if one is None), None)
    if without is not None:
        raise InputError(f"the example {names[without]!r} has no {what}set, expected one, as others of the batch have")
    parts = {field: [getattr(one, field) for one in sets] for field in ("values", "coords", "edges", "edge_values")}
    offsets = np.cumsum([0, *map(len, parts["values"])])
    # `Layout` checks that edges stay inside their set and are not repeated: readers promise it for each example.
    shifted = [part if part is None else part + start for part, start in zip(parts["edges"], offsets[:-1], strict=True)]
    values = _join(parts["values"], names, f"{what}values")
    assert values is not None
    fields = [
        torch.from_numpy(offsets),
        _join(parts["coords"], names, f"{what}coords"),
        _join(shifted, names, f"{what}edges", axis=1),
        _join(parts["edge_values"], names, f"{what}edge_values"),
        None,
    ]
    return VectorSets(values, Layout._trusted(fields))


def _set_values(examples: Sequence[Example], names: Sequence[str]) -> Tensor | None:
    rows = [None if example.set_values is None else example.set_values[None] for example in examples]
    return _join(rows, names, "set_values")


def _joined_targets(examples: Sequence[Example], names: Sequence[str]) -> Tensor | VectorSets | None:
    """Targets of one kind.

    Raises:
        InputError: examples without a target among others that have one, or whose targets are of another kind.
    """
    kinds = [None if example.target is None else example.target_kind for example in examples]
    odd = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), None)
    if odd is not None:
        described, first = ("no target" if kind is None else _KINDS[kind] for kind in (kinds[odd], kinds[0]))
        raise InputError(f"the example {names[odd]!r} has {described}, expected it like {names[0]!r}: {first}")
    targets: list[Any] = [example.target for example in examples]
    if kinds[0] == "sets":
        return _sets(targets, names, "target ")
    if kinds[0] == "set":
        targets = [None if target is None else np.asarray(target)[None] for target in targets]
    return _join(targets, names, "target")


def _join(parts: Sequence[Array | None], names: Sequence[str], what: str, axis: int = 0) -> Tensor | None:
    """The parts joined along an axis.

    Raises:
        InputError: a part that differs from the first one in type or in its other axes.
    """
    first = parts[0]
    odd = next((i for i, part in enumerate(parts) if _form(part, axis) != _form(first, axis)), None)
    if odd is not None:
        described, expected = (None if p is None else f"{list(p.shape)} {p.dtype}" for p in (parts[odd], first))
        raise InputError(
            f"the example {names[odd]!r} has {what} {described}, expected them like {names[0]!r}: {expected}"
        )
    present = [part for part in parts if part is not None]
    return torch.from_numpy(np.concatenate(present, axis)) if present else None


def _form(part: Array | None, axis: int) -> object:
    """What parts that are joined must have in common."""
    return None if part is None else (part.dtype, part.shape[:axis], part.shape[axis + 1 :])


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


# To `torch.export` a batch is its tensors: a text says which fields are there and of which kind the targets are, and what people
# call sets and vectors is no input of a graph.
def _register(cls: type, names: Sequence[str], texts: Sequence[str] = ()) -> None:
    def flatten(value: Any) -> tuple[list[Any], str]:
        there = [name for name in names if getattr(value, name) is not None]
        known = [f"{name}={getattr(value, name)}" for name in texts if getattr(value, name) is not None]
        return [getattr(value, name) for name in there], " ".join([*there, *known])

    def flatten_with_keys(value: Any) -> tuple[list[tuple[Any, Any]], str]:
        parts, context = flatten(value)
        return [(pytree.GetAttrKey(name), part) for name, part in zip(context.split(), parts, strict=False)], context

    def unflatten(parts: Iterable[Any], context: str) -> Any:
        there = [name for name in context.split() if "=" not in name]
        known = dict(entry.split("=") for entry in context.split() if "=" in entry)
        return cls(**dict(zip(there, parts, strict=True)), **known)

    pytree.register_pytree_node(
        cls, flatten, unflatten, serialized_type_name=f"regard.{cls.__name__}", flatten_with_keys_fn=flatten_with_keys
    )


_register(Spelling, ("sequences", "index"))
_register(Batch, ("inputs", "targets", "context", "spelling", "set_values"), ("target_kind",))
# What is stored may be loaded without trusting the file.
torch.serialization.add_safe_globals([Batch, Spelling])
