"""Plans: what they choose and say, what they refuse, and that what a layout keeps goes when it goes."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from regard import Attention, InputError, Layout, attend, attention_weights, plan
from regard.attention import calibration, costs
from regard.attention.dropout import Dropout
from regard.attention.executors import dense
from regard.attention.planning import EXECUTORS
from regard.attention.problem import USUAL, Problem
from regard.attention.spec.biases import ALiBi, EdgeBias, Shaw
from regard.attention.spec.normalizers import Normalizer
from regard.attention.spec.patterns import Causal, Edges, First, Pattern, Window
from regard.attention.spec.scores import Additive, Dot, Separable

from .catalogue import CATALOGUE, SHORT
from .checks import allowed_pairs

SENTENCES = Layout.of_lengths([12, 7, 30, 18, 5, 22, 9, 14] * 8)


def sparse_graph(n: int = 3000, degree: int = 4) -> Layout:
    rows = torch.arange(n).repeat_interleave(degree)
    keys = (rows + torch.arange(n * degree) % degree * 37) % n
    return Layout(torch.tensor([0, n]), edges=torch.stack([rows, keys]))


def serving(attention: Attention, layout: Layout, key_layout: Layout | None = None, **options: float) -> list[str]:
    """The executors that do not refuse."""
    chosen = plan(attention, layout, d=4, key_layout=key_layout, **options)
    return [name for name in EXECUTORS if name not in chosen.refusals]


def test_edges_are_for_sparse_graphs_rather_than_for_short_sentences():
    def edges_over_dense(attention: Attention, layout: Layout) -> float:
        seconds = plan(attention, layout, heads=8, d=8).seconds
        return seconds["edges"] / seconds["dense"]

    for score in (Dot(), Additive()):
        graph = edges_over_dense(Attention(score=score, pattern=Edges()), sparse_graph())
        assert graph < 0.5
        assert graph < 0.1 * edges_over_dense(Attention(score=score), SENTENCES)


def test_the_report():
    layout = Layout.of_lengths([100, 200])
    chosen = plan(Attention(pattern=Window(8, 8)), layout, heads=4, d=16, dropout=0.1)
    pairs = 4 * sum(n * 17 - 2 * 36 for n in (100, 200))
    assert chosen.pairs == pairs
    assert chosen.flops == pairs * 2 * 32
    assert chosen.bytes == 300 * 4 * 16 * 4 * 4
    report = str(chosen)
    assert report.splitlines()[0] == "Attention(pattern=Window(left=8, right=8))"
    for line in (
        f"executor  {chosen.executor}",
        f"pairs     {pairs:,} ({pairs / (4 * 50_000):.2%} of all)",
        f"FLOPs     {chosen.flops:,} forward",
        f"bytes     {chosen.bytes:,} in and out",
        "sets      2, 300 vectors, 4 heads of 16",
    ):
        assert line in report.splitlines()
    others = set(EXECUTORS) - {chosen.executor} - set(chosen.refusals)
    words = {name: "over" if name in chosen.bounded else "about" for name in others}
    assert all(f"slower    {name}: {words[name]}" in report for name in others)


def test_what_cannot_be_the_quickest_is_not_cut_up(monkeypatch):
    """A first step of `blocks` takes longer than all that `dense` has to do for a few short sets."""
    monkeypatch.setenv("REGARD_CALIBRATE", "0")
    layout = Layout.of_lengths([3, 5])
    small = plan(Attention(), layout, heads=4, d=16)
    assert small.executor == "dense"
    assert "blocks" in small.bounded
    assert small.seconds["blocks"] == costs.least("blocks") > small.seconds["dense"]
    assert not any("tile" in str(key) for key in layout.derived)


@pytest.mark.parametrize("score", [Separable(), Additive("leaky_relu"), Dot()], ids=str)
def test_what_saves_less_than_cutting_up_takes_is_not_cut_up(score, monkeypatch):
    """All pairs of many small sets along edges take `edges` less time than telling what others would have to do."""
    monkeypatch.setenv("REGARD_CALIBRATE", "0")
    sets, size = 125, 12
    ring = torch.arange(size)
    each = torch.stack([ring, (ring + 1) % size])
    # Every other set is longer by one vector, so that none is a rectangle with the next.
    edges = torch.cat([each + n * size + n // 2 for n in range(2 * sets)], dim=1)
    lengths = torch.tensor([size, size + 1] * sets)
    layout = Layout(torch.nn.functional.pad(lengths.cumsum(0), (1, 0)), edges=edges)
    chosen = plan(Attention(score=score, pattern=Edges()), layout, heads=8, d=8)
    assert chosen.executor == "edges"
    assert chosen.pairs == 8 * edges.shape[1]
    assert set(chosen.seconds) - {"edges"} == chosen.bounded
    assert not any(word in str(key) for key in layout.derived for word in ("tile batches", "rectangles", "fused"))


@pytest.mark.parametrize("case", [case for case in CATALOGUE if isinstance(case.attention, Attention)][::7], ids=str)
@pytest.mark.parametrize("name", [name for name, module in EXECUTORS.items() if hasattr(module, "at_least")])
def test_what_is_certain_is_no_more_than_the_work(case, name):
    x = case.inputs(SHORT)
    sizes = (case.heads, case.key_heads, case.d, case.e)
    problem = Problem(case.attention.for_heads(case.heads), x.layout, x.key_layout, *sizes, torch.float32)
    if EXECUTORS[name].why_not(problem) is not None:
        return
    certain, work = EXECUTORS[name].at_least(problem), EXECUTORS[name].work(problem)
    assert set(certain) <= set(work)
    assert all(amount <= work[kind] for kind, amount in certain.items())


def test_a_bound_is_looked_at_where_this_machine_makes_it_the_least(monkeypatch):
    """`fused` takes a thousand times as long as on the machine of the class, so that `blocks` may be the quickest."""
    attention, layout = Attention(pattern=Window(100, 100)), Layout.of_lengths([3000])
    monkeypatch.setenv("REGARD_CALIBRATE", "0")
    before = plan(attention, layout, heads=8, d=64)
    assert before.executor == "fused"
    assert "blocks" in before.bounded
    made_up = calibration.Calibration("made up", {"fused": 1000.0, "edges": 1000.0, "dense": 1000.0})
    monkeypatch.setattr(calibration, "current", lambda executors: made_up)
    after = plan(attention, Layout.of_lengths([3000]), heads=8, d=64)
    assert after.executor == "blocks"
    assert "blocks" not in after.bounded
    assert after.seconds["blocks"] > before.seconds["blocks"]


@pytest.mark.parametrize(
    ("dtype", "there", "noted"),
    [
        (torch.float32, {"architecture": "x86_64"}, False),
        (torch.bfloat16, {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, True),
        (torch.bfloat16, {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, False),
        (torch.bfloat16, {"architecture": "aarch64"}, False),
        (torch.float16, {"architecture": "x86_64", "avx512_bf16": True}, True),
    ],
)
def test_types_that_the_processor_has_no_instructions_for_are_noted(dtype, there, noted, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: there)
    report = str(plan(Attention(), Layout.of_lengths([9]), dtype=dtype))
    name = str(dtype).removeprefix("torch.")
    assert (f"note      this processor has no instructions for {name}: float32 is quicker" in report) == noted


def test_the_report_of_nothing():
    assert plan(Attention(), Layout.of_lengths([])).pairs == 0
    assert "pairs     0\n" in str(plan(Attention(), Layout.of_lengths([0, 0])))


def test_a_matrix_too_large_is_refused_with_its_size():
    long = Layout.of_lengths([30_000])
    chosen = plan(Attention(pattern=Window(16, 16)), long, heads=4, d=32)
    assert chosen.executor != "dense"
    assert "the largest set's 900,000,000 pairs would take 13.4 GiB at once" in chosen.refusals["dense"]
    assert "refused   dense: the largest set's" in str(chosen)
    with pytest.raises(InputError, match=r"the executor 'dense' refuses .*13\.4 GiB"):
        plan(Attention(pattern=Window(16, 16)), long, heads=4, d=32, executor="dense")
    assert "dense" not in plan(Attention(), long, heads=4, d=32).refusals


def test_a_pattern_that_only_allows_is_said_to_be_tried():
    @dataclass(frozen=True, repr=False)
    class Even(Pattern):
        def allows(self, i, j, pairs=None):
            return (i + j) % 2 == 0

    layout = Layout.of_lengths([10, 3])
    for pattern in (Even(), ~Even() | Causal()):
        assert "tried     every pair" in str(plan(Attention(pattern=pattern), layout))
    assert "tried" not in str(plan(Attention(pattern=~Causal()), layout))
    assert plan(Attention(pattern=Even()), layout, heads=2).pairs == 2 * (50 + 5)
    x = torch.randn(13, 1, 4, generator=torch.Generator().manual_seed(0))
    first, *others = serving(Attention(pattern=Even()), layout)
    expected = attend(Attention(pattern=Even()), x, x, x, layout, executor=first)
    for name in others:
        torch.testing.assert_close(attend(Attention(pattern=Even()), x, x, x, layout, executor=name), expected)


@pytest.mark.parametrize("case", CATALOGUE, ids=str)
def test_pairs_are_counted_as_the_meaning_allows(case):
    x = case.inputs(SHORT)
    chosen = plan(case.attention, x.layout, heads=case.heads, d=case.d, key_layout=x.key_layout)
    assert chosen.pairs == int(allowed_pairs(case, x).sum())


@pytest.fixture
def refuse(monkeypatch) -> Callable[[str], None]:
    """Lets an executor refuse whatever it is asked."""
    return lambda name: monkeypatch.setattr(EXECUTORS[name], "why_not", lambda problem: f"{name} is closed")


def test_naming_an_executor_never_falls_back(refuse):
    x = torch.ones(3, 1, 4)
    last, *others = serving(Attention(), Layout.of_lengths([3]))
    for name in others:
        refuse(name)
        with pytest.raises(InputError, match=f"the executor '{name}' refuses Attention\\(\\): {name} is closed"):
            attend(Attention(), x, x, x, Layout.of_lengths([3]), executor=name)
    chosen = plan(Attention(), Layout.of_lengths([3]))
    assert chosen.executor == last
    assert set(chosen.refusals) == set(EXECUTORS) - {last}
    refuse(last)
    with pytest.raises(InputError, match=f"every executor refuses Attention\\(\\): .*{last} is closed"):
        attend(Attention(), x, x, x, Layout.of_lengths([3]))


def test_the_executor_that_was_named_runs(monkeypatch):
    ran = []
    for name, module in EXECUTORS.items():
        run = module.run
        monkeypatch.setattr(module, "run", lambda *a, name=name, run=run: ran.append(name) or run(*a))
    x = torch.ones(3, 1, 4)
    names = serving(Attention(), Layout.of_lengths([3]))
    for name in reversed(names):
        attend(Attention(), x, x, x, Layout.of_lengths([3]), executor=name)
    assert ran == names[::-1]


X = torch.ones(5, 2, 4)
PLAIN = Layout.of_lengths([2, 3])
PLACED = Layout(PLAIN.offsets, coords=torch.zeros(5, 2))
JOINED = Layout(PLAIN.offsets, edges=torch.tensor([[0], [1]]))
LABELED = Layout(PLAIN.offsets, edges=torch.tensor([[0], [1]]), edge_values=torch.ones(1, 3))


@pytest.mark.parametrize(
    ("attention", "changed", "sentence"),
    [
        (Attention(pattern=Edges()), {}, "the sets have no edges, expected some for"),
        (Attention(pattern=~Edges() & Causal()), {}, "the sets have no edges"),
        (Attention(pattern=(Causal(), Edges())), {}, "the sets have no edges"),
        (Attention(pattern=Edges()), {"layout": JOINED, "key_layout": PLAIN}, "expected queries and keys of the same"),
        (
            Attention(pattern=(Causal(), Causal(), Causal())),
            {},
            "there are 3 patterns, expected one, or one for each of 2",
        ),
        (Attention(bias=ALiBi(coordinates=True)), {}, "expected coordinates"),
        (Attention(bias=Shaw(2, coordinates=1)), {"layout": PLACED}, "expected 1 coordinates (it has 2)"),
        (Attention(bias=Shaw(2, coordinates=2)), {"layout": PLACED, "key_layout": PLAIN}, "expected 2 coordinates"),
        (Attention(bias=EdgeBias(3)), {"layout": JOINED}, "expected 3 values on each edge (it has 0)"),
        (Attention(bias=EdgeBias(2)), {"layout": LABELED}, "expected 2 values on each edge (it has 3)"),
        (Attention(bias=EdgeBias(3)), {"layout": LABELED, "key_layout": PLAIN}, "queries and keys together lack"),
        (
            Attention(score=Additive()),
            {"parameters": {}},
            "the parameter 'score_weight' of Attention(score=Additive()) is missing",
        ),
        (
            Attention(score=Additive()),
            {"parameters": {"score_weight": torch.ones(2, 5)}},
            "has shape [2, 5], expected shape [2, 4]",
        ),
        (Attention(), {"q": X[:4]}, "q has shape [4, 2, 4], expected [5, heads, width]"),
        (Attention(), {"v": X[:, 0]}, "v has shape [5, 4]"),
        (Attention(), {"k": X[..., :3]}, "queries have width 4 and keys 3"),
        (Attention(), {"v": X[:, :1]}, "queries, keys and values have 2, 2 and 1 heads"),
        (Attention(), {"q": X[:, :1]}, "queries, keys and values have 1, 2 and 2 heads"),
        (Attention(), {"k": X.double()}, "are of types torch.float32, torch.float64 and torch.float32"),
        (Attention(), {"key_layout": Layout.of_lengths([5])}, "there are 2 sets of queries and 1 of keys"),
        (Attention(), {"executor": "dens"}, "there is no executor 'dens': did you mean 'dense'?"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(attention, changed, sentence):
    learned = {name: torch.ones(shape) for name, shape in attention.parameters(2, 4).items()}
    given = {"q": X, "k": X, "v": X, "layout": PLAIN, "parameters": learned} | changed
    with pytest.raises(InputError) as refusal:
        attend(attention, **given)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@dataclass(frozen=True, repr=False)
class OfPairs(Normalizer):
    """A normalizer for sets of two vectors alone."""

    def needs(self, layout, key_layout):
        return None if bool((layout.lengths == 2).all()) else f"the sets have {layout.longest} vectors, expected 2"

    def weights(self, s, rows):
        return s.sigmoid() / rows.count(s)


def test_any_part_says_what_it_needs_of_a_layout():
    attention, two = Attention(normalizer=OfPairs()), Layout.of_lengths([2, 2])
    assert attend(attention, X[:4], X[:4], X[:4], two).shape == (4, 2, 4)
    for call in (lambda: attend(attention, X, X, X, PLAIN), lambda: attention_weights(attention, X, X, PLAIN)):
        with pytest.raises(InputError, match="the sets have 3 vectors, expected 2"):
            call()


@pytest.mark.parametrize("rows", [[5], [-1], [True, False], [0.5]])
def test_weights_of_rows_that_are_not_there_are_refused(rows):
    with pytest.raises(InputError, match="expected rows between 0 and 4"):
        attention_weights(Attention(), X, X, PLAIN, rows=rows)


def test_weights_need_not_know_the_width_of_the_values():
    bias = Shaw(radius=1)
    parameters = {"bias_keys": torch.ones(1, 3, 4), "bias_values": torch.ones(1, 3, 7)}
    weights = attention_weights(Attention(bias=bias), X, X, PLAIN, None, parameters)
    assert weights.dense().shape == (2, 5, 5)
    assert attention_weights(Attention(), X, X, PLAIN, rows=[]).values.shape == (0, 2)
    with pytest.raises(InputError, match=r"'bias_values' .* expected shape \[1, 3, 'any'\]"):
        attention_weights(Attention(bias=bias), X, X, PLAIN, None, parameters | {"bias_values": torch.ones(3, 7)})


def test_weights_of_some_rows_touch_no_others():
    """Of a million vectors, two rows: nothing grows with the pairs of the rest."""
    n = 1_000_000
    x = torch.ones(n, 1, 1)
    weights = attention_weights(
        Attention(pattern=Window(1, 1) | First(1)), x, x, Layout.of_lengths([n]), rows=[9, 500_000]
    )
    assert weights.key.tolist() == [0, 8, 9, 10, 0, 499_999, 500_000, 500_001]


def test_a_layout_shares_its_plan_between_layers(monkeypatch):
    counted = []
    work = dense.work
    monkeypatch.setattr(dense, "work", lambda problem: counted.append(1) or work(problem))
    layout = Layout.of_lengths([2, 3])
    for _ in range(3):
        attend(Attention(), X, X, X, layout)
    assert len(counted) == 1
    attend(Attention(pattern=Causal()), X, X, X, layout)
    assert len(counted) == 2


def test_a_layout_goes_with_its_last_user():
    """What is kept refers to no layout, not even between layouts that attend to each other."""
    gc.collect()
    gc.disable()
    try:
        layouts = [
            Layout.of_lengths([2, 3]),
            Layout.of_lengths([1, 4]),
            graph_of_two_edges(),
            Layout.of_lengths([5, 0]),
        ]
        gone = [weakref.ref(layout) for layout in layouts]
        a, b, graph, c = layouts
        for first, second in ((a, b), (b, a), (a, a), (c, a), (graph, graph)):
            for attention in (Attention(), Attention(pattern=Causal() | First(1)), Attention(bias=ALiBi())):
                for name in serving(attention, first, second, heads=2, dropout=0.5):
                    attend(attention, X, X, X, first, second, dropout=Dropout(0.5), executor=name)
                attention_weights(attention, X, X, first, second)
        attend(Attention(pattern=Edges()), X, X, X, graph)
        del layouts, a, b, c, graph, first, second
        assert [layout() for layout in gone] == [None] * 4
    finally:
        gc.enable()


def graph_of_two_edges() -> Layout:
    return Layout(PLAIN.offsets, edges=torch.tensor([[0, 1], [1, 0]]))


def test_other_keys_are_not_taken_for_those_of_before():
    """What is kept for one layout of keys is not given to another one that came to lie in its place."""
    q = torch.ones(2, 1, 1)
    layout = Layout.of_lengths([1, 1])
    for lengths in ([1, 3], [3, 1], [2, 2], [0, 4]):
        v = torch.arange(4.0)[:, None, None]
        out = attend(Attention(), q, torch.zeros(4, 1, 1), v, layout, Layout.of_lengths(lengths))
        means = [part.mean().nan_to_num(0).item() for part in v.flatten().split(lengths)]
        assert out.flatten().tolist() == pytest.approx(means)


def test_sets_are_cut_into_rectangles_with_little_padding():
    lengths = [1, 2, 3, 60, 61, 62, 200, 3, 2, 1]
    layout = Layout.of_lengths(lengths)
    rectangles = dense._rectangles(layout, layout, USUAL.padding)
    padded = sum(r.query_rows.numel() * r.key_rows.shape[1] for r in rectangles.each)
    assert padded < 1.1 * sum(n * n for n in lengths)
    assert torch.equal(rectangles.query_order[rectangles.back], torch.arange(layout.total))
    equal = dense._rectangles(Layout.of_lengths([4, 4]), Layout.of_lengths([4, 4]), USUAL.padding)
    assert equal.in_order
    assert len(equal.each) == 1


@pytest.mark.parametrize("length", [17, 50, 128, 512])
def test_numbers_of_16_bits_are_not_for_the_operator_of_torch(length: int) -> None:
    layout = Layout.of_lengths([length] * 64)
    assert plan(Attention(), layout, heads=4, d=24, dtype=torch.bfloat16).executor == "fused"
