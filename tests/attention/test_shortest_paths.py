"""Shortest paths against a search, and Graphormer's bias pair by pair."""

from collections import deque

import pytest
import torch

from regard.attention.pairs.pairs import Pairs
from regard.attention.pairs.paths import shortest_paths
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import ShortestPath
from regard.attention.verb import attend
from regard.errors import InputError
from regard.sets import Layout


def graph() -> Layout:
    """Directed edges in two sets with an empty one between, a ring of eight, a vector that nothing reaches, and a self-loop."""
    torch.manual_seed(0)
    ring = [(n, (n + 1) % 8) for n in range(8)] + [(0, 3), (3, 0), (5, 5), (2, 7)]
    other = [(9 + i, 9 + j) for i, j in ((0, 1), (1, 0), (1, 2), (0, 3), (3, 2))]
    edges = torch.tensor(ring + other).T[:, torch.randperm(17)]
    return Layout(torch.tensor([0, 9, 9, 13]), edges=edges, edge_values=torch.randn(17, 2, dtype=torch.float64))


def searched(layout: Layout, start: int) -> dict[int, list[int]]:
    """Breadth first: for each row that is reached its distance and, walking back to the smallest rows, the path's edges."""
    assert layout.edges is not None
    pairs = [tuple(pair) for pair in layout.edges.T.tolist()]
    distance, queue = {start: 0}, deque([start])
    while queue:
        i = queue.popleft()
        for a, j in pairs:
            if a == i and j not in distance:
                distance[j] = distance[i] + 1
                queue.append(j)
    found = {}
    for row in distance:
        path: list[int] = []
        at = row
        while at != start:
            before = min(a for a, j in pairs if j == at and distance.get(a, -1) == distance[at] - 1)
            path.insert(0, pairs.index((before, at)))
            at = before
        found[row] = path
    return found


@pytest.mark.parametrize("longest", [1, 3, 9])
def test_paths_are_those_of_a_search(longest: int) -> None:
    layout = graph()
    paths = shortest_paths(layout, longest)
    assert shortest_paths(layout, longest) is paths
    for i in range(layout.total):
        found = searched(layout, i)
        for j in range(layout.total):
            if layout.set_of_row[i] != layout.set_of_row[j]:
                continue
            place = paths.of(layout, torch.tensor(i), torch.tensor(j))
            path = found.get(j)
            assert paths.distance[place] == (-1 if path is None else len(path))
            wanted = [*(path or []), *[-1] * longest][:longest]
            assert paths.edges[place].tolist() == wanted


def test_the_bias_of_a_pair_by_hand() -> None:
    layout, bias = graph(), ShortestPath(2, edges=2)
    learned = {name: torch.randn(shape).double() for name, shape in bias.parameters(3, 4, 4).items()}
    table, weight = learned["bias_distances"], learned["bias_edges"]
    carried = layout.edge_values
    assert carried is not None
    for i in range(layout.total):
        found = searched(layout, i)
        for j in range(layout.total):
            if layout.set_of_row[i] != layout.set_of_row[j]:
                continue
            path = found.get(j)
            wanted = table[3] if path is None else table[min(len(path), 2)]
            if path:
                wanted = wanted + sum(carried[e] @ weight[n] for n, e in enumerate(path[:2])) / min(len(path), 2)
            pairs = Pairs(layout, layout, torch.tensor(i), torch.tensor(j))
            torch.testing.assert_close(bias.score_bias(torch.zeros(3, 4).double(), pairs, learned), wanted)


def test_sets_without_edges_and_too_many_pairs_are_refused() -> None:
    x = torch.zeros(5000, 1, 1)
    learned = {"bias_distances": torch.zeros(7, 1)}
    with pytest.raises(
        InputError, match=r"the sets lack what ShortestPath\(\) reads, expected the edges of queries that are keys"
    ):
        attend(Attention(bias=ShortestPath()), x, x, x, Layout.of_lengths([5000]), None, learned)
    layout = Layout(torch.tensor([0, 5000]), edges=torch.zeros(2, 0).long())
    with pytest.raises(InputError, match=r"the sets have 25,000,000 pairs of vectors, each with its shortest path"):
        attend(Attention(bias=ShortestPath()), x, x, x, layout, None, learned)
    edges = Layout(torch.tensor([0, 2]), edges=torch.tensor([[0], [1]]))
    learned["bias_edges"] = torch.zeros(5, 2, 1)
    with pytest.raises(InputError, match=r"expected 2 values on each edge \(it has 0\)"):
        attend(Attention(bias=ShortestPath(edges=2)), x[:2], x[:2], x[:2], edges, None, learned)
