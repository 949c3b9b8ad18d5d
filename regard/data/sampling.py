"""Parts of a graph that is larger than a batch: some nodes, and of their neighbors, neighbors' neighbors and so on a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from regard.data.examples import Array, Example, TargetKind
from regard.data.structure import NodePositions
from regard.errors import InputError, check_numbers

__all__ = ["Neighbors", "NeighborSampling", "SampledGraph"]


@dataclass(frozen=True)
class NeighborSampling:
    """How a training reads a graph that is larger than a batch: `seeds` of its nodes at a time, with neighbors that are drawn.

    A batch's loss is that of its seeds alone. Each seed hears of at most `fan_outs[0]` of the nodes that it has edges to, drawn
    without repeats and all equally probable, those of `fan_outs[1]` each, and so on; a node is asked for its neighbors once, and
    each node's edge to itself, where the graph has one, is always there. All layers run along the edges that were drawn.

    A mean over drawn neighbors has the mean over all as its expectation; a sum is smaller, by the share that is drawn. What follows
    a nonlinearity, the weights of attention among them, is biased, less so with larger fan-outs. Validation and predictions read
    the whole graph.

    Source: Hamilton et al. 2017, section 3.1.

    Args:
        fan_outs: for each layer of the model, beginning at its last, the most neighbors of a node; 0 stands for all. None reads
            the whole graph at once. A layer for which there is none leaves the outermost nodes as if they had no neighbors.
        seeds: nodes of a batch with a target.
        seed: of the draws, each of which is a function of it, the epoch and the batch.
    """

    fan_outs: tuple[int, ...] = ()
    seeds: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers("data.neighbors", self, "seeds", least=1)
        for fan_out in self.fan_outs:
            if fan_out < 0:
                raise InputError(
                    f"data.neighbors.fan_outs has {fan_out}, expected numbers of neighbors, or 0 for all of them"
                )

    def __bool__(self) -> bool:
        return len(self.fan_outs) > 0


class _Part(NamedTuple):
    """Nodes of a graph in increasing order, and the numbers of the edges that were drawn, in increasing order."""

    nodes: Array
    edges: Array


class Neighbors:
    """Whom each node of a graph has edges to.

    Args:
        nodes: how many there are. edges: `[2, e]` (query row, key row) without repeats.

    >>> path = np.array([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> part = Neighbors(3, path).drawn(np.array([0]), (1, 0), np.random.default_rng(0))
    >>> part.nodes.tolist(), path[:, part.edges].tolist()
    ([0, 1, 2], [[0, 1, 1], [1, 0, 2]])
    """

    def __init__(self, nodes: int, edges: Array) -> None:
        query, key = edges
        # Edges mostly come in increasing order, which this sort finds out in one pass.
        order = np.argsort(query * nodes + key, kind="stable")
        to_itself = query[order] == key[order]
        self._key = key
        # The numbers of the edges to others, by query, and where each query's begin.
        self._others = order[~to_itself]
        self._offsets = np.concatenate([[0], np.bincount(query[self._others], minlength=nodes).cumsum()])
        self._own = np.full(nodes, -1)
        self._own[query[order[to_itself]]] = order[to_itself]

    def drawn(self, seeds: Array, fan_outs: Sequence[int], generator: np.random.Generator) -> _Part:
        """The seeds and what they hear of, as `NeighborSampling` describes it.

        Args:
            seeds: distinct nodes.
        """
        nodes = asked = np.sort(seeds)
        chosen = []
        for fan_out in fan_outs:
            chosen.append(self._edges_of(asked, fan_out, generator))
            asked = np.setdiff1d(np.unique(self._key[chosen[-1]]), nodes, assume_unique=True)
            nodes = np.union1d(nodes, asked)
        own = self._own[nodes]
        return _Part(nodes, np.sort(np.concatenate([*chosen, own[own >= 0]])))

    def _edges_of(self, queries: Array, fan_out: int, generator: np.random.Generator) -> Array:
        """The numbers of the edges that are drawn for each query."""
        first = self._offsets[queries]
        counts = self._offsets[queries + 1] - first
        large = (counts > fan_out) if fan_out else np.zeros(len(queries), bool)
        whole = counts[~large]
        # first, first + 1, ... for each query that has no more than wanted.
        steps = np.arange(whole.sum()) - np.repeat(whole.cumsum() - whole, whole)
        places = [np.repeat(first[~large], whole) + steps]
        if large.any():
            places.append((first[large, None] + _distinct(counts[large], fan_out, generator)).ravel())
        return self._others[np.concatenate(places)]


def _distinct(counts: Array, number: int, generator: np.random.Generator) -> Array:
    """`[rows, number]`, in each row different whole numbers below the row's count, each subset equally probable.

    Floyd's algorithm (Bentley and Floyd 1987), for all rows at once: the cost does not depend on the counts.
    """
    chosen = np.empty((len(counts), number), np.int64)
    for n in range(number):
        last = counts - number + n
        drawn = generator.integers(0, last + 1)
        again = (chosen[:, :n] == drawn[:, None]).any(1)
        chosen[:, n] = np.where(again, last, drawn)
    return chosen


class SampledGraph:
    """The training nodes of one graph, `seeds` of them in an example, each in exactly one example of an epoch.

    An example's vectors are the nodes of a sampled part in the order of the graph; only the seeds have a target.

    Args:
        whole: the graph as one example, with a target for each node.
        missing: what stands where there is no target.
        sampling: how many seeds, and how many of their neighbors.
        positions: what the end of a node's vector says, of which eigenvectors have other signs in each example.
        unseen: see `Listed`.
    """

    target_kind: TargetKind = "vector"

    def __init__(
        self,
        whole: Example,
        missing: float,
        sampling: NeighborSampling,
        positions: NodePositions | None = None,
        unseen: Mapping[str, int] | None = None,
    ) -> None:
        assert isinstance(whole.target, np.ndarray)
        assert whole.edges is not None
        target = whole.target
        self.unseen = unseen or {}
        self._whole, self._target, self._edges, self._missing = whole, target, whole.edges, missing
        self._sampling, self._positions = sampling, positions or NodePositions()
        present = ~np.isnan(target) if target.dtype.kind == "f" else target != missing
        self._seeds = np.flatnonzero(present if target.ndim == 1 else present.any(1))
        self._neighbors = Neighbors(len(target), whole.edges)
        self._epoch, self._order = 0, self._ordered(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws."""
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._ordered(epoch)

    def __len__(self) -> int:
        return -(-len(self._seeds) // self._sampling.seeds)

    @property
    def lengths(self) -> list[int]:
        """Upper bounds."""
        nodes, each, reached = len(self._target), 1, 1
        for fan_out in self._sampling.fan_outs:
            each *= fan_out or nodes
            reached = min(reached + each, nodes)
        return [min(nodes, reached * len(self._chosen(index, self._seeds))) for index in range(len(self))]

    @property
    def targets(self) -> list[Array]:
        """Those of the seeds; which are in one example changes with the epoch."""
        return [self._target[self._chosen(index, self._seeds)] for index in range(len(self))]

    def __getitem__(self, index: int, /) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        sampling, whole = self._sampling, self._whole
        seeds = self._chosen(index, self._order)
        generator = np.random.default_rng((sampling.seed, self._epoch, index))
        nodes, edges = self._neighbors.drawn(seeds, sampling.fan_outs, generator)
        target = np.full_like(self._target[nodes], self._missing)
        places = np.searchsorted(nodes, seeds)
        target[places] = self._target[seeds]
        return replace(
            whole,
            values=self._positions.varied(whole.values[nodes], self._epoch, index),
            target=target,
            name=f"{whole.name}:{index}",
            edges=np.searchsorted(nodes, self._edges[:, edges]),
            edge_values=None if whole.edge_values is None else whole.edge_values[edges],
            tokens=None if whole.tokens is None else tuple(whole.tokens[node] for node in nodes),
        )

    def _ordered(self, epoch: int) -> Array:
        return np.random.default_rng((self._sampling.seed, epoch)).permutation(self._seeds)

    def _chosen(self, index: int, order: Array) -> Array:
        first = index * self._sampling.seeds
        return order[first : first + self._sampling.seeds]
