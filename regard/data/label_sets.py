"""Targets that are several labels at once, and how files write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError
from regard.files import parse_json

__all__ = ["LabelSets", "label_set", "present"]

_PRESENT = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}


@dataclass(frozen=True)
class LabelSets:
    """Targets that are several labels at once: `[labels]` float32, 1 for each that an example has, 0 for others, NaN for gaps.

    Args:
        names: of the labels, by column.
        separator: what stands between the labels of one example.

    >>> sets = LabelSets.of([("news; sport", "line 1"), ("", "line 2"), ("sport", "line 3")], ";")
    >>> sets.names, sets("sport", "line 4").tolist()
    (('news', 'sport'), [0.0, 1.0])
    """

    names: tuple[str, ...]
    separator: str

    @classmethod
    def of(cls, entries: Iterable[tuple[str, str]], separator: str) -> LabelSets:
        """The labels of the training part, each once, in alphabetical order, of texts and where they stand."""
        names = {name for text, where in entries for name in label_set(text, separator, where)}
        return cls(tuple(sorted(names)), separator)

    @property
    def missing(self) -> Array:
        """The target that is not there."""
        return np.full(len(self.names), np.nan, np.float32)

    def __call__(self, text: str, where: str, unseen: Mapping[str, int] | None = None) -> Array:
        """The target of one example; `where` begins the sentence of an error.

        Args:
            unseen: further labels, which get columns after the others, with their order.

        Raises:
            InputError: another label.
        """
        stated = label_set(text, self.separator, where)
        columns = {name: column for column, name in enumerate((*self.names, *(unseen or ())))}
        # Where each label has a statement of its own, one without is not known.
        target = np.full(len(columns), np.nan if text.lstrip().startswith("{") else 0, np.float32)
        for name, there in stated.items():
            if name not in columns:
                known = ", ".join(self.names[:10])
                raise InputError(f"{where} has the label {name!r}, which no training example has: known are {known}")
            target[columns[name]] = np.nan if there is None else there
        return target


def label_set(text: str, separator: str, where: str = "the text") -> dict[str, bool | None]:
    """The labels of one example: whether it has each, None where that is not known.

    Args:
        text: labels with a separator between them, perhaps none at all; or a list of them, or an object of labels and what
            `present` reads, in JSON.

    Raises:
        InputError: JSON of another form.

    >>> label_set("news; sport", ";"), label_set('["a", 2]', ";"), label_set('{"a": "1", "b": ""}', ";")
    ({'news': True, 'sport': True}, {'a': True, '2': True}, {'a': True, 'b': None})
    """
    if not text.lstrip().startswith(("[", "{")):
        return {name: True for part in text.split(separator) if (name := part.strip())}
    try:
        stated = parse_json(text, where)
    except InputError:
        stated = None
    if isinstance(stated, dict):
        return {name: present(value, f"{where} label {name!r},") for name, value in stated.items()}
    if not isinstance(stated, list) or any(isinstance(name, (list, dict, bool, float, type(None))) for name in stated):
        raise InputError(f"{where} has the labels {text[:60]!r}, expected a list of texts")
    return {str(name): True for name in stated}


def present(value: object, where: str) -> bool | None:
    """Whether a label is there: 1, 1.0, true or yes; 0, 0.0, false or no; None where nothing is said.

    Raises:
        InputError: anything else; `where` begins the sentence.
    """
    text = "" if value is None else str(value).strip().lower()
    if text and text not in _PRESENT:
        raise InputError(f"{where} holds {str(value)[:60]!r}, expected 1, 0 or nothing")
    return _PRESENT.get(text)
