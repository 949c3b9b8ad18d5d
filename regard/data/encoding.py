"""What a reader learns from the training part: targets, vocabularies, tokenizer, grid, means; and the three files that hold it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.examples import IGNORE, Array
from regard.data.label_sets import LabelSets
from regard.data.words import SEGMENTATION
from regard.errors import InputError, nearest
from regard.files import read_json, write_atomically

__all__ = ["BEGIN", "END", "WORD", "Encoding", "Grid", "Labels", "Numbers", "Standard", "learn_targets", "parse_number"]

WORD = "word"
"""The name of a column of ids that stand for words, which word vectors can be given to."""

BEGIN, END = "<begin>", "<end>"
"""The entries of a vocabulary of targets that stand before the first id, where nothing is written yet, and after the last one."""

_LARGEST = float(np.finfo(np.float32).max)
_FILES = ("labels.json", "vocabulary.json", "encoding.json")
# What the files call the parts that are attributes here.
_CHARACTER, _MEAN, _DEVIATION, _BAND_MEAN = "character", "mean", "deviation", "band_mean"
_SET_MEAN, _SET_DEVIATION = "set_mean", "set_deviation"
_CONTEXT, _TARGETS = "context", "targets"


@dataclass(frozen=True)
class Labels:
    """Targets that are classes: each is the id of a label.

    Args:
        names: of the labels, by id.
        copies: how many classes each label is while training, where variations of its examples are classes of their own:
            class c of `names` is c, c + labels, c + 2 labels, and so on, the first of them as recorded.

    >>> labels = Labels.of(["b", "a", "10", "9", "b"])
    >>> labels.names, int(labels("b", "line 1"))
    (('9', '10', 'a', 'b'), 3)
    >>> labels("c", "line 2")
    Traceback (most recent call last):
    regard.errors.InputError: line 2 has the label 'c', which no training example has: known are 10, 9, a, b
    """

    names: tuple[str, ...]
    copies: int = 1

    @classmethod
    def of(cls, texts: Iterable[str], copies: int = 1) -> Labels:
        """The labels of the training part, each once: whole numbers by value, then words.

        Raises:
            InputError: all labels are numbers, and some have a fraction, or two are one number.
        """
        names = set(texts)
        _check_classes(names)
        return cls(tuple(sorted(names, key=_natural)), copies)

    @property
    def missing(self) -> Array:
        """The target that is not there."""
        return np.array(IGNORE)

    def __call__(self, text: str, where: str) -> Array:
        """The target of one label; `where` begins the sentence of an error."""
        try:
            return np.array(self.names.index(text))
        except ValueError:
            clause = nearest(text, self.names)
            raise InputError(f"{where} has the label {text!r}, which no training example has: {clause}") from None


@dataclass(frozen=True)
class Numbers:
    """Targets that are numbers: target = (number - mean) / deviation, with those of the training part.

    >>> numbers = Numbers.of(["1", "3"])
    >>> numbers.mean, numbers.deviation, float(numbers("5", "line 1"))
    (2.0, 1.0, 3.0)
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, texts: Iterable[str]) -> Numbers:
        """The mean and the deviation of the training part; a deviation of 0 becomes 1."""
        values = np.array([float(text) for text in texts])
        return cls(float(values.mean()), float(values.std()) or 1.0)

    @property
    def missing(self) -> Array:
        """The target that is not there."""
        return np.array(np.nan, np.float32)

    def __call__(self, text: str, where: str) -> Array:
        """The target of one number; `where` begins the sentence of an error."""
        return np.array((parse_number(text, where) - self.mean) / self.deviation, np.float32)


def learn_targets(entries: Iterable[tuple[str, str]], numbers: bool, copies: int = 1) -> Labels | Numbers:
    """How the texts of labels become targets, learned from those of the training part.

    Args:
        entries: each label, and the beginning of a sentence about it. numbers: whether they are numbers. copies: see `Labels`.

    Raises:
        InputError: what is no finite number, where numbers are expected.

    >>> learn_targets([("3", "line 1"), ("many", "line 2")], numbers=True)
    Traceback (most recent call last):
    regard.errors.InputError: line 2 holds 'many', expected a finite number
    """
    if not numbers:
        return Labels.of((text for text, _ in entries), copies)
    return Numbers.of(str(parse_number(text, where)) for text, where in entries)


@dataclass(frozen=True)
class Standard:
    """How numbers of whole sets become values: (number - mean) / deviation, with those of the training part, at most 5 from 0.

    >>> standard = Standard.of(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> standard(np.array([4.0, 90.0])).tolist()
    [2.0, 5.0]
    """

    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @classmethod
    def of(cls, rows: Array) -> Standard:
        """That of the rows of the training part; a deviation of 0 becomes 1."""
        deviation = rows.std(0)
        return cls(tuple(rows.mean(0).tolist()), tuple(np.where(deviation > 0, deviation, 1).tolist()))

    def __call__(self, row: Array) -> Array:
        """`[k]` float32 of one set."""
        return ((row - np.array(self.mean)) / np.array(self.deviation)).clip(-5, 5).astype(np.float32)


@dataclass(frozen=True)
class Grid:
    """Where vectors can lie.

    Args:
        coords: the number of coordinates of each vector; 0 where it has none.
        extent: the size of the grid along each coordinate, where that is known.
    """

    coords: int = 0
    extent: tuple[int, ...] = ()


@dataclass(frozen=True)
class Encoding:
    """All that was learned from the training part: what is needed to read further inputs in the same way.

    Models and tasks ask its parts for what they build by. A vector is either some ids, one for each of `columns`, or `width`
    numbers. The other set of a pair, and a target that is a set of its own, have encodings of their own.

    Args:
        targets: how labels become targets, or what was learned of targets that are sets; None where nothing is labelled.
        columns: for each column of ids, in order, its name and what each id stands for; entry 0 is the unknown.
        characters: what each id of a spelling (`Example.inner`) stands for; empty where vectors are not spelled.
        width: the width of float values; 0 for ids.
        grid: where vectors can lie.
        edge_width: the width of edge values.
        standard: how numbers of whole sets become values; of no number where sets have none.
        band_mean: for frames of sound, the mean of each band over the training part, where that is subtracted.
        tokenizer: what cuts texts into learned pieces, as its library writes it down; empty where nothing does.
        ordered: whether it means something which vector of a set comes first; not so in graphs.
        edges: whether edges join the vectors of a set.
        context: what was learned of the other sets of pairs; None where examples are no pairs.
        segmentation: the rule by which texts are cut and looked up, see `regard.data.words`.
        longest: the most vectors of a set that training reads, where its reader has seen them all; 0 where that is not known, as
            in an encoding that was loaded.

    >>> Encoding(Labels(("cat", "dog")), width=3).labels
    ('cat', 'dog')
    """

    targets: Labels | LabelSets | Numbers | Encoding | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    characters: tuple[str, ...] = ()
    width: int = 0
    grid: Grid = Grid()
    edge_width: int = 0
    band_mean: tuple[float, ...] = ()
    tokenizer: str = ""
    ordered: bool = True
    edges: bool = False
    context: Encoding | None = None
    segmentation: int = SEGMENTATION
    standard: Standard = Standard()
    longest: int = field(default=0, compare=False)

    @property
    def set_width(self) -> int:
        """How many numbers each whole set has."""
        return len(self.standard.mean)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes by id; none where targets are no classes."""
        return self.targets.names if isinstance(self.targets, (Labels, LabelSets)) else ()

    @property
    def words(self) -> tuple[str, ...]:
        """The word that each id of the first column stands for; none where it holds no words."""
        return next(iter(self.columns.values())) if next(iter(self.columns), "") == WORD else ()

    @property
    def described_targets(self) -> str:
        """What the targets are, in a word: labels, sets of labels, numbers, sets or missing."""
        kinds = {Labels: "labels", LabelSets: "sets of labels", Numbers: "numbers", Encoding: "sets"}
        return kinds.get(type(self.targets), "missing")

    def entry(self, name: str) -> int:
        """The id of an entry of the first column, such as `END`.

        Raises:
            InputError: there is none of this name.
        """
        entries = next(iter(self.columns.values()), ())
        if name not in entries:
            raise InputError(
                f"the vocabulary has no entry {name}, expected one, as that of targets that are sets of ids"
            )
        return entries.index(name)

    def target(self, text: str, where: str) -> Array:
        """The target of one label or number; `where` begins the sentence of an error.

        Raises:
            InputError: a label that no training example has, or what is no finite number.
        """
        return self._targets()(text, where)

    @property
    def missing(self) -> Array:
        """The target that is not there."""
        return self._targets().missing

    def _targets(self) -> Labels | LabelSets | Numbers:
        if not isinstance(self.targets, (Labels, LabelSets, Numbers)):
            raise InputError("the encoding has no labels or numbers, expected that of a labelled training part")
        return self.targets

    def save(self, folder: Path | str) -> None:
        """Write `labels.json`, `vocabulary.json` and `encoding.json`, which holds the rest and a checksum over all three."""
        whole = self._files()
        rest = {name: value for name, value in whole.items() if name not in ("labels", "vocabularies")}
        contents = (whole["labels"], whole["vocabularies"], rest | {"checksum": _checksum(whole)})
        for name, content in zip(_FILES, contents, strict=True):
            text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
            write_atomically(Path(folder) / name, text.encode())

    def _files(self) -> dict[str, Any]:
        """What the files hold: their format is older than the parts, and every run that was ever trained has it."""
        statistics: dict[str, tuple[float, ...]] = {}
        if isinstance(self.targets, Numbers):
            statistics = {_MEAN: (self.targets.mean,), _DEVIATION: (self.targets.deviation,)}
        if self.set_width:
            statistics |= {_SET_MEAN: self.standard.mean, _SET_DEVIATION: self.standard.deviation}
        graph = {"ordered": self.ordered, "edges": self.edges}
        # Only encodings of pairs have these entries.
        text = {"segmentation": self.segmentation} if self.columns and self.segmentation else {}
        nested = {_CONTEXT: self.context, _TARGETS: self.targets if isinstance(self.targets, Encoding) else None}
        return {
            "labels": self.labels,
            "vocabularies": dict(self.columns) | ({_CHARACTER: self.characters} if self.characters else {}),
            "width": self.width,
            "coords": self.grid.coords,
            "extent": self.grid.extent,
            "edge_width": self.edge_width,
            "statistics": statistics | ({_BAND_MEAN: self.band_mean} if self.band_mean else {}),
            "tokenizer": self.tokenizer,
            "copies": self.targets.copies if isinstance(self.targets, Labels) else 1,
            **({"separator": self.targets.separator} if isinstance(self.targets, LabelSets) else {}),
            **(graph if self.edges or not self.ordered else {}),
            **text,
            **{name: encoding._files() for name, encoding in nested.items() if encoding is not None},
        }

    @classmethod
    def load(cls, folder: Path | str) -> Encoding:
        """What `save` wrote.

        Raises:
            InputError: a file that is missing, is not JSON, or was altered.
        """
        labels, vocabularies, rest = (_read_json(Path(folder) / name) for name in _FILES)
        try:
            checksum = rest.pop("checksum")
            if _checksum({"labels": labels, "vocabularies": vocabularies, **rest}) != checksum:
                raise ValueError
            return cls._of_files(labels, vocabularies, **rest)
        except (AttributeError, KeyError, TypeError, ValueError):
            names = ", ".join(_FILES)
            raise InputError(
                f"one of {names} in {folder} was altered, expected all three as training wrote them"
            ) from None

    @classmethod
    def _of_files(cls, labels: list[str], vocabularies: dict[str, list[str]], **rest: Any) -> Encoding:
        statistics = {name: tuple(numbers) for name, numbers in rest.pop("statistics").items()}
        coords, extent = rest.pop("coords"), rest.pop("extent")
        # Runs from before voices at other speeds lack copies.
        copies = rest.pop("copies", 1)
        nested = {name: cls._of_files(**rest.pop(name)) for name in (_CONTEXT, _TARGETS) if name in rest}
        targets: Labels | LabelSets | Numbers | Encoding | None = nested.get(_TARGETS)
        if "separator" in rest:
            targets = LabelSets(tuple(labels), rest.pop("separator"))
        elif labels:
            targets = Labels(tuple(labels), copies)
        if _MEAN in statistics:
            targets = Numbers(statistics[_MEAN][0], statistics[_DEVIATION][0])
        columns = {name: tuple(entries) for name, entries in vocabularies.items()}
        # Runs from before that rule lack it; other encodings than of text never have it.
        rest.setdefault("segmentation", 0 if columns else SEGMENTATION)
        return cls(
            targets,
            characters=columns.pop(_CHARACTER, ()),
            columns=columns,
            grid=Grid(coords, tuple(extent)),
            band_mean=statistics.get(_BAND_MEAN, ()),
            standard=Standard(statistics.get(_SET_MEAN, ()), statistics.get(_SET_DEVIATION, ())),
            context=nested.get(_CONTEXT),
            **rest,
        )


def _checksum(whole: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _read_json(path: Path) -> Any:
    expected = "the file that training wrote"
    if not path.exists():
        raise InputError(f"{path} is missing or cannot be read, expected {expected}")
    return read_json(path, expected)


_DIGITS = 300  # of a whole number that is one; more are a name
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def _check_classes(names: Iterable[str]) -> None:
    """Refuse labels that are numbers to predict, and not names of classes."""
    names = sorted(names)
    if not all(_NUMBER.fullmatch(name) and math.isfinite(float(name.replace(",", "."))) for name in names):
        return
    values: dict[float, str] = {}
    for name in names:
        number = float(name.replace(",", "."))
        if not number.is_integer():
            way = "numbers are learned with --task.type PerSetNumber"
            raise InputError(
                f"all labels are numbers, some with a fraction, such as {name!r}, expected names of classes: {way}"
            )
        if values.setdefault(number, name) != name:
            raise InputError(
                f"the labels {values[number]!r} and {name!r} are one number, expected one spelling for a class"
            )


def _natural(text: str) -> tuple[int, int, str]:
    """Whole numbers before words and by value, so that class 10 follows class 9."""
    whole = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return (0, int(text), text) if whole else (1, 0, text)


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
