"""What answers the questions of a page: one at a time, and the last answers are remembered."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from regard.errors import InputError
from regard.inspector.asked import Answer, Asked

__all__ = ["Answering"]

_CACHED = 64 << 20  # bytes of answers


class Answering(ABC):
    """Answers questions, one at a time.

    Args:
        name: of what is looked at. title: of the input. known: the names of all questions.
    """

    def __init__(self, name: str, title: str, known: tuple[str, ...]) -> None:
        self.name, self.title, self.known = name, title, known
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, Answer] = OrderedDict()

    @abstractmethod
    def found(self, name: str, asked: Asked) -> Answer:
        """The answer to a question of that name, computed."""

    @abstractmethod
    def all(self, layer: int | None = None) -> Iterator[dict[str, Any]]:
        """The questions whose answers a file holds."""

    def answer(self, question: Mapping[str, Any]) -> Answer:
        """The answer to a question, such as `{"ask": "matrix", "layer": 0, "head": 0}`.

        Raises:
            InputError: a question that is none, or about what is not there.
        """
        key = json.dumps(question, sort_keys=True)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            name = question.get("ask")
            if not isinstance(name, str) or name not in self.known:
                raise InputError(f"{name!r} was asked, expected one of {', '.join(self.known)}")
            found = self.found(name, Asked(question))
            self._cache[key] = found
            while sum(len(b) for each in self._cache.values() for b in each.buffers) > _CACHED and len(self._cache) > 1:
                self._cache.popitem(last=False)
            return found
