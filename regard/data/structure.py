"""Where a node lies in its graph, as numbers: identity, degree, return probabilities of walks, eigenvectors of the Laplacian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from regard.data.examples import Array
from regard.data.node_vectors import node_vectors
from regard.errors import InputError, check_numbers

__all__ = ["NodePositions"]

_MOST_EIGENVECTORS = 12_000  # nodes: 1.2 GB and some minutes
_MOST_IDENTITIES = 20_000  # nodes: 1.6 GB
_MOST_WALKS = 5e11  # additions: some minutes
_BLOCK = 256  # nodes that walks begin at, together


@dataclass(frozen=True)
class NodePositions:
    """What the vector of a node says of its place in the graph; it follows the node's features.

    All but the identity are read from the edges alone, without self-loops and without what edges carry, so they mean the same in
    every graph. With A_ij = 1 where i and j are neighbors and D the diagonal matrix of their numbers:

    Args:
        identity: the row of the identity matrix that belongs to the node: it means nothing in another graph.
        degree: log(1 + neighbors); where edges have directions, also of the nodes that it is a neighbor of.
        vectors: a file of vectors of nodes by their names, in word2vec's text format, plain or compressed, as `regard vectors walk`
            writes it; they follow all but eigenvectors, and a node that the file does not have gets zeros.
        walks: the probabilities to be back after 1, 2, ..., so many steps to random neighbors: the diagonals of (D^-1 A)^k.
        laplacian: so many eigenvectors of I - D^-1/2 A D^-1/2 with the smallest eigenvalues above 0, edges taken both ways; zeros
            where a graph has fewer. The sign of each is drawn anew in each epoch of a training.
        seed: of these draws.

    >>> path = np.array([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> NodePositions(degree=True, walks=2).of(3, path, directed=False).astype(float).round(2).tolist()
    [[0.69, 0.0, 0.5], [1.1, 0.0, 1.0], [0.69, 0.0, 0.5]]
    """

    identity: bool = False
    degree: bool = False
    walks: int = 0
    laplacian: int = 0
    seed: int = 0
    vectors: str = ""

    def __post_init__(self) -> None:
        check_numbers("data.positions", self, "walks", "laplacian", least=0)

    def __bool__(self) -> bool:
        return self.identity or self.degree or self.walks > 0 or self.laplacian > 0 or self.vectors != ""

    def of(
        self, nodes: int, edges: Array, directed: bool, where: str = "the graph", names: Sequence[str] = ()
    ) -> Array:
        """`[nodes, ...]` float32, the eigenvectors last, of `edges [2, e]` (query row, key row).

        Args:
            names: of the nodes, which `vectors` finds them by.

        Raises:
            InputError: a graph that is too large for what is wanted (the sentence says what it would cost), or a file of vectors
                that cannot be read or has none of the nodes.
        """
        edges = edges[:, edges[0] != edges[1]].astype(np.int64)
        columns = [np.zeros((nodes, 0))]
        if self.identity:
            _check_identities(nodes, where)
            columns.append(np.eye(nodes, dtype=np.float32))
        if self.degree:
            ends = edges if directed else edges[:1]
            columns += [np.log1p(np.bincount(rows, minlength=nodes))[:, None] for rows in ends]
        if self.walks:
            _check_walks(nodes, edges.shape[1], self.walks, where)
            columns.append(_returns(nodes, edges.tobytes(), self.walks))
        if self.vectors:
            columns.append(node_vectors(Path(self.vectors), names, where))
        if self.laplacian:
            _check_eigenvectors(nodes, where)
            columns.append(_eigenvectors(nodes, edges.tobytes(), self.laplacian))
        return np.concatenate(columns, axis=1).astype(np.float32)

    def varied(self, values: Array, epoch: int, index: int) -> Array:
        """Vectors that end in eigenvectors, with the signs that an epoch of a training gives them."""
        if not self.laplacian:
            return values
        signs = np.random.default_rng((self.seed, epoch, index)).choice([-1, 1], self.laplacian)
        varied = values.copy()
        varied[:, -self.laplacian :] *= signs
        return varied


def _check_identities(nodes: int, where: str) -> None:
    if nodes > _MOST_IDENTITIES:
        cost = f"a vector of {nodes:,} numbers for each is {nodes**2 * 4 / 1e9:,.1f} GB"
        raise InputError(
            f"{where} has {nodes:,} nodes and data.positions.identity is true: {cost}, expected at most {_MOST_IDENTITIES:,} nodes"
        )


def _check_walks(nodes: int, edges: int, steps: int, where: str) -> None:
    # Rows of all nodes are gone through at each step, those without an edge as well.
    additions = nodes * max(edges, nodes) * steps
    if additions > _MOST_WALKS:
        cost = f"{additions:.1g} additions, about {additions / 3.6e12:,.0f} hours"
        raise InputError(
            f"{where} has {nodes:,} nodes and {edges:,} edges and data.positions.walks is {steps}: {cost}, expected fewer "
            "steps, or data.positions.degree"
        )


def _check_eigenvectors(nodes: int, where: str) -> None:
    if nodes > _MOST_EIGENVECTORS:
        cost = (
            f"{4 / 3 * nodes**3:.1g} operations, about {nodes**3 / 3.6e13:,.1f} hours, and {nodes**2 * 8 / 1e9:,.0f} GB"
        )
        raise InputError(
            f"{where} has {nodes:,} nodes and data.positions.laplacian is wanted: its eigenvectors take {cost}, expected at most "
            f"{_MOST_EIGENVECTORS:,} nodes, or data.positions.walks or degree"
        )


def _adjacency(nodes: int, content: bytes) -> tuple[Array, Array]:
    query, key = np.frombuffer(content, np.int64).reshape(2, -1)
    return query, key


# Readers read their data once for each part.
@lru_cache(maxsize=4)
def _returns(nodes: int, content: bytes, steps: int) -> Array:
    """`[nodes, steps]`, computed for some nodes at a time: a dense power of the matrix would take nodes^2 numbers."""
    from scipy.sparse import csr_array

    query, key = _adjacency(nodes, content)
    share = 1 / np.bincount(query, minlength=nodes).clip(1)
    steps_to = csr_array((share[query], (query, key)), (nodes, nodes))
    returns = np.zeros((nodes, steps))
    for first in range(0, nodes, _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, nodes))
        reached = np.zeros((nodes, len(rows)))
        reached[rows, np.arange(len(rows))] = 1
        for k in range(steps):
            reached = steps_to @ reached
            returns[rows, k] = reached[rows, np.arange(len(rows))]
    return returns


@lru_cache(maxsize=4)
def _eigenvectors(nodes: int, content: bytes, count: int) -> Array:
    """`[nodes, count]`, the entry of the largest magnitude of each positive."""
    from scipy.linalg import eigh
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    query, key = _adjacency(nodes, content)
    vectors = np.zeros((nodes, count))
    # An eigenvalue of 0 for each connected component says nothing but which one a node is in.
    components, _ = connected_components(csr_array((np.ones(len(query)), (query, key)), (nodes, nodes)), directed=False)
    found = min(count, nodes - components)
    if not found:
        return vectors
    laplacian = np.zeros((nodes, nodes))
    laplacian[query, key] = laplacian[key, query] = 1
    degrees = laplacian.sum(1)
    root = 1 / np.sqrt(degrees.clip(1))
    laplacian *= -root[:, None] * root
    laplacian[np.diag_indices(nodes)] = degrees > 0
    _, kept = eigh(laplacian, subset_by_index=[components, components + found - 1], overwrite_a=True)
    largest = kept[np.abs(kept).argmax(0), np.arange(found)]
    vectors[:, :found] = kept * np.where(largest < 0, -1, 1)
    return vectors
