"""Word vectors in a page: the nearest words, analogies, and words on a plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from regard.errors import InputError
from regard.inspector.answering import Answering
from regard.inspector.asked import Answer, Asked
from regard.vectors.drawing import project
from regard.vectors.words import WordVectors

__all__ = ["NEIGHBORS", "WordQuestions"]

NEIGHBORS = 20
"""Words that are shown for one."""
_MOST = 300  # words on a plane
_OFFLINE = 40  # words whose neighbors a file holds, where none are chosen


class WordQuestions(Answering):
    """Answers questions about word vectors.

    Args:
        vectors: of at least three words. name: of their file. chosen: words to begin with; the most frequent ones if none.

    Raises:
        InputError: a word without a vector, or fewer than three words.
    """

    def __init__(self, vectors: WordVectors, name: str, chosen: Sequence[str] = ()) -> None:
        title = f"{len(vectors):,} words, {vectors.width} numbers each"
        super().__init__(name, title, ("overview", "place", "nearest", "analogy", "plane"))
        if len(vectors) < 3:
            raise InputError(f"{name} has {len(vectors)} words, expected at least 3 to look at")
        self.vectors = vectors
        self.chosen = [vectors.words[vectors.id(word)] for word in chosen] or list(vectors.words[:_OFFLINE])

    def found(self, name: str, asked: Asked) -> Answer:
        if name == "place":
            return Answer({"kind": "none"})
        if name == "overview":
            page = {"page": "words", "run": self.name, "input": self.title, "chosen": self.chosen}
            return Answer({**page, "neighbors": NEIGHBORS})
        if name == "nearest":
            word = self.vectors.words[self.vectors.id(asked.text("word"))]
            return Answer({"word": word, "near": self.vectors.nearest(word, NEIGHBORS)})
        if name == "analogy":
            a, b, c = (asked.text(letter) for letter in "abc")
            return Answer({"near": self.vectors.analogy(a, b, c, NEIGHBORS)})
        words = asked.texts("words", _MOST)
        rows = list(dict.fromkeys(self.vectors.id(word) for word in words))
        if len(rows) < 2:
            raise InputError(f"a plane of {len(rows)} words was asked for, expected at least 2")
        places = project(self.vectors.unit[rows])
        return Answer({"words": [self.vectors.words[row] for row in rows]}, (places.astype("<f4").tobytes(),))

    def all(self, layer: int | None = None) -> Iterator[dict[str, Any]]:
        yield {"ask": "overview"}
        yield {"ask": "place"}
        yield {"ask": "plane", "words": self.chosen}
        for word in self.chosen:
            yield {"ask": "nearest", "word": word}
            near = [name for name, _ in self.vectors.nearest(word, NEIGHBORS)]
            yield {"ask": "plane", "words": [word, *near]}
