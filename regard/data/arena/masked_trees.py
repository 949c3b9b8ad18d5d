"""The trees of ListOps without their values, some of whose symbols are hidden, for a model to learn from before it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data.arena.list_operations import COLUMNS, ListOps
from regard.data.arena.listops import SYMBOLS, symbols_of
from regard.data.encoded import Documents
from regard.data.encoding import Encoding
from regard.data.examples import PARTS, Array, Part
from regard.data.masking import MASK, MaskedSequences, Masking, Varying
from regard.data.survey import PartSurvey, Survey
from regard.data.text_files import Columns, Document
from regard.data.tokenizer import UNKNOWN
from regard.data.written_inputs import WrittenInputs
from regard.errors import InputError, check_numbers

__all__ = ["MaskedTrees"]

_ENTRIES = (UNKNOWN, *SYMBOLS, MASK)
_IDS = {symbol: n for n, symbol in enumerate(_ENTRIES) if n}


@dataclass
class MaskedTrees(WrittenInputs):
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
    called = "tree"

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

    @property
    def _columns(self) -> Columns:
        return COLUMNS

    def _unlabeled(self, documents: Sequence[Document], encoding: Encoding) -> Documents:
        """Trees, whose vectors are called as their symbols are.

        Raises:
            InputError: what is no symbol.
        """
        ids, tokens = list[Array](), list[tuple[str, ...]]()
        for document in documents:
            symbols = tuple(symbols_of(document.text))
            odd = next((symbol for symbol in symbols if symbol not in _IDS), None)
            if odd is not None:
                known = f"digits, {', '.join(SYMBOLS[10:])} or {MASK}"
                raise InputError(f"{document.where} holds {odd[:20]!r}, expected {known}, with spaces between")
            ids.append(np.array([_IDS[symbol] for symbol in symbols], np.int64))
            tokens.append(symbols)
        return Documents([document.name for document in documents], ids, None, tokens)
