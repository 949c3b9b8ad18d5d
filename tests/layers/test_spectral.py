"""The full spectral filter against functions of dense Laplacians that need no eigenvectors, in float64, with all gradients."""

import pytest
import torch
from scipy.linalg import polar
from torch import Tensor

from regard.errors import InputError
from regard.layers.chebyshev import Chebyshev
from regard.layers.eigenvectors import MOST_NODES
from regard.layers.laplacian import spectra
from regard.layers.spectral import SpectralFilter
from regard.sets import Layout, VectorSets

WIDTH = 4
# A triangle with a tail, an empty set, two parts and a self-loop, a single vector, no edges, a complete graph.
GRAPHS = [
    (4, [(0, 1), (1, 2), (0, 2), (2, 3)]),
    (0, []),
    (5, [(0, 1), (2, 3), (3, 3)]),
    (1, []),
    (3, []),
    (4, [(i, j) for i in range(4) for j in range(i)]),
]


def batch(*graphs: tuple[int, list[tuple[int, int]]]) -> VectorSets:
    torch.manual_seed(len(graphs))
    values = [torch.randn(n, WIDTH, dtype=torch.float64) for n, _ in graphs]
    both = [sorted({*pairs, *((j, i) for i, j in pairs)}) for _, pairs in graphs]
    return VectorSets.pack(values, edges=[torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T for pairs in both])


def laplacian(layout: Layout) -> Tensor:
    assert layout.edges is not None
    adjacency = torch.zeros(layout.total, layout.total, dtype=torch.float64)
    adjacency[layout.edges[0], layout.edges[1]] = 1
    adjacency.fill_diagonal_(0)
    degree = adjacency.sum(1)
    scale = torch.where(degree > 0, degree.clamp(min=1).rsqrt(), 0)
    return torch.eye(layout.total, dtype=torch.float64) - scale[:, None] * adjacency * scale


def responses(terms: int, layout: Layout) -> list[Tensor]:
    """B_k(L) by arithmetic and the size |L - I|, of singular values."""
    L, one = laplacian(layout), torch.eye(layout.total, dtype=torch.float64)
    if terms < 3:
        return [one] if terms == 1 else [one - L / 2, L / 2]
    size = torch.from_numpy(polar((L - one).numpy())[1])
    return [(size + one - L) / 2, one - size, (size - one + L) / 2]


def made(terms: int, width: int = 3) -> SpectralFilter:
    torch.manual_seed(0)
    layer = SpectralFilter(WIDTH, width, terms).double()
    torch.nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_values_and_gradients_are_those_of_functions_of_the_laplacian(terms: int) -> None:
    layer, sets = made(terms), batch(*GRAPHS)
    x = sets.values.clone().requires_grad_()
    matrices = layer.linear.weight.split(layer.width)
    wanted = sum((r @ x @ w.T for r, w in zip(responses(terms, sets.layout), matrices, strict=True)), layer.bias)
    found, above, inputs = layer(sets.with_values(x)).values, torch.randn_like(wanted), [x, *layer.parameters()]
    torch.testing.assert_close(
        found, wanted, rtol=1e-12, atol=1e-12
    )  # A square root of a singular matrix has half the digits.
    ours, theirs = (torch.autograd.grad((out * above).sum(), inputs) for out in (found, wanted))
    for gradient, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-12, atol=1e-12)


def test_a_straight_response_is_a_chebyshev_filter_of_two_terms() -> None:
    layer, peer, sets = made(2), Chebyshev(WIDTH, 3, terms=2).double(), batch(*GRAPHS)
    low, high = layer.linear.weight.split(layer.width)
    peer.linear.weight.data = torch.cat([(low + high) / 2, (high - low) / 2])
    peer.bias.data = layer.bias.data
    torch.testing.assert_close(layer(sets).values, peer(sets).values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("terms", [1, 4, 7])
def test_a_graph_gives_what_it_gives_alone_and_nan_stays_in_it(terms: int) -> None:
    layer, sets = made(terms), batch(*GRAPHS)
    together = layer(sets)
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, layer(alone).values, rtol=1e-12, atol=1e-12)
    spoiled = sets.values.clone()
    spoiled[0] = torch.nan
    assert layer(sets.with_values(spoiled)).values[4:].isfinite().all()


def test_the_order_of_a_graph_means_nothing_even_where_eigenvalues_repeat() -> None:
    """A star has the eigenvalue 1 n - 2 times, of whose eigenvectors any basis may be found."""
    star = (7, [(0, n) for n in range(1, 7)])
    layer, sets, order = made(4), batch(star), torch.tensor([3, 0, 4, 6, 1, 2, 5])
    assert sets.edges is not None
    turned = VectorSets.pack([sets.values[order]], edges=[order.argsort()[sets.edges]])
    torch.testing.assert_close(layer(turned).values, layer(sets).values[order], rtol=1e-12, atol=1e-12)


def test_one_layer_reaches_the_whole_graph() -> None:
    path = batch((30, [(n, n + 1) for n in range(29)]))
    x = path.values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(made(4)(path.with_values(x)).values[0].sum(), [x])
    assert (gradient.abs().sum(1) > 0).all()


def test_spectra_are_computed_once_and_are_those_of_the_laplacian() -> None:
    sets = batch(*GRAPHS)
    first = spectra(sets.layout)
    assert spectra(sets.with_values(sets.values * 2).layout) is first
    dense = laplacian(sets.layout)
    assert sorted(row for group in first for row in group.rows.flatten().tolist()) == list(range(sets.layout.total))
    for group in first:
        for rows, values, vectors in zip(*group, strict=True):
            torch.testing.assert_close(
                vectors @ values.diag() @ vectors.T, dense[rows][:, rows], rtol=1e-12, atol=1e-12
            )
    # As many zero eigenvalues as parts with edges, and one for each vector without any at 1, as in a Chebyshev filter.
    five = next(group.values[0] for group in first if group.rows.shape[1] == 5)
    assert [round(abs(value), 9) for value in five.tolist()] == [0, 0, 1, 2, 2]


def test_what_cannot_be_is_refused() -> None:
    layer = SpectralFilter(WIDTH)
    with pytest.raises(InputError, match="the sets have no edges, expected graphs"):
        layer(VectorSets.pack([torch.ones(2, WIDTH)]))
    one_way = VectorSets.pack(
        [torch.ones(1, WIDTH), torch.ones(2, WIDTH)], edges=[torch.zeros(2, 0).long(), torch.tensor([[1], [0]])]
    )
    with pytest.raises(
        InputError, match="set 1 has an edge from row 2 to row 1 and none back, expected each edge both ways"
    ):
        layer(one_way)
    many = VectorSets.pack([torch.ones(50_000, WIDTH)], edges=[torch.zeros(2, 0).long()])
    with pytest.raises(
        InputError, match=rf"set 0 has 50,000 vectors, whose eigenvectors take 20\.0 GB .* at most {MOST_NODES:,}"
    ):
        layer(many)
    with pytest.raises(InputError, match="SpectralFilter has terms 0, expected at least 1"):
        SpectralFilter(WIDTH, terms=0)


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # torch looks at all
def test_inside_compiled_code_it_is_the_same() -> None:
    layer, sets = made(3), batch(*GRAPHS)
    compiled = torch.compile(lambda sets: layer(sets).values * 2, backend="eager")
    torch.testing.assert_close(compiled(sets), layer(sets).values * 2)
