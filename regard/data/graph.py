"""A label or number per node: Planetoid's citation graphs, or one's own `nodes.csv` and `edges.csv`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data.encoding import parse_number
from regard.data.examples import Array, split
from regard.data.folders import files_at, inside
from regard.data.graph_values import Graph
from regard.data.nodes import NodeReader
from regard.data.parts import stated_part
from regard.data.planetoid import read_planetoid
from regard.data.registry import locate
from regard.data.tables import read_table
from regard.errors import InputError, nearest

__all__ = ["Planetoid"]


@dataclass
class Planetoid(NodeReader):
    """A label per node of one graph; each part is the whole graph, with targets at its own nodes only.

    Args:
        path: a folder of Planetoid files `ind.NAME.*`, or one with `nodes.csv` (columns `id`, `label`, perhaps `split`,
            and a column for each feature, possibly none) and `edges.csv` (columns `source`, `target`, and perhaps numbers that
            edges carry). Nodes without label are in no part. Where there is no `split`, a tenth of each label's nodes is the
            test part and another the validation part, by the SHA-256 of their ids. None is Cora with its public split.
        undirected: whether each edge goes both ways; otherwise only the target attends to the source.
        self_loops: whether each node attends to itself as well; such an edge carries zeros.
        normalize: whether each node's features are divided by the sum of their magnitudes.
        numbers: whether the labels of `nodes.csv` are numbers to predict, not names of classes.
        positions: what a node's vector says of its place in the graph; needed where nodes have no features.
        means: of these columns over neighbors, see `regard.data.node_means.NodeMeans`.
        neighbors: how a training reads a graph that is larger than a batch, see `regard.data.sampling.NeighborSampling`.
        name: which Planetoid graph of the folder.
    """

    name: str = "cora"

    published = "planetoid"

    def names_parts(self) -> bool:
        """Whether a column, or files in the form of Planetoid, say which part a node is in."""
        nodes = Path(self.path or "") / "nodes.csv"
        return self.path is None or not nodes.exists() or "split" in read_table(nodes, ("id",)).header

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of files that hold graphs."""
        if (place / "nodes.csv").exists():
            return sum(1 for _ in files_at(place)) + 1  # more than the reader of texts takes these tables for
        return sum(path.name.startswith("ind.") for path in files_at(place))

    def read(self, source: str | None) -> Graph:
        """The graph of a folder, or Cora."""
        folder = Path(source) if source is not None else locate(self.published)
        if not os.path.isdir(folder):
            raise InputError(f"{folder} is not a folder{_other_form([folder.name])}, expected one with {_READ}")
        if os.path.lexists(folder / "nodes.csv"):
            return _read_tables(folder, self.numbers)
        known = sorted(path.name[4:-2] for path in folder.glob("ind.*.x"))
        if not known:
            other = _other_form([Path(name).name for name in inside(folder, "a graph").files])
            raise InputError(f"{folder} has neither nodes.csv nor files ind.NAME.x{other}, expected {_READ}")
        if self.name not in known:
            raise InputError(f"{folder} has no graph {self.name!r}: {nearest(self.name, known)}")
        features, labels, parts, links = read_planetoid(folder, self.name)
        edges = np.array(links, np.int64).reshape(-1, 2).T
        return Graph(
            f"{folder} ({self.name})",
            tuple(map(str, range(len(labels)))),
            features,
            labels,
            parts,
            edges,
            form="Planetoid files",
        )


_READ = "nodes.csv (id, label, features) and edges.csv (source, target), or Planetoid's ind.NAME.x and so on"
# What graphs are published in besides, by the endings of names.
_FORMS = {
    (".npz",): "arrays of NumPy, which --data.type MaskedGraph reads",
    (".txt", ".txt.gz", ".edges", ".edgelist", ".el"): "a list of edges as of SNAP, which --data.type EdgeList reads",
    (".npy",): "an array of NumPy, which is not read",
    (".mtx", ".mat"): "a sparse matrix, which is not read",
    (".gml", ".graphml", ".gexf", ".net", ".dot"): "a drawing program's graph, which is not read",
    (".pt", ".pth", ".pkl", ".bin", ".dgl"): "a library's own objects, which are not read",
    (".jsonl", ".ndjson"): "JSON lines, which --data.type Graphs reads",
    (".json",): "JSON, which is not read",
}


def _other_form(names: Iterable[str]) -> str:
    """A clause that says in which form the graph is that these files seem to hold; empty where none is known."""
    for name in names:
        for endings, form in _FORMS.items():
            if name.lower().endswith(endings):
                return f", but {name}, {form}"
    return ""


def _read_tables(folder: Path, numbers: bool) -> Graph:
    path = folder / "nodes.csv"
    table = read_table(path, ("id",))
    header, rows = table.header, table.rows
    columns = {name: header.index(name) for name in ("id", "label", "split") if name in header}
    wide = [(i, name) for i, name in enumerate(header) if name not in columns]
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
        # Numbers are hardly ever equal: dividing within each would put all of them into the training part.
        kinds = None if numbers else [labels[n] for n in labeled]
        for n, part in zip(labeled, split([names[n] for n in labeled], kinds), strict=True):
            parts[n] = part
    edges, edge_values = _read_edges(folder / "edges.csv", by_name)
    return Graph(
        str(folder), tuple(by_name), features, labels, parts, edges, edge_values, "nodes.csv and edges.csv", table.skips
    )


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
