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
from regard.data.graph_values import Graph, carried_by, graph_of, joined_edges
from regard.data.node_means import NodeMeans
from regard.data.reader import refused_stream
from regard.data.sampling import NeighborSampling, SampledGraph
from regard.data.structure import NodePositions
from regard.data.survey import Survey, part_surveys
from regard.data.targets import PartTargets
from regard.errors import InputError

__all__ = ["NodeReader", "VariedGraphs"]


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
        means: of these columns over neighbors, see `regard.data.node_means.NodeMeans`.
        neighbors: how a training reads a graph that is larger than a batch.
    """

    input_options: ClassVar[tuple[str, ...]] = ("normalize", "positions", "means")

    path: str | None = None
    undirected: bool = True
    self_loops: bool = True
    normalize: bool = True
    numbers: bool = False
    positions: NodePositions = field(default_factory=NodePositions)
    means: NodeMeans = field(default_factory=NodeMeans)
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
            # Sampled parts of a graph are smaller.
            longest=0 if self.neighbors else len(graph.names),
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
        """A graph in memory: one of NetworkX or PyTorch Geometric, or its arrays, see `regard.data.graph_values.graph_of`.

        Raises:
            InputError: what is neither, or arrays that do not fit together.
        """
        return self._example(graph_of(value, name or "the graph"), encoding, None)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """Refused: a graph is a folder."""
        raise refused_stream(self, "a folder or file that holds a graph")

    def _example(self, graph: Graph, encoding: Encoding, target: Array | None) -> Example:
        edges, edge_values = self._edges(graph)
        values = self._values(graph, edges)
        edge_values = carried_by(graph, edges, edge_values, encoding.edge_width)
        edge_width = 0 if edge_values is None else edge_values.shape[1]
        for size, expected, what in (
            (values.shape[1], encoding.width, "features per node"),
            (edge_width, encoding.edge_width, "numbers per edge"),
        ):
            if size != expected:
                raise InputError(f"{graph.where} has {size} {what}, expected {expected} as in training")
        name = Path(graph.where).name
        return Example(values, target, name, "vector", edges=edges, edge_values=edge_values, tokens=graph.names)

    def _values(self, graph: Graph, edges: Array) -> Array:
        """`[n, ...]` features and positions, their means over neighbors, and eigenvectors last."""
        values = graph.features
        if self.normalize:
            total = np.abs(values).sum(1, keepdims=True)
            values = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
        if self.positions:
            placed = self.positions.of(len(graph.names), edges, not self.undirected, graph.where, graph.names)
            values = np.concatenate([values, placed], axis=1)
        if not values.shape[1]:
            expected = "expected some, or what a node's place says: data.positions.degree, walks, laplacian or identity"
            raise InputError(f"{graph.where} has no features of its nodes, {expected}")
        if self.means:
            # The signs of eigenvectors are any.
            varied = values.shape[1] - self.positions.laplacian
            values = np.concatenate([self.means.of(values[:, :varied], edges), values[:, varied:]], axis=1)
        return values

    def _edges(self, graph: Graph) -> tuple[Array, Array | None]:
        return joined_edges(len(graph.names), graph.edges, graph.edge_values, self.undirected, self.self_loops)


def _nodes(graph: Graph, name: Part) -> list[tuple[int, str, str]]:
    """The row of each node of a part, its label, and where it stands."""
    rows = [row for row, part in enumerate(graph.parts) if part in parts_of(name)]
    if not any(graph.labels):
        raise InputError(f"{graph.where} has no label at any of its {len(graph.names):,} nodes, expected some")
    if not rows:
        raise InputError(f"{graph.where} has no node in the {name} part, expected at least one")
    return [(row, graph.labels[row], f"{graph.where}, node {graph.names[row]},") for row in rows]
