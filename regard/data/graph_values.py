"""A graph, and graphs in memory: arrays, graphs of NetworkX, and `Data` of PyTorch Geometric. None of these is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from regard.data.examples import Array
from regard.data.reader import refused_value
from regard.data.survey import Skips
from regard.errors import InputError, nearest

__all__ = ["Graph", "arrays_of", "carried_by", "graph_of", "joined_edges"]


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


def carried_by(graph: Graph, edges: Array, edge_values: Array | None, width: int) -> Array | None:
    """What the edges carry; a graph that has none of its own carries as many zeros as in training.

    Args:
        edges, edge_values: as `joined_edges` gives them. width: of what edges carry in training.
    """
    if graph.edges.shape[1]:
        return edge_values
    return np.zeros((edges.shape[1], width), np.float32) if width else None


def graph_of(value: Any, name: str) -> Graph:
    """A graph in memory, see `arrays_of`, checked; `name` begins the sentence of an error.

    Raises:
        InputError: what is no graph, or arrays that do not fit together.

    >>> graph_of({"features": [[1.0], [2.0]], "edges": [[0], [1]], "label": "x"}, "the graph").edges.tolist()
    [[0], [1]]
    """
    return _checked(arrays_of(value, name), name)


def arrays_of(value: Any, name: str) -> dict[str, Any]:
    """The entries of a graph in memory.

    `features [n, d]`, `edges [2, e]` (sources, targets), and perhaps `edge_values [e, m]`, `names`, the graph's `label`, or the
    `labels` of its nodes, None where a node has none. They are read from:

    - a mapping with these entries;
    - a graph of NetworkX: what nodes and edges have as attributes that are numbers, or sequences of numbers, in the order of the
      first one's; `label` of the graph, and of nodes;
    - `Data` of PyTorch Geometric: `x`, `edge_index`, `edge_attr`, and `y`, which is the graph's where it has one row.

    Raises:
        InputError: what is none of these, or nodes or edges of NetworkX with different attributes.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "edge_index") and hasattr(value, "num_nodes"):
        return _of_data(value, name)
    if all(hasattr(value, part) for part in ("nodes", "edges", "is_multigraph")):
        return _of_networkx(value, name)
    expected = "a mapping with features and edges, a graph of NetworkX, or Data of PyTorch Geometric"
    raise refused_value(value, name, expected)


def _of_data(value: Any, name: str) -> dict[str, Any]:
    if value.edge_index is None:
        raise InputError(f"{name} has no edge_index, expected [2, edges]")
    nodes = int(value.num_nodes or 0)
    features = getattr(value, "x", None)
    found = {
        "features": np.zeros((nodes, 0)) if features is None else _numbers(features),
        "edges": _numbers(value.edge_index),
    }
    carried, target = getattr(value, "edge_attr", None), getattr(value, "y", None)
    if carried is not None:
        carried = _numbers(carried)
        found["edge_values"] = carried[:, None] if carried.ndim == 1 else carried
    if target is None:
        return found
    labels = _numbers(target)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        raise InputError(f"{name} has y {list(labels.shape)}, expected one number for the graph or for each node")
    flat = [None if label != label else label for label in labels.reshape(-1).tolist()]
    # Of a graph of one node nobody can tell which of both is meant.
    of_graph, of_nodes = len(flat) == 1, len(flat) != 1 or nodes == 1
    return found | ({"label": flat[0]} if of_graph else {}) | ({"labels": flat} if of_nodes else {})


def _numbers(tensor: Any) -> Array:
    """The array of a tensor, wherever it lies, or of what else holds numbers."""
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)


def _of_networkx(value: Any, name: str) -> dict[str, Any]:
    if value.is_multigraph():
        raise InputError(f"{name} may have several edges between two nodes, expected a graph that has each once")
    nodes, edges = list(value.nodes(data=True)), list(value.edges(data=True))
    row = {node: n for n, (node, _) in enumerate(nodes)}
    if not value.is_directed():
        edges += [(target, source, data) for source, target, data in edges if source != target]
    found: dict[str, Any] = {
        "features": _attributes([(f"the node {node!r}", data) for node, data in nodes], name),
        "edges": np.array([(row[source], row[target]) for source, target, _ in edges], np.int64).reshape(-1, 2).T,
        "names": [str(node) for node, _ in nodes],
    }
    carried = _attributes([(f"the edge from {source!r} to {target!r}", data) for source, target, data in edges], name)
    if carried.shape[1]:
        found["edge_values"] = carried
    if value.graph.get("label") is not None:
        found["label"] = value.graph["label"]
    if any("label" in data for _, data in nodes):
        found["labels"] = [data.get("label") for _, data in nodes]
    return found


def _attributes(entries: Sequence[tuple[str, Mapping[str, Any]]], name: str) -> Array:
    """`[entries, numbers]` of the attributes that are numbers."""
    wanted = [key for key, value in entries[0][1].items() if key != "label" and _size(value)] if entries else []
    sizes = [_size(entries[0][1][key]) for key in wanted]
    for what, data in entries:
        for key, each in data.items():
            if key != "label" and key not in wanted and _size(each):
                raise InputError(
                    f"{name} has at {what} {key} {each!r:.40}, expected the same numbers as at {entries[0][0]}, which has none"
                )
        for key, size in zip(wanted, sizes, strict=True):
            if _size(data.get(key)) != size:
                found = f"{key} {data[key]!r:.40}" if key in data else f"no {key}"
                raise InputError(
                    f"{name} has at {what} {found}, expected as many numbers as at {entries[0][0]}: {size}"
                )
    rows = [[number for key in wanted for number in np.ravel(data[key])] for _, data in entries]
    try:
        return np.array(rows, np.float64).astype(np.float32).reshape(len(entries), sum(sizes))
    except OverflowError:
        raise InputError(f"{name} has an attribute that is no float, expected numbers of at most 3.4e38") from None


def _size(value: Any) -> int:
    """Of how many numbers an attribute is; 0 where it is something else."""
    if isinstance(value, Real):
        return 1
    if isinstance(value, (str, bytes, Mapping)) or value is None:
        return 0
    try:
        array = np.asarray(value) if isinstance(value, (Sequence, np.ndarray)) else np.array("")
    except (ValueError, OverflowError):  # Rows of different lengths.
        return 0
    return array.size if array.dtype.kind in "iufb" else 0


def _checked(value: Mapping[str, Any], name: str) -> Graph:
    known = ("features", "edges", "edge_values", "names", "label", "labels")
    for entry in value:
        if entry not in known:
            raise InputError(f"{name} has an entry {entry!r}: {nearest(str(entry), known)}")
    if "features" not in value or "edges" not in value:
        raise InputError(f"{name} has the entries {', '.join(value)}, expected features and edges")
    features, edges = _array(value, "features", name, np.float32), _array(value, "edges", name)
    edge_values = None if value.get("edge_values") is None else _array(value, "edge_values", name, np.float32)
    edges = edges.astype(np.int64) if edges.ndim == 2 and not edges.size else edges
    n = len(features) if features.ndim else 0
    if features.ndim != 2 or not np.isfinite(features).all():
        raise InputError(f"{name} has features {list(features.shape)}, expected [nodes, numbers], all finite")
    if edges.ndim != 2 or len(edges) != 2 or edges.dtype.kind not in "iu":
        raise InputError(f"{name} has edges {list(edges.shape)} {edges.dtype}, expected whole numbers [2, edges]")
    if edges.size and not (edges.min() >= 0 and edges.max() < n):
        raise InputError(f"{name} has edges from {edges.min()} to {edges.max()}, expected nodes from 0 to {n - 1}")
    if len(np.unique(edges, axis=1).T) < edges.shape[1]:
        raise InputError(f"{name} repeats an edge, expected each once")
    if edge_values is not None and not np.isfinite(edge_values).all():
        raise InputError(f"{name} has edge_values that are not finite, expected finite numbers")
    if edge_values is not None and (edge_values.ndim != 2 or len(edge_values) != edges.shape[1]):
        shape = f"{name} has edge_values {list(edge_values.shape)}"
        raise InputError(f"{shape}, expected [{edges.shape[1]}, numbers], one row for each edge")
    for entry in ("names", "labels"):
        if isinstance(value.get(entry), str) or not isinstance(value.get(entry), Iterable | None):
            raise InputError(f"{name} has {entry} {value[entry]!r:.40}, expected a list, one for each node")
    names = tuple(map(str, range(n) if value.get("names") is None else value["names"]))
    if len(names) != n:
        raise InputError(f"{name} has {len(names)} names for {n} nodes, expected one each")
    labels = [""] * n if value.get("labels") is None else [_text(label) for label in value["labels"]]
    if len(labels) != n:
        raise InputError(
            f"{name} has {len(labels)} labels for {n} nodes, expected one each, null where a node has none"
        )
    return Graph(name, names, features, labels, [""] * n, edges.astype(np.int64), edge_values)


def _text(label: Any) -> str:
    return "" if label is None else str(label)


def _array(value: Mapping[str, Any], entry: str, name: str, kind: type | None = None) -> Array:
    try:
        with np.errstate(over="ignore"):  # What is beyond float32 is refused as not finite.
            return np.asarray(value[entry], kind)
    except (TypeError, ValueError):
        raise InputError(f"{name} has {entry} that are no array of numbers, expected one") from None
