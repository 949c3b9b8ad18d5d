"""`blocks` where the catalogue's short sets do not lead it: many tiles, views at even distances, cut tiles, bounded memory."""

import pytest
import torch
from torch import Tensor

from benchmarks.measure import Contestant, peak_memory
from regard import Attention, Layout, attend
from regard.attention.dropout import Dropout
from regard.attention.executors.blocks import executor as blocks
from regard.attention.executors.tiled.tile_batch import Keys
from regard.attention.executors.tiled.tile_batches import TileBatches, tile_batches
from regard.attention.pairs.pairs import Pairs, Rows
from regard.attention.problem import USUAL, Problem
from regard.attention.spec.biases import T5, ALiBi, EdgeBias, Shaw
from regard.attention.spec.normalizers import Sigmoid
from regard.attention.spec.patterns import Causal, Edges, Everyone, First, Near, Pattern, RandomBlocks, Stride, Window
from regard.attention.spec.scores import Additive, Dot

from . import checks
from .catalogue import EDGE_WIDTH, Case, Inputs

SIZES = (300, 5, 260, 0, 260)
PATTERNS = (
    Window(20, 9),
    Window(20, 9) | First(3),
    Window(0, 300),
    Causal(),
    Everyone(),
    Stride(7) & Causal(),
    ~Window(5, 5),
    Edges(),
    (Window(20, 9), Causal()),
)
run = checks.executor("blocks")


def cut(layout: Layout, pattern: Pattern, pairs: int = 1 << 14) -> tuple[TileBatches, Keys]:
    intervals = pattern.keys(Rows(torch.arange(layout.total), layout, layout))
    return tile_batches(layout, intervals, 64, pairs=pairs, few=4, most=1 << 12), Keys.of(intervals)


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if isinstance(p, Pattern) and not p.reads_edges], ids=repr)
def test_tile_batches_hold_every_row_once_with_all_its_keys(pattern):
    layout = Layout.of_lengths(SIZES)
    each, keys = cut(layout, pattern)
    every = torch.arange(layout.total)
    pairs = Pairs(layout, layout, every[:, None], every)
    allowed = pattern.allows(pairs.i, pairs.j, pairs) & (layout.set_of_row[:, None] == layout.set_of_row)
    found, seen = torch.zeros_like(allowed), torch.zeros(layout.total)
    row_numbers = every[:, None, None].expand(-1, 1, 2)
    for batch in each:
        assert batch.rows * batch.width <= max(1 << 14, 4 * batch.width), "a tile with too many pairs is cut"
        rows, (places, real) = batch.query_rows, batch.keys()
        assert torch.equal(batch.of_queries(row_numbers)[:, 0, :, 0], rows)
        assert torch.equal(batch.of_keys(row_numbers)[:, 0, :, 0], places)
        shown = batch.allowed(keys).expand(batch.tiles, -1, -1)
        assert not (shown & ~real[:, None]).any()
        assert not batch.full or shown.all()
        real_rows = torch.ones_like(rows, dtype=torch.bool) if batch.real_rows is None else batch.real_rows
        seen[rows[real_rows]] += 1
        for tile in range(batch.tiles):
            some = real_rows[tile]
            found[rows[tile, some][:, None], places[tile][real[tile]]] = shown[tile][some][:, real[tile]]
    assert torch.equal(found, allowed)
    assert torch.equal(seen, allowed.any(1).float())


def test_tiles_of_a_window_are_viewed_and_not_gathered():
    layout = Layout.of_lengths([4096, 4096])
    for pattern in (Window(128, 128), Window(128, 128) | First(4)):
        each, _ = cut(layout, pattern, pairs=1 << 18)
        gathered = sum(batch.tiles for batch in each if batch.strides is None)
        assert gathered <= 16
        assert len(each.each) <= 40


def test_few_rows_with_all_keys_do_not_take_others_along():
    layout = Layout.of_lengths([4096])
    window, first = Window(128, 128), First(4)
    pairs = {pattern: cut(layout, pattern, pairs=1 << 18)[0].pairs for pattern in (window, window | first)}
    assert pairs[window | first] < pairs[window] + 4096 * (8 + 4) + 64 * 64 * 8


@pytest.mark.parametrize(
    "attention",
    [
        *(Attention(pattern=pattern) for pattern in PATTERNS),
        *(Attention(pattern=pattern, bias=T5(8, 40)) for pattern in PATTERNS),
        *(Attention(pattern=pattern, bias=bias) for pattern in PATTERNS[:2] for bias in (ALiBi(), Shaw(4))),
        *(Attention(pattern=pattern, normalizer=Sigmoid()) for pattern in PATTERNS[:4]),
        Attention(score=Additive(), pattern=Window(9, 9)),
        Attention(pattern=Window(9, 9), bias=EdgeBias(EDGE_WIDTH)),
    ],
    ids=repr,
)
def test_many_tiles_equal_the_meaning(attention):
    """In tile batches so small that some hold several tiles and others a part of one."""
    run = checks.executor("blocks", USUAL._replace(scores=1 << 17))
    case = Case(attention, heads=2, key_heads=1 if attention.bias is None else 2, d=3, e=5)
    checks.equals_the_meaning(run, case, SIZES)
    x, dropout = case.inputs((200, 70)), Dropout(0.3, seed=9)
    checks.close(
        checks.results(run, attention, x, dropout), checks.results(checks.the_meaning, attention, x, dropout), 1e-10
    )


@pytest.mark.parametrize("score", [Dot(), Additive()], ids=repr)
@pytest.mark.parametrize("pattern", [Near(1), Near(1) & Causal() | RandomBlocks(2, 16, seed=1)], ids=repr)
def test_keys_in_many_places_equal_the_meaning(pattern, score):
    case = Case(Attention(score, pattern), heads=2, key_heads=2, d=3, e=3, coords=2)
    checks.equals_the_meaning(run, case, SIZES)


@pytest.mark.parametrize("bias", [None, T5(8, 40)], ids=repr)
def test_products_that_overflow_spoil_no_row_that_does_not_see_them(bias):
    case = Case(Attention(pattern=Window(20, 9), bias=bias), heads=2, key_heads=2)
    checks.spoils_only_its_own_set(run, case)
    x = case.inputs((400,), torch.float32)
    k = x.k.detach().clone()
    k[200] = torch.finfo(torch.float32).max
    blind = ((torch.arange(400) - 200).abs() > 20)[:, None].expand(-1, 2)
    before, after = (checks.results(run, case.attention, each, only=blind) for each in (x, x.but(k=k)))
    most = checks.budget(case, (400,), torch.float32)
    for name in ("out", "d q"):
        assert checks.distance(before[name][blind], after[name][blind]) <= 2 * most[name].largest


def test_one_long_set_beside_a_thousand_short_ones():
    lengths = [3] * 500 + [200_000] + [3] * 500
    layout, generator = Layout.of_lengths(lengths), torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(layout.total, 1, 4, generator=generator).requires_grad_() for _ in range(3))
    attention = Attention(pattern=Window(40, 2))
    out = attend(attention, q, k, v, layout, executor="blocks")
    above = checks.upstream(out)
    found = [out, *torch.autograd.grad(out, (q, k, v), above)]
    # The meaning of some rows with their neighbors: all but the outermost of 300 rows, and what falls on their keys.
    for begin in (1400, 100_000, 201_400):
        rows, lengths = slice(begin, begin + 300), layout.set_of_row[begin : begin + 300].bincount()
        part = Layout.of_lengths(lengths[lengths > 0].tolist())
        leaves = [x.detach()[rows].double().requires_grad_() for x in (q, k, v)]
        true = checks.the_meaning(attention, Inputs(part, part, *leaves, {}), None)
        expected = [true, *torch.autograd.grad(true, leaves, above[rows].double())]
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours[rows][85:-85].double(), theirs[85:-85], rtol=1e-4, atol=1e-5)


def test_windows_wider_than_the_set_see_everyone():
    x = Case(Attention(), heads=2, key_heads=2).inputs(SIZES)
    wide = Attention(pattern=Window(10_000, 10_000))
    checks.close(checks.results(run, wide, x), checks.results(checks.the_meaning, Attention(), x))


def test_where_all_pairs_are_forbidden_nothing_happens():
    for attention in (Attention(pattern=~Everyone()), Attention(pattern=~Everyone(), bias=Shaw(2))):
        for each in checks.results(run, attention, Case(attention).inputs(SIZES)).values():
            assert not each.any()


@pytest.mark.parametrize("attention", [Attention(pattern=Window(20, 9)), Attention(bias=Shaw(3))], ids=repr)
def test_inputs_may_lie_anywhere(attention):
    case = Case(attention, heads=3, key_heads=3, d=4, e=4)
    x = case.inputs(SIZES)
    expected = checks.results(run, attention, x)

    def elsewhere(leaf: Tensor) -> list[Tensor]:
        packed = torch.stack([leaf, leaf * 2, leaf * 3], 1).detach()
        return [packed[:, 0], leaf.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0)]

    for q, k, v in zip(elsewhere(x.q), elsewhere(x.k), elsewhere(x.v), strict=True):
        leaves = [each.requires_grad_() for each in (q, k, v)]
        assert not all(each.is_contiguous() for each in leaves)
        out = attend(attention, *leaves, x.layout, None, x.parameters, executor="blocks")
        checks.close({"out": out}, {"out": expected["out"]})
        for name, gradient in zip("qkv", torch.autograd.grad(out, leaves, checks.upstream(out)), strict=True):
            checks.close({"d": gradient}, {"d": expected[f"d {name}"]})
    # The gradient from above may be one number for all.
    total = attend(attention, x.q, x.k, x.v, x.layout, None, x.parameters, executor="blocks").sum()
    assert torch.autograd.grad(total, x.v)[0].sum().item() == pytest.approx(sum(SIZES) * 12)


def test_learned_edge_values_have_gradients():
    values = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    layout = Layout(torch.tensor([0, 4]), edges=torch.tensor([[0, 1, 1], [1, 0, 3]]), edge_values=values)
    x, weight = torch.ones(4, 2, 2, dtype=torch.float64), {"bias_edges": torch.ones(2, 2, dtype=torch.float64)}
    v = torch.arange(16, dtype=torch.float64).view(4, 2, 2)
    gradients, given = [], Inputs(layout, layout, x, x, v, weight)
    for each in (run, checks.the_meaning):
        out = each(Attention(bias=EdgeBias(2)), given, None)
        gradients.append(torch.autograd.grad(out.square().sum(), values)[0])
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("bias", [None, T5(8, 40), Shaw(3)], ids=repr)
def test_float16(bias):
    case = Case(Attention(pattern=Window(20, 9), bias=bias))
    checks.equals_the_meaning(run, case, SIZES, torch.float16)


def test_second_derivatives_are_refused():
    for attention in (Attention(), Attention(normalizer=Sigmoid())):
        x = torch.ones(3, 1, 2, requires_grad=True)
        out = attend(attention, x, x, x, Layout.of_lengths([3]), executor="blocks")
        (first,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            first.sum().backward()


@pytest.mark.unpoisoned
@pytest.mark.parametrize(
    ("attention", "lengths", "heads", "d", "dropout", "dtype"),
    [
        (Attention(pattern=Window(128, 128)), [32_768], 2, 32, 0.0, torch.float32),
        (Attention(pattern=Window(128, 128)), [32_768], 2, 32, 0.1, torch.float32),
        (Attention(pattern=Window(128, 128)), [32_768], 2, 32, 0.0, torch.bfloat16),
        (Attention(pattern=Window(8, 8), bias=T5()), [20_000] * 3 + [3] * 1000, 2, 32, 0.0, torch.float64),
        (Attention(bias=T5()), [512] * 8, 8, 128, 0.0, torch.float32),
        (Attention(pattern=Window(32, 32), bias=Shaw(16)), [16_384], 4, 32, 0.0, torch.float32),
        (Attention(pattern=Window(8, 8), normalizer=Sigmoid()), [32_768], 2, 32, 0.0, torch.bfloat16),
        (Attention(score=Additive()), [5] * 1600, 1, 512, 0.0, torch.float32),
    ],
)
def test_memory_is_bounded_and_foretold(attention, lengths, heads, d, dropout, dtype):
    layout = Layout.of_lengths(lengths)
    q, k, v = (torch.randn(layout.total, heads, d).to(dtype).requires_grad_() for _ in range(3))
    learned = {
        name: torch.randn(shape).to(dtype).requires_grad_() for name, shape in attention.parameters(heads, d).items()
    }
    drop = Dropout(dropout) if dropout else None
    problem = Problem(attention, layout, layout, heads, heads, d, d, dtype, drop)

    def forward() -> Tensor:
        return attend(attention, q, k, v, layout, None, learned, dropout=drop, executor="blocks")

    most = peak_memory(Contestant(forward, (q, k, v, *learned.values())))
    assert most > 32e6
    assert 0.8 < blocks.memory(problem) / most < 1.2
    assert most < max(3 * problem.bytes, 72e6)
