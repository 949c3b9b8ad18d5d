"""What every reader yields: `Example`s of one set and its target, by part."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from regard.errors import InputError, nearest

__all__ = [
    "ALL",
    "IGNORE",
    "PARTS",
    "UNSEEN",
    "Array",
    "Dataset",
    "Example",
    "Listed",
    "Part",
    "TargetKind",
    "TargetName",
    "VectorSet",
    "check_part",
    "divided",
    "parts_of",
    "split",
    "target_kind",
]

Array = NDArray[Any]
Part = Literal["train", "validation", "test", "all"]
"""A part of the data, or all of it: for data that is not divided, because no part of it was trained on."""
PARTS: tuple[Part, ...] = ("train", "validation", "test")
ALL: Part = "all"

IGNORE = -100
"""An integer target that is not there; a number that is not there is NaN."""

UNSEEN = IGNORE - 1
"""The target of the first label that no training example has; that of the k-th after it is `UNSEEN - k`."""


TargetKind = Literal["vector", "set", "sets"]
"""What has a target: each vector, each set, or each set a set of its own (a sentence in another language, boxes)."""

TargetName = Literal["label", "labels", "number"]
"""What a target is: one label, any number of labels, or a number."""


@dataclass(frozen=True, eq=False)
class VectorSet:
    """One set of vectors that belongs to an example: its context, or the set that is its target.

    Args:
        values: `[n, d]` float32, or `[n]` or `[n, f]` int64 ids.
        coords: `[n, c]` float32, where each vector lies beyond its place in the order.
        edges: `[2, e]` int64, (query row, key row) without repeats.
        edge_values: `[e, m]` float32.
        tokens: what each vector is called in predictions.
        text: what a set of ids was cut from, as it stands in the data.
    """

    values: Array
    coords: Array | None = None
    edges: Array | None = None
    edge_values: Array | None = None
    tokens: tuple[str, ...] | None = None
    text: str | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """One set of vectors and its target.

    Args:
        values: `[n, d]` float32, or `[n]` or `[n, f]` int64 ids.
        target: by its kind `[n, ...]` per vector, `[...]` per set, or a set of its own; int64 classes or float32 numbers, of which
            `IGNORE` and NaN are gaps; None where unlabelled.
        name: what predictions are reported under: a sentence's id, a file's name.
        target_kind: what has a target: each vector, the set, or the set a set of its own ("sets").
        coords: `[n, c]` float32, where each vector lies beyond its place in the order.
        edges: `[2, e]` int64, (query row, key row) without repeats.
        edge_values: `[e, m]` float32.
        set_values: `[k]` float32, numbers of the whole set, standardized.
        inner: an int64 id array for each vector: the characters of a word.
        tokens: what each vector is called in predictions: the words, the names of the nodes.
        context: the other set of a pair: the source sentence, the second document.
        pixels: width and height of the picture that the set was made of, in which predictions say where something lies.
        start: the place of the first vector in the stream that the set is a segment of; 0 where it goes on from nothing.

    Raises:
        InputError: a target that is not of its kind.

    >>> import numpy as np
    >>> Example(np.zeros((3, 2)), np.array([1, 0]), "a", "vector")
    Traceback (most recent call last):
    regard.errors.InputError: the example 'a' has targets of shape [2], expected one for each of its 3 vectors
    """

    values: Array
    target: Array | VectorSet | None
    name: str
    target_kind: TargetKind = "set"
    coords: Array | None = None
    edges: Array | None = None
    edge_values: Array | None = None
    inner: tuple[Array, ...] | None = None
    tokens: tuple[str, ...] | None = None
    context: VectorSet | None = None
    pixels: tuple[int, int] | None = None
    start: int = 0
    set_values: Array | None = None

    def __post_init__(self) -> None:
        target, kind = self.target, self.target_kind
        if target is None:
            return
        if isinstance(target, VectorSet):
            if kind != "sets":
                raise InputError(f"the example {self.name!r} has a set as its target, expected one target per {kind}")
            return
        shape = list(target.shape)
        if kind == "sets":
            raise InputError(f"the example {self.name!r} has a target of shape {shape}, expected a set of its own")
        if kind == "vector" and shape[:1] != [len(self.values)]:
            expected = f"one for each of its {len(self.values)} vectors"
            raise InputError(f"the example {self.name!r} has targets of shape {shape}, expected {expected}")


class Dataset(Protocol):
    """Examples by index, and what is known of them without reading any.

    A data set whose examples differ from epoch to epoch also has `set_epoch(epoch)`, called before examples are read. One with
    labels that no training example has also has `unseen`, how many targets each of them has (`regard.data.targets`). One whose
    examples are segments of streams has `streams`, their number: example t * streams + b goes on where (t - 1) * streams + b ends.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...

    @property
    def lengths(self) -> Sequence[int]:
        """The number of vectors of each example, or an upper bound of it: batches are cut by these."""
        ...

    @property
    def target_kind(self) -> TargetKind:
        """That of all examples that have a target."""
        ...

    @property
    def targets(self) -> Sequence[Array | VectorSet | None]:
        """The target of each example as recorded; None where it is unlabelled."""
        ...


class Listed:
    """A data set of examples that are in memory."""

    def __init__(self, examples: Sequence[Example], unseen: Mapping[str, int] | None = None) -> None:
        self.examples = list(examples)
        self.unseen = unseen or {}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int, /) -> Example:
        return self.examples[index]

    @property
    def lengths(self) -> list[int]:
        return [len(example.values) for example in self.examples]

    @property
    def target_kind(self) -> TargetKind:
        return self.examples[0].target_kind if self.examples else "set"

    @property
    def targets(self) -> list[Array | VectorSet | None]:
        return [example.target for example in self.examples]


def target_kind(targets: Sequence[Array | VectorSet] | None) -> TargetKind:
    """That of targets of sets: whether each is a set of its own."""
    return "sets" if targets and isinstance(targets[0], VectorSet) else "set"


def split(
    names: Sequence[str], labels: Sequence[str] | None = None, shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> list[Part]:
    """The part of each example of data that came undivided: fixed by the names alone.

    The examples of each label are ordered by the SHA-256 of their names; the first tenth is the test part, the next
    tenth the validation part, the rest the training part. A label of three examples or more has at least one in each
    part; a rarer one is in the training part only.

    >>> parts = split([str(i) for i in range(20)])
    >>> [parts.count(part) for part in PARTS]
    [16, 2, 2]
    """
    groups = defaultdict(list)
    for i, name in enumerate(names):
        groups[labels[i] if labels else ""].append((hashlib.sha256(name.encode()).digest(), i))
    parts: list[Part] = ["train"] * len(names)
    for group in groups.values():
        ordered = [i for _, i in sorted(group)]
        held = [max(1, round(share * len(ordered))) if len(ordered) >= 3 else 0 for share in shares[1:]]
        for i in ordered[: held[1]]:
            parts[i] = "test"
        for i in ordered[held[1] : sum(held)]:
            parts[i] = "validation"
    return parts


def divided(names: Sequence[str], labels: Sequence[str], parts: Sequence[str | None]) -> list[Part]:
    """The part of each example: what its folder or column says, or, where some are in none, what `split` says of all.

    Where there is a training part and a test part and no other, the validation part is a tenth of each label's training examples.

    >>> divided(["a", "b", "c"], ["x", "x", "x"], ["test", "train", "validation"])
    ['test', 'train', 'validation']
    >>> parts = divided([str(i) for i in range(21)], ["x"] * 21, ["train"] * 20 + ["test"])
    >>> [parts.count(part) for part in PARTS]
    [18, 2, 1]
    """
    if None in parts:
        return split(names, labels)
    named = [check_part(str(part)) for part in parts]
    train = [i for i, part in enumerate(named) if part == "train"]
    if "validation" not in named and "test" in named and train:
        # Both of the shares that are held out: a tenth.
        held = split([names[i] for i in train], [labels[i] for i in train], (0.9, 0.05, 0.05))
        for i, part in zip(train, held, strict=True):
            named[i] = "train" if part == "train" else "validation"
    return named


def parts_of(name: Part) -> tuple[str, ...]:
    """The parts that a name stands for.

    >>> parts_of("test"), parts_of("all")
    (('test',), ('train', 'validation', 'test'))
    """
    return PARTS if name == "all" else (name,)


def check_part(name: str) -> Part:
    """The name of a part, if it is one."""
    for part in (*PARTS, ALL):
        if part == name:
            return part
    raise InputError(f"there is no part {name!r}: {nearest(name, (*PARTS, ALL))}")
