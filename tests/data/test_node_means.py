"""Means of features over neighbors, and ranks, against dense matrices and SciPy's ranks."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import rankdata

from regard.data.masked_graph import MaskedGraph
from regard.data.node_means import NodeMeans
from regard.data.structure import NodePositions
from regard.errors import InputError

NODES = 30


def random_graph() -> tuple[np.ndarray, np.ndarray]:
    """Features, two of them with few values, and edges both ways, with self-loops and a node without neighbors."""
    random = np.random.default_rng(0)
    x = random.normal(size=(NODES, 3))
    x[:, 1:] = x[:, 1:].round()
    upper = np.triu(random.random((NODES, NODES)) < 0.2, 1)
    upper[:, -1] = False
    return x, np.stack(np.nonzero(upper | upper.T | np.eye(NODES, dtype=bool)))


def test_means_are_powers_of_the_matrix_of_neighbors() -> None:
    x, edges = random_graph()
    matrix = np.zeros((NODES, NODES))
    matrix[tuple(edges)] = 1
    np.fill_diagonal(matrix, 0)
    matrix /= matrix.sum(1, keepdims=True).clip(1)
    found = NodeMeans(steps=3).of(x, edges)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, np.hstack([x, matrix @ x, matrix @ matrix @ x, matrix @ matrix @ matrix @ x]), atol=1e-6
    )
    assert not found[-1, 3:].any()


def test_ranks_are_normal_scores_with_the_mean_rank_of_equal_numbers() -> None:
    x, edges = random_graph()
    plain = NodeMeans(steps=1).of(x, edges)
    expected = np.stack([ndtri((rankdata(column) - 0.5) / NODES) for column in plain.T], axis=1)
    np.testing.assert_allclose(NodeMeans(steps=1, ranks=True).of(x, edges), expected, atol=1e-6)
    constant = NodeMeans(ranks=True).of(np.ones((5, 1)), edges[:, :0])
    assert not constant.any()


def graph_file(folder) -> str:
    x, edges = random_graph()
    parts = np.arange(NODES) % 3
    masks = {name: (parts == n)[None] for n, name in enumerate(("train_masks", "val_masks", "test_masks"))}
    upper = edges[:, edges[0] < edges[1]].T
    labels = (np.arange(NODES) // 3) % 2
    np.savez(folder / "graph.npz", node_features=x, node_labels=labels, edges=upper, **masks)
    return str(folder / "graph.npz")


def test_a_reader_joins_means_of_features_and_degrees_and_leaves_eigenvectors_last(tmp_path) -> None:
    path = graph_file(tmp_path)
    positions = NodePositions(degree=True, laplacian=2)
    plain, joined = (MaskedGraph(path, positions=positions, means=means) for means in (NodeMeans(), NodeMeans(steps=2)))
    before, after = (reader.part("train", reader.fit())[0].values for reader in (plain, joined))
    assert before.shape[1] == 4 + 2
    assert joined.fit().width == after.shape[1] == 3 * 4 + 2
    np.testing.assert_array_equal(after[:, -2:], before[:, -2:])
    _, edges = random_graph()
    np.testing.assert_allclose(after[:, :-2], NodeMeans(steps=2).of(before[:, :4], edges), atol=1e-6)


def test_fewer_steps_than_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"data\.means\.steps is -1, expected at least 0"):
        NodeMeans(steps=-1)
