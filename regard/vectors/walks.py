"""Random walks on a graph as a text whose words are nodes, for word vectors to be made of it: DeepWalk and node2vec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError, check_numbers
from regard.vectors.corpus import BREAK, Corpus, corpus_of

__all__ = ["Walks", "walk_corpus"]

_MOST_STEPS = 4_000_000_000  # 16 GB of ids


@dataclass(frozen=True)
class Walks:
    """Walks from each node to neighbors of neighbors, and how they choose.

    From v, where it came to from t, a walk goes to a neighbor x of v with a probability in proportion to 1 / back for x = t, to 1
    where x is a neighbor of t, and to 1 / outward else. With 1 and 1 each neighbor is equally probable (DeepWalk, Perozzi et al.
    2014). A small `outward` leads away, so that nodes near one another become alike; a large one stays around, so that nodes of
    the same role do. Source: Grover and Leskovec 2016 (node2vec), section 3.2.

    Args:
        number: of walks that begin at each node. length: nodes of a walk. back: p of the paper. outward: q of the paper.
        seed: of all that is drawn.
    """

    number: int = 10
    length: int = 80
    back: float = 1.0
    outward: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers("walks", self, "number", least=1)
        check_numbers("walks", self, "length", least=2)
        check_numbers("walks", self, "back", "outward", least=0.01, below=101)
        check_numbers("walks", self, "seed", least=0)


def walk_corpus(names: Sequence[str], edges: Array, walks: Walks) -> Corpus:
    """The nodes of a graph as walks pass by them; those without neighbors are left out.

    Args:
        names: of the nodes, each once. edges: `[2, e]`, taken both ways; one from a node to itself is not read.

    Raises:
        InputError: a graph without edges, or walks that would not fit into memory.

    >>> path = np.array([[0, 1], [1, 2]])
    >>> corpus = walk_corpus(["a", "b", "c", "alone"], path, Walks(number=2, length=4))
    >>> sorted(corpus.words), corpus.length
    (['a', 'b', 'c'], 24)
    """
    nodes = len(names)
    codes = np.concatenate([edges[0] * nodes + edges[1], edges[1] * nodes + edges[0]]).astype(np.int64)
    codes = np.unique(codes[codes // max(nodes, 1) != codes % max(nodes, 1)])
    if not len(codes):
        raise InputError(f"the graph of {nodes:,} nodes has no edge between two of them, expected some to walk along")
    begins = np.flatnonzero(np.bincount(codes // nodes, minlength=nodes))
    steps = len(begins) * walks.number * walks.length
    if steps > _MOST_STEPS:
        found = f"{walks.number} walks of {walks.length} nodes from each of {len(begins):,} are {steps:,} steps"
        raise InputError(f"{found}, expected at most {_MOST_STEPS:,}: fewer or shorter walks")
    graph, random = _Neighbors(nodes, codes), np.random.default_rng(walks.seed)
    ids = np.full((walks.number, len(begins), walks.length + 1), BREAK, np.int32)
    for each in ids:
        each[:, :-1] = graph.walked(random.permutation(begins), walks, random)
    return corpus_of({name: n for n, name in enumerate(names)}, ids.ravel(), 1)


class _Neighbors:
    """Whom each node has edges to, from the sorted codes `node * nodes + neighbor`."""

    def __init__(self, nodes: int, codes: Array) -> None:
        self._nodes, self._codes, self._neighbor = nodes, codes, codes % nodes
        self._first = np.searchsorted(codes, np.arange(nodes) * nodes)
        self._count = np.bincount(codes // nodes, minlength=nodes)

    def walked(self, begins: Array, walks: Walks, random: np.random.Generator) -> Array:
        """`[walks, length]`, a walk from each node that has a neighbor."""
        found = np.empty((len(begins), walks.length), np.int64)
        found[:, 0] = begins
        found[:, 1] = self._any(begins, random)
        plain = walks.back == walks.outward == 1
        for n in range(2, walks.length):
            at = found[:, n - 1]
            found[:, n] = self._any(at, random) if plain else self._next(found[:, n - 2], at, walks, random)
        return found

    def _any(self, nodes: Array, random: np.random.Generator) -> Array:
        return self._neighbor[self._first[nodes] + random.integers(0, self._count[nodes])]

    def _next(self, before: Array, nodes: Array, walks: Walks, random: np.random.Generator) -> Array:
        """Any neighbor, kept with a probability in proportion to its weight, else drawn anew."""
        found, open_ = np.empty_like(nodes), np.arange(len(nodes))
        most = max(1.0, 1 / walks.back, 1 / walks.outward)
        while len(open_):
            drawn, came = self._any(nodes[open_], random), before[open_]
            code = came * self._nodes + drawn
            joined = self._codes[np.searchsorted(self._codes, code).clip(max=len(self._codes) - 1)] == code
            weight = np.where(drawn == came, 1 / walks.back, np.where(joined, 1.0, 1 / walks.outward))
            taken = random.random(len(open_)) * most < weight
            found[open_[taken]] = drawn[taken]
            open_ = open_[~taken]
        return found
