"""A number or label per molecule: each is a set of atoms, whose bonds are edges that carry values."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import numpy as np

from regard.data.chemistry import (
    Features,
    atom_features,
    bonds,
    check_installed,
    descriptors,
    drawing,
    molecule,
    scaffold,
    scaffold_split,
    whole,
)
from regard.data.encoding import Encoding, Labels, Numbers, Standard, learn_targets
from regard.data.examples import ALL, Array, Example, Listed, Part, check_part, divided, split
from regard.data.folders import files_at, files_by_part
from regard.data.graph_values import joined_edges
from regard.data.inputs import streamed
from regard.data.label_sets import LabelSets
from regard.data.nodes import VariedGraphs
from regard.data.parts import stated_part
from regard.data.reader import refused_value
from regard.data.registry import locate
from regard.data.structure import NodePositions
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.tables import Table, read_table
from regard.data.targets import PartTargets
from regard.data.text_files import Columns
from regard.errors import InputError, nearest
from regard.files import plain_suffix, read_lines

__all__ = ["Molecules"]

_PUBLISHED = {
    "esol": ("ESOL_delaney-processed.csv", "measured log solubility in mols per litre", "Compound ID"),
    "freesolv": ("FreeSolv_SAMPL.csv", "expt", "iupac"),
    "bbbp": ("BBBP.csv", "p_np", "name"),
}
_TABLES = (".csv", ".tsv")
_UNREAD = "molecules that cannot be read"


@dataclass(frozen=True)
class _Row:
    """A molecule of a table that can be read: its name, SMILES, label, part where that is stated, and place."""

    name: str
    smiles: str
    found: Any
    label: str
    part: Part | None
    where: str


@dataclass
class Molecules:
    """A number, a label or several labels per molecule, from tables with SMILES; each molecule is a set of atoms joined by bonds.

    Args:
        path: a CSV or TSV file, or a folder of such files with train, dev (or val, validation) and test in their names; None is the
            published data set.
        dataset: which one is meant where there is no path.
        target: whether the label is a number, the name of a class, or any number of names.
        smiles_column: what the table calls the SMILES, in small or capital letters.
        label_column: what it calls the label; of several labels some columns of 1, 0 and nothing, joined by commas. Rows without
            label are counted and passed over.
        split_column: what it calls the part, where it says that.
        id_column: what it calls the names that predictions are reported under; if empty, `id` or `name` where there is one.
        division: how molecules without stated parts are divided: "scaffold" as DeepChem does, so that the test part has other
            scaffolds than the training part, or "hash", a fixed tenth each by the SHA-256 of the SMILES.
        features: of atoms and bonds: "atoms" is the element and the kind of bond, one-hot; "full" and "contributions" say more, see
            `regard.data.chemistry.atom_features`.
        self_loops: whether each atom attends to itself as well; such an edge carries zeros.
        descriptors: whether numbers of the whole molecule are joined to its pooled vector, see `regard.data.chemistry.descriptors`.
        positions: what an atom's vector says of its place in the molecule.
    """

    input_options: ClassVar[tuple[str, ...]] = ("features", "descriptors", "positions")

    path: str | None = None
    dataset: Literal["esol", "freesolv", "bbbp"] = "esol"
    target: Literal["label", "labels", "number"] = "number"
    smiles_column: str = "smiles"
    label_column: str = "label"
    split_column: str = "split"
    id_column: str = ""
    division: Literal["scaffold", "hash"] = "scaffold"
    features: Features = "atoms"
    self_loops: bool = True
    descriptors: bool = False
    positions: NodePositions = field(default_factory=NodePositions)

    published = "molecules"

    def __post_init__(self) -> None:
        if self.positions.vectors:
            found = f"data.positions.vectors is {self.positions.vectors!r}"
            raise InputError(f"{found}, expected none: atoms of different molecules are not the same")
        if self.positions.identity:
            raise InputError(
                "data.positions.identity is true, expected false: atoms of different molecules are not the same"
            )

    def fit(self) -> Encoding:
        """The labels of the training part, or the mean and deviation of its numbers."""
        entries = self.labels("train")
        targets: Labels | LabelSets | Numbers
        if self.target == "labels":
            targets = LabelSets.of(entries, ";")
        else:
            targets = learn_targets(entries, self.target == "number")
        values, _, edge_values = self._vectors(molecule("CO", "a molecule"), "a molecule")
        standard = Standard()
        if self.descriptors:
            standard = Standard.of(np.stack([descriptors(row.found) for row in self._rows("train")]))
        return Encoding(
            targets,
            width=values.shape[1],
            edge_width=edge_values.shape[1],
            ordered=False,
            edges=True,
            standard=standard,
        )

    def part(self, name: Part, encoding: Encoding) -> Listed:
        """The molecules of one part.

        Raises:
            InputError: a label that is no number, where numbers are expected.
        """
        rows, target = self._rows(check_part(name)), PartTargets(encoding, name)
        targets = target.all([(row.label, row.where) for row in rows])
        examples = [
            self._example(row.found, row.name, row.where, encoding, answer)
            for row, answer in zip(rows, targets, strict=True)
        ]
        return Listed(examples, target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each molecule of one part, and where it stands."""
        return [(row.label, row.where) for row in self._rows(check_part(name))]

    def training(self, encoding: Encoding) -> Listed:
        """The molecules of the training part; the signs of eigenvectors vary."""
        part = self.part("train", encoding)
        return VariedGraphs(part.examples, self.positions, part.unseen) if self.positions.laplacian else part

    def survey(self) -> Survey:
        """How many molecules of each part have each label, what could not be read, and the first molecules."""
        rows, skips, form = self._read()
        names = None
        if self.target == "labels":
            names = lambda text: {name: value == "1" for name, value in json.loads(text).items()}  # noqa: E731
        parts, notes = part_surveys(self.labels, "molecules", self.target == "number", names)
        sizes = [row.found.GetNumAtoms() for row in rows]
        notes.append(f"molecules of {min(sizes):,} to {max(sizes):,} atoms")
        first = [(row.name, row.label, row.smiles) for row in rows[:3]]
        columns = {self.smiles_column: "SMILES", self._label_column: self.target}
        return Survey(str(self._place), form, parts, columns, skipped=skips, examples=first, notes=notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of tables with a column of SMILES, twice, as the reader of texts claims them too."""
        return 2 * sum(plain_suffix(path) in _TABLES and _names_smiles(path) for path in files_at(place))

    def names_parts(self) -> bool:
        """Whether files or a column say which part a molecule is in."""
        return all(row.part for row in self._read()[0])

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Listed:
        """Molecules of tables with a column of SMILES, and of other files with a SMILES, and perhaps a name, on each line."""
        return Listed([example for source in sources for example in self._in_file(Path(source), encoding)])

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A molecule in memory: its SMILES, or a molecule of RDKit.

        Raises:
            InputError: what is neither.
        """
        name = name or "the molecule"
        if isinstance(value, str):
            return self._example(molecule(value.strip(), name), name, name, encoding)
        if not hasattr(value, "GetAtoms"):
            raise refused_value(value, name, "a SMILES or a molecule of RDKit")
        return self._example(whole(value, name), name, name, encoding)

    def texts(self, texts: Sequence[str], names: Sequence[str], encoding: Encoding) -> Listed:
        """Molecules of SMILES in memory."""
        return Listed([self.example(text, encoding, name) for text, name in zip(texts, names, strict=True)])

    def recognizes(self, text: str) -> bool:
        """Whether a text is the SMILES of a molecule."""
        check_installed()
        try:
            molecule(text, "")
        except InputError:
            return False
        return True

    def picture(self, text: str, weights: Mapping[int, float], query: int) -> str:
        """The molecule of a SMILES as a picture in SVG, see `regard.data.chemistry.drawing`."""
        return drawing(molecule(text, "the molecule"), weights, query)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """Molecules as they arrive, a SMILES, and perhaps a name, on each line."""
        for group in streamed(file, Columns(text=self.smiles_column)):
            yield Listed([self._of_line(line.text, line.name, line.where, encoding) for line in group])

    @property
    def _place(self) -> Path:
        return Path(self.path) if self.path is not None else locate(self.published) / _PUBLISHED[self.dataset][0]

    @property
    def _label_column(self) -> str:
        published = self.path is None and self.label_column == "label"
        return _PUBLISHED[self.dataset][1] if published else self.label_column

    def _rows(self, part: Part) -> list[_Row]:
        rows, _, _ = self._read()
        if part == ALL:
            return rows
        chosen = [row for row, found in zip(rows, self._parts(rows), strict=True) if found == part]
        if not chosen:
            raise InputError(
                f"{self._place} has no molecule in the {part} part{self._crowded(rows)}, expected at least one"
            )
        return chosen

    def _parts(self, rows: Sequence[_Row]) -> list[Part]:
        kinds = [row.label if self.target == "label" else "" for row in rows]
        if any(row.part for row in rows):
            return divided([row.smiles for row in rows], kinds, [row.part for row in rows])
        if self.division == "hash":
            return split([row.smiles for row in rows], kinds)
        return scaffold_split([scaffold(row.smiles, row.where) for row in rows])

    def _crowded(self, rows: Sequence[_Row]) -> str:
        """A clause about a scaffold that is too frequent for a part of its own."""
        if self.division == "hash" or any(row.part for row in rows):
            return ""
        ((most, count),) = Counter(scaffold(row.smiles) for row in rows).most_common(1)
        named = f"the scaffold {most}" if most else "no ring"
        return f": {count} of {len(rows)} have {named}, and a scaffold is in one part (data.division hash divides otherwise)"

    def _read(self) -> tuple[list[_Row], Skips, str]:
        """The molecules of all files, what is passed over, and what the files were read as."""
        # Not before: a task of several labels says so after the reader is made.
        if self.target != "labels" and "," in self.label_column:
            found = f"data.label_column is {self.label_column!r} and data.target {self.target!r}"
            raise InputError(f"{found}, expected one column, or data.target labels")
        place, skips = self._place, Skips()
        files: list[tuple[Path, Part | None]] = [(place, None)]
        if os.path.isdir(place):
            named, skips = files_by_part(place, lambda path: plain_suffix(path) in _TABLES)
            files = [*named]
            if not files:
                raise InputError(
                    f"{place} has no table with train, dev or test in its name, expected one, or a CSV file"
                )
        rows: list[_Row] = []
        form = ""
        for path, part in files:
            table = self._table(path, [*self._label_column.split(",")])
            skips.update(table.skips)
            rows += self._in_table(path, table, part, skips)
            form = table.format
        if not rows:
            passed = "; ".join(skips.lines())
            raise InputError(f"{place} has no molecule with a label, expected at least one: {passed}")
        return rows, skips, form

    def _table(self, path: Path, needed: Sequence[str]) -> Table:
        table = read_table(path, needed, tabs=plain_suffix(path) == ".tsv")
        if not self._smiles_in(table.header):
            clause = nearest(self.smiles_column, table.header)
            raise InputError(f"{path} has no column {self.smiles_column!r} in its first line: {clause}")
        return table

    def _smiles_in(self, header: Sequence[str]) -> str:
        return next((name for name in header if name.lower() == self.smiles_column.lower()), "")

    def _id_in(self, header: Sequence[str]) -> str:
        published = _PUBLISHED[self.dataset][2] if self.path is None else ""
        known = [self.id_column] if self.id_column else [published, "id", "name"]
        return next((name for name in known if name in header), "")

    def _in_table(self, path: Path, table: Table, part: Part | None, skips: Skips) -> Iterator[_Row]:
        check_installed()
        header = table.header
        smiles, named = header.index(self._smiles_in(header)), self._id_in(header)
        columns = [(name, header.index(name)) for name in self._label_column.split(",")]
        for line, fields in table.rows:
            place, where = f"{path.name}, line {line}", f"{path}, line {line},"
            text, label = fields[smiles], self._label([(name, fields[i]) for name, i in columns])
            stated = part
            if self.split_column in header:
                stated = stated_part(fields[header.index(self.split_column)], where, self.split_column)
            if not text or not label:
                skips.add(f"rows without {'a SMILES' if not text else 'a label'}", place)
                continue
            try:
                found = molecule(text, where)
            except InputError:
                skips.add(_UNREAD, f"{place} ({text[:40]})")
                continue
            name = fields[header.index(named)] if named else ""
            yield _Row(name or f"{path}:{line}", text, found, label, stated, where)

    def _label(self, columns: Sequence[tuple[str, str]]) -> str:
        """A label as text; of several labels an object of JSON, in which nothing is a gap; empty where there is none."""
        if self.target != "labels":
            return columns[0][1]
        return json.dumps(dict(columns)) if any(text for _, text in columns) else ""

    def _in_file(self, path: Path, encoding: Encoding) -> list[Example]:
        if not path.exists():
            raise InputError(f"{path} is not there, expected a file of SMILES; a SMILES itself is read by --text")
        if plain_suffix(path) not in _TABLES:
            lines = [(n, line.strip()) for n, line in read_lines(path) if line.strip()]
            found = [self._of_line(line, f"{path}:{n}", f"{path}, line {n},", encoding) for n, line in lines]
        else:
            table = self._table(path, [])
            smiles, named = table.header.index(self._smiles_in(table.header)), self._id_in(table.header)
            found = []
            for n, fields in table.rows:
                name = fields[table.header.index(named)] if named else ""
                where = f"{path}, line {n},"
                found.append(self._example(molecule(fields[smiles], where), name or f"{path}:{n}", where, encoding))
        if not found:
            raise InputError(f"{path} is empty, expected a SMILES on each line")
        return found

    def _of_line(self, line: str, name: str, where: str, encoding: Encoding) -> Example:
        smiles, _, named = re.sub(r"\s+", " ", line.strip()).partition(" ")
        return self._example(molecule(smiles, where), named or name, where, encoding)

    def _example(self, found: Any, name: str, where: str, encoding: Encoding, target: Array | None = None) -> Example:
        values, edges, edge_values = self._vectors(found, where)
        tokens = tuple(f"{atom.GetSymbol()}{atom.GetIdx() + 1}" for atom in found.GetAtoms())
        whole = encoding.standard(descriptors(found)) if self.descriptors else None
        return Example(
            values, target, name, "set", edges=edges, edge_values=edge_values, tokens=tokens, set_values=whole
        )

    def _vectors(self, found: Any, where: str) -> tuple[Array, Array, Array]:
        """`[atoms, ...]`, (query row, key row), and what these edges carry."""
        values = atom_features(found, self.features)
        ends, carried = bonds(found, self.features)
        edges, edge_values = joined_edges(len(values), ends, carried, undirected=True, self_loops=self.self_loops)
        if self.positions:
            placed = self.positions.of(len(values), edges, directed=False, where=where)
            values = np.concatenate([values, placed], axis=1)
        assert edge_values is not None
        return values, edges, edge_values


def _names_smiles(path: Path) -> bool:
    """Whether the first line that is not empty names a column of SMILES."""
    try:
        first = next((line for _, line in read_lines(path) if line.strip()), "")
    except InputError:
        return False
    return re.search(r'(^|[",;\t|])\s*smiles\s*($|[",;\t|])', first, re.IGNORECASE) is not None
