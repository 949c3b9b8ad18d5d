"""Graphs in one file of arrays that holds several divisions into parts, as the heterophilous graphs of Platonov et al. (2023)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data.examples import PARTS, Array
from regard.data.folders import files_at
from regard.data.graph_values import Graph
from regard.data.nodes import NodeReader
from regard.data.registry import locate
from regard.data.survey import Skips
from regard.errors import InputError, check_numbers
from regard.files.opening import LARGEST_RATIO, UNBOUNDED

__all__ = ["MaskedGraph"]

_MASKS = {"train": "train_masks", "validation": "val_masks", "test": "test_masks"}
_ARRAYS = ("node_features", "node_labels", "edges", *_MASKS.values())


@dataclass
class MaskedGraph(NodeReader):
    """A label per node of one graph; each part is the whole graph, with targets at its own nodes only.

    Args:
        path: a `.npz` file of `node_features [n, d]`, `node_labels [n]`, `edges [e, 2]` (source, target), and `train_masks`,
            `val_masks` and `test_masks [m, n]`, or a folder with one. None is tolokers, workers on a crowdsourcing platform who
            did the same tasks.
        undirected: whether each edge goes both ways; otherwise only the target attends to the source.
        self_loops: whether each node attends to itself as well.
        normalize: whether each node's features are divided by the sum of their magnitudes.
        numbers: whether labels are numbers to predict, not names of classes.
        positions: what a node's vector says of its place in the graph.
        means: of these columns over neighbors, see `regard.data.node_means.NodeMeans`.
        neighbors: how a training reads a graph that is larger than a batch, see `regard.data.sampling.NeighborSampling`.
        mask: which of the divisions into parts, from 0.
    """

    normalize: bool = False
    mask: int = 0

    published = "heterophilous"

    def __post_init__(self) -> None:
        check_numbers("data", self, "mask", least=0)

    def names_parts(self) -> bool:
        """The masks say which part a node is in."""
        return True

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of files with such arrays."""
        return sum(path.suffix.lower() == ".npz" and _is_graph(path) for path in files_at(place))

    def read(self, source: str | None) -> Graph:
        """The graph of a file, of the one file in a folder, or tolokers."""
        path = _file(Path(source) if source is not None else locate(self.published))
        arrays = _arrays(path)
        features, edges = arrays["node_features"], arrays["edges"]
        n, masks = len(features), len(arrays["train_masks"])
        if self.mask >= masks:
            raise InputError(f"data.mask is {self.mask} and {path} has {masks} masks, expected 0 to {masks - 1}")
        parts = np.full(n, "", object)
        for name in PARTS:
            chosen = arrays[_MASKS[name]][self.mask]
            if (parts[chosen] != "").any():
                node = int(np.flatnonzero(chosen & (parts != ""))[0])
                raise InputError(f"{path} has the node {node} in two parts of mask {self.mask}, expected one")
            parts[chosen] = name
        labels = [str(label) for label in arrays["node_labels"].tolist()]
        for node, (label, part) in enumerate(zip(labels, parts, strict=True)):
            if part and not label:
                raise InputError(
                    f"{path} has no label of the node {node}, expected one as the node is in the {part} part"
                )
        _, first = np.unique(edges[:, 0] * max(n, 1) + edges[:, 1], return_index=True)
        skips = Skips()
        for place in np.setdiff1d(np.arange(len(edges)), first):
            skips.add("repeated edges", f"edges {place}")
        names = tuple(map(str, range(n)))
        form = f"arrays of a graph, mask {self.mask} of {masks}"
        edges = edges[np.sort(first)]
        return Graph(str(path), names, features, labels, parts.tolist(), edges.T, form=form, skips=skips)


def _file(place: Path) -> Path:
    if not os.path.isdir(place):
        return place
    files = [path for path in files_at(place) if path.suffix.lower() == ".npz"]
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:10]) or "none"
        raise InputError(f"{place} has the .npz files {names}, expected one, or the path of one")
    return files[0]


def _is_graph(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return {f"{name}.npy" for name in _ARRAYS} <= set(file.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of a file, checked against one another."""
    try:
        _check_size(path)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {name: file[name] for name in _ARRAYS if name in file}
    except FileNotFoundError:
        raise InputError(f"{path} is not there, expected a .npz file of a graph") from None
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError, AttributeError, TypeError):
        raise InputError(f"{path} cannot be read, expected a .npz file of arrays of numbers") from None
    for name in _ARRAYS:
        if name not in found:
            raise InputError(f"{path} has no array {name}, expected {', '.join(_ARRAYS)}")
    _check_shapes(path, found)
    with np.errstate(over="ignore"):  # What is beyond float32 is refused below.
        found["node_features"] = found["node_features"].astype(np.float32)
    edges, n = found["edges"].astype(np.int64), len(found["node_labels"])
    found["edges"] = edges
    if edges.size and not (edges.min() >= 0 and edges.max() < n):
        raise InputError(f"{path} has edges from {edges.min()} to {edges.max()}, expected nodes from 0 to {n - 1}")
    wrong = np.argwhere(~np.isfinite(found["node_features"]))
    if len(wrong):
        row, column = map(int, wrong[0])
        value = found["node_features"][row, column]
        raise InputError(f"{path} has {value} in node_features at node {row}, column {column}, expected finite numbers")
    return found


def _check_size(path: Path) -> None:
    """Refuse a file whose arrays would take far more memory than it does.

    Raises:
        InputError: one that unfolds to more than 200 times its size.
    """
    with zipfile.ZipFile(path) as file:
        size = sum(each.file_size for each in file.infolist())
    most = UNBOUNDED + path.stat().st_size * LARGEST_RATIO
    if size > most:
        raise InputError(
            f"{path} unfolds to {size >> 20:,} MiB, expected at most {most >> 20:,}: {LARGEST_RATIO} times its size and "
            f"{UNBOUNDED >> 20} MiB"
        )


def _check_shapes(path: Path, arrays: Mapping[str, Array]) -> None:
    n, masks = arrays["node_labels"].size, len(np.atleast_1d(arrays["train_masks"]))
    mask = (masks, n), "b", f"truths [{masks}, {n}]"
    expected: dict[str, tuple[tuple[int | None, ...], str, str]] = dict.fromkeys(_MASKS.values(), mask) | {
        "node_features": ((n, None), "iufb", f"numbers [{n}, features]"),
        "node_labels": ((n,), "iuU", "whole numbers or texts [nodes]"),
        "edges": ((None, 2), "iu", "whole numbers [edges, 2]"),
    }
    for name, (shape, kinds, wanted) in expected.items():
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            want in (None, size) for size, want in zip(array.shape, shape, strict=True)
        )
        if not fits or array.dtype.kind not in kinds:
            raise InputError(f"{path} has {name} {list(array.shape)} of {array.dtype}, expected {wanted}")
