"""What a reader found in the data: its format, parts and labels, and what was skipped and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regard.data.encoding import parse_number
from regard.data.examples import PARTS, Part
from regard.data.targets import listed_labels
from regard.errors import InputError

__all__ = ["NAMED", "PartSurvey", "Skipped", "Skips", "Survey", "listed", "of_labels", "of_numbers", "part_surveys"]

NAMED = 10
"""How many of the things that were skipped, or of the labels, are named."""

_FEW = 10  # examples, of which it says nothing that each has a label of its own
_GLIMPSE = 60  # characters of an example


def listed(names: Sequence[str], count: int | None = None) -> str:
    """The first of some names, and how many more there are.

    >>> listed([f"{n}.bak" for n in range(12)])
    '0.bak, 1.bak, 2.bak, 3.bak, 4.bak, 5.bak, 6.bak, 7.bak, 8.bak, 9.bak and 2 more'
    """
    more = (len(names) if count is None else count) - len(names[:NAMED])
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass
class Skipped:
    """What was skipped for one reason: how many, and the names of the first `NAMED`."""

    count: int = 0
    names: list[str] = field(default_factory=list)


class Skips:
    """What a reader skipped, by reason: nothing is dropped without being counted.

    >>> skips = Skips()
    >>> skips.add("hidden files", "cats/.DS_Store")
    >>> skips.add("empty rows", "reviews.csv, line 7")
    >>> skips.add("empty rows", "reviews.csv, line 9")
    >>> print(*skips.lines(), sep="\\n")
    1 hidden files: cats/.DS_Store
    2 empty rows: reviews.csv, line 7, reviews.csv, line 9
    """

    def __init__(self) -> None:
        self._reasons: dict[str, Skipped] = {}

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count something that was skipped.

        Args:
            reason: what it is, in the plural, such as "hidden files".
            name: where it lies.
            count: how many of them `name` stands for.
        """
        skipped = self._reasons.setdefault(reason, Skipped())
        skipped.count += count
        if len(skipped.names) < NAMED:
            skipped.names.append(name)

    def update(self, other: Skips) -> None:
        """Count what `other` counted."""
        for reason, skipped in other._reasons.items():
            own = self._reasons.setdefault(reason, Skipped())
            own.count += skipped.count
            own.names += skipped.names[: NAMED - len(own.names)]

    def __len__(self) -> int:
        return sum(skipped.count for skipped in self._reasons.values())

    def __iter__(self) -> Iterator[tuple[str, Skipped]]:
        return iter(self._reasons.items())

    def lines(self) -> list[str]:
        """A line for each reason."""
        return [f"{skipped.count:,} {reason}: {listed(skipped.names, skipped.count)}" for reason, skipped in self]


@dataclass(frozen=True)
class PartSurvey:
    """One part: how many examples it has, and how often each label stands, or the smallest, mean and largest number.

    `unit` is what has a target: "texts", "words", "pictures".
    """

    examples: int
    unit: str
    labels: Mapping[str, int] | None = None
    numbers: tuple[float, float, float] | None = None

    def __str__(self) -> str:
        if self.numbers is not None:
            low, mean, high = self.numbers
            return f"{self.examples:,} {self.unit}, numbers from {low:g} to {high:g}, mean {mean:g}"
        return f"{self.examples:,} {self.unit}"


def part_surveys(
    labels: Callable[[Part], Sequence[tuple[str, str]]],
    unit: str,
    numbers: bool = False,
    names: Callable[[str], Mapping[str, bool | None]] | None = None,
) -> tuple[dict[str, PartSurvey], list[str]]:
    """The survey of each part, and a note for each that cannot be had, which a training without a test part can do without.

    Args:
        labels: of a part, with the beginning of a sentence about each; `Reader.labels`.
        unit: what has a label, in the plural.
        numbers: whether labels are numbers.
        names: which labels a text stands for, where an example has several.

    Raises:
        InputError: the training part cannot be had, or a label is no number where numbers are expected.
    """
    parts: dict[str, PartSurvey] = {}
    notes = []
    for name in PARTS:
        try:
            found = labels(name)
        except InputError as error:
            if name == "train":
                raise
            notes.append(f"there is no {name} part: {error}")
            continue
        texts = [text for text, _ in found]
        if names is not None:
            texts = [name for text in texts for name, there in names(text).items() if there]
        if numbers:
            parts[name] = of_numbers(len(found), unit, [parse_number(text, where) for text, where in found])
        else:
            parts[name] = of_labels(len(found), unit, texts)
        if name == "train" and not numbers and names is None and 2 * len(set(texts)) > len(texts) >= _FEW:
            notes.append(f"train has {len(set(texts)):,} labels for {len(texts):,} {unit}, so that most stand once")
    return parts, notes


def of_labels(examples: int, unit: str, labels: Iterable[str]) -> PartSurvey:
    """The survey of a part by its labels, which may be more than its examples."""
    return PartSurvey(examples, unit, dict(Counter(labels).most_common()))


def of_numbers(examples: int, unit: str, numbers: Iterable[float]) -> PartSurvey:
    """The survey of a part by its numbers, of which NaN are gaps."""
    present = [number for number in numbers if not math.isnan(number)] or [math.nan]
    return PartSurvey(examples, unit, numbers=(min(present), math.fsum(present) / len(present), max(present)))


@dataclass(frozen=True)
class Survey:
    """What a reader found.

    Args:
        source: the file or folder.
        format: what the reader took it for, such as "CSV".
        parts: by their names.
        columns: what each column, or entry, was taken for; empty where there are none.
        encoding: of the text, such as "UTF-8"; empty where there is none.
        skipped: what was passed over.
        examples: name, label and beginning of the first examples.
        notes: what else the user should know before training.
    """

    source: str
    format: str
    parts: Mapping[str, PartSurvey]
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    skipped: Skips = field(default_factory=Skips)
    examples: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()

    @property
    def unseen(self) -> dict[str, dict[str, int]]:
        """The labels of the other parts that the training part lacks, with their counts, by part."""
        known = self.parts["train"].labels if "train" in self.parts else None
        if known is None:
            return {}
        missing = {
            name: {label: count for label, count in (part.labels or {}).items() if label not in known}
            for name, part in self.parts.items()
        }
        return {name: labels for name, labels in missing.items() if labels}

    def brief(self) -> list[str]:
        """The data in three lines, and one for each thing that went otherwise than a user may expect."""
        words = [self.format, *([self.encoding] if self.encoding else [])]
        if self.columns:
            words.append(_columns(self.columns))
        lines = [f"data: {self.source} ({', '.join(words)})"]
        lines.append(f"parts: {'; '.join(f'{name} {part}' for name, part in _in_order(self.parts))}")
        labels = self._labels()
        if labels:
            lines.append(f"labels: {len(labels)}: {listed([f'{label} {count:,}' for label, count in labels.items()])}")
        return [*lines, *(f"skipped: {line}" for line in self.skipped.lines()), *self._notes()]

    def full(self) -> str:
        """All that is known, for people."""
        lines = [f"{'source':9} {self.source}", f"{'format':9} {self.format}"]
        if self.encoding:
            lines.append(f"{'encoding':9} {self.encoding}")
        if self.columns:
            lines.append(f"{'columns':9} {_columns(self.columns)}")
        lines += [f"{'part':9} {name}: {part}" for name, part in _in_order(self.parts)]
        names = [name for name, part in _in_order(self.parts) if part.labels is not None]
        if names and self._labels():
            lines += ["", *self._table(names)]
        if self.skipped:
            lines += ["", *(f"{'skipped':9} {line}" for line in self.skipped.lines())]
        lines += self._notes()
        if self.examples:
            lines += ["", "first examples"]
            lines += [f"  {name}  {label}  {_glimpse(text)}".rstrip() for name, label, text in self.examples]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same as an object of JSON."""
        return {
            "source": self.source,
            "format": self.format,
            "encoding": self.encoding,
            "columns": dict(self.columns),
            "parts": {
                name: {"examples": part.examples, "unit": part.unit}
                | ({} if part.labels is None else {"labels": dict(part.labels)})
                | ({} if part.numbers is None else {"numbers": [None if math.isnan(n) else n for n in part.numbers]})
                for name, part in _in_order(self.parts)
            },
            "skipped": {reason: {"count": s.count, "names": s.names} for reason, s in self.skipped},
            "notes": self._notes(),
        }

    def _labels(self) -> dict[str, int]:
        """Every label with its count over all parts, those of the training part first."""
        total: Counter[str] = Counter()
        for _, part in _in_order(self.parts):
            total.update(part.labels or {})
        return dict(total.most_common())

    def _table(self, names: Sequence[str]) -> list[str]:
        counts = self._labels()
        width = max(len("label"), *(min(len(label), 40) for label in counts))
        found = [self.parts[name].labels or {} for name in names]
        rows = [("label", *names)]
        rows += [(label, *(f"{labels.get(label, 0):,}" for labels in found)) for label in list(counts)[: 3 * NAMED]]
        lines = [f"{row[0]:{width}}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows]
        more = len(counts) - 3 * NAMED
        return [*lines, f"and {more:,} labels more"] if more > 0 else lines

    def _notes(self) -> list[str]:
        unseen = [listed_labels(labels, name) for name, labels in self.unseen.items()]
        return [f"note: {note}" for note in (*self.notes, *unseen)]


def _in_order(parts: Mapping[str, PartSurvey]) -> list[tuple[str, PartSurvey]]:
    order = [name for name in PARTS if name in parts]
    return [(name, parts[name]) for name in (*order, *(name for name in parts if name not in order))]


def _columns(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} as {use}" for name, use in columns.items())


def _glimpse(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _GLIMPSE else text[: _GLIMPSE - 3] + "..."
