"""`edges` where the catalogue does not lead it: graphs of uneven degrees, many heads, odd widths, threads and forks."""

import multiprocessing
import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.measure import Contestant, peak_memory
from regard.attention.dropout import Dropout
from regard.attention.executors.edges import executor as edges
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import EdgeBias, Shaw
from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax
from regard.attention.spec.patterns import Causal, Edges, Window
from regard.attention.spec.scores import Additive, Dot, Separable
from regard.attention.verb import attend
from regard.sets import Layout

from . import checks
from .catalogue import Case, Inputs

run = checks.executor("edges")
SCORES = (Dot(), Separable(), Separable(slope=-0.5), Additive(), Additive("leaky_relu"))


def graph(n: int, e: int, seed: int = 0) -> Layout:
    """A graph whose degrees are uneven on both sides, its edges in no order; the last nodes have none."""
    generator = torch.Generator().manual_seed(seed)
    ends = (torch.rand(2, e, generator=generator) ** 3 * (n - 3)).long()
    codes = (ends[0] * n + ends[1]).unique()
    codes = codes[torch.randperm(len(codes), generator=generator)]
    values = torch.randn(len(codes), 2, generator=generator, dtype=torch.float64)
    return Layout(torch.tensor([0, n]), edges=torch.stack([codes // n, codes % n]), edge_values=values)


def inputs(
    attention: Attention, layout: Layout, heads: int, d: int, e: int, dtype: torch.dtype = torch.float64
) -> Inputs:
    generator = torch.Generator().manual_seed(1)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    q, k, v = leaf(layout.total, heads, d), leaf(layout.total, heads, d), leaf(layout.total, heads, e)
    parameters = {name: leaf(*shape) for name, shape in attention.parameters(heads, d, e).items()}
    return Inputs(layout, layout, q, k, v, parameters)


def gathered(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """The same by plain operators, as on other devices."""
    heads, d, e = x.q.shape[1], x.q.shape[2], x.v.shape[2]
    problem = Problem(attention, x.layout, x.key_layout, heads, heads, d, e, x.q.dtype, dropout)
    return edges._gather(problem, Tensors(x.q, x.k, x.v, x.parameters))


@pytest.mark.parametrize("dropout", [None, Dropout(0.3, seed=99)], ids=["whole", "dropped"])
@pytest.mark.parametrize("normalizer", [Softmax(), Relu(), Sigmoid()], ids=repr)
@pytest.mark.parametrize("score", SCORES, ids=repr)
def test_kernels_and_plain_operators_equal_the_meaning_on_an_uneven_graph(score, normalizer, dropout):
    attention = Attention(score=score, pattern=Edges(), normalizer=normalizer)
    x = inputs(attention, graph(200, 8_000), heads=4, d=8, e=8)
    true = checks.results(checks.the_meaning, attention, x, dropout)
    for each in (run, gathered):
        checks.close(checks.results(each, attention, x, dropout), true, 1e-9)


@pytest.mark.parametrize(
    ("heads", "d", "e"), [(1, 1, 1), (3, 7, 5), (8, 8, 8), (17, 2, 3), (2, 512, 130), (16, 4, 200)]
)
@pytest.mark.parametrize("score", [Dot(), Separable(), Additive()], ids=repr)
def test_any_heads_and_widths(score, heads, d, e):
    attention = Attention(score=score, pattern=Edges(), bias=EdgeBias(width=2))
    x = inputs(attention, graph(60, 500), heads, d, e)
    checks.close(checks.results(run, attention, x), checks.results(checks.the_meaning, attention, x), 1e-9)


@pytest.mark.rare
@pytest.mark.parametrize("score", [Dot(), Separable(), Additive("leaky_relu")], ids=repr)
def test_equals_plain_operators_on_a_million_edges(score):
    """In float64, and not the meaning, which would hold all 138 million pairs; smaller graphs hold these operators to it."""
    attention = Attention(score=score, pattern=Edges())
    layout = graph(11_758, 1_100_000)
    exact, low = (inputs(attention, layout, 2, 8, 8, dtype) for dtype in (torch.float64, torch.float32))
    true, plain = checks.results(gathered, attention, exact), checks.results(gathered, attention, low)
    found = checks.results(run, attention, low)
    for name in true:
        most = checks.FACTOR * checks.distance(plain[name], true[name])
        assert checks.distance(found[name], true[name]) <= most, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype):
    attention = Attention(pattern=Edges())
    x = inputs(attention, graph(60, 3000), 2, 8, 8, dtype)
    exact = x.but(**{name: leaf.double() for name, leaf in x.leaves.items()})
    found, true = run(attention, x, None), checks.the_meaning(attention, exact, None)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), true, rtol=torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps)


def test_keys_that_are_the_values_have_both_gradients():
    attention = Attention(score=Additive("leaky_relu"), pattern=Edges())
    x = inputs(attention, graph(60, 500), 2, 8, 8)
    both = []
    for one in (run, checks.the_meaning):
        q, k = x.q.detach().requires_grad_(), x.k.detach().requires_grad_()
        out = one(attention, replace(x, q=q, k=k, v=k), None)
        both.append(torch.autograd.grad(out, (q, k), checks.upstream(out)))
    torch.testing.assert_close(*both, rtol=0, atol=1e-10)


def test_inputs_need_not_lie_in_order():
    attention = Attention(pattern=Edges())
    x = inputs(attention, graph(60, 500), 2, 8, 8)
    strided = replace(x, **{name: leaf.mT.contiguous().mT for name, leaf in zip("qkv", (x.q, x.k, x.v), strict=True)})
    assert not strided.q.is_contiguous()
    assert torch.equal(run(attention, x, None), run(attention, strided, None))


def test_nodes_without_edges_and_graphs_without_nodes():
    for n, ends in ((0, []), (3, []), (3, [[2, 0]])):
        layout = Layout(torch.tensor([0, n]), edges=torch.tensor(ends, dtype=torch.int64).view(-1, 2).T.contiguous())
        for score in SCORES:
            attention = Attention(score=score, pattern=Edges())
            found = checks.results(run, attention, inputs(attention, layout, 2, 4, 4))
            assert found["out"].shape == (n, 2, 4)
            assert all(x.isfinite().all() for x in found.values())
            assert (found["out"][:2] == 0).all()


def test_compressed_rows_are_the_pairs_and_their_transpose():
    from regard.attention.executors.edges.compressed import Compressed

    layout = graph(200, 3000)
    assert layout.edges is not None
    attention = Attention(pattern=Edges())
    problem = Problem(attention, layout, layout, 1, 1, 4, 4, torch.float32)
    rows = edges._compressed(problem, Edges())
    pairs = {*zip(*layout.edges.tolist(), strict=True)}
    assert {*zip(rows.query_rows().tolist(), rows.columns.tolist(), strict=True)} == pairs
    other = Compressed.of_pairs(*problem.intervals(Edges()).pairs(), layout.total, layout.total, 1)
    assert torch.equal(other.offsets, rows.offsets)
    assert torch.equal(other.columns, rows.columns)
    turned, places = rows.transposed()
    keys = turned.query_rows()
    assert torch.equal(rows.columns[places.long()].long(), keys)
    assert torch.equal(rows.query_rows()[places.long()], turned.columns.long())
    assert (places.diff()[keys.diff() == 0] > 0).all(), "the queries of a key are in order"


def test_parts_have_about_as_many_pairs_whatever_the_threads(two_threads):
    layout = graph(5000, 200_000)
    problem = Problem(Attention(pattern=Edges()), layout, layout, 1, 1, 4, 4, torch.float32)
    rows = edges._compressed(problem, Edges())
    bounds = rows.bounds(128)
    most = int(rows.offsets.diff().max())
    sizes = rows.offsets[torch.tensor(bounds)].diff()
    assert len(bounds) == 33
    assert int(sizes.max()) <= rows.pairs // 32 + most
    torch.set_num_threads(1)
    assert rows.bounds(128) == bounds


@pytest.mark.unpoisoned
@pytest.mark.parametrize("score", SCORES, ids=repr)
def test_any_number_of_threads_gives_the_same_bits(score, two_threads):
    attention = Attention(score=score, pattern=Edges())
    x = inputs(attention, graph(2000, 60_000), 4, 32, 32, torch.float32)
    found = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        found.append(checks.results(run, attention, x, Dropout(0.2, seed=3)))
    # Separable and additive scores are also summed by torch, whose order may follow the number of threads.
    assert torch.equal(found[0]["out"], found[1]["out"])
    for name in found[1]:
        assert torch.equal(found[1][name], found[2][name]), name
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-5, atol=1e-4)


def _whole(results: list[float]) -> None:
    attention = Attention(pattern=Edges())
    x = inputs(attention, graph(500, 5000), 2, 16, 16, torch.float32)
    results.append(float(sum(each.sum() for each in checks.results(run, attention, x).values())))


def _in_child(queue: "multiprocessing.Queue[float]") -> None:
    results: list[float] = []
    _whole(results)
    queue.put(results[0])


@pytest.mark.unpoisoned
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_goes_on_after_a_kernel(two_threads):
    here: list[float] = []
    _whole(here)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    # torch's own threads do not survive a fork, so a child has one; see `torch.utils.data`.
    child = context.Process(target=lambda: (torch.set_num_threads(1), _in_child(queue)))
    child.start()
    found = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    assert found == pytest.approx(here[0], rel=1e-4)


@pytest.mark.unpoisoned
def test_three_threads_at_once(two_threads):
    alone: list[float] = []
    _whole(alone)
    together: list[float] = []
    threads = [threading.Thread(target=_whole, args=(together,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == pytest.approx(alone * 3, rel=1e-4)


def test_work_grows_with_the_pairs():
    def work(e: int) -> float:
        problem = Problem(Attention(pattern=Edges()), graph(300, e), graph(300, e), 2, 2, 8, 8, torch.float32)
        return edges.work(problem)["walked numbers"] / problem.pairs

    assert work(1000) == work(30_000)


def train(attention: Attention, layout: Layout, heads: int, d: int) -> tuple[int, int]:
    """Bytes that a forward and a backward pass allocated, and those foreseen."""
    x = inputs(attention, layout, heads, d, d, torch.float32)
    problem = Problem(attention, layout, layout, heads, heads, d, d, torch.float32)
    leaves = list(x.leaves.values())

    def forward() -> Tensor:
        return attend(attention, x.q, x.k, x.v, layout, None, x.parameters, executor="edges")

    forward()
    return peak_memory(Contestant(forward, leaves)), edges.memory(problem)


@pytest.mark.unpoisoned
@pytest.mark.parametrize("pattern", [Edges(), Window(8, 8), Causal()], ids=repr)
@pytest.mark.parametrize("score", [Dot(), Separable(), Additive()], ids=repr)
def test_memory_is_foreseen(score, pattern):
    layout = graph(6000, 60_000)
    if isinstance(pattern, Causal):
        layout = Layout.of_lengths([60] * 100)
    for heads, d in ((4, 32), (8, 8), (3, 20)):
        taken, foreseen = train(Attention(score=score, pattern=pattern), layout, heads, d)
        assert 0.8 * taken <= foreseen <= 1.2 * taken, f"{foreseen:,} bytes were foreseen, {taken:,} taken"


@pytest.mark.unpoisoned
@pytest.mark.parametrize("bias", [EdgeBias(width=2), Shaw(radius=4)], ids=repr)
def test_memory_of_biases_is_foreseen(bias):
    taken, foreseen = train(Attention(pattern=Edges(), bias=bias), graph(3000, 60_000), 4, 16)
    assert 0.8 * taken <= foreseen <= 1.2 * taken, f"{foreseen:,} bytes were foreseen, {taken:,} taken"


def test_a_score_at_the_kink_has_the_gradient_of_the_meaning():
    attention = Attention(score=Additive("leaky_relu"), pattern=Edges())
    x = inputs(attention, graph(30, 200), 2, 8, 8)
    x = x.but(k=-x.q.detach()[:1].expand_as(x.q), q=x.q.detach()[:1].expand_as(x.q))
    checks.close(checks.results(run, attention, x), checks.results(checks.the_meaning, attention, x), 1e-10)


def test_the_catalogue_is_walked():
    """What the kernels know is not computed by plain operators unawares."""
    from .catalogue import CATALOGUE

    def walked(case: Case) -> bool:
        layout, key_layout = case.layouts((3,))
        sizes = (case.heads, case.key_heads, case.d, case.e)
        return edges._walks_rows(Problem(case.attention, layout, key_layout, *sizes, torch.float32))

    assert all(walked(case) for case in CATALOGUE if isinstance(case.attention.score, Dot | Separable | Additive))
