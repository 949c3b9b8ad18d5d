"""What all readers of a label or number per node of one graph share; where the graph comes from is what they differ in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from regard.data.encoding import Encoding, learn_targets
from regard.data.examples import Array, Dataset, Example, Listed, Part, check_part, parts_of
from regard.data.reader import refused_stream, refused_value
from regard.data.sampling import NeighborSampling, SampledGraph
from regard.data.structure import NodePositions
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.errors import InputError, nearest

__all__ = ["Graph", "NodeReader", "VariedGraphs", "joined_edges"]


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph as it was read: `features [n, d]`, texts by node (empty where there is none), `edges [2, e]` from source to target.

    `form` says what it was read as, `skips` what was passed over.
    """

    where: str
    names: tuple[str, ...]
    features: Array
    labels: Sequence[str]
    parts: Sequence[str]
    edges: Array
    edge_values: Array | None = None
    form: str = ""
    skips: Skips = field(default_factory=Skips)


class VariedGraphs(Listed):
    """Graphs as training reads them: the signs of their eigenvectors are drawn anew in each epoch.

    Args:
        examples: as recorded.
        positions: of their nodes.
        unseen: see `Listed`.
    """

    def __init__(
        self, examples: Sequence[Example], positions: NodePositions, unseen: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(examples, unseen)
        self._positions, self._epoch = positions, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws."""
        self._epoch = epoch

    def __getitem__(self, index: int, /) -> Example:
        example = self.examples[index]
        if not self._positions.laplacian:
            return example
        return replace(example, values=self._positions.varied(example.values, self._epoch, index))


@dataclass
class NodeReader(ABC):
    """A label per node of one graph; each part is the whole graph, with targets at its own nodes only.

    Args:
        path: the user's own data.
        undirected: whether each edge goes both ways; otherwise only the target attends to the source.
        self_loops: whether each node attends to itself as well; such an edge carries zeros.
        normalize: whether each node's features are divided by the sum of their magnitudes.
        numbers: whether labels are numbers to predict, not names of classes.
        positions: what a node's vector says of its place in the graph.
        neighbors: how a training reads a graph that is larger than a batch.
    """

    input_options: ClassVar[tuple[str, ...]] = ("normalize", "positions")

    path: str | None = None
    undirected: bool = True
    self_loops: bool = True
    normalize: bool = True
    numbers: bool = False
    positions: NodePositions = field(default_factory=NodePositions)
    neighbors: NeighborSampling = field(default_factory=NeighborSampling)

    @abstractmethod
    def read(self, source: str | None) -> Graph:
        """The graph of a folder or file; of the published data set, or the user's own, where None is given.

        Raises:
            InputError: what is missing or departs from its format.
        """

    def fit(self) -> Encoding:
        """The labels of the training nodes and the width of the features."""
        graph = self.read(self.path)
        targets = learn_targets([(label, where) for _, label, where in _nodes(graph, "train")], self.numbers)
        return Encoding(
            targets,
            width=self._values(graph, *self._edges(graph)[:1]).shape[1],
            edge_width=0 if graph.edge_values is None else graph.edge_values.shape[1],
            ordered=False,
            edges=True,
        )

    def part(self, name: Part, encoding: Encoding) -> Listed:
        """One example, the graph; the targets of nodes outside the part are `IGNORE`, or NaN for numbers.

        Raises:
            InputError: a part without nodes, or a label that is no number, where numbers are expected.
        """
        graph, target = self.read(self.path), PartTargets(encoding, check_part(name))
        targets = np.full(len(graph.names), encoding.missing)
        for row, label, where in _nodes(graph, name):
            targets[row] = target(label, where)
        return Listed([self._example(graph, encoding, targets)], target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each node of one part, and where it stands."""
        return [(label, where) for _, label, where in _nodes(self.read(self.path), check_part(name))]

    def training(self, encoding: Encoding) -> Dataset:
        """The graph with the targets of its training nodes, or sampled parts of it; the signs of eigenvectors vary."""
        part = self.part("train", encoding)
        if self.neighbors:
            return SampledGraph(part[0], float(encoding.missing), self.neighbors, self.positions, part.unseen)
        return VariedGraphs(part.examples, self.positions, part.unseen) if self.positions.laplacian else part

    def survey(self) -> Survey:
        """How many nodes of each part have each label, and what the graph is made of."""
        graph = self.read(self.path)
        parts, notes = part_surveys(self.labels, "nodes", self.numbers)
        outside = sum(not part for part in graph.parts)
        notes += [f"{len(graph.names):,} nodes of {graph.features.shape[1]:,} features, {graph.edges.shape[1]:,} edges"]
        notes += [f"{outside:,} nodes are in no part"] if outside else []
        first = [(name, label, "") for name, label in zip(graph.names[:3], graph.labels[:3], strict=True)]
        return Survey(graph.where, graph.form, parts, skipped=graph.skips, examples=first, notes=notes)

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Listed:
        """The graphs of the folders or files named, without targets."""
        return Listed([self._example(self.read(source), encoding, None) for source in sources])

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
        raise refused_stream(self, "a folder or file that holds a graph")

    def _example(self, graph: Graph, encoding: Encoding, target: Array | None) -> Example:
        edges, edge_values = self._edges(graph)
        values = self._values(graph, edges)
        edge_width = 0 if graph.edge_values is None else graph.edge_values.shape[1]
        for size, expected, what in (
            (values.shape[1], encoding.width, "features per node"),
            (edge_width, encoding.edge_width, "numbers per edge"),
        ):
            if size != expected:
                raise InputError(f"{graph.where} has {size} {what}, expected {expected} as in training")
        name = Path(graph.where).name
        return Example(values, target, name, "vector", edges=edges, edge_values=edge_values, tokens=graph.names)

    def _values(self, graph: Graph, edges: Array) -> Array:
        """`[n, ...]` features and positions."""
        values = graph.features
        if self.normalize:
            total = np.abs(values).sum(1, keepdims=True)
            values = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
        if self.positions:
            placed = self.positions.of(len(graph.names), edges, not self.undirected, graph.where)
            values = np.concatenate([values, placed], axis=1)
        if not values.shape[1]:
            expected = "expected some, or what a node's place says: data.positions.degree, walks, laplacian or identity"
            raise InputError(f"{graph.where} has no features of its nodes, {expected}")
        return values

    def _edges(self, graph: Graph) -> tuple[Array, Array | None]:
        return joined_edges(len(graph.names), graph.edges, graph.edge_values, self.undirected, self.self_loops)


def joined_edges(
    nodes: int, edges: Array, edge_values: Array | None, undirected: bool, self_loops: bool
) -> tuple[Array, Array | None]:
    """(query row, key row) without repeats, in increasing order; where an edge was given both ways each keeps its value.

    Args:
        edges: `[2, e]` from source to target. edge_values: `[e, m]`.
        undirected: whether each goes both ways. self_loops: whether each node has an edge to itself, which carries zeros.
    """
    source, target = edges
    codes = [target * nodes + source]
    values = [] if edge_values is None else [edge_values]
    if undirected:
        codes.append(source * nodes + target)
        values += values[:1]
    if self_loops:
        codes.append(np.arange(nodes) * (nodes + 1))
        values += [np.zeros((nodes, values[0].shape[1]), np.float32)] if values else []
    unique, first = np.unique(np.concatenate(codes), return_index=True)
    return np.stack([unique // nodes, unique % nodes]), np.concatenate(values)[first] if values else None


def _nodes(graph: Graph, name: Part) -> list[tuple[int, str, str]]:
    """The row of each node of a part, its label, and where it stands."""
    rows = [row for row, part in enumerate(graph.parts) if part in parts_of(name)]
    if not any(graph.labels):
        raise InputError(f"{graph.where} has no label at any of its {len(graph.names):,} nodes, expected some")
    if not rows:
        raise InputError(f"{graph.where} has no node in the {name} part, expected at least one")
    return [(row, graph.labels[row], f"{graph.where}, node {graph.names[row]},") for row in rows]


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
