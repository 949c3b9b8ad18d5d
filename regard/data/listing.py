"""Files with their labels: in a folder for each label, or listed in a table that lies among them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from regard.data.encoding import Labels, Numbers, learn_targets
from regard.data.examples import Part, divided, split
from regard.data.folders import labeled_files
from regard.data.label_sets import LabelSets
from regard.data.parts import stated_part
from regard.data.survey import Skips
from regard.data.tables import read_table
from regard.errors import InputError

__all__ = ["LabeledFile", "Listing", "listing_targets"]


@dataclass(frozen=True)
class LabeledFile:
    """A file, its label or labels as text, its part, and how an error names it."""

    path: Path
    name: str
    label: str
    part: Part
    where: str


class _Options(Protocol):
    """What readers of files with labels have as options."""

    column: str
    numbers: bool
    label_separator: str


@dataclass(frozen=True)
class Listing:
    """Where files and their labels lie.

    Args:
        root: the folder. table: the name of a CSV file in it, whose columns are `path`, `split` if there is one, and the label's.
        suffixes: of the files, where there is no such table. what: they are, in the plural.
        options: `column` of the label; `numbers`, whether labels are numbers; `label_separator` between several labels.
        texts: whether labels are texts, of which hardly two are equal.
    """

    root: Path
    table: str
    suffixes: Collection[str]
    what: str
    options: _Options
    texts: bool = False

    @property
    def tabled(self) -> bool:
        """Whether there is a table."""
        return os.path.lexists(self.root / self.table)

    def files(self) -> tuple[list[LabeledFile], Skips]:
        """The files of the table, or of the folders by label, each in its part; and what is skipped.

        Raises:
            InputError: a table that does not fit, or folders that `labeled_files` refuses.
        """
        return self._in_table() if self.tabled else self._by_folder()

    def names_parts(self) -> bool:
        """Whether a column or folders say which part a file is in."""
        if self.tabled:
            return "split" in read_table(self.root / self.table, ("path", self.options.column)).header
        return any(each.part for each in labeled_files(self.root, self.suffixes, what=self.what)[0])

    def _in_table(self) -> tuple[list[LabeledFile], Skips]:
        table, column = self.root / self.table, self.options.column
        found = read_table(table, ("path", column))
        header, rows = found.header, found.rows
        places = header.index("path"), header.index(column)
        names, labels = [row[places[0]] for _, row in rows], [row[places[1]] for _, row in rows]
        lines = [f"{table}, line {line}, ({name})" for name, (line, _) in zip(names, rows, strict=True)]
        for label, where in zip(labels, lines, strict=True):
            # A file may have no label at all only where it may have several.
            if not label and not self.options.label_separator:
                raise InputError(f"{where} has an empty {column}, expected a {'text' if self.texts else 'label'}")
        # Numbers, texts and sets of labels are hardly ever equal: dividing within each would put all into the training part.
        apart = self.options.numbers or self.options.label_separator or self.texts
        kinds = [""] * len(names) if apart else labels
        if "split" in header:
            place = header.index("split")
            parts = divided(
                names, kinds, [stated_part(row[place], where) for (_, row), where in zip(rows, lines, strict=True)]
            )
        else:
            parts = split(names, kinds)
        whole = zip(names, labels, parts, lines, strict=True)
        files = [LabeledFile(self.root / name, name, label, part, where) for name, label, part, where in whole]
        return files, found.skips

    def _by_folder(self) -> tuple[list[LabeledFile], Skips]:
        files, skips = labeled_files(self.root, self.suffixes, what=self.what)
        parts = divided([each.name for each in files], [each.label for each in files], [each.part for each in files])
        paths = [self.root / each.name for each in files]
        whole = zip(paths, files, parts, strict=True)
        return [LabeledFile(path, each.name, each.label, part, str(path)) for path, each, part in whole], skips


def listing_targets(
    entries: Iterable[tuple[str, str]], options: _Options, copies: int = 1
) -> Labels | LabelSets | Numbers:
    """What is learned of the labels of the training part, each with the beginning of a sentence about it.

    Raises:
        InputError: what is no number, where numbers are expected; numbers and several labels at once.
    """
    if not options.label_separator:
        return learn_targets(entries, options.numbers, copies)
    if options.numbers:
        raise InputError(
            "data.numbers and data.label_separator are both given, expected numbers or several labels, not both"
        )
    return LabelSets.of(entries, options.label_separator)
