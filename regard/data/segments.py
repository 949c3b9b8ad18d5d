"""Pairs of stretches of text between marks, as BERT reads them: `[CLS] a [SEP] b [SEP]` (Devlin et al. 2019, section 3.1)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from regard.data.augment import Draws
from regard.data.encoding import Encoding
from regard.data.examples import Array
from regard.data.masking import MaskedSequences, Masking, Varying

__all__ = ["CLS", "SEGMENT", "SEP", "Marks", "PairedSequences", "Pairing", "VaryingPairs", "joined"]

CLS, SEP = "[CLS]", "[SEP]"
SEGMENT = "segment"
"""The column of ids that says in which of two texts a token stands."""

Pairing = Literal["none", "neighbors", "next", "order"]

_ANSWERS = {"next": ("[next]", "[random]"), "order": ("[in order]", "[swapped]")}


class Marks(NamedTuple):
    """The ids of the marks of a vocabulary.

    Args:
        cls: what begins each set. sep: what ends each of its texts.
        answers: what the vector of `cls` is asked for: the id that says that the pair is as in the text, and the other; or none.
    """

    cls: int
    sep: int
    answers: tuple[int, ...] = ()

    @classmethod
    def of(cls, encoding: Encoding) -> Marks | None:
        """Those of an encoding, or None where it reads no pairs."""
        if SEGMENT not in encoding.columns:
            return None
        entries = next(iter(encoding.columns.values()))
        answers = next((names for names in _ANSWERS.values() if names[0] in entries), ())
        return cls(entries.index(CLS), entries.index(SEP), tuple(entries.index(name) for name in answers))

    @staticmethod
    def columns(name: str, entries: Sequence[str], pairing: Pairing) -> dict[str, tuple[str, ...]]:
        """The columns of ids of data in pairs: the entries of the vocabulary with the marks behind, and segments."""
        return {name: (*entries, CLS, SEP, *_ANSWERS.get(pairing, ())), SEGMENT: ("first", "second")}


def joined(first: Array, second: Array | None, marks: Marks) -> Array:
    """`[n, 2]` the ids of `[CLS] a [SEP] b [SEP]`, or of `[CLS] a [SEP]`, and their segments, 0 and 1.

    >>> joined(np.array([7, 8]), np.array([9]), Marks(1, 2)).T.tolist()
    [[1, 7, 8, 2, 9, 2], [0, 0, 0, 0, 1, 1]]
    """
    ids = [marks.cls, *first, marks.sep]
    segments = [0] * len(ids)
    if second is not None:
        ids += [*second, marks.sep]
        segments += [1] * (len(second) + 1)
    return np.array([ids, segments], np.int64).T


class PairedSequences(MaskedSequences):
    """Pairs of neighboring stretches with hidden tokens; in half of them the second is that of another pair, or both are swapped.

    Which ones is drawn for each (seed, epoch, pair), as what is hidden is. The target of `[CLS]` says what was done.

    Args:
        names: of the pairs. pairs: the ids of both stretches of each; the last one of a document may have no second.
        masking: what is hidden. marks: of the vocabulary. pairing: what is drawn. seed: of the draws.
    """

    def __init__(
        self,
        names: Sequence[str],
        pairs: Sequence[tuple[Array, Array | None]],
        masking: Masking,
        marks: Marks,
        pairing: Pairing,
        seed: int = 0,
    ) -> None:
        super().__init__(names, [first for first, _ in pairs], masking, seed)
        self.pairs, self.marks, self.pairing = pairs, marks, pairing
        self._whole = [n for n, (_, second) in enumerate(pairs) if second is not None]

    @property
    def lengths(self) -> list[int]:
        """Of pairs whose second stretch may be another one, what they have at most."""
        sizes = [0 if second is None else len(second) + 1 for _, second in self.pairs]
        most = max(sizes, default=0) if self.pairing == "next" else 0
        return [
            len(first) + 2 + (max(size, most) if size else 0)
            for (first, _), size in zip(self.pairs, sizes, strict=True)
        ]

    def _drawn(self, index: int, seed: int, epoch: int) -> tuple[Array, Array]:
        draws = Draws(seed, epoch, index)
        (first, second), answer = self.pairs[index], 0
        asked = second is not None and self.pairing in _ANSWERS and len(self._whole) > 1
        if asked:
            generator = draws.of("pair")
            answer = int(generator.random() < 0.5)
            if answer and self.pairing == "next":
                other = int(generator.integers(len(self._whole) - 1))
                second = self.pairs[self._whole[other + (other >= bisect_left(self._whole, index))]][1]
            elif answer and second is not None:
                first, second = second, first
        values = joined(first, second, self.marks)
        ids, targets = self.masking(values[:, 0], draws.of("mask"))
        values[:, 0] = ids
        if asked:
            targets[0] = self.marks.answers[answer]
        return values, targets


class VaryingPairs(PairedSequences, Varying):
    """The same, with other draws in each epoch."""
