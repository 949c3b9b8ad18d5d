"""Features of nodes joined by their means over neighbors, as even columns: what a network need not learn to compute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regard.data.examples import Array
from regard.errors import check_numbers

__all__ = ["NodeMeans"]


@dataclass(frozen=True)
class NodeMeans:
    """Means of the columns of nodes over neighbors, neighbors of neighbors, and so on, which follow the columns.

    With M = D^-1 A, A_ij = 1 where i and j are neighbors and D_ii = sum_j A_ij, they are M X, M^2 X, ..., as in SIGN (Frasca et
    al. 2020); self-loops and what edges carry are not read, and a node without neighbors has zeros.

    Args:
        steps: the highest power of M; 0 for none.
        ranks: whether each number becomes the normal score of its rank in its column, Phi^-1((rank - 1/2) / nodes), with the mean
            rank of equal numbers. Means over many neighbors differ little from node to node, and their ranks as much as any. The
            ranks are those in the node's own graph.

    >>> path = np.array([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> x = np.array([[1.0], [2.0], [5.0]])
    >>> NodeMeans(steps=2).of(x, path).tolist()
    [[1.0, 2.0, 3.0], [2.0, 3.0, 2.0], [5.0, 2.0, 3.0]]
    >>> NodeMeans(ranks=True).of(x, path).astype(float).round(2).tolist()
    [[-0.97], [0.0], [0.97]]
    """

    steps: int = 0
    ranks: bool = False

    def __post_init__(self) -> None:
        check_numbers("data.means", self, "steps", least=0)

    def __bool__(self) -> bool:
        return self.steps > 0 or self.ranks

    def of(self, values: Array, edges: Array) -> Array:
        """`[nodes, d * (steps + 1)]` float32, for `edges [2, e]` (query row, key row)."""
        columns = [values.astype(np.float64)]
        if self.steps:
            from scipy.sparse import csr_array

            nodes = len(values)
            query, key = edges[:, edges[0] != edges[1]].astype(np.int64)
            share = 1 / np.bincount(query, minlength=nodes).clip(1)
            mean = csr_array((share[query], (query, key)), (nodes, nodes))
            for _ in range(self.steps):
                columns.append(mean @ columns[-1])
        found = np.concatenate(columns, axis=1)
        return (_normal_scores(found) if self.ranks else found).astype(np.float32)


def _normal_scores(values: Array) -> Array:
    """Column by column; sums that differ by rounding alone are equal numbers."""
    from scipy.special import ndtri

    scores = np.empty_like(values)
    for n, column in enumerate(values.astype(np.float32).T):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        # The mean of the ranks, from 1, that equal numbers have.
        ranks = counts.cumsum() - (counts - 1) / 2
        scores[:, n] = ndtri((ranks[place] - 0.5) / len(column))
    return scores
