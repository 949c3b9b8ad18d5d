"""What every reader yields: `Example`s of one set and its target, and the `Encoding` learned from the training part."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from regard.errors import InputError, nearest
from regard.files import write_atomically

__all__ = [
    "IGNORE",
    "PARTS",
    "Array",
    "Dataset",
    "Encoding",
    "Example",
    "Listed",
    "Part",
    "Reader",
    "Targets",
    "check_part",
    "parse_number",
    "split",
]

Array = NDArray[Any]
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

IGNORE = -100
"""An integer target that is not there; a number that is not there is NaN."""


@dataclass(frozen=True, eq=False)
class Example:
    """One set of vectors and its target.

    Args:
        values: `[n, d]` float32, or `[n]` or `[n, f]` int64 ids.
        target: `[n]` (one per vector) or `[]` (one for the set); int64 classes or float32 numbers; None where unlabelled.
        name: what predictions are reported under: a sentence's id, a file's name.
        coords: `[n, c]` float32, where each vector lies beyond its place in the order.
        edges: `[2, e]` int64, (query row, key row) without repeats.
        edge_values: `[e, m]` float32.
        inner: an int64 id array for each vector: the characters of a word.
        tokens: what each vector is called in predictions: the words, the names of the nodes.
    """

    values: Array
    target: Array | None
    name: str
    coords: Array | None = None
    edges: Array | None = None
    edge_values: Array | None = None
    inner: tuple[Array, ...] | None = None
    tokens: tuple[str, ...] | None = None


class Dataset(Protocol):
    """Examples by index; `lengths` are the numbers of vectors, known without reading the examples.

    A data set whose examples differ from epoch to epoch also has `set_epoch(epoch)`, called before examples are read.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...

    @property
    def lengths(self) -> Sequence[int]: ...


class Listed:
    """A data set of examples that are in memory."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = list(examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int, /) -> Example:
        return self.examples[index]

    @property
    def lengths(self) -> list[int]:
        return [len(example.values) for example in self.examples]


_LARGEST = float(np.finfo(np.float32).max)
_FILES = ("labels.json", "vocabulary.json", "encoding.json")


@dataclass(frozen=True)
class Encoding:
    """All that was learned from the training part: what is needed to read further inputs in the same way.

    Args:
        labels: the names of the classes by id; empty where targets are numbers.
        vocabularies: for each column of ids, in order, what each id stands for; entry 0 is the unknown. The column
            `"character"` is that of `Example.inner`.
        width: the width of float values; 0 for ids.
        coords: the number of coordinates.
        extent: the size of the grid that the coordinates lie on; pictures only.
        edge_width: the width of edge values.
        statistics: for targets that are numbers, `"mean"` and `"deviation"`: target = (number - mean) / deviation; for
            frames of sound `"band_mean"`, the mean of each band, where that is subtracted.
        tokenizer: what cuts texts into learned pieces, as its library writes it down; empty where nothing does.
        copies: how many classes each label is while training, where variations of its examples are classes of their own:
            class c of `labels` is c, c + labels, c + 2 labels, and so on, the first of them as recorded.

    >>> Encoding(labels=("cat", "dog"), width=3).labels
    ('cat', 'dog')
    """

    labels: tuple[str, ...] = ()
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    width: int = 0
    coords: int = 0
    extent: tuple[int, ...] = ()
    edge_width: int = 0
    statistics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    tokenizer: str = ""
    copies: int = 1

    def save(self, folder: Path | str) -> None:
        """Write `labels.json`, `vocabulary.json` and `encoding.json`, which holds the rest and a checksum over all three."""
        whole = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        whole["vocabularies"], whole["statistics"] = dict(self.vocabularies), dict(self.statistics)
        rest = {name: value for name, value in whole.items() if name not in ("labels", "vocabularies")}
        contents = (whole["labels"], whole["vocabularies"], rest | {"checksum": _checksum(whole)})
        for name, content in zip(_FILES, contents, strict=True):
            text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
            write_atomically(Path(folder) / name, text.encode())

    @classmethod
    def load(cls, folder: Path | str) -> Encoding:
        """What `save` wrote.

        Raises:
            InputError: a file that is missing, is not JSON, or was altered.
        """
        labels, vocabularies, rest = (_read_json(Path(folder) / name) for name in _FILES)
        try:
            checksum = rest.pop("checksum")
            whole = {"labels": labels, "vocabularies": vocabularies, **rest}
            if _checksum(whole) != checksum:
                raise ValueError
            whole["labels"], whole["extent"] = tuple(labels), tuple(rest["extent"])
            whole["vocabularies"] = {name: tuple(entries) for name, entries in vocabularies.items()}
            whole["statistics"] = {name: tuple(numbers) for name, numbers in rest["statistics"].items()}
            return cls(**whole)
        except (AttributeError, KeyError, TypeError, ValueError):
            names = ", ".join(_FILES)
            raise InputError(
                f"one of {names} in {folder} was altered, expected all three as training wrote them"
            ) from None


def _checksum(whole: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError:
        raise InputError(f"{path} is missing or cannot be read, expected the file that training wrote") from None
    except ValueError:
        raise InputError(f"{path} is not JSON, expected the file that training wrote") from None


class Reader(Protocol):
    """A plain dataclass of options that reads one kind of files.

    `path` is the user's own data; None is the published data set, found by `regard.data.registry.locate`.
    """

    path: str | None

    def fit(self) -> Encoding:
        """Learn the encoding, from the training part only."""
        ...

    def part(self, name: Part, encoding: Encoding) -> Dataset:
        """The labelled examples of one part."""
        ...

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Dataset:
        """Unlabelled examples to predict for."""
        ...


@dataclass(frozen=True)
class Targets:
    """How the texts of labels become targets: class ids, or numbers brought to mean 0 and deviation 1 of the training part.

    >>> targets = Targets.fit(["b", "a", "b"])
    >>> targets.labels, int(targets("b", "line 1"))
    (('a', 'b'), 1)
    >>> targets("c", "line 2")
    Traceback (most recent call last):
    regard.errors.InputError: line 2 has the label 'c', which no training example has: known are a, b
    """

    labels: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(cls, texts: Iterable[str], numbers: bool = False) -> Targets:
        """Learn the classes, or the mean and the deviation, from the labels of the training part."""
        if not numbers:
            return cls(tuple(sorted(set(texts), key=_natural)))
        values = np.array([float(text) for text in texts])
        return cls((), float(values.mean()), float(values.std()) or 1.0)

    @classmethod
    def of(cls, encoding: Encoding) -> Targets:
        if "mean" not in encoding.statistics:
            return cls(encoding.labels)
        return cls((), encoding.statistics["mean"][0], encoding.statistics["deviation"][0])

    @property
    def statistics(self) -> dict[str, tuple[float, ...]]:
        """What `Encoding.statistics` keeps: nothing for classes."""
        return {} if self.labels else {"mean": (self.mean,), "deviation": (self.deviation,)}

    @property
    def missing(self) -> Array:
        """The target that is not there."""
        return np.array(IGNORE) if self.labels else np.array(np.nan, np.float32)

    def __call__(self, text: str, where: str) -> Array:
        """The target of one label; `where` begins the sentence of an error."""
        if not self.labels:
            return np.array((parse_number(text, where) - self.mean) / self.deviation, np.float32)
        try:
            return np.array(self.labels.index(text))
        except ValueError:
            clause = nearest(text, self.labels)
            raise InputError(f"{where} has the label {text!r}, which no training example has: {clause}") from None


def _natural(text: str) -> tuple[int, int, str]:
    """Whole numbers before words and by value, so that class 10 follows class 9."""
    return (0, int(text), text) if text.isascii() and text.isdigit() else (1, 0, text)


def parse_number(text: str, where: str) -> float:
    """A finite number; `where` begins the sentence of the error that says it is none.

    >>> parse_number("nan", "nodes.csv, line 3, column age,")
    Traceback (most recent call last):
    regard.errors.InputError: nodes.csv, line 3, column age, holds 'nan', expected a finite number
    """
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    # Vectors and targets are float32, which nothing larger fits into.
    if not abs(number) <= _LARGEST:
        raise InputError(f"{where} holds {text!r}, expected a finite number")
    return number


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


def check_part(name: str) -> Part:
    """The name of a part, if it is one."""
    for part in PARTS:
        if part == name:
            return part
    raise InputError(f"there is no part {name!r}: {nearest(name, PARTS)}")
