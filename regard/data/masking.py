"""Which tokens of a sequence are hidden for a model to guess, and what stands in their places (Devlin et al. 2019, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regard.data.augment import Draws
from regard.data.encoding import Encoding
from regard.data.examples import IGNORE, Array, Example, TargetKind
from regard.errors import InputError

__all__ = ["MASK", "MaskedSequences", "Masking", "mask_id"]

MASK = "[MASK]"
"""What stands in the place of a hidden token, and what the entry of the vocabulary that it has is called."""

_HIDDEN, _CHANGED = (
    0.8,
    0.9,
)  # below the first a chosen token becomes `MASK`, below the second a random one; others stay
_FIXED = 2**32 - 1  # the epoch whose draws belong to what is evaluated


def mask_id(encoding: Encoding) -> int:
    """The id of `MASK`, which in the vocabulary only marks follow.

    Raises:
        InputError: an encoding without it.
    """
    entries: tuple[str, ...] = next(iter(encoding.columns.values()), ())
    if MASK not in entries:
        raise InputError(f"the vocabulary has no {MASK}, expected that of data read as Passages")
    return entries.index(MASK)


@dataclass(frozen=True)
class Masking:
    """Chooses `share` of the tokens of a sequence, at least one; 80 % of them become `MASK`, 10 % a random entry, 10 % stay.

    With `whole_words` all tokens of a word are chosen together, and no word is taken that would exceed the number; every token is
    still replaced by a draw of its own. Unknown tokens, which have id 0, are never chosen, nor are marks, whose ids follow that of
    `MASK`.

    Args:
        share: of the tokens.
        whole_words: whether words are chosen, not tokens.
        begins, ends: `[vocabulary]` whether an entry begins a word whatever stands before it, and whether it ends one.
        mask: the id of `MASK`; entries between 0 and it are drawn.
    """

    share: float
    whole_words: bool
    begins: Array
    ends: Array
    mask: int

    @classmethod
    def of(cls, encoding: Encoding, share: float, whole_words: bool) -> Masking:
        """For the vocabulary of an encoding."""
        entries = next(iter(encoding.columns.values()))
        pieces = bool(encoding.tokenizer)
        # A piece that follows a space begins with its mark; marks of punctuation are words by themselves.
        begins = [not pieces or not entry[:1].isalnum() for entry in entries]
        ends = [not pieces or not entry[-1:].isalnum() for entry in entries]
        return cls(share, whole_words, np.array(begins), np.array(ends), mask_id(encoding))

    def words(self, ids: Array) -> Array:
        """`[n]` the number of the word that each token belongs to, from 0."""
        starts = self.begins[ids].copy()
        starts[1:] |= self.ends[ids[:-1]]
        starts[:1] = True
        return np.cumsum(starts) - 1

    def __call__(self, ids: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """The ids as the model sees them, and `[n]` the hidden ids, `IGNORE` where nothing is to be guessed."""
        places = self._chosen(ids, generator)
        targets = np.full(len(ids), IGNORE, np.int64)
        targets[places] = ids[places]
        seen, draws = ids.astype(np.int64), generator.random(len(places))
        seen[places[draws < _HIDDEN]] = self.mask
        changed = places[(draws >= _HIDDEN) & (draws < _CHANGED)]
        if self.mask > 1:
            seen[changed] = generator.integers(1, self.mask, len(changed))
        return seen, targets

    def _chosen(self, ids: Array, generator: np.random.Generator) -> Array:
        known = np.flatnonzero((ids != 0) & (ids < self.mask))
        wanted = min(len(known), max(1, round(self.share * int((ids <= self.mask).sum()))))
        if not self.whole_words:
            return np.sort(generator.permutation(known)[:wanted])
        words, chosen = self.words(ids), list[Array]()
        # Whole words whose every token is known.
        whole = np.setdiff1d(words, words[(ids == 0) | (ids >= self.mask)])
        for word in generator.permutation(whole):
            places = np.flatnonzero(words == word)
            if not chosen or len(places) <= wanted:
                chosen.append(places)
                wanted -= len(places)
            if wanted <= 0:
                break
        return np.sort(np.concatenate(chosen)) if chosen else known[:0]


class MaskedSequences:
    """Sequences of ids with hidden tokens, a function of (seed, epoch, index): targets are one id or `IGNORE` per vector.

    `targets` are those of the draw that evaluation has; `Varying` draws anew in each epoch.

    Args:
        names: what the examples are called. ids: `[n]` each. masking: what is hidden. seed: of the draws.
    """

    target_kind: TargetKind = "vector"
    unseen: Mapping[str, int]

    def __init__(self, names: Sequence[str], ids: Sequence[Array], masking: Masking, seed: int = 0) -> None:
        self.names, self.ids, self.masking, self.seed = names, ids, masking, seed
        self.unseen = {}
        self.epoch = _FIXED

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int, /) -> Example:
        values, targets = self._drawn(index, self.seed, self.epoch)
        return Example(values, targets, self.names[index], "vector")

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.ids]

    @property
    def targets(self) -> list[Array | None]:
        return [self._drawn(index, 0, _FIXED)[1] for index in range(len(self.ids))]

    def _drawn(self, index: int, seed: int, epoch: int) -> tuple[Array, Array]:
        return self.masking(self.ids[index].astype(np.int64), Draws(seed, epoch, index).of("mask"))


class Varying(MaskedSequences):
    """The same, with other hidden tokens in each epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws."""
        self.epoch = epoch
