"""Shortest paths between all vectors of each graph, along its edges from query to key."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Int

__all__ = ["MOST_PAIRS", "Paths", "shortest_paths", "too_many_pairs"]

MOST_PAIRS = 1 << 24
"""Pairs of vectors of the same set, of a batch whose shortest paths are looked for: 400 MB with 5 edges of each path."""


class Paths(NamedTuple):
    """The shortest paths of a batch: those of set b begin at `begin[b]`, query by query.

    Args:
        begin: `[s]` int64.
        distance: `[p]` int32; the number of edges from query to key, -1 where no path leads there.
        edges: `[p, longest]` int32; the first edges of the path, as places in the layout's edges, -1 behind its end.
    """

    begin: Tensor
    distance: Tensor
    edges: Tensor

    def of(self, layout: Layout, query_rows: Int[Tensor, "*#b"], key_rows: Int[Tensor, "*#b"]) -> Int[Tensor, "*b"]:
        """The place of each pair of rows of the same set."""
        owner = layout.set_of_row[query_rows]
        first, query, key = layout.offsets[owner], layout.ranks[query_rows], layout.ranks[key_rows]
        place = self.begin[owner] + (query - first) * layout.lengths[owner] + key - first
        # What fills a tile up may be a key of another set, and is masked.
        return place.clamp(0, max(0, len(self.distance) - 1))


def too_many_pairs(layout: Layout) -> str | None:
    """A sentence where shortest paths of all pairs would take too much memory."""
    pairs = int(layout.lengths.square().sum())
    if pairs <= MOST_PAIRS:
        return None
    return f"the sets have {pairs:,} pairs of vectors, each with its shortest path, expected at most {MOST_PAIRS:,}"


def shortest_paths(layout: Layout, longest: int) -> Paths:
    """All shortest paths, with up to `longest` edges of each; computed once per batch.

    Of several shortest paths the one whose vectors, from the key back to the query, have the smallest places is taken.
    """
    return layout.kept(("shortest paths", longest), lambda: _new_paths(layout, longest))


def _new_paths(layout: Layout, longest: int) -> Paths:
    assert layout.edges is not None, "a plan refuses layouts without edges"
    # In order of queries and keys as their places lie, so set by set.
    query, key = layout.ranks[layout.edges].cpu().numpy()
    order = np.lexsort((key, query))
    query, key = query[order], key[order]
    offsets = layout.offsets.cpu().numpy()
    cuts = np.searchsorted(query, offsets)
    distances, edges = [np.zeros(0, np.int32)], [np.zeros((0, longest), np.int32)]
    for b in range(layout.sets):
        some = slice(cuts[b], cuts[b + 1])
        found = _of_graph(int(offsets[b + 1] - offsets[b]), query[some] - offsets[b], key[some] - offsets[b], longest)
        distances.append(found[0].ravel())
        edges.append(np.append(order[some], -1)[found[1]].astype(np.int32).reshape(-1, longest))
    squares = layout.lengths.square()
    device = layout.device
    return Paths(
        squares.cumsum(0) - squares,
        torch.from_numpy(np.concatenate(distances)).to(device),
        torch.from_numpy(np.concatenate(edges)).to(device),
    )


def _of_graph(n: int, query: np.ndarray, key: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """`[n, n]` distances, and `[n, n, longest]` places in the list of edges (query, key), which is in order; -1 for none."""
    adjacent = np.zeros((n, n), np.float32)
    adjacent[query, key] = 1
    distance = np.where(np.eye(n, dtype=bool), 0, -1).astype(np.int32)
    front, steps = np.eye(n, dtype=np.float32), 0
    while True:
        reached = (front @ adjacent > 0) & (distance < 0)
        if not reached.any():
            break
        steps += 1
        distance[reached] = steps
        front = reached.astype(np.float32)
    edges = np.full((n, n, longest), -1, np.int32)
    if not steps:
        return distance, edges
    last = _last_edges(distance, query, key)
    rows, at = np.arange(n)[:, None], np.broadcast_to(np.arange(n), (n, n)).copy()
    for _ in range(steps):
        place, edge = distance[rows, at] - 1, last[rows, at]
        under_way = place >= 0
        shown = under_way & (place < longest)
        i, j = shown.nonzero()
        edges[i, j, place[shown]] = edge[shown]
        at = np.where(under_way, query[np.where(under_way, edge, 0)], at)
    return distance, edges


def _last_edges(distance: np.ndarray, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """`[n, n]` the last edge of the path from i to j: that of the smallest row before j; -1 for none."""
    n, number = len(distance), len(query)
    last = np.full((n, n), number, np.int64)
    by_key = np.argsort(key, kind="stable")  # Then by query, as the edges are.
    starts = np.flatnonzero(np.diff(key[by_key], prepend=-1))
    for begin, end in zip(starts, [*starts[1:], number], strict=True):
        some = by_key[begin:end]
        before = distance[:, query[some]]
        leads = (before >= 0) & (before + 1 == distance[:, key[some]])
        last[:, key[some[0]]] = np.where(leads, some, number).min(1)
    return np.where(last == number, -1, last)
