"""A label per word: sentences in CoNLL-U, such as Universal Dependencies, as sequences of word ids and their characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from regard.data.conllu import Sentence, is_conllu, read_conllu, read_sources
from regard.data.examples import Array, Encoding, Example, Part, Targets, check_part, split
from regard.data.files import PART_NAMES
from regard.data.registry import locate
from regard.errors import InputError

__all__ = ["UNKNOWN", "Conllu", "Sentences"]

UNKNOWN = "<unknown>"
"""What entry 0 of a vocabulary is called; no word of a text gets id 0 by its name."""


@dataclass
class Conllu:
    """A label per word, from CoNLL-U files.

    The vocabulary is that of the training part; a model drops a word by setting its id to 0, the unknown.

    Args:
        path: a folder whose `.conllu` or `.conllu.gz` files have train, dev (or val, validation) and test in their
            names, or one file, of which a fixed tenth of the sentences is the test part and another the validation part,
            by the SHA-256 of their names; None is UD English EWT.
        column: which column of the file is the label.
        minimum_count: how often the training part must show a word, or a character, for it to have an id.
        lowercase: whether words are lower-cased before they get their id; characters keep their case.
        characters: whether each word also comes as its characters' ids.
    """

    path: str | None = None
    column: Literal["upos", "xpos", "deprel"] = "upos"
    minimum_count: int = 2
    lowercase: bool = True
    characters: bool = True

    def fit(self) -> Encoding:
        """The labels, words and characters of the training part."""
        if self.minimum_count < 1:
            raise InputError(f"minimum_count is {self.minimum_count}, expected at least 1")
        words: Counter[str] = Counter()
        labels: set[str] = set()
        for sentence in self._sentences("train"):
            words.update(sentence.words)
            labels.update(_labels(sentence, self.column))
        folded: Counter[str] = Counter()
        letters: Counter[str] = Counter()
        for word, count in words.items():
            folded[word.lower() if self.lowercase else word] += count
            for letter in word:
                letters[letter] += count
        vocabularies = {"word": self._frequent(folded)}
        if self.characters:
            vocabularies["character"] = self._frequent(letters)
        return Encoding(labels=Targets.fit(labels).labels, vocabularies=vocabularies)

    def part(self, name: Part, encoding: Encoding) -> Sentences:
        """The labelled sentences of one part.

        Raises:
            InputError: a word without label, or with a label that the training part does not have.
        """
        sentences = self._sentences(check_part(name))
        return Sentences(sentences, encoding, self.lowercase, self._targets(sentences, encoding))

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Sentences:
        """Sentences from `.conllu` files, text files with a sentence per line, `-` (standard input), or given directly."""
        return Sentences(read_sources(sources, self.column), encoding, self.lowercase)

    def _sentences(self, part: Part) -> list[Sentence]:
        place = Path(self.path) if self.path is not None else locate("ud-english-ewt")
        if not place.is_dir():
            sentences = read_conllu(place, self.column)
            parts = split([sentence.name for sentence in sentences])
            chosen = [sentence for sentence, its in zip(sentences, parts, strict=True) if its == part]
            if not chosen:
                raise InputError(
                    f"{place} has too few sentences, {len(sentences)}, expected at least 3 to divide into three parts"
                )
            return chosen
        files = [path for path in sorted(place.glob("*")) if is_conllu(path) and _part_of(path) == part]
        if not files:
            expected = f"expected a .conllu or .conllu.gz file with {part} in its name"
            raise InputError(f"{place} has no {part} part, {expected}")
        return [sentence for path in files for sentence in read_conllu(path, self.column)]

    def _targets(self, sentences: Iterable[Sentence], encoding: Encoding) -> list[Array]:
        targets = Targets.of(encoding)
        ids: Mapping[str, int] = {label: i for i, label in enumerate(targets.labels)}
        rows = []
        for sentence in sentences:
            labels = _labels(sentence, self.column)
            for label, line in zip(labels, sentence.lines, strict=True):
                if label not in ids:
                    targets(label, f"{sentence.where}, line {line},")
            rows.append(np.array([ids[label] for label in labels], np.int64))
        return rows

    def _frequent(self, counts: Counter[str]) -> tuple[str, ...]:
        kept = sorted((-count, entry) for entry, count in counts.items() if count >= self.minimum_count)
        return (UNKNOWN, *(entry for _, entry in kept))


def _part_of(path: Path) -> str | None:
    """The part that a file's name tells, as in `en_ewt-ud-dev.conllu.gz`."""
    for piece in reversed(path.name.split(".")[0].replace("_", "-").split("-")):
        if piece in PART_NAMES:
            return PART_NAMES[piece]
    return None


def _labels(sentence: Sentence, column: str) -> tuple[str, ...]:
    if "_" in sentence.labels or "" in sentence.labels:
        line = next(n for n, label in zip(sentence.lines, sentence.labels, strict=True) if label in ("", "_"))
        raise InputError(f"{sentence.where}, line {line}, has no {column}, expected a label for each word")
    return sentence.labels


class Sentences:
    """Sentences as examples: `values [n]` word ids, `inner` the character ids of each word, `tokens` the words."""

    def __init__(
        self,
        sentences: Sequence[Sentence],
        encoding: Encoding,
        lowercase: bool,
        targets: Sequence[Array] | None = None,
    ) -> None:
        self._names = [sentence.name for sentence in sentences]
        self._tokens = [sentence.words for sentence in sentences]
        self._targets = targets
        known = {word: i for i, word in enumerate(encoding.vocabularies["word"]) if i}
        # Each distinct word is encoded once: a text has ten times as many words as distinct ones.
        distinct = list(dict.fromkeys(word for words in self._tokens for word in words))
        ids = {word: known.get(word.lower() if lowercase else word, 0) for word in distinct}
        self._values = [np.array([ids[word] for word in words], np.int64) for words in self._tokens]
        self._spelled: dict[str, Array] | None = None
        if "character" in encoding.vocabularies:
            letters = {letter: i for i, letter in enumerate(encoding.vocabularies["character"]) if i}
            self._spelled = {word: np.array([letters.get(letter, 0) for letter in word], np.int64) for word in distinct}

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Example:
        words, spelled = self._tokens[index], self._spelled
        return Example(
            values=self._values[index],
            target=None if self._targets is None else self._targets[index],
            name=self._names[index],
            inner=None if spelled is None else tuple([spelled[word] for word in words]),
            tokens=words,
        )

    @property
    def lengths(self) -> list[int]:
        return [len(words) for words in self._tokens]
