"""The contract of readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from regard.data.encoding import Encoding
from regard.data.examples import Dataset, Part

__all__ = ["Reader"]


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
