"""Sentences and texts as examples: the ids of their words, characters and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from regard.data.conllu import Sentence
from regard.data.encoding import Encoding
from regard.data.examples import Array, Example, TargetKind
from regard.data.words import folded

__all__ = ["Documents", "Sentences"]


class Sentences:
    """Sentences as examples: `values [n]` word ids, `inner` the character ids of each word, `tokens` the words."""

    target_kind: TargetKind = "vector"

    def __init__(
        self,
        sentences: Sequence[Sentence],
        encoding: Encoding,
        lowercase: bool,
        targets: Sequence[Array] | None = None,
        unseen: Mapping[str, int] | None = None,
    ) -> None:
        self.unseen = unseen or {}
        self._names = [sentence.name for sentence in sentences]
        self._tokens = [sentence.words for sentence in sentences]
        self.targets: Sequence[Array | None] = [None] * len(sentences) if targets is None else targets
        known = {word: i for i, word in enumerate(encoding.words) if i}
        # Each distinct word is encoded once: a text has ten times as many words as distinct ones.
        distinct = list(dict.fromkeys(word for words in self._tokens for word in words))
        rule = encoding.segmentation
        ids = {word: known.get(folded(word, lowercase, rule), 0) for word in distinct}
        self._values = [np.array([ids[word] for word in words], np.int64) for words in self._tokens]
        self._spelled: dict[str, Array] | None = None
        if encoding.characters:
            letters = {letter: i for i, letter in enumerate(encoding.characters) if i}
            spelled = {word: [letters.get(letter, 0) for letter in folded(word, False, rule)] for word in distinct}
            self._spelled = {word: np.array(row, np.int64) for word, row in spelled.items()}

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Example:
        words, spelled = self._tokens[index], self._spelled
        return Example(
            values=self._values[index],
            target=self.targets[index],
            name=self._names[index],
            target_kind="vector",
            inner=None if spelled is None else tuple([spelled[word] for word in words]),
            tokens=words,
        )

    @property
    def lengths(self) -> list[int]:
        return [len(words) for words in self._tokens]


class Documents:
    """Texts as examples: `values [n]`, or `[n, 2]`, the ids of their tokens; `tokens` are given where there is no target."""

    target_kind: TargetKind = "set"

    def __init__(
        self,
        names: Sequence[str],
        ids: Sequence[Array],
        targets: Sequence[Array] | None = None,
        tokens: Sequence[tuple[str, ...]] | None = None,
        unseen: Mapping[str, int] | None = None,
    ) -> None:
        self.unseen = unseen or {}
        self._names, self._ids, self._tokens = names, ids, tokens
        self.targets: Sequence[Array | None] = [None] * len(names) if targets is None else targets

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Example:
        return Example(
            values=self._ids[index].astype(np.int64),
            target=self.targets[index],
            name=self._names[index],
            tokens=None if self._tokens is None else self._tokens[index],
        )

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self._ids]
