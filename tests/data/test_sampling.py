from pathlib import Path

import numpy as np
import pytest

from regard.data.batching import BudgetSampler, loader
from regard.data.examples import IGNORE, Example
from regard.data.graph import Planetoid
from regard.data.sampling import Neighbors, NeighborSampling, SampledGraph
from regard.data.structure import NodePositions
from regard.errors import InputError


def graph(nodes: int = 200, degree: int = 8, seed: int = 0, labeled: float = 0.6) -> Example:
    """Random edges in increasing order with their own numbers on them, an edge of each node to itself, and some targets."""
    random = np.random.default_rng(seed)
    codes = np.unique(np.concatenate([random.integers(0, nodes**2, nodes * degree), np.arange(nodes) * (nodes + 1)]))
    edges = np.stack([codes // nodes, codes % nodes])
    target = np.where(random.random(nodes) < labeled, random.integers(0, 3, nodes), IGNORE)
    values = random.normal(size=(nodes, 4)).astype(np.float32)
    carried = codes[:, None].astype(np.float32)
    tokens = tuple(map(str, range(nodes)))
    return Example(values, target, "graph", "vector", edges=edges, edge_values=carried, tokens=tokens)


def sampled(whole: Example, **options: object) -> SampledGraph:
    return SampledGraph(whole, IGNORE, NeighborSampling(**options))  # type: ignore[arg-type]


def seeds_of(example: Example) -> list[int]:
    assert isinstance(example.target, np.ndarray)
    assert example.tokens is not None
    return [int(example.tokens[row]) for row in np.flatnonzero(example.target != IGNORE)]


def test_every_target_is_in_exactly_one_example_of_an_epoch() -> None:
    whole = graph()
    part = sampled(whole, fan_outs=(3, 2), seeds=17)
    expected = np.flatnonzero(whole.target != IGNORE).tolist()  # type: ignore[arg-type]
    assert len(part) == -(-len(expected) // 17)
    orders = []
    for epoch in range(3):
        part.set_epoch(epoch)
        seeds = [node for index in range(len(part)) for node in sorted(seeds_of(part[index]))]
        assert sorted(seeds) == expected
        orders.append(seeds)
    assert orders[0] != orders[1] != orders[2]
    assert sum(len(target) for target in part.targets) == len(expected)


def test_an_example_is_a_part_of_the_graph() -> None:
    whole = graph()
    assert whole.edges is not None
    edges = {(int(q), int(k)) for q, k in whole.edges.T}
    part = sampled(whole, fan_outs=(3, 2), seeds=10)
    for index in range(len(part)):
        example = part[index]
        nodes = np.array([int(token) for token in example.tokens or ()])
        assert len(nodes) <= part.lengths[index]
        assert (np.diff(nodes) > 0).all()
        np.testing.assert_array_equal(example.values, whole.values[nodes])
        for node in seeds_of(example):
            assert example.target is not None
            assert whole.target is not None
            assert example.target[np.searchsorted(nodes, node)] == whole.target[node]  # type: ignore[index]
        assert example.edges is not None
        assert example.edge_values is not None
        query, key = nodes[example.edges]
        assert set(zip(query.tolist(), key.tolist(), strict=True)) <= edges
        np.testing.assert_array_equal(example.edge_values[:, 0], query * 200 + key)
        # Everybody's own edge, of others no more than wanted; the outermost have none.
        assert set(nodes.tolist()) == set(query[query == key].tolist())
        others = np.bincount(query[query != key], minlength=200)
        degrees = np.bincount(whole.edges[0][whole.edges[0] != whole.edges[1]], minlength=200)
        for node in seeds_of(example):
            assert others[node] == min(3, degrees[node])
        assert others.max() <= 3


def test_examples_are_functions_of_seed_epoch_and_index() -> None:
    whole = graph()
    one, same, other = (sampled(whole, fan_outs=(2, 2), seeds=20, seed=seed) for seed in (5, 5, 6))
    first = one[1]
    one.set_epoch(3)
    later = one[1]
    same.set_epoch(3)
    np.testing.assert_array_equal(later.edges, same[1].edges)  # type: ignore[arg-type]
    same.set_epoch(0)
    np.testing.assert_array_equal(first.edges, same[1].edges)  # type: ignore[arg-type]
    assert first.tokens != later.tokens
    assert first.tokens != other[1].tokens


def test_all_neighbors_are_there_where_none_are_left_out() -> None:
    whole = graph(nodes=60, degree=3)
    assert whole.edges is not None
    neighbors = Neighbors(60, whole.edges)
    seeds = np.array([7, 3])
    part = neighbors.drawn(seeds, (0, 0), np.random.default_rng(0))
    query, key = whole.edges
    ring = np.unique(np.append(key[np.isin(query, seeds)], seeds))
    inside = np.isin(query, ring)
    outer = np.unique(key[inside])
    np.testing.assert_array_equal(part.nodes, outer)
    expected = inside | ((query == key) & np.isin(query, outer))
    np.testing.assert_array_equal(part.edges, np.flatnonzero(expected))
    # The order in which edges come does not matter.
    shuffled = np.random.default_rng(1).permutation(whole.edges.shape[1])
    again = Neighbors(60, whole.edges[:, shuffled]).drawn(seeds, (0, 0), np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(shuffled[again.edges]), part.edges)


def test_each_subset_of_neighbors_is_equally_probable() -> None:
    star = np.stack([np.zeros(5, np.int64), np.arange(1, 6)])
    neighbors, random = Neighbors(6, star), np.random.default_rng(0)
    counts: dict[tuple[int, ...], int] = {}
    draws = 6000
    for _ in range(draws):
        chosen = tuple(neighbors.drawn(np.array([0]), (2,), random).nodes[1:].tolist())
        counts[chosen] = counts.get(chosen, 0) + 1
    assert len(counts) == 10
    # Chi squared with 9 degrees of freedom is beyond 33.7 once in 10,000 times.
    assert sum((count - draws / 10) ** 2 / (draws / 10) for count in counts.values()) < 33.7


def test_the_mean_over_drawn_neighbors_is_unbiased() -> None:
    random = np.random.default_rng(0)
    star, values = np.stack([np.zeros(40, np.int64), np.arange(1, 41)]), random.normal(size=41)
    neighbors = Neighbors(41, star)
    means = np.array([values[neighbors.drawn(np.array([0]), (4,), random).nodes[1:]].mean() for _ in range(4000)])
    assert abs(means.mean() - values[1:].mean()) < 5 * means.std() / len(means) ** 0.5


def test_a_node_of_many_neighbors_and_one_of_none() -> None:
    count = 100_000
    star = np.stack([np.zeros(count, np.int64), np.arange(1, count + 1)])
    part = Neighbors(count + 2, star).drawn(np.array([0, count + 1]), (10, 10), np.random.default_rng(0))
    assert len(part.edges) == 10
    assert {0, count + 1} <= set(part.nodes.tolist())
    assert len(set(star[1, part.edges].tolist())) == 10


def test_signs_of_eigenvectors_differ_between_examples_and_epochs() -> None:
    whole = graph()
    part = SampledGraph(whole, IGNORE, NeighborSampling((0,), seeds=200), NodePositions(laplacian=2, seed=1))
    signs = set()
    for epoch in range(20):
        part.set_epoch(epoch)
        example = part[0]
        nodes = [int(token) for token in example.tokens or ()]
        ratio = example.values / whole.values[nodes]
        assert (ratio[:, :2] == 1).all()
        assert (ratio == ratio[:1]).all()
        signs.add(tuple(ratio[0, 2:].tolist()))
    assert signs == {(a, b) for a in (-1, 1) for b in (-1, 1)}


def test_a_loader_resumes_in_the_middle_of_an_epoch() -> None:
    def fresh() -> tuple[BudgetSampler, object]:
        part = sampled(graph(), fan_outs=(2,), seeds=16)
        order = BudgetSampler(part.lengths, 30)
        return order, loader(part, order)

    order, whole = fresh()
    order.set_epoch(2)
    batches = [batch.tokens for batch in whole]  # type: ignore[attr-defined]
    order, begun = fresh()
    order.set_epoch(2)
    iterator = iter(begun)  # type: ignore[call-overload]
    assert [next(iterator).tokens for _ in range(2)] == batches[:2]
    state = begun.state_dict()  # type: ignore[attr-defined]
    _, resumed = fresh()
    resumed.load_state_dict(state)  # type: ignore[attr-defined]
    assert [batch.tokens for batch in resumed] == batches[2:]  # type: ignore[attr-defined]


def test_a_reader_samples_for_training_alone(tmp_path: Path) -> None:
    nodes = "".join(f"n{i},{'xy'[i % 2]},{('train', 'train', 'test', 'dev')[i % 4]},{i}\n" for i in range(40))
    (tmp_path / "nodes.csv").write_text(f"id,label,split,f\n{nodes}", "utf-8")
    (tmp_path / "edges.csv").write_text("source,target\n" + "".join(f"n{i},n{i + 1}\n" for i in range(39)), "utf-8")
    reader = Planetoid(str(tmp_path), neighbors=NeighborSampling((1,), seeds=8))
    encoding = reader.fit()
    training = reader.training(encoding)
    assert len(training) == 3
    assert all(len(training[n].values) < 20 for n in range(3))
    assert len(reader.part("validation", encoding)) == 1
    numbers = Planetoid(str(tmp_path), numbers=True, neighbors=NeighborSampling((1,), seeds=8))
    text = (tmp_path / "nodes.csv").read_text().replace(",x,", ",1,").replace(",y,", ",2,")
    (tmp_path / "nodes.csv").write_text(text, "utf-8")
    part = numbers.training(numbers.fit())
    assert sum(int(np.isfinite(part[n].target).sum()) for n in range(3)) == 20  # type: ignore[arg-type, call-overload]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fan_outs": (-1,)}, "data.neighbors.fan_outs has -1, expected numbers of neighbors, or 0 for all of them"),
        ({"seeds": 0}, "data.neighbors.seeds is 0, expected at least 1"),
    ],
)
def test_refusals(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        NeighborSampling(**options)  # type: ignore[arg-type]
