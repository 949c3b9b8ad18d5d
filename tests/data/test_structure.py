"""Positions of nodes against what defines them, computed with dense matrices."""

import numpy as np
import pytest

from regard.data.graph_values import joined_edges
from regard.data.structure import NodePositions
from regard.errors import InputError


def graph(nodes: int, links: int, seed: int, undirected: bool = True) -> np.ndarray:
    """(query row, key row) of a random graph, with self-loops."""
    edges = np.random.default_rng(seed).integers(0, nodes, (2, links))
    return joined_edges(nodes, edges, None, undirected, self_loops=True)[0]


def adjacency(nodes: int, edges: np.ndarray) -> np.ndarray:
    matrix = np.zeros((nodes, nodes))
    matrix[edges[0], edges[1]] = 1
    np.fill_diagonal(matrix, 0)
    return matrix


@pytest.mark.parametrize("undirected", [True, False])
def test_walks_return_as_often_as_powers_of_the_matrix_say(undirected: bool) -> None:
    edges = graph(300, 700, 0, undirected)  # more nodes than are walked from at once
    matrix = adjacency(300, edges)
    step = matrix / matrix.sum(1, keepdims=True).clip(1)
    powers = [np.linalg.matrix_power(step, k).diagonal() for k in range(1, 6)]
    found = NodePositions(walks=5).of(300, edges, not undirected)
    np.testing.assert_allclose(found, np.stack(powers, 1), atol=1e-6)


def test_degrees_count_neighbors_in_both_directions_where_edges_have_one() -> None:
    edges = graph(50, 200, 1, undirected=False)
    matrix = adjacency(50, edges)
    found = NodePositions(degree=True).of(50, edges, directed=True)
    np.testing.assert_allclose(np.expm1(found), np.stack([matrix.sum(1), matrix.sum(0)], 1), rtol=1e-5)


def test_eigenvectors_are_those_of_the_laplacian_above_zero() -> None:
    edges = graph(60, 90, 2)
    matrix = adjacency(60, edges)
    root = 1 / np.sqrt(matrix.sum(1).clip(1))
    laplacian = np.diag((matrix.sum(1) > 0).astype(float)) - root[:, None] * matrix * root
    values = np.linalg.eigvalsh(laplacian)
    zeros = int((np.abs(values) < 1e-9).sum())
    assert zeros > 1, "the graph is to have several components"
    found = NodePositions(laplacian=6).of(60, edges, directed=False)
    np.testing.assert_allclose(laplacian @ found, found * values[zeros : zeros + 6], atol=1e-5)
    np.testing.assert_allclose(found.T @ found, np.eye(6), atol=1e-5)
    # Which sign is as recorded is fixed.
    assert (found.max(0) >= -found.min(0) - 1e-6).all()


def test_eigenvectors_that_a_graph_lacks_are_zeros() -> None:
    edge = np.array([[0, 1], [1, 0]])
    np.testing.assert_allclose(
        NodePositions(laplacian=3).of(2, edge, directed=False), [[0.7071, 0, 0], [-0.7071, 0, 0]], atol=1e-4
    )
    alone = NodePositions(laplacian=2, walks=2, degree=True).of(1, np.zeros((2, 0), np.int64), directed=False)
    np.testing.assert_array_equal(alone, np.zeros((1, 5)))


@pytest.mark.parametrize(
    ("positions", "sentence"),
    [
        (NodePositions(laplacian=8), "its eigenvectors take 2e\\+14 operations, about 3.5 hours, and 20 GB"),
        (NodePositions(identity=True), "a vector of 50,000 numbers for each is 10.0 GB"),
        (NodePositions(walks=1000), "data.positions.walks is 1000: 1e\\+13 additions, about 3 hours"),
    ],
)
def test_what_is_too_large_is_refused_with_its_cost(positions: NodePositions, sentence: str) -> None:
    edges = graph(50_000, 100_000, 0)
    with pytest.raises(InputError, match=f"mine has 50,000 nodes.*{sentence}, expected"):
        positions.of(50_000, edges, False, "mine")
