"""Graph convolutions against dense matrices written from their formulas, in float64, with all gradients."""

import math

import pytest
import torch
from torch import Tensor, nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.errors import InputError
from regard.layers.adjacency import largest, spread
from regard.layers.chebyshev import Chebyshev
from regard.layers.gcn import GraphConvolution
from regard.layers.gcnii import DeepGraphConvolution
from regard.layers.registry import Mixing
from regard.layers.spatial import Gather, GraphSAGE, SpatialConvolution
from regard.models.graph import GraphNetwork
from regard.sets import Layout, VectorSets
from regard.tasks.configs import PerVectorLabel
from regard.train.kinds import build, build_model

WIDTH = 5
# (vectors, edges): directed ones, a self-loop, isolated vectors, an empty set, a graph without edges.
GRAPHS = [
    (4, [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)]),
    (0, []),
    (5, [(0, 1), (2, 1), (3, 3), (3, 0), (1, 3)]),
    (1, []),
    (3, []),
    (1, [(0, 0)]),
]


def batch(*graphs: tuple[int, list[tuple[int, int]]], width: int = WIDTH) -> VectorSets:
    torch.manual_seed(len(graphs))
    values = [torch.randn(n, width, dtype=torch.float64) for n, _ in graphs]
    edges = [torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T for _, pairs in graphs]
    return VectorSets.pack(values, edges=edges)


def dense(layout: Layout, self_loops: bool) -> Tensor:
    """D^-1/2 A D^-1/2, with ones on the diagonal of A or zeros."""
    assert layout.edges is not None
    adjacency = torch.zeros(layout.total, layout.total, dtype=torch.float64)
    for query, key in layout.edges.T.tolist():
        adjacency[query, key] = 1
    adjacency.fill_diagonal_(float(self_loops))
    degree = adjacency.sum(1)
    scale = torch.diag(torch.tensor([d**-0.5 if d else 0.0 for d in degree.tolist()], dtype=torch.float64))
    return scale @ adjacency @ scale


def gathered(sets: VectorSets, self_loops: bool, gather: str) -> Tensor:
    """Vector by vector: the mean, sum or maximum over its keys, zeros for none."""
    assert sets.edges is not None
    keys: list[set[int]] = [{i} if self_loops else set() for i in range(sets.layout.total)]
    for query, key in sets.edges.T.tolist():
        keys[query] |= {key} if key != query else set()
    rows = []
    for own in keys:
        near = sets.values[sorted(own)]
        whole = near.mean(0) if gather == "mean" else near.sum(0) if gather == "sum" or not own else near.amax(0)
        rows.append(whole if own else sets.values.new_zeros(sets.values.shape[1]))
    return torch.stack(rows)


def deep(layer: DeepGraphConvolution, layout: Layout, x: Tensor, first: Tensor) -> Tensor:
    """Chen et al. 2020, eq. 5, by its matrices."""
    mixed = (1 - layer.alpha) * dense(layout, True) @ x + layer.alpha * first
    identity = torch.eye(layer.width, dtype=x.dtype)
    return mixed @ ((1 - layer.beta) * identity + layer.beta * layer.linear.weight).T


def expected(layer: nn.Module, sets: VectorSets) -> Tensor:
    if isinstance(layer, DeepGraphConvolution):
        x = layer.enter(sets.values)
        return deep(layer, sets.layout, x, x)
    if isinstance(layer, SpatialConvolution):
        return gathered(sets, True, layer.gather) @ layer.linear.weight.T + layer.bias
    if isinstance(layer, GraphSAGE):
        both = torch.cat([sets.values, gathered(sets, False, "mean")], dim=1)
        return both @ torch.cat([layer.own.weight, layer.neighbors.weight], dim=1).T + layer.own.bias
    if isinstance(layer, GraphConvolution):
        return dense(sets.layout, True) @ sets.values @ layer.linear.weight.T + layer.bias
    assert isinstance(layer, Chebyshev)
    laplacian = torch.eye(sets.layout.total, dtype=torch.float64) - dense(sets.layout, False)
    scaled = laplacian - torch.eye(sets.layout.total, dtype=torch.float64)
    polynomials = [torch.eye(sets.layout.total, dtype=torch.float64), scaled]
    while len(polynomials) < layer.terms:
        polynomials.append(2 * scaled @ polynomials[-1] - polynomials[-2])
    matrices = layer.linear.weight.split(layer.width)
    return sum((t @ sets.values @ w.T for t, w in zip(polynomials, matrices, strict=False)), layer.bias)


GATHERS: tuple[Gather, ...] = ("mean", "sum", "max")
LAYERS = {
    "gcn to fewer": lambda: GraphConvolution(WIDTH, 3),
    "gcn to more": lambda: GraphConvolution(WIDTH, 7),
    "gcn": lambda: GraphConvolution(WIDTH),
    "gcnii": lambda: DeepGraphConvolution(WIDTH, depth=3, alpha=0.2, theta=0.7),
    "gcnii to fewer": lambda: DeepGraphConvolution(WIDTH, 3),
    **{f"spatial {g} {w}": lambda g=g, w=w: SpatialConvolution(WIDTH, w, g) for g in GATHERS for w in (3, 7)},
    "graphsage to fewer": lambda: GraphSAGE(WIDTH, 3),
    "graphsage to more": lambda: GraphSAGE(WIDTH, 7),
    **{f"chebyshev {k}": lambda k=k: Chebyshev(WIDTH, 3, terms=k) for k in (1, 2, 3, 4, 6)},
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients_are_those_of_dense_matrices(name: str) -> None:
    layer, sets = made(name), batch(*GRAPHS)
    out = layer(sets).values
    torch.testing.assert_close(out, expected(layer, sets), rtol=1e-12, atol=1e-12)
    x = sets.values.clone().requires_grad_()
    above = torch.randn_like(out)
    inputs = [x, *layer.parameters()]
    ours = torch.autograd.grad((layer(sets.with_values(x)).values * above).sum(), inputs)
    theirs = torch.autograd.grad((expected(layer, sets.with_values(x)) * above).sum(), inputs)
    for gradient, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_a_graph_gives_what_it_gives_alone_and_nan_stays_in_it(name: str) -> None:
    layer, sets = made(name), batch(*GRAPHS)
    together = layer(sets)
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, layer(alone).values, rtol=1e-12, atol=1e-12)
    spoiled = sets.values.clone()
    spoiled[0] = torch.nan
    assert layer(sets.with_values(spoiled)).values[4:].isfinite().all()


@pytest.mark.parametrize("name", LAYERS)
def test_the_order_of_a_graph_means_nothing(name: str) -> None:
    layer, sets = made(name), batch(GRAPHS[2])
    order = torch.tensor([3, 0, 4, 1, 2])
    assert sets.edges is not None
    place = torch.argsort(order)
    turned = VectorSets.pack([sets.values[order]], edges=[place[sets.edges]])
    torch.testing.assert_close(layer(turned).values, layer(sets).values[order], rtol=1e-12, atol=1e-12)


def test_a_directed_edge_is_from_query_to_key() -> None:
    """0 hears of 1 and 1 of nobody: worked by hand."""
    layout = Layout(torch.tensor([0, 2]), edges=torch.tensor([[0], [1]]))
    x = torch.tensor([[1.0], [10.0]])
    # D = (2, 1) with self-loops: row 0 is 1 / 2 of itself and 1 / sqrt(2) of vector 1.
    torch.testing.assert_close(spread(layout, x, True), torch.tensor([[0.5 + 10 / 2**0.5], [10.0]]))
    # D = (1, 0) without: vector 1 is no query.
    assert spread(layout, x, False).tolist() == [[0.0], [0.0]]


def test_a_graph_may_say_its_self_loops_or_not() -> None:
    with_loops = (3, [(0, 1), (1, 0), (0, 0), (1, 1), (2, 2)])
    without = (3, [(0, 1), (1, 0)])
    for name in LAYERS:
        layer = made(name)
        assert torch.equal(layer(batch(with_loops)).values, layer(batch(without)).values)


def test_the_maximum_takes_each_number_from_one_key() -> None:
    """Worked by hand: negative numbers, infinities, rows without keys, and equal numbers, of which the first key learns."""
    layout = Layout(torch.tensor([0, 4]), edges=torch.tensor([[0, 0, 3, 3], [1, 2, 1, 2]]))
    x = torch.tensor([[9.0, 9], [-3, -torch.inf], [-5, -torch.inf], [0, 0]], requires_grad=True)
    best = largest(layout, x, False)
    assert best.tolist() == [[-3, -torch.inf], [0, 0], [0, 0], [-3, -torch.inf]]
    best.backward(torch.tensor([[1.0, 10], [7, 7], [7, 7], [100, 1000]]))
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 0], [101, 1010], [0, 0], [0, 0]]


@pytest.mark.parametrize("row", [1, 2])
def test_the_maximum_hides_no_nan(row: int) -> None:
    layout = Layout(torch.tensor([0, 4]), edges=torch.tensor([[0, 0, 1], [1, 2, 3]]))
    x = torch.ones(4, 2)
    x[row, 1] = torch.nan
    found = largest(layout, x, False)
    assert found.isnan().tolist() == [[False, True], *[[False, False]] * 3]


def test_each_deep_layer_has_the_first_vectors_and_a_matrix_closer_to_the_identity() -> None:
    torch.manual_seed(0)
    options = GraphNetwork(width=4, layers=3, heads=1, mixer="gcnii", dropout=0.0, mixing=Mixing(alpha=0.3, theta=0.9))
    model, sets = build(options, Encoding(width=WIDTH, edges=True)).double(), batch(*GRAPHS)
    layers = list(model.stack.layers)
    assert [layer.beta for layer in layers] == [math.log(0.9 / n + 1) for n in (1, 2, 3)]
    first = x = layers[0].enter(sets.values)
    for n, layer in enumerate(layers):
        x = deep(layer, sets.layout, nn.functional.elu(x) if n else x, first)
    torch.testing.assert_close(model(Batch(sets)).values, x, rtol=1e-12, atol=1e-12)


def test_first_vectors_enter_a_last_layer_of_another_width() -> None:
    torch.manual_seed(0)
    options = GraphNetwork(width=4, heads=1, mixer="gcnii", dropout=0.0)
    encoding = Encoding(Labels(("a", "b", "c")), width=WIDTH, edges=True)
    model, sets = build_model(options, PerVectorLabel(head="none"), encoding).double(), batch(*GRAPHS)
    one, two = model.stack.layers
    first = one.enter(sets.values)
    x = nn.functional.elu(deep(one, sets.layout, first, first))
    wanted = deep(two, sets.layout, two.enter(x), two.enter(first))
    torch.testing.assert_close(model(Batch(sets)).values, wanted, rtol=1e-12, atol=1e-12)


def test_first_vectors_keep_the_nodes_of_a_deep_network_apart() -> None:
    """Where everyone is a neighbor, many layers give all nodes one vector; first vectors leave alpha of their differences."""
    torch.manual_seed(0)
    edges = torch.cartesian_prod(torch.arange(6), torch.arange(6)).T
    sets = VectorSets.pack([torch.randn(6, WIDTH, dtype=torch.float64)], edges=[edges])
    spreads = {}
    for alpha in (0.0, 0.1):
        layer = DeepGraphConvolution(WIDTH, alpha=alpha, theta=0.0).double()
        x = sets
        for _ in range(64):
            x = layer.after(x, sets.values)
        spreads[alpha] = (x.values - x.values.mean(0)).norm() / (sets.values - sets.values.mean(0)).norm()
    assert spreads[0.0] < 1e-12
    assert spreads[0.1].item() == pytest.approx(0.1)


def test_bfloat16_is_added_up_in_float32() -> None:
    """The hub of a star adds up 2,000 numbers, of which bfloat16 sums would lose all after some hundreds."""
    edges = torch.stack([torch.zeros(2000, dtype=torch.int64), torch.arange(1, 2001)])
    layout, x = Layout(torch.tensor([0, 2001]), edges=edges), torch.rand(2001, 3).bfloat16()
    exact = spread(layout, x.double(), True)
    torch.testing.assert_close(spread(layout, x, True).double(), exact, rtol=2**-8, atol=0)


@pytest.mark.unpoisoned
@pytest.mark.parametrize("name", ["gcn", "chebyshev 3", "spatial sum 3", "spatial max 3", "graphsage to fewer"])
def test_two_runs_are_bit_identical_with_any_number_of_threads(name: str) -> None:
    torch.manual_seed(1)
    edges = torch.randint(0, 3000, (40000, 2)).unique(dim=0).T
    sets = VectorSets.pack([torch.randn(3000, WIDTH)], edges=[edges])
    layer, threads, found = made(name).float(), torch.get_num_threads(), []
    try:
        for n in (1, 2, 2):
            torch.set_num_threads(n)
            x = sets.values.clone().requires_grad_()
            out = layer(VectorSets(x, Layout(sets.offsets, edges=sets.edges))).values
            found.append((out.detach(), *torch.autograd.grad(out.square().sum(), [x])))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(first, again) for first, again in zip(found[0], other, strict=True))


def test_what_cannot_be_is_refused() -> None:
    plain = VectorSets.pack([torch.ones(2, WIDTH)])
    for name in LAYERS:
        layer = LAYERS[name]()
        with pytest.raises(InputError, match="the sets have no edges, expected graphs"):
            layer(plain)
    with pytest.raises(InputError, match="Chebyshev has terms 0, expected at least 1"):
        Chebyshev(WIDTH, terms=0)
    for wrong in ({"depth": 0}, {"alpha": 1.5}, {"alpha": math.nan}, {"theta": -1.0}, {"theta": math.inf}):
        ((name, _),) = wrong.items()
        with pytest.raises(InputError, match=rf"DeepGraphConvolution has {name} .*, expected"):
            DeepGraphConvolution(WIDTH, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"model\.mixing\.alpha is 2, expected a number from 0 to 1"):
        Mixing(alpha=2)


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # torch looks at all
def test_inside_compiled_code_they_are_the_same() -> None:
    layer, sets = made("chebyshev 3"), batch(*GRAPHS)
    compiled = torch.compile(lambda sets: layer(sets).values * 2, backend="eager")
    torch.testing.assert_close(compiled(sets), layer(sets).values * 2)
