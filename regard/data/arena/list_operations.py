"""The reader of ListOps: a digit per tree of operations, from the published files or from those that `regard arena make` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regard.data.arena.listops import END, OPERATIONS, SYMBOLS, evaluate, symbols_of
from regard.data.arena.tables import is_table, table_files
from regard.data.encoded import Documents
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Array, Part, check_part, divided, parts_of
from regard.data.folders import files_at
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.data.text_files import Columns, Document
from regard.data.tokenizer import UNKNOWN
from regard.data.written_inputs import WrittenInputs
from regard.errors import InputError
from regard.files import opened, read_lines

__all__ = ["COLUMNS", "ListOps"]

COLUMNS = Columns("Source", "Target")
_HEADER = f"{COLUMNS.text}\t{COLUMNS.label}"
_KNOWN = {symbol: n for n, symbol in enumerate(SYMBOLS, 1)}
_FIRST_OPERATION, _END = _KNOWN[next(iter(OPERATIONS))], _KNOWN[END]
# How many trees of a part are computed, to see that their values are their labels: all of a published part but the training one.
_COMPUTED = 2000


class _Tree(NamedTuple):
    """A tree as ids, its value as text, its part if a name says it, what it is called, and how sentences about it begin."""

    ids: Array
    label: str
    part: Part | None
    name: str
    where: str


@dataclass
class ListOps(WrittenInputs):
    """The value, from 0 to 9, of each tree of operations on digits; a vector is a symbol of the tree, without parentheses.

    Every tree must be one, and of the first 2,000 of each file the value must be the label: `regard.data.arena.listops` says
    what operations compute.

    Args:
        path: a folder of `.tsv` files with train, val (or dev) and test in their names, as `regard arena make listops` writes
            them, or one such file; each has a first line of `Source` and `Target` and then a tree and its value on each line. Where
            nothing says the part, a tenth is the test part and another the validation part.
    """

    path: str | None = None

    published = ""
    called = "tree"

    def fit(self) -> Encoding:
        """The values that the training part has, and the 15 symbols."""
        labels = Labels.of(label for label, _ in self.labels("train"))
        return Encoding(labels, {"token": (UNKNOWN, *SYMBOLS)})

    def part(self, name: Part, encoding: Encoding) -> Documents:
        """The trees of one part.

        Raises:
            InputError: what is no tree, or has another value than its label.
        """
        trees, target = self._trees(check_part(name)), PartTargets(encoding, name)
        targets = [target(tree.label, tree.where) for tree in trees]
        return Documents([tree.name for tree in trees], [tree.ids for tree in trees], targets, unseen=target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The value of each tree of one part, and where it stands."""
        return [(tree.label, tree.where) for tree in self._trees(check_part(name))]

    def sequences(self, name: Part) -> tuple[list[str], list[Array]]:
        """The names of the trees of one part, and the ids of their symbols."""
        trees = self._trees(check_part(name))
        return [tree.name for tree in trees], [tree.ids for tree in trees]

    def training(self, encoding: Encoding) -> Documents:
        """The trees of the training part: nothing varies them."""
        return self.part("train", encoding)

    @property
    def _columns(self) -> Columns:
        return COLUMNS

    def _unlabeled(self, documents: Sequence[Document], encoding: Encoding) -> Documents:
        """Trees, whose vectors are called as their symbols are."""
        ids = [_ids(document.text, document.where) for document in documents]
        return Documents([each.name for each in documents], ids, None, [tuple(_text(each).split()) for each in ids])

    def recognizes(self, text: str) -> bool:
        """Whether a text begins as trees do."""
        return text.lstrip().startswith(("( ", *OPERATIONS))

    def survey(self) -> Survey:
        """How many trees of each part have each value, and how long they are."""
        files, skips = self._files()
        parts, notes = part_surveys(self.labels, "trees")
        lengths = [len(tree.ids) for path, part in files for tree in _read(path, part)]
        notes.insert(0, f"trees have {min(lengths):,} to {max(lengths):,} symbols, {np.mean(lengths):,.0f} in the mean")
        first = [(tree.name, tree.label, _text(tree.ids)) for tree in self._trees("train")[:3]]
        columns = {COLUMNS.text: "tree", COLUMNS.label: "label"}
        return Survey(str(self._place), "ListOps", parts, columns, "UTF-8", skips, first, notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """Twice the number of tables of trees, which are tables of texts too."""
        return 2 * sum(is_table(path) and _looks_like_trees(path) for path in files_at(place))

    def names_parts(self) -> bool:
        """Whether files say by their names which part they are."""
        return all(part is not None for _, part in self._files()[0])

    @property
    def _place(self) -> Path:
        if self.path is None:
            raise InputError("data.path is not given, expected a folder that `regard arena make listops --out` wrote")
        return Path(self.path)

    def _files(self) -> tuple[list[tuple[Path, Part | None]], Skips]:
        return table_files(self._place, "val")

    def _trees(self, part: Part) -> list[_Tree]:
        trees = [tree for path, named in self._files()[0] for tree in _read(path, named)]
        labels = [tree.label for tree in trees]
        parts = divided([tree.name for tree in trees], labels, [tree.part for tree in trees])
        chosen = [tree for tree, named in zip(trees, parts, strict=True) if named in parts_of(part)]
        if not chosen:
            raise InputError(f"{self._place} has no tree in the {part} part, expected at least 3 of some value")
        return chosen


def _read(path: Path, part: Part | None) -> tuple[_Tree, ...]:
    try:
        status = path.stat()
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise InputError(f"{path} {reason}, expected a file of trees, or a folder") from None
    return _parsed(path, part, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=6)
def _parsed(path: Path, part: Part | None, changed: tuple[int, int]) -> tuple[_Tree, ...]:
    """The trees of a file, parsed once, since `fit` and `part` read the same files; a changed file is another key."""
    trees: list[_Tree] = []
    for number, line in read_lines(path):
        where = f"{path}, line {number},"
        if number == 1:
            if line != _HEADER:
                raise InputError(f"{where} is {line[:40]!r}, expected the columns Source and Target with a tab between")
            continue
        text, tab, label = line.rpartition("\t")
        if not tab:
            raise InputError(f"{where} has no tab, expected a tree, a tab and its value")
        ids = _ids(text, where)
        if len(trees) < _COMPUTED and (value := evaluate(text, where)) != _digit(label):
            raise InputError(f"{where} has the value {label[:20]!r}, and its tree has {value}, expected the same")
        trees.append(_Tree(ids, label, part, f"{path.name}:{number}", where))
    if not trees:
        raise InputError(f"{path} is empty, expected trees and their values")
    return tuple(trees)


def _looks_like_trees(path: Path) -> bool:
    try:
        with opened(path) as file:
            first, _, second = file.read(len(_HEADER) + 8).decode(errors="replace").partition("\n")
    except InputError:
        return False
    return first.rstrip("\r") == _HEADER and second.startswith(("( ", *(name[:5] for name in OPERATIONS)))


def _digit(label: str) -> int:
    return int(label) if len(label) == 1 and label in "0123456789" else -1


def _ids(text: str, where: str) -> Array:
    """`[n]` uint8 the id of each symbol.

    Raises:
        InputError: a text that is no tree.
    """
    ids = np.array([_KNOWN.get(symbol, 0) for symbol in symbols_of(text)], np.uint8)
    opened = (ids >= _FIRST_OPERATION) & (ids < _END)
    # How many operations are open after each symbol: none is open at the end alone, and none ends as soon as it began.
    depths = opened.cumsum() - (ids == _END).cumsum()
    closed = len(ids) and depths[-1] == 0 and (depths[:-1] > 0).all()
    if not closed or not ids.all() or (opened[:-1] & (ids[1:] == _END)).any():
        evaluate(text, where)
    return ids


def _text(ids: Array) -> str:
    return " ".join(SYMBOLS[n - 1] for n in ids.tolist())
