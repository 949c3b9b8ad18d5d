"""The trees of ListOps without their values, some of whose symbols are hidden, for a model to learn from before it computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from regard.data.arena.list_operations import ListOps
from regard.data.arena.listops import SYMBOLS, symbols_of
from regard.data.encoded import Documents
from regard.data.encoding import Encoding
from regard.data.examples import PARTS, Array, Example, Part
from regard.data.inputs import streamed, to_read
from regard.data.masking import MASK, MaskedSequences, Masking, Varying
from regard.data.reader import refused_value
from regard.data.survey import PartSurvey, Survey
from regard.data.text_files import Columns, Document
from regard.data.tokenizer import UNKNOWN
from regard.errors import InputError, check_numbers

__all__ = ["MaskedTrees"]

_COLUMNS = Columns("Source", "Target")
_ENTRIES = (UNKNOWN, *SYMBOLS, MASK)
_IDS = {symbol: n for n, symbol in enumerate(_ENTRIES) if n}


@dataclass
class MaskedTrees:
    """Trees of ListOps, of whose symbols a share is hidden for the model to guess; their values are not read.

    What is hidden is drawn for each (seed, epoch, tree) while training, and the same each time in evaluation. A training on
    `ListOps` can begin with such a run: the symbols have the same ids. A tree to predict for has `[MASK]` wherever a symbol is to
    be guessed, and need not be whole.

    Args:
        path: as that of `ListOps`, a folder of `.tsv` files or one of them.
        mask: the share of symbols that are hidden.
        seed: of the draws.
    """

    path: str | None = None
    mask: float = 0.1
    seed: int = 0

    published = ""

    def __post_init__(self) -> None:
        check_numbers("data", self, "seed", least=0)
        if not 0 < self.mask < 1:
            raise InputError(f"data.mask is {self.mask}, expected a share between 0 and 1")

    def fit(self) -> Encoding:
        """The 15 symbols, then `[MASK]`."""
        self._trees.labels("train")
        return Encoding(columns={"token": _ENTRIES})

    def part(self, name: Part, encoding: Encoding) -> MaskedSequences:
        """The trees of one part, with what is hidden in evaluation."""
        names, ids = self._trees.sequences(name)
        return MaskedSequences(names, ids, Masking.of(encoding, self.mask, whole_words=False))

    def training(self, encoding: Encoding) -> Varying:
        """The trees of the training part, of which each epoch hides other symbols."""
        names, ids = self._trees.sequences("train")
        return Varying(names, ids, Masking.of(encoding, self.mask, whole_words=False), self.seed)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """None: what is guessed are symbols of the trees themselves."""
        self._trees.labels(name)
        return []

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Documents:
        """Trees of files with one on each line, and of tables with a column `Source`; `[MASK]` is a gap."""
        found = [document for source in sources for document in to_read(source, _COLUMNS, one_per_line=True)]
        if not found:
            raise InputError(f"{' and '.join(sources)} is empty, expected a tree on each line")
        return _documents(found)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A tree in memory, as text.

        Raises:
            InputError: what is no text, or holds what is no symbol.
        """
        name = name or "the tree"
        if not isinstance(value, str):
            raise refused_value(value, name, "a text")
        return self.texts([value], [name], encoding)[0]

    def texts(self, texts: Sequence[str], names: Sequence[str], encoding: Encoding) -> Documents:
        """Trees in memory, as `example` takes one of them."""
        return _documents([Document(text, None, name, name) for text, name in zip(texts, names, strict=True)])

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Documents]:
        """Trees as they arrive, one on each line."""
        for group in streamed(file, _COLUMNS):
            yield _documents(group)

    def survey(self) -> Survey:
        """How many trees each part has."""
        survey = self._trees.survey()
        parts: dict[str, PartSurvey] = {
            name: PartSurvey(part.examples, "trees") for name, part in survey.parts.items() if name in PARTS
        }
        return Survey(survey.source, "ListOps, values left out", parts, encoding="UTF-8", skipped=survey.skipped)

    @classmethod
    def claims(cls, place: Path) -> int:
        """None: tables of trees are taken for `ListOps`, unless this reader is asked for by name."""
        return 0

    def names_parts(self) -> bool:
        """Whether files say by their names which part they are."""
        return self._trees.names_parts()

    @property
    def _trees(self) -> ListOps:
        return ListOps(self.path)


def _documents(documents: Sequence[Document]) -> Documents:
    """Trees to predict for, whose vectors are called as their symbols are.

    Raises:
        InputError: what is no symbol.
    """
    ids, tokens = list[Array](), list[tuple[str, ...]]()
    for document in documents:
        symbols = tuple(symbols_of(document.text))
        odd = next((symbol for symbol in symbols if symbol not in _IDS), None)
        if odd is not None:
            raise InputError(
                f"{document.where} holds {odd[:20]!r}, expected digits, {', '.join(SYMBOLS[10:])} or {MASK}, with spaces between"
            )
        ids.append(np.array([_IDS[symbol] for symbol in symbols], np.int64))
        tokens.append(symbols)
    return Documents([document.name for document in documents], ids, None, tokens)
