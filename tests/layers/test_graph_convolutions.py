"""Graph convolutions against dense matrices written from their formulas, in float64, with all gradients."""

import pytest
import torch
from torch import Tensor, nn

from regard.errors import InputError
from regard.layers.adjacency import spread
from regard.layers.chebyshev import Chebyshev
from regard.layers.gcn import GraphConvolution
from regard.sets import Layout, VectorSets

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


def expected(layer: nn.Module, sets: VectorSets) -> Tensor:
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


LAYERS = {
    "gcn to fewer": lambda: GraphConvolution(WIDTH, 3),
    "gcn to more": lambda: GraphConvolution(WIDTH, 7),
    "gcn": lambda: GraphConvolution(WIDTH),
    **{f"chebyshev {k}": lambda k=k: Chebyshev(WIDTH, 3, terms=k) for k in (1, 2, 3, 4, 6)},
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    nn.init.normal_(layer.bias)
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


def test_bfloat16_is_added_up_in_float32() -> None:
    """The hub of a star adds up 2,000 numbers, of which bfloat16 sums would lose all after some hundreds."""
    edges = torch.stack([torch.zeros(2000, dtype=torch.int64), torch.arange(1, 2001)])
    layout, x = Layout(torch.tensor([0, 2001]), edges=edges), torch.rand(2001, 3).bfloat16()
    exact = spread(layout, x.double(), True)
    torch.testing.assert_close(spread(layout, x, True).double(), exact, rtol=2**-8, atol=0)


@pytest.mark.unpoisoned
@pytest.mark.parametrize("name", ["gcn", "chebyshev 3"])
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
    for layer in (GraphConvolution(WIDTH), Chebyshev(WIDTH)):
        with pytest.raises(InputError, match="the sets have no edges, expected graphs"):
            layer(plain)
    with pytest.raises(InputError, match="Chebyshev has terms 0, expected at least 1"):
        Chebyshev(WIDTH, terms=0)


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # torch looks at all
def test_inside_compiled_code_they_are_the_same() -> None:
    layer, sets = made("chebyshev 3"), batch(*GRAPHS)
    compiled = torch.compile(lambda sets: layer(sets).values * 2, backend="eager")
    torch.testing.assert_close(compiled(sets), layer(sets).values * 2)
