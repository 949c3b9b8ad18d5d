"""A label or number per node: Planetoid's citation graphs, or one's own `nodes.csv` and `edges.csv`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from regard.data.encoding import Encoding, learn_targets, parse_number
from regard.data.examples import Array, Example, Listed, Part, check_part, parts_of, split
from regard.data.folders import files_at, inside
from regard.data.parts import stated_part
from regard.data.planetoid import read_planetoid
from regard.data.reader import refused_stream, refused_value
from regard.data.registry import locate
from regard.data.survey import Survey, part_surveys
from regard.data.tables import read_table
from regard.data.targets import PartTargets
from regard.errors import InputError, nearest

__all__ = ["Graph", "Planetoid"]


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph as it was read: `features [n, d]`, texts by node (empty where there is none), `edges [2, e]`."""

    where: str
    names: tuple[str, ...]
    features: Array
    labels: list[str]
    parts: list[str]
    edges: Array
    edge_values: Array | None = None


@dataclass
class Planetoid:
    """A label per node of one graph; each part is the whole graph, with targets at its own nodes only.

    Args:
        path: a folder of Planetoid files `ind.NAME.*`, or one with `nodes.csv` (columns `id`, `label`, perhaps `split`,
            and a column for each feature) and `edges.csv` (columns `source`, `target`, and perhaps numbers that edges
            carry). Nodes without label are in no part. Where there is no `split`, a tenth of each label's nodes is the
            test part and another the validation part, by the SHA-256 of their ids. None is Cora with its public split.
        name: which Planetoid graph of the folder.
        undirected: whether each edge goes both ways; otherwise only the target attends to the source.
        self_loops: whether each node attends to itself as well; such an edge carries zeros.
        normalize: whether each node's features are divided by the sum of their magnitudes.
        numbers: whether the labels of `nodes.csv` are numbers to predict, not names of classes.
    """

    input_options: ClassVar[tuple[str, ...]] = ("normalize",)

    path: str | None = None
    name: str = "cora"
    undirected: bool = True
    self_loops: bool = True
    normalize: bool = True
    numbers: bool = False

    published = "planetoid"

    def fit(self) -> Encoding:
        """The labels of the training nodes and the width of the features."""
        graph = self._read(self.path)
        targets = learn_targets([(label, where) for _, label, where in _nodes(graph, "train")], self.numbers)
        return Encoding(
            targets,
            width=graph.features.shape[1],
            edge_width=0 if graph.edge_values is None else graph.edge_values.shape[1],
            ordered=False,
            edges=True,
        )

    def part(self, name: Part, encoding: Encoding) -> Listed:
        """One example, the graph; the targets of nodes outside the part are `IGNORE`, or NaN for numbers.

        Raises:
            InputError: a part without nodes, or a label that is no number, where numbers are expected.
        """
        graph, target = self._read(self.path), PartTargets(encoding, check_part(name))
        targets = np.full(len(graph.names), encoding.missing)
        for row, label, where in _nodes(graph, name):
            targets[row] = target(label, where)
        return Listed([self._example(graph, encoding, targets)], target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each node of one part, and where it stands."""
        return [(label, where) for _, label, where in _nodes(self._read(self.path), check_part(name))]

    def names_parts(self) -> bool:
        """Whether a column, or files in the form of Planetoid, say which part a node is in."""
        nodes = Path(self.path or "") / "nodes.csv"
        return self.path is None or not nodes.exists() or "split" in read_table(nodes, ("id",)).header

    def training(self, encoding: Encoding) -> Listed:
        """The graph with the targets of its training nodes: nothing varies it."""
        return self.part("train", encoding)

    def survey(self) -> Survey:
        """How many nodes of each part have each label, and what the graph is made of."""
        graph = self._read(self.path)
        parts, notes = part_surveys(self.labels, "nodes", self.numbers)
        outside = sum(not part for part in graph.parts)
        notes += [f"{len(graph.names):,} nodes of {graph.features.shape[1]:,} features, {graph.edges.shape[1]:,} edges"]
        notes += [f"{outside:,} nodes are in no part"] if outside else []
        tables = self.path is not None and (Path(self.path) / "nodes.csv").exists()
        form = "nodes.csv and edges.csv" if tables else "Planetoid files"
        first = [(name, label, "") for name, label in zip(graph.names[:3], graph.labels[:3], strict=True)]
        return Survey(graph.where, form, parts, examples=first, notes=notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of files that hold graphs."""
        if (place / "nodes.csv").exists():
            return sum(1 for _ in files_at(place)) + 1  # more than the reader of texts takes these tables for
        return sum(path.name.startswith("ind.") for path in files_at(place))

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Listed:
        """The graphs of the folders named, without targets."""
        return Listed([self._example(self._read(source), encoding, None) for source in sources])

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A graph in memory: `features [n, d]`, `edges [2, e]` (sources, targets), and perhaps `edge_values [e, m]` and `names`.

        Raises:
            InputError: what is no mapping with these entries, or arrays that do not fit together.
        """
        name = name or "the graph"
        if not isinstance(value, Mapping):
            raise refused_value(value, name, "a mapping with features and edges")
        return self._example(_graph_of(value, name), encoding, None)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """Refused: a graph is a folder."""
        raise refused_stream(self, "a folder with nodes.csv and edges.csv")

    def _example(self, graph: Graph, encoding: Encoding, target: Array | None) -> Example:
        width, edge_width = graph.features.shape[1], 0 if graph.edge_values is None else graph.edge_values.shape[1]
        for size, expected, what in (
            (width, encoding.width, "features"),
            (edge_width, encoding.edge_width, "numbers"),
        ):
            if size != expected:
                whose = "per node" if what == "features" else "per edge"
                raise InputError(f"{graph.where} has {size} {what} {whose}, expected {expected} as in training")
        values = graph.features
        if self.normalize:
            total = np.abs(values).sum(1, keepdims=True)
            values = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
        edges, edge_values = self._edges(graph)
        name = Path(graph.where).name
        return Example(values, target, name, "vector", edges=edges, edge_values=edge_values, tokens=graph.names)

    def _edges(self, graph: Graph) -> tuple[Array, Array | None]:
        """(query row, key row) without repeats, in increasing order; where an edge was given both ways each keeps its value."""
        n, source, target = len(graph.names), *graph.edges
        codes = [target * n + source]
        values = [] if graph.edge_values is None else [graph.edge_values]
        if self.undirected:
            codes.append(source * n + target)
            values += values[:1]
        if self.self_loops:
            codes.append(np.arange(n) * (n + 1))
            values += [np.zeros((n, values[0].shape[1]), np.float32)] if values else []
        unique, first = np.unique(np.concatenate(codes), return_index=True)
        return np.stack([unique // n, unique % n]), np.concatenate(values)[first] if values else None

    def _read(self, source: str | None) -> Graph:
        folder = Path(source) if source is not None else locate(self.published)
        if not os.path.isdir(folder):
            raise InputError(f"{folder} is not a folder{_other_form([folder.name])}, expected one with {_READ}")
        if os.path.lexists(folder / "nodes.csv"):
            return _read_tables(folder)
        known = sorted(path.name[4:-2] for path in folder.glob("ind.*.x"))
        if not known:
            other = _other_form([Path(name).name for name in inside(folder, "a graph").files])
            raise InputError(f"{folder} has neither nodes.csv nor files ind.NAME.x{other}, expected {_READ}")
        if self.name not in known:
            raise InputError(f"{folder} has no graph {self.name!r}: {nearest(self.name, known)}")
        features, labels, parts, links = read_planetoid(folder, self.name)
        edges = np.array(links, np.int64).reshape(-1, 2).T
        return Graph(f"{folder} ({self.name})", tuple(map(str, range(len(labels)))), features, labels, parts, edges)


def _nodes(graph: Graph, name: Part) -> list[tuple[int, str, str]]:
    """The row of each node of a part, its label, and where it stands."""
    rows = [row for row, part in enumerate(graph.parts) if part in parts_of(name)]
    if not rows:
        raise InputError(f"{graph.where} has no node in the {name} part, expected at least one")
    return [(row, graph.labels[row], f"{graph.where}, node {graph.names[row]},") for row in rows]


_READ = "nodes.csv (id, label, features) and edges.csv (source, target), or Planetoid's ind.NAME.x and so on"
# What graphs are published in besides, by the endings of names.
_FORMS = {
    (".npz", ".npy"): "arrays of NumPy",
    (".txt", ".txt.gz", ".edges", ".edgelist", ".el"): "a list of edges, as of SNAP",
    (".mtx", ".mat"): "a sparse matrix",
    (".gml", ".graphml", ".gexf", ".net", ".dot"): "a drawing program's graph",
    (".pt", ".pth", ".pkl", ".bin", ".dgl"): "a library's own objects",
    (".json", ".jsonl"): "JSON",
}


def _other_form(names: Iterable[str]) -> str:
    """A clause that says in which form the graph is that these files seem to hold; empty where none is known."""
    for name in names:
        for endings, form in _FORMS.items():
            if name.lower().endswith(endings):
                return f", but {name}, {form}, which is not read"
    return ""


def _graph_of(value: Mapping[str, Any], name: str) -> Graph:
    known = ("features", "edges", "edge_values", "names")
    for entry in value:
        if entry not in known:
            raise InputError(f"{name} has an entry {entry!r}: {nearest(str(entry), known)}")
    if "features" not in value or "edges" not in value:
        raise InputError(f"{name} has the entries {', '.join(value)}, expected features and edges")
    features, edges = _array(value, "features", name, np.float32), _array(value, "edges", name)
    edge_values = None if value.get("edge_values") is None else _array(value, "edge_values", name, np.float32)
    n = len(features) if features.ndim else 0
    if features.ndim != 2 or not np.isfinite(features).all():
        raise InputError(f"{name} has features {list(features.shape)}, expected [nodes, numbers], all finite")
    if edges.ndim != 2 or len(edges) != 2 or edges.dtype.kind not in "iu":
        raise InputError(f"{name} has edges {list(edges.shape)} {edges.dtype}, expected whole numbers [2, edges]")
    if edges.size and not (edges.min() >= 0 and edges.max() < n):
        raise InputError(f"{name} has edges from {edges.min()} to {edges.max()}, expected nodes from 0 to {n - 1}")
    if len(np.unique(edges, axis=1).T) < edges.shape[1]:
        raise InputError(f"{name} repeats an edge, expected each once")
    if edge_values is not None and (edge_values.ndim != 2 or len(edge_values) != edges.shape[1]):
        shape = f"{name} has edge_values {list(edge_values.shape)}"
        raise InputError(f"{shape}, expected [{edges.shape[1]}, numbers], one row for each edge")
    names = tuple(map(str, range(n) if value.get("names") is None else value["names"]))
    if len(names) != n:
        raise InputError(f"{name} has {len(names)} names for {n} nodes, expected one each")
    return Graph(name, names, features, [""] * n, [""] * n, edges.astype(np.int64), edge_values)


def _array(value: Mapping[str, Any], entry: str, name: str, kind: type | None = None) -> Array:
    try:
        return np.asarray(value[entry], kind)
    except (TypeError, ValueError):
        raise InputError(f"{name} has {entry} that are no array of numbers, expected one") from None


def _read_tables(folder: Path) -> Graph:
    path = folder / "nodes.csv"
    table = read_table(path, ("id",))
    header, rows = table.header, table.rows
    columns = {name: header.index(name) for name in ("id", "label", "split") if name in header}
    wide = [(i, name) for i, name in enumerate(header) if name not in columns]
    if not wide:
        raise InputError(
            f"{path} has no column other than {', '.join(columns)}, expected at least one feature, such as a column of ones"
        )
    features = np.empty((len(rows), len(wide)), np.float32)
    by_name: dict[str, int] = {}
    labels, parts = [], []
    for n, (line, row) in enumerate(rows):
        name, where = row[columns["id"]], f"{path}, line {line},"
        if name in by_name:
            raise InputError(f"{where} repeats the node {name!r}, expected each once")
        by_name[name] = n
        labels.append(row[columns["label"]] if "label" in columns else "")
        parts.append(_part(row[columns["split"]], labels[-1], where) if "split" in columns else "")
        features[n] = [parse_number(row[i], f"{where} column {column},") for i, column in wide]
    if "split" not in columns:
        labeled = [n for n, label in enumerate(labels) if label]
        names = list(by_name)
        for n, part in zip(labeled, split([names[n] for n in labeled], [labels[n] for n in labeled]), strict=True):
            parts[n] = part
    edges, edge_values = _read_edges(folder / "edges.csv", by_name)
    return Graph(str(folder), tuple(by_name), features, labels, parts, edges, edge_values)


def _part(text: str, label: str, where: str) -> str:
    if text and not label:
        raise InputError(f"{where} has no label, expected one as the node is in the part {text}")
    return stated_part(text, where) if text else ""


def _read_edges(path: Path, nodes: dict[str, int]) -> tuple[Array, Array | None]:
    table = read_table(path, ("source", "target"))
    header, rows = table.header, table.rows
    places = [header.index("source"), header.index("target")]
    carried = [(i, name) for i, name in enumerate(header) if i not in places]
    seen: dict[tuple[int, int], int] = {}
    values = np.empty((len(rows), len(carried)), np.float32)
    for e, (line, row) in enumerate(rows):
        for i in places:
            if row[i] not in nodes:
                raise InputError(f"{path}, line {line}, names the node {row[i]!r}, expected an id of nodes.csv")
        source, target = (nodes[row[i]] for i in places)
        if (source, target) in seen:
            again = f"repeats the edge of line {seen[source, target]} from {row[places[0]]!r} to {row[places[1]]!r}"
            raise InputError(f"{path}, line {line}, {again}, expected each once")
        seen[source, target] = line
        values[e] = [parse_number(row[i], f"{path}, line {line}, column {name},") for i, name in carried]
    return np.array(list(seen), np.int64).reshape(-1, 2).T, values if carried else None
