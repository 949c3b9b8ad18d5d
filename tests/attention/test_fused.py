"""`fused`: what the conformance suite's small sets do not reach, that is several tiles, stretches, units and threads."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from regard.attention.dropout import Dropout
from regard.attention.executors.fused import executor as fused
from regard.attention.executors.fused.units import cut_of
from regard.attention.planning import plan
from regard.attention.problem import Problem
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import T5, ALiBi, Bias
from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax
from regard.attention.spec.patterns import Blocks, Causal, Dilated, Everyone, First, Pattern, Window
from regard.attention.spec.scores import Additive
from regard.attention.verb import attend
from regard.errors import InputError
from regard.sets import Layout

from . import checks
from .catalogue import Inputs

PATTERNS = (
    Everyone(),
    Causal(),
    Window(100, 30),
    Window(20, 20) | First(2),
    Blocks(50),
    ~Window(200, 200),
    Dilated(4, 4, 30),
)


def leaves(
    lengths: Sequence[int], heads: int, key_heads: int, d: int, e: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((heads, d), (key_heads, d), (key_heads, e))
    total = sum(lengths)
    return [torch.randn(total, *shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def means_the_same(
    attention: Attention, lengths: Sequence[int], given: list[Tensor], learned: dict[str, Tensor] | None = None,
    dropout: Dropout | None = None,
) -> None:  # fmt: skip
    """Output and gradients are those of the reference."""
    layout = Layout.of_lengths(lengths)
    x = Inputs(layout, layout, *given, learned or {})
    found, true = (checks.results(run, attention, x, dropout) for run in (checks.executor("fused"), checks.the_meaning))
    checks.close(found, true, 1e-10)


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
@pytest.mark.parametrize("normalizer", [Softmax(), Relu(), Sigmoid()], ids=repr)
def test_long_sets(pattern: Pattern, normalizer, two_threads):
    """One head and two threads: the units share a set, and gather gradients of keys in parts."""
    lengths = [450, 3, 70]
    means_the_same(
        Attention(pattern=pattern, normalizer=normalizer),
        lengths,
        leaves(lengths, 1, 1, 20, 12),
        dropout=Dropout(0.2, 99),
    )


@pytest.mark.parametrize("d", [1, 7, 64, 200])
def test_widths(d):
    lengths = [40, 0, 1, 130]
    means_the_same(Attention(pattern=Window(30, 10)), lengths, leaves(lengths, 2, 2, d, d))
    means_the_same(Attention(pattern=Causal()), lengths, leaves(lengths, 4, 2, d, 9))


@pytest.mark.parametrize("bias", [ALiBi(), T5(), T5(bidirectional=False)], ids=repr)
@pytest.mark.parametrize("pattern", [Everyone(), Window(70, 9)], ids=repr)
def test_biases_of_the_distance(bias: Bias, pattern, two_threads):
    lengths = [300, 5]
    shapes = bias.parameters(2, 8, 8)
    learned = {name: torch.randn(shape, dtype=torch.float64).requires_grad_() for name, shape in shapes.items()}
    means_the_same(Attention(pattern=pattern, bias=bias), lengths, leaves(lengths, 2, 2, 8, 8), learned)


def test_a_pattern_for_each_head(two_threads):
    lengths = [200, 30]
    attention = Attention(pattern=(Causal(), Everyone(), Window(20, 0), Causal()))
    means_the_same(attention, lengths, leaves(lengths, 4, 2, 16, 16))


def test_vectors_that_are_not_contiguous():
    layout, x = Layout.of_lengths([50, 20]), torch.randn(70, 8, 3, 4, dtype=torch.float64)
    given = [x[..., n, :].detach().requires_grad_() for n in range(3)]
    assert not given[0].is_contiguous()
    turned = [x[..., n, :].permute(2, 0, 1).contiguous().permute(1, 2, 0).detach().requires_grad_() for n in range(3)]
    whole = [each.detach().contiguous().requires_grad_() for each in given]
    found = []
    for leaves_ in (given, turned, whole):
        out = attend(Attention(), *leaves_, layout, executor="fused")
        # An expanded gradient has steps of zero.
        found.append([out, *torch.autograd.grad(out, leaves_, torch.ones((), dtype=torch.float64).expand_as(out))])
    for ours in found[:2]:
        for a, b in zip(ours, found[2], strict=True):
            assert torch.equal(a, b)


def test_one_large_set_beside_many_small_ones():
    lengths = [3] * 1000 + [20_000]
    given = leaves(lengths, 1, 1, 4, 4, torch.float32)
    out = attend(Attention(pattern=Window(8, 8)), *given, Layout.of_lengths(lengths), executor="fused")
    out.sum().backward()
    assert all(bool(x.grad.isfinite().all()) for x in given)
    layout = Layout.of_lengths([3] * 1000)
    small = Inputs(layout, layout, *(x.detach()[:3000].double() for x in given), {})
    torch.testing.assert_close(out[:3000].double(), checks.the_meaning(Attention(), small, None), rtol=1e-5, atol=1e-6)


def test_what_it_refuses():
    layout = Layout.of_lengths([5])
    with pytest.raises(InputError, match="the score is Additive"):
        plan(Attention(score=Additive()), layout, executor="fused")
    with pytest.raises(InputError, match="float16"):
        plan(Attention(), layout, executor="fused", dtype=torch.float16)
    problem = Problem(Attention(), Layout._trusted([torch.zeros(2, dtype=torch.int64, device="meta"), *[None] * 4]),
                      layout, 1, 1, 4, 4, torch.float32)  # fmt: skip
    assert "CPU" in str(fused.why_not(problem))


def test_more_threads_than_cores_compute_the_same() -> None:
    """Units are as many as threads ask for, and each writes to places of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(64)
    try:
        means_the_same(Attention(pattern=Window(20, 20)), [130, 3], leaves([130, 3], 2, 1, 8, 8))
    finally:
        torch.set_num_threads(before)


def test_small_sets_are_taken_a_few_at_a_time_and_compute_what_each_does_alone() -> None:
    """Head by head, whole sets, whatever the number of threads; a set's gradients gather nothing of its neighbors'."""
    attention = Attention(pattern=(Everyone(), Causal(), Everyone(), Window(2, 2)))
    lengths = [17, 0, 5, 31, 1] * 60
    layout = Layout.of_lengths(lengths)
    given = leaves(lengths, 4, 2, 24, 8, torch.float32)
    cut = cut_of(Problem(attention.for_heads(4), layout, layout, 4, 2, 24, 8, torch.float32))
    assert len(cut.units) > 4 * len(cut.calls) > 4
    first, owner = cut.tiles["begin"][cut.units["begin"]], cut.tiles["owner"][cut.units["begin"]]
    assert (first == layout.offsets.numpy()[owner]).all(), "each begins with a set"
    assert (cut.units["head"].reshape(-1, 4) == [0, 1, 2, 3]).all(), "all heads of some sets before the next"
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            out = attend(attention, *given, Layout.of_lengths(lengths), executor="fused")
            found.append((out, *torch.autograd.grad(out.square().sum(), given)))
    finally:
        torch.set_num_threads(before)
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)
    for n in (0, 3, 298, 299):
        rows = slice(int(layout.offsets[n]), int(layout.offsets[n + 1]))
        alone = [x.detach()[rows].requires_grad_() for x in given]
        out = attend(attention, *alone, Layout.of_lengths([lengths[n]]), executor="fused")
        for ours, theirs in zip((out, *torch.autograd.grad(out.square().sum(), alone)), found[0], strict=True):
            assert torch.equal(ours, theirs[rows])
