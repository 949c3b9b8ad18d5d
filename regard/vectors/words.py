"""`WordVectors`: words and the rows of a matrix, their neighbors and analogies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from unicodedata import is_normalized

import numpy as np

from regard.data.examples import Array
from regard.data.survey import Skips
from regard.data.words import folded
from regard.errors import InputError, closest

__all__ = ["WIDEST", "WordVectors"]

WIDEST = 1 << 16
"""How many numbers a vector may have."""


class WordVectors:
    """A vector for each word of a vocabulary.

    Args:
        words: distinct, the most frequent first where that is known. matrix: `[v, d]`, one row each; kept as float32.
        skips: what was passed over when they were read.

    Raises:
        InputError: another number of rows than words, a word that is there twice, or numbers that are not finite.

    >>> vectors = WordVectors(["man", "king", "woman", "queen"], np.array([[1.0, 0], [1, 1], [-1, 0], [-1, 1]]))
    >>> vectors.analogy("man", "king", "woman", 1)
    [('queen', 0.959683)]
    """

    def __init__(self, words: Sequence[str], matrix: Array, skips: Skips | None = None) -> None:
        self.skips = Skips() if skips is None else skips
        self.words = tuple(words)
        self.matrix = np.ascontiguousarray(matrix, np.float32)
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.words):
            raise InputError(
                f"there are {len(self.words):,} words and vectors {matrix.shape}, expected a row for each word"
            )
        self.ids = {word: n for n, word in enumerate(self.words)}
        if len(self.ids) < len(self.words):
            again = next(word for n, word in enumerate(self.words) if self.ids[word] != n)
            raise InputError(f"the word {again!r} has two vectors, expected one for each word")
        if not np.isfinite(self.matrix).all():
            bad = int(np.flatnonzero(~np.isfinite(self.matrix).all(1))[0])
            raise InputError(f"the vector of {self.words[bad]!r} holds numbers that are not finite")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.ids

    @property
    def width(self) -> int:
        return self.matrix.shape[1]

    @cached_property
    def unit(self) -> Array:
        """`[v, d]`, each row divided by its length; zeros stay zeros."""
        norms = np.linalg.norm(self.matrix, axis=1, keepdims=True)
        return self.matrix / np.where(norms > 0, norms, 1)

    def id(self, word: str) -> int:
        """The row of a word; where only its lower-cased form has one, that.

        Raises:
            InputError: a word without a vector.
        """
        found = self.find(word)
        if found is None:
            near = closest(word, self.words[:50_000])
            hint = f": did you mean {near!r}?" if near else ""
            raise InputError(f"the word {word!r} has no vector among {len(self):,}{hint}")
        return found

    def find(self, word: str) -> int | None:
        """The row of a word, or of its lower-cased form, however composed; None where there is none."""
        for lowercase in (False, True):
            for form in (word.lower() if lowercase else word, folded(word, lowercase)):
                if (found := self.ids.get(form, self._composed.get(form))) is not None:
                    return found
        return None

    @cached_property
    def _composed(self) -> dict[str, int]:
        """The rows of words that are not written composed, by their composed forms."""
        other = [(folded(word, lowercase=False), n) for word, n in self.ids.items() if not is_normalized("NFC", word)]
        return dict(reversed(other))

    def __getitem__(self, word: str) -> Array:
        """`[d]`, the vector of a word."""
        row: Array = self.matrix[self.id(word)]
        return row

    def nearest(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The other words whose vectors have the greatest cosine with this word's."""
        own = self.id(word)
        return self._greatest(self.unit[own], count, {own})

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> list[tuple[str, float]]:
        """What is to c as b is to a: the greatest cosine with b - a + c, of unit vectors (3CosAdd, Mikolov et al. 2013c)."""
        rows = [self.id(word) for word in (a, b, c)]
        target = self.unit[rows[1]] - self.unit[rows[0]] + self.unit[rows[2]]
        norm = np.linalg.norm(target)
        return self._greatest(target / (norm or 1), count, set(rows))

    def _greatest(self, target: Array, count: int, without: Collection[int]) -> list[tuple[str, float]]:
        cosines = self.unit @ target
        cosines[list(without)] = -np.inf
        count = min(count, len(self) - len(without))
        best = np.argsort(-cosines, kind="stable")[: max(count, 0)]
        return [(self.words[n], round(float(cosines[n]), 6)) for n in best]
