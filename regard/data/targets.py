"""The targets of one part of the data: known labels, and labels that no training example has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from regard.data.encoding import Encoding, Labels
from regard.data.examples import UNSEEN, Array, Dataset, Part
from regard.data.label_sets import LabelSets, label_set

__all__ = ["PartTargets", "label_of", "listed_labels", "unseen_labels"]

_LISTED = 10


class PartTargets:
    """Turns the labels or numbers of one part into targets, and counts labels that no training example has.

    In the validation and the test part the k-th such label, k = 0, 1, ..., in the order of their first appearance, becomes the
    target `UNSEEN - k`: no output stands for it, so every prediction counts as wrong, and no loss is computed. Training examples
    cannot have one. Of sets of labels, unseen ones become further columns, for which every prediction is 0.

    Args:
        encoding: what was learned from the training part.
        part: whose targets they are.

    >>> targets = PartTargets(Encoding(Labels(("cat", "dog"))), "test")
    >>> [int(targets(text, "line")) for text in ("dog", "fox", "owl", "fox")], targets.unseen
    ([1, -101, -102, -101], {'fox': 2, 'owl': 1})
    """

    def __init__(self, encoding: Encoding, part: Part) -> None:
        self._encoding, self._part = encoding, part
        self._known: dict[str, Array] = {}
        self._new: dict[str, Array] = {}
        self.unseen: dict[str, int] = {}
        """How many targets each label that no training example has is the label of."""

    def all(self, entries: Sequence[tuple[str, str]]) -> list[Array]:
        """The targets of labels, each with where it stands; sets of labels get a column for each unseen label of any of them."""
        sets = self._encoding.targets
        if not isinstance(sets, LabelSets):
            return [self(text, where) for text, where in entries]
        for text, where in entries if self._part != "train" else ():
            for name, there in label_set(text, sets.separator, where).items():
                if name not in sets.names:
                    self.unseen[name] = self.unseen.get(name, 0) + bool(there)
        return [sets(text, where, self.unseen) for text, where in entries]

    def __call__(self, text: str, where: str) -> Array:
        """The target of one label or number; `where` begins the sentence of an error.

        Raises:
            InputError: what is no finite number where numbers are expected, or an unknown label in the training part.
        """
        target = self._known.get(text)
        if target is not None:
            return target
        labels = self._encoding.targets
        if self._part != "train" and isinstance(labels, Labels) and (text in self._new or text not in labels.names):
            self._new.setdefault(text, np.array(UNSEEN - len(self._new)))
            self.unseen[text] = self.unseen.get(text, 0) + 1
            return self._new[text]
        target = self._encoding.target(text, where)
        if isinstance(labels, Labels):
            self._known[text] = target
        return target


def unseen_labels(part: Dataset) -> Mapping[str, int]:
    """The labels of a part that no training example has, with the number of their targets; see `PartTargets`."""
    unseen: Mapping[str, int] = getattr(part, "unseen", {})
    return unseen


def label_of(target: int, labels: Sequence[str], unseen: Sequence[str] = ()) -> str:
    """The label that a target stands for; `unseen` are those that no training example has.

    >>> label_of(1, ("cat", "dog")), label_of(UNSEEN, ("cat", "dog"), ("fox",))
    ('dog', 'fox')
    """
    if target >= 0:
        return labels[target]
    number = UNSEEN - target
    return unseen[number] if number < len(unseen) else f"unseen label {number + 1}"


def listed_labels(unseen: Mapping[str, int], part: str) -> str:
    """One sentence about labels that no training example has: the ten most frequent by name, with the number of their targets.

    >>> listed_labels({"fox": 2, "owl": 1}, "test")
    "2 labels of the test part have no training example, so their 3 targets count as wrong: 'fox' (2), 'owl' (1)"
    """
    total = sum(unseen.values())
    ordered = sorted(unseen.items(), key=lambda entry: -entry[1])
    names = ", ".join(f"{label!r} ({count:,})" for label, count in ordered[:_LISTED])
    more = f" and {len(ordered) - _LISTED:,} more" if len(ordered) > _LISTED else ""
    has = "1 label" if len(ordered) == 1 else f"{len(ordered):,} labels"
    verb, whose = ("has", "its") if len(ordered) == 1 else ("have", "their")
    counted = "1 target counts" if total == 1 else f"{total:,} targets count"
    return f"{has} of the {part} part {verb} no training example, so {whose} {counted} as wrong: {names}{more}"
