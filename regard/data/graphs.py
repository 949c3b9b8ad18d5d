"""Many graphs, one on each line of a file of JSON lines, with a label each or a label for each of their nodes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import numpy as np

from regard.data.encoding import Encoding, Labels, Numbers, learn_targets
from regard.data.examples import Array, Example, Listed, Part, check_part, divided, parts_of
from regard.data.folders import files_at, files_by_part
from regard.data.graph_values import Graph, arrays_of, carried_by, graph_of, joined_edges
from regard.data.label_sets import LabelSets
from regard.data.nodes import VariedGraphs
from regard.data.parts import stated_part
from regard.data.reader import STREAM
from regard.data.structure import NodePositions
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.errors import InputError, nearest
from regard.files import json_line, parse_object, plain_suffix, read_lines, written_whole

__all__ = ["Graphs", "write_graphs"]

_ENDINGS = (".jsonl", ".ndjson")
_ENTRIES = ("id", "split", "features", "edges", "edge_values", "names", "label", "labels")
_FORM = "JSON lines of graphs"
_MOST_NODES = 10_000_000  # of one line


@dataclass(frozen=True)
class _Line:
    """A graph of a file: its label or labels as text, its part where that is stated, and where it stands."""

    graph: Graph
    name: str
    label: str
    part: Part | None
    where: str


@dataclass
class Graphs:
    """A label or number for each of many graphs, or for each of their nodes, from files of JSON lines.

    A line is an object: `edges`, pairs of a source and a target, which are numbers of nodes from 0; `features`, a list of numbers
    for each node, or, where nodes have none, `nodes`, how many there are; perhaps `edge_values`, a list of numbers for each edge,
    and `names` of the nodes; `label`, or `labels` of the nodes, null where a node has none; perhaps `id` and `split`. A graph
    without any label is counted and passed over. `write_graphs` writes such a file from graphs in memory.

    Args:
        path: a `.jsonl` file, plain or compressed, or a folder of such files with train, dev (or val, validation) and test in their
            names. Graphs without stated parts are divided by the SHA-256 of their names, a tenth of each label to the test part.
        labels_of: what has a label: each graph, or its nodes.
        target: whether a label is a number, the name of a class, or, of graphs, any number of names: an object with 1, 0 or null
            for each.
        undirected: whether each edge goes both ways; otherwise only the target attends to the source.
        self_loops: whether each node attends to itself as well; such an edge carries zeros.
        positions: what a node's vector says of its place in its graph.
    """

    input_options: ClassVar[tuple[str, ...]] = ("positions",)

    path: str | None = None
    labels_of: Literal["graphs", "nodes"] = "graphs"
    target: Literal["label", "labels", "number"] = "label"
    undirected: bool = True
    self_loops: bool = True
    positions: NodePositions = field(default_factory=NodePositions)

    published = ""

    def __post_init__(self) -> None:
        if self.positions.vectors:
            found = f"data.positions.vectors is {self.positions.vectors!r}"
            raise InputError(f"{found}, expected none: nodes of different graphs are not the same")
        if self.positions.identity:
            raise InputError(
                "data.positions.identity is true, expected false: nodes of different graphs are not the same"
            )
        if self.target == "labels" and self.labels_of == "nodes":
            raise InputError(
                "data.target is 'labels' and data.labels_of 'nodes', expected one label or number per node"
            )

    def fit(self) -> Encoding:
        """The labels of the training part, or the mean and deviation of its numbers, and the widths of features and edges."""
        lines = self._lines("train")
        entries = _entries(lines, self.labels_of == "nodes")
        targets: Labels | LabelSets | Numbers
        if self.target == "labels":
            targets = LabelSets.of(entries, ";")
        else:
            targets = learn_targets(entries, self.target == "number")
        # What edges carry is told by a graph that has some.
        first = next((line for line in lines if line.graph.edges.size), lines[0])
        values, _, edge_values = self._vectors(first.graph)
        edge_width = 0 if edge_values is None else edge_values.shape[1]
        return Encoding(targets, width=values.shape[1], edge_width=edge_width, ordered=False, edges=True)

    def part(self, name: Part, encoding: Encoding) -> Listed:
        """The graphs of one part; nodes without a label have the target `IGNORE`, or NaN for numbers.

        Raises:
            InputError: a part without graphs, graphs of other widths, or a label that is no number, where numbers are expected.
        """
        lines, target = self._lines(check_part(name)), PartTargets(encoding, name)
        if self.labels_of == "graphs":
            targets = target.all([(line.label, line.where) for line in lines])
        else:
            targets = []
            for line in lines:
                rows = np.full(len(line.graph.names), encoding.missing)
                for row, label, where in _labeled(line):
                    rows[row] = target(label, where)
                targets.append(rows)
        examples = [
            self._example(line.graph, line.name, encoding, found) for line, found in zip(lines, targets, strict=True)
        ]
        return Listed(examples, target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each graph, or of each node that has one, of one part, and where it stands."""
        return _entries(self._lines(check_part(name)), self.labels_of == "nodes")

    def training(self, encoding: Encoding) -> Listed:
        """The graphs of the training part; the signs of eigenvectors vary."""
        part = self.part("train", encoding)
        return VariedGraphs(part.examples, self.positions, part.unseen) if self.positions.laplacian else part

    def survey(self) -> Survey:
        """How many graphs or nodes of each part have each label, what was passed over, and the first graphs."""
        lines, skips = self._read()
        names = None
        if self.target == "labels":
            names = lambda text: {name: value == 1 for name, value in json.loads(text).items()}  # noqa: E731
        parts, notes = part_surveys(self.labels, self.labels_of, self.target == "number", names)
        sizes = [len(line.graph.names) for line in lines]
        notes.append(f"{len(lines):,} graphs of {min(sizes):,} to {max(sizes):,} nodes")
        first = [(line.name, line.label, f"{len(line.graph.names):,} nodes") for line in lines[:3]]
        return Survey(str(self.path), _FORM, parts, skipped=skips, examples=first, notes=notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of files of JSON lines whose first one has edges, twice, as the reader of texts claims them too."""
        return 2 * sum(plain_suffix(path) in _ENDINGS and _has_edges(path) for path in files_at(place))

    def names_parts(self) -> bool:
        """Whether files' names or the lines say which part a graph is in."""
        return all(line.part for line in self._read()[0])

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Listed:
        """The graphs of files of JSON lines; labels in them are not read."""
        found = [line for source in sources for line in self._in_file(Path(source), None)]
        return Listed([self._example(line.graph, line.name, encoding) for line in found])

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A graph in memory: one of NetworkX or PyTorch Geometric, or its arrays, see `regard.data.graph_values.graph_of`.

        Raises:
            InputError: what is neither, or arrays that do not fit together.
        """
        name = name or "the graph"
        return self._example(graph_of(value, name), name, encoding)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """Graphs as they arrive, one on each line."""
        found = False
        for number, text in read_lines(file, STREAM):
            if text.strip():
                found = True
                line = _line(text, f"{STREAM}:{number}", f"{STREAM}, line {number},", None)
                yield Listed([self._example(line.graph, line.name, encoding)])
        if not found:
            raise InputError(f"{STREAM} is empty, expected a graph on each line")

    def _lines(self, part: Part) -> list[_Line]:
        lines, _ = self._read()
        kinds = [line.label if self.target == "label" and self.labels_of == "graphs" else "" for line in lines]
        parts = divided([line.name for line in lines], kinds, [line.part for line in lines])
        chosen = [line for line, found in zip(lines, parts, strict=True) if found in parts_of(part)]
        if not chosen:
            raise InputError(f"{self.path} has no graph in the {part} part, expected at least one")
        return chosen

    def _read(self) -> tuple[list[_Line], Skips]:
        """The graphs that have a label, and what is passed over."""
        if self.path is None:
            raise InputError(
                "data.path is not given, expected a file of JSON lines, a graph on each, or a folder of such files"
            )
        place, skips = Path(self.path), Skips()
        files: list[tuple[Path, Part | None]] = [(place, None)]
        if os.path.isdir(place):
            named, skips = files_by_part(place, lambda path: plain_suffix(path) in _ENDINGS)
            files = [*named]
            if not files:
                raise InputError(f"{place} has no .jsonl file with train, dev or test in its name, expected one")
        lines = []
        for path, part in files:
            for line in self._in_file(path, part):
                if line.label if self.labels_of == "graphs" else any(line.graph.labels):
                    lines.append(line)
                else:
                    skips.add("graphs without a label", line.where.removesuffix(","))
        if not lines:
            has = "label" if self.labels_of == "graphs" else "labels of nodes (data.labels_of nodes)"
            raise InputError(f"{place} has no graph with a {has}, expected at least one")
        return lines, skips

    def _in_file(self, path: Path, part: Part | None) -> Iterator[_Line]:
        if not path.exists():
            raise InputError(f"{path} is not there, expected a file of JSON lines, a graph on each")
        found = False
        for number, text in read_lines(path):
            if text.strip():
                found = True
                yield _line(text, f"{path.name}:{number}", f"{path}, line {number},", part)
        if not found:
            raise InputError(f"{path} is empty, expected a graph on each line")

    def _example(self, graph: Graph, name: str, encoding: Encoding, target: Array | None = None) -> Example:
        values, edges, edge_values = self._vectors(graph)
        edge_values = carried_by(graph, edges, edge_values, encoding.edge_width)
        for size, expected, what in (
            (values.shape[1], encoding.width, "features per node"),
            (0 if edge_values is None else edge_values.shape[1], encoding.edge_width, "numbers per edge"),
        ):
            if size != expected:
                raise InputError(f"{graph.where} has {size} {what}, expected {expected} as in training")
        kind: Literal["vector", "set"] = "vector" if self.labels_of == "nodes" else "set"
        return Example(values, target, name, kind, edges=edges, edge_values=edge_values, tokens=graph.names)

    def _vectors(self, graph: Graph) -> tuple[Array, Array, Array | None]:
        """`[n, ...]` features and positions, (query row, key row), and what these edges carry."""
        nodes = len(graph.names)
        edges, edge_values = joined_edges(nodes, graph.edges, graph.edge_values, self.undirected, self.self_loops)
        values = graph.features
        if self.positions:
            placed = self.positions.of(nodes, edges, not self.undirected, graph.where, graph.names)
            values = np.concatenate([values, placed], axis=1)
        if not values.shape[1]:
            expected = "expected some, or what a node's place says: data.positions.degree, walks or laplacian"
            raise InputError(f"{graph.where} has no features of its nodes, {expected}")
        return values, edges, edge_values


def write_graphs(path: Path | str, graphs: Iterable[Any]) -> int:
    """Writes graphs in memory as a file of JSON lines that `Graphs` reads, and returns how many there were.

    Args:
        graphs: of NetworkX, `Data` of PyTorch Geometric, or mappings, see `regard.data.graph_values.arrays_of`, each with its
            `label` or its nodes' `labels`; a mapping may also have `id` and `split`.

    Raises:
        InputError: what is no graph, or arrays that do not fit together.
    """
    count = 0
    with written_whole(Path(path)) as file:
        for value in graphs:
            count += 1
            file.write(json_line(_entries_of(value, f"graph {count}")).encode() + b"\n")
    return count


def _entries_of(value: Any, name: str) -> dict[str, Any]:
    """What a line of a graph in memory says."""
    entries = arrays_of(value, name)
    stated = {entry: str(entries.pop(entry)) for entry in ("id", "split") if entries.get(entry) is not None}
    graph = graph_of(entries, name)
    written: dict[str, Any] = stated | {"nodes": len(graph.names), "edges": graph.edges.T.tolist()}
    if graph.features.shape[1]:
        written["features"] = graph.features.tolist()
    if graph.edge_values is not None:
        written["edge_values"] = graph.edge_values.tolist()
    if entries.get("names") is not None:
        written["names"] = list(graph.names)
    if entries.get("label") is not None:
        written["label"] = _label(entries["label"], name)
    if any(graph.labels):
        written["labels"] = [label or None for label in graph.labels]
    return written


def _label(label: Any, name: str) -> Any:
    """The label of a graph as JSON has it."""
    label = label.item() if getattr(label, "size", 0) == 1 and hasattr(label, "item") else label
    whole = isinstance(label, str | int | dict) or (isinstance(label, float) and math.isfinite(label))
    if not whole:
        raise InputError(f"{name} has the label {label!r:.40}, expected a name, a finite number, or an object of names")
    return label


def _entries(lines: Sequence[_Line], of_nodes: bool) -> list[tuple[str, str]]:
    if of_nodes:
        return [(label, where) for line in lines for _, label, where in _labeled(line)]
    return [(line.label, line.where) for line in lines]


def _labeled(line: _Line) -> Iterator[tuple[int, str, str]]:
    """The row of each node that has a label, that, and where it stands."""
    for row, (label, name) in enumerate(zip(line.graph.labels, line.graph.names, strict=True)):
        if label:
            yield row, label, f"{line.where} node {name},"


def _line(text: str, name: str, where: str, part: Part | None) -> _Line:
    entries = parse_object(text, where)
    known = (*_ENTRIES, "nodes")
    for entry in entries:
        if entry not in known:
            raise InputError(f"{where} has an entry {entry!r}: {nearest(entry, known)}")
    if "features" not in entries and "nodes" not in entries:
        raise InputError(
            f"{where} has the entries {', '.join(entries) or 'none'}, expected features, or nodes: how many"
        )
    count = entries.get("nodes", len(entries["features"]) if isinstance(entries.get("features"), list) else 0)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MOST_NODES:
        raise InputError(f"{where} has nodes {count!r:.40}, expected their number, at most {_MOST_NODES:,}")
    features = entries.get("features", np.zeros((count, 0)))
    features = np.zeros((0, 0)) if isinstance(features, list) and not features else features
    arrays = {"features": features, "edges": _pairs(entries.get("edges", []), count, where)}
    if entries.get("edge_values", []) not in ([], None):
        arrays["edge_values"] = entries["edge_values"]
    graph = graph_of(arrays | {each: entries.get(each) for each in ("names", "labels")}, where)
    if len(graph.names) != count:
        raise InputError(f"{where} has features of {len(graph.names)} nodes and nodes {count}, expected as many")
    stated = entries.get("split")
    if stated is not None:
        part = stated_part(str(stated), where)
    label = entries.get("label")
    text_of = json.dumps(label) if isinstance(label, dict) else "" if label is None else str(label)
    identity = name if entries.get("id") is None else str(entries["id"])
    return _Line(graph, identity, text_of, part, where)


def _pairs(value: Any, nodes: int, where: str) -> Array:
    """`[2, e]` of a list of pairs of nodes from 0 to `nodes - 1`."""
    if not isinstance(value, list):
        raise InputError(f"{where} has edges {value!r:.40}, expected a list of pairs: a source and a target")
    for pair in value:
        whole = isinstance(pair, list) and all(isinstance(end, int) and not isinstance(end, bool) for end in pair)
        if not whole or len(pair) != 2:
            raise InputError(
                f"{where} has the edge {pair!r:.40}, expected a source and a target, numbers of nodes from 0"
            )
        if min(pair) < 0 or max(pair) >= nodes:
            raise InputError(f"{where} has the edge {pair!r:.40}, expected nodes from 0 to {nodes - 1}")
    return np.array(value, np.int64).reshape(-1, 2).T


def _has_edges(path: Path) -> bool:
    try:
        first = next((line for _, line in read_lines(path) if line.strip()), "{}")
        return "edges" in parse_object(first, str(path))
    except InputError:
        return False
