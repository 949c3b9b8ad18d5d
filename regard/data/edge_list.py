"""Graphs as lists of edges with a file of labels, as the Stanford Network Analysis Project (SNAP) publishes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data.examples import split
from regard.data.folders import files_at
from regard.data.graph_values import Graph
from regard.data.nodes import NodeReader
from regard.data.registry import locate
from regard.data.survey import Skips
from regard.errors import InputError
from regard.files import read_lines

__all__ = ["EdgeList"]

_ENDINGS = (".txt", ".txt.gz", ".edges", ".edgelist", ".el", ".tsv")
_COMMENTS = ("#", "%")


@dataclass
class EdgeList(NodeReader):
    """A label per node of one graph from two files: a source and a target on each line, and a node and its label on each line.

    Args:
        path: a folder with two such files, of which that of the labels has `label` in its name; white space separates fields, and
            lines that begin with # or % are comments. A repeated edge is counted and passed over; nodes without label are in no
            part, nodes without edge are nodes. None is the e-mail network email-Eu-core.
        undirected: whether each edge goes both ways; otherwise only the target attends to the source.
        self_loops: whether each node attends to itself as well.
        normalize: has no effect, as nodes have no features.
        numbers: whether labels are numbers to predict, not names of classes.
        positions: what a node's vector says of its place in the graph.
        means: of these columns over neighbors, see `regard.data.node_means.NodeMeans`.
        neighbors: how a training reads a graph that is larger than a batch, see `regard.data.sampling.NeighborSampling`.
        seed: which division into parts: a tenth of each label's nodes is the test part and another the validation part, by the
            SHA-256 of this number and the node's name.
    """

    seed: int = 0

    published = "email-eu-core"

    def names_parts(self) -> bool:
        """Nothing in such files says which part a node is in."""
        return False

    @classmethod
    def claims(cls, place: Path) -> int:
        """Its two files, and one more than the reader of texts takes them for."""
        files = _pair(place) if os.path.isdir(place) else None
        return len(files) + 1 if files and _joins_numbers(files[0]) else 0

    def read(self, source: str | None) -> Graph:
        """The graph of a folder, or email-Eu-core."""
        folder = Path(source) if source is not None else locate(self.published)
        if not os.path.isdir(folder):
            raise InputError(f"{folder} is not a folder, expected one with {_EXPECTED}")
        files = _pair(folder)
        if not files:
            lists = ", ".join(path.name for path in _lists(folder)) or "none"
            raise InputError(f"{folder} has the lists {lists}, expected {_EXPECTED}")
        edges_file, labels_file = files
        skips, label_of = Skips(), _labels(labels_file)
        links: dict[tuple[str, str], None] = {}
        for line, begin, end in _pairs(edges_file, "a source and a target"):
            if (begin, end) in links:
                skips.add("repeated edges", f"{edges_file.name}, line {line}")
            links[begin, end] = None
        if not links:
            raise InputError(f"{edges_file} has no edge, expected a source and a target on each line")
        names = _in_order({name: None for link in links for name in link} | dict.fromkeys(label_of))
        row = {name: n for n, name in enumerate(names)}
        edges = np.array([(row[begin], row[end]) for begin, end in links], np.int64).T
        labels = [label_of.get(name, "") for name in names]
        form = f"lists of edges and labels ({edges_file.name}, {labels_file.name})"
        features = np.zeros((len(names), 0), np.float32)
        parts = self._parts(names, labels)
        return Graph(str(folder), tuple(names), features, labels, parts, edges, form=form, skips=skips)

    def _parts(self, names: Sequence[str], labels: Sequence[str]) -> list[str]:
        labeled = [n for n, label in enumerate(labels) if label]
        parts: list[str] = [""] * len(names)
        keys = [f"{self.seed} {names[n]}" for n in labeled]
        kinds = None if self.numbers else [labels[n] for n in labeled]
        for n, part in zip(labeled, split(keys, kinds), strict=True):
            parts[n] = part
        return parts


_EXPECTED = "a list of edges and one of labels (with label in its name), each of two words a line"


def _lists(folder: Path) -> list[Path]:
    return [path for path in files_at(folder) if path.name.lower().endswith(_ENDINGS)]


def _pair(folder: Path) -> tuple[Path, Path] | None:
    """The list of edges and the list of labels of a folder that holds one of each and no other."""
    lists = _lists(folder)
    labels = [path for path in lists if "label" in path.name.lower()]
    edges = [path for path in lists if path not in labels]
    return (edges[0], labels[0]) if len(labels) == len(edges) == 1 else None


def _joins_numbers(path: Path) -> bool:
    """Whether the first line joins two nodes that are numbers, as in SNAP's files: two words may be a text."""
    try:
        first = next(_fields(path), (0, []))[1]
    except InputError:
        return False
    return len(first) == 2 and all(word.isdecimal() for word in first)


def _fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in read_lines(path):
        if line.strip() and not line.lstrip().startswith(_COMMENTS):
            yield number, line.split()


def _pairs(path: Path, what: str) -> Iterator[tuple[int, str, str]]:
    for number, words in _fields(path):
        if len(words) != 2:
            raise InputError(f"{path}, line {number}, has {len(words)} words, expected {what}")
        yield number, words[0], words[1]


def _labels(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, name, label in _pairs(path, "a node and its label"):
        if name in found:
            raise InputError(f"{path}, line {number}, repeats the node {name!r}, expected each once")
        found[name] = label
    if not found:
        raise InputError(f"{path} has no label, expected a node and its label on each line")
    return found


def _in_order(names: dict[str, None]) -> list[str]:
    """By number where all are numbers, else as they come."""
    return sorted(names, key=int) if all(name.isdecimal() and len(name) < 19 for name in names) else list(names)
