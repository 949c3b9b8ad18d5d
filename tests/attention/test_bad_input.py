"""What users hand in: each executor that does not refuse computes the meaning of it, and refusals are one sentence."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from regard import Attention, InputError, Layout, attend, attention_weights, plan
from regard.attention.planning import EXECUTORS
from regard.attention.reference import reference
from regard.attention.spec.biases import T5, ALiBi, EdgeBias, Shaw, TransformerXL
from regard.attention.spec.normalizers import Relu, Sum
from regard.attention.spec.patterns import Causal, Dilated, Edges, Everyone, First, Near, Window
from regard.attention.spec.scores import Additive, Kernel, Separable, Synthesized
from regard.attention.vocabulary import parse

# Something for each executor: what most of them serve, and what only some do.
KINDS = [
    Attention(),
    Attention(pattern=Causal(), bias=ALiBi()),
    Attention(pattern=Window(2, 1)),
    Attention(score=Additive(), pattern=Window(3, 3) | First(1), bias=Shaw(2)),
    Attention(score=Separable(), pattern=Causal(), normalizer=Relu()),
    Attention(score=Kernel(), normalizer=Sum()),
    Attention(score=Kernel(), normalizer=Sum(), pattern=Causal()),
]
LAYOUT = Layout.of_lengths([5, 0, 1, 40])
CROWD = Layout.of_lengths([3] * 500 + [200_000] + [3] * 500)
EDGES = torch.tensor([[0, 1, 7, 30], [4, 1, 8, 12]])
SERVED = [(kind, name) for kind in KINDS for name in EXECUTORS if name not in plan(kind, LAYOUT, heads=2).refusals]
each = pytest.mark.parametrize(("attention", "name"), SERVED, ids=str)


def tensors(attention: Attention, layout: Layout, heads: int = 2, d: int = 4, e: int = 4) -> tuple[Tensor, ...]:
    """q, k, v and what is learned, as leaves in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(layout.total, heads, d)] * 2 + [(layout.total, heads, e)]
    shapes += list(attention.parameters(heads, d, e).values())
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)


def run(name: str | None, attention: Attention, layout: Layout, given: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """The output and the gradients of one executor, or of the reference where there is no name."""
    leaves = [x.detach().requires_grad_() for x in given]
    q, k, v, *learned = leaves
    parameters = dict(zip(attention.parameters(q.shape[1], q.shape[2], v.shape[2]), learned, strict=True))
    if name is None:
        # Of no sets at all, it sums nothing.
        out = reference(attention, q, k, v, layout, layout, parameters) + 0 * q.sum()
    else:
        out = attend(attention, q, k, v, layout, None, parameters, executor=name)
    yield out.detach()
    for x, gradient in zip(leaves, torch.autograd.grad(out.cos().sum(), leaves, allow_unused=True), strict=True):
        yield torch.zeros_like(x) if gradient is None else gradient


def means_the_same(name: str, attention: Attention, layout: Layout, given: tuple[Tensor, ...], **about: float) -> None:
    needed = plan(attention, layout, heads=given[0].shape[1], d=given[0].shape[2], dtype=given[0].dtype)
    if name in needed.refusals:
        pytest.skip(needed.refusals[name])
    exact = run(None, attention, layout, tuple(x.double() for x in given))
    for found, expected in zip(run(name, attention, layout, given), exact, strict=True):
        torch.testing.assert_close(found.double(), expected, **about)


def refused(asked: Iterable[tuple[Attention, str]], layout: Layout = LAYOUT, **about: Any) -> int:
    """How many executors refuse what a test asks them for, so that it is left out."""
    return sum(name in plan(attention, layout, **{"heads": 2, "d": 4, **about}).refusals for attention, name in asked)


def test_what_is_left_out_is_little():
    everything = list(product(AUTOCAST, EXECUTORS))
    assert len(SERVED) >= 26
    assert (
        refused(everything, Layout(LAYOUT.offsets, edges=EDGES, edge_values=torch.zeros(4, 2))) <= len(everything) // 2
    )
    assert refused([(replace(kind, pattern=~Everyone()), name) for kind, name in SERVED]) <= 2
    assert refused(SERVED, dtype=torch.float16) <= 3
    assert refused([(Attention(pattern=Window(100, 100)), name) for name in EXECUTORS]) <= 3
    assert refused([(Attention(pattern=Window(2, 1)), name) for name in EXECUTORS], CROWD, d=2) <= 4
    for score in (Attention().score, Additive(), Separable()):
        asked = [(Attention(score, Edges()), name) for name in EXECUTORS]
        assert refused(asked, Layout(LAYOUT.offsets, edges=EDGES)) <= 4


@each
@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1], [1, 0, 1]], ids=str)
def test_nothing_and_next_to_nothing(attention, name, lengths):
    layout = Layout.of_lengths(lengths)
    means_the_same(name, attention, layout, tensors(attention, layout))


@each
@pytest.mark.parametrize(("d", "e"), [(1, 1), (7, 7), (512, 512), (7, 12), (12, 1), (1, 65)])
def test_widths_of_every_kind(attention, name, d, e):
    means_the_same(name, attention, LAYOUT, tensors(attention, LAYOUT, 2, d, e))


@each
def test_all_pairs_forbidden(attention, name):
    for pattern in (~Everyone(), Window(2, 2) & ~Window(2, 2)):
        means_the_same(name, replace(attention, pattern=pattern), LAYOUT, tensors(attention, LAYOUT), rtol=0, atol=0)


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize(
    "pattern", [Window(100, 100), Window(1 << 39, 1 << 39), Window(0, 1 << 39), First(1000)], ids=repr
)
def test_windows_wider_than_the_set(pattern, name):
    attention = Attention(pattern=pattern)
    means_the_same(name, attention, LAYOUT, tensors(attention, LAYOUT))
    counts = plan(attention, LAYOUT, heads=1).pairs
    assert counts == (sum(n * (n + 1) // 2 for n in (5, 1, 40)) if pattern == Window(0, 1 << 39) else 25 + 1 + 1600)


@each
def test_inputs_that_are_not_contiguous(attention, name):
    """Heads in the middle, features backwards in memory, one key for all rows, and a slice of something wider."""
    q, k, v, *learned = tensors(attention, LAYOUT)
    apart = (
        q.transpose(0, 2).contiguous().transpose(0, 2),
        k.new_zeros(k.shape[0], 4, 9)[:, ::2, 1:5].copy_(k),
        v[:1].expand_as(v),
        *learned,
    )
    assert not any(x.is_contiguous() for x in apart[:3])
    means_the_same(name, attention, LAYOUT, apart)


@each
def test_float16(attention, name):
    """Three digits, or a refusal."""
    given = tuple(x.half() for x in tensors(attention, LAYOUT))
    means_the_same(name, attention, LAYOUT, given, rtol=2e-2, atol=2e-2)


@each
@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_infinite_numbers_stay_in_their_set(attention, name, bad):
    given = tensors(attention, LAYOUT)
    spoilt = tuple(x.clone() for x in given)
    for x in spoilt[:3]:
        x[1::2][:2] = bad
    others = slice(5, None)
    for found, expected in zip(
        list(run(name, attention, LAYOUT, spoilt))[:4], run(name, attention, LAYOUT, given), strict=False
    ):
        torch.testing.assert_close(found[others], expected[others])


AUTOCAST = [
    *KINDS,
    Attention(pattern=Window(3, 70) | First(1), bias=ALiBi()),
    Attention(bias=T5()),
    Attention(bias=TransformerXL()),
    Attention(pattern=Edges(), bias=EdgeBias(width=2)),
    Attention(score=Synthesized(places=40)),
]


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("attention", AUTOCAST, ids=repr)
def test_autocast_changes_nothing(attention, name):
    """Neither numbers nor types, whether what is learned has the type of the vectors or not."""
    layout = Layout(LAYOUT.offsets, edges=EDGES, edge_values=torch.tensor([[0.5, 1], [-1, 2], [0, 1], [3, -1]]))
    if name in plan(attention, layout, heads=2, d=4).refusals:
        pytest.skip("refused")
    given = tensors(attention, layout)
    for kind in (torch.float32, torch.bfloat16):
        vectors, learned = [x.to(kind) for x in given[:3]], [x.bfloat16() for x in given[3:]]
        expected = list(run(name, attention, layout, (*vectors, *(x.to(kind) for x in learned))))
        steps = run(name, attention, layout, (*vectors, *(x.float() for x in learned)))
        with torch.autocast("cpu", torch.bfloat16):
            out = next(steps)
        found = [out, *steps]  # Gradients are computed outside, as torch asks for.
        for a, b in zip(found[:4], expected[:4], strict=True):
            assert a.dtype == kind
            torch.testing.assert_close(a, b, rtol=0, atol=0)
        for a, b in zip(found[4:], expected[4:], strict=True):
            assert a.dtype == torch.float32
            torch.testing.assert_close(a, b.float(), rtol=0, atol=0)


@each
def test_training_on_a_layout_that_was_first_used_in_inference(attention, name):
    layout = Layout(LAYOUT.offsets)
    given = tensors(attention, layout)
    q, k, v, *learned = given
    with torch.inference_mode():
        parameters = dict(zip(attention.parameters(2, 4, 4), learned, strict=True))
        attention_weights(attention, q, k, layout, None, parameters)
        attend(attention, q, k, v, layout, None, parameters, executor=name)
    means_the_same(name, attention, layout, given)
    attention_weights(attention, q.requires_grad_(), k, layout, None, parameters).values.sum().backward()


@each
def test_one_thread_and_two(attention, name, two_threads):
    given = tensors(attention, LAYOUT)
    with_two = list(run(name, attention, LAYOUT, given))
    torch.set_num_threads(1)
    for found, expected in zip(run(name, attention, LAYOUT, given), with_two, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.unpoisoned
@pytest.mark.parametrize(("attention", "name"), [*((KINDS[2], name) for name in EXECUTORS), (KINDS[6], None)], ids=str)
def test_one_large_set_among_a_thousand_of_three(attention, name):
    """Nothing is padded to the length of the largest, and no matrix of it is built."""
    layout = CROWD
    refusals = plan(attention, layout, d=2).refusals
    assert "dense" in refusals
    if name in refusals:
        pytest.skip(refusals[name])
    q, k, v = (x.float() for x in tensors(attention, layout, 1, 2, 2))
    out = attend(attention, q, k, v, layout, executor=name)
    assert out.isfinite().all()
    for rows in ([0, 1, 2], [1500, 1501, 1502, 1503], [201_500, 201_501, 201_502]):
        weights = attention_weights(attention, q, k, layout, rows=rows)
        parts = weights.values[..., None] * v[weights.key]
        expected = torch.zeros(len(rows), 1, 2).index_add(0, weights.query - rows[0], parts)
        torch.testing.assert_close(out[rows], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("score", [Attention().score, Additive(), Separable()], ids=repr)
def test_unsorted_edges(score, name):
    attention = Attention(score, Edges())
    n = 30
    joined = (torch.rand(n, n, generator=torch.Generator().manual_seed(1)) < 0.2).nonzero().T
    shuffled = joined[:, torch.randperm(joined.shape[1], generator=torch.Generator().manual_seed(2))]
    layouts = [Layout(torch.tensor([0, n]), edges=edges) for edges in (joined, shuffled)]
    given = tensors(attention, layouts[0])
    means_the_same(name, attention, layouts[1], given)
    for found, expected in zip(*(run(name, attention, layout, given) for layout in layouts), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Window(-1, 2), "Window has left -1, expected at least 0"),
        (lambda: Window(2, -1), "Window has right -1, expected at least 0"),
        (lambda: Dilated(-1, 2, 3), "Dilated has left -1, expected at least 0"),
        (lambda: Dilated(1, -2, 3), "Dilated has right -2, expected at least 0"),
        (lambda: First(-1), "First has n -1, expected at least 0"),
        (lambda: Near(-0.5), "Near has radius -0.5, expected at least 0"),
        (lambda: parse("Window(-3, 0)"), "Window has left -3, expected at least 0"),
        (
            lambda: parse("Widnow(3, 0)"),
            "'Widnow' in 'Widnow(3, 0)' is no part of an attention: did you mean 'Window'?",
        ),
        (lambda: parse("Window(3, 0"), "the text 'Window(3, 0' is no specification"),
        (lambda: Layout.of_lengths([3, -1]), "set 1 would have -1 vectors"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(InputError) as refusal:
        make()
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_that_cannot_serve_says_so(name):
    """Each is asked for everything by name: it computes it, or raises what its plan says."""
    given = tensors(KINDS[0], LAYOUT)
    for attention in (*KINDS, Attention(score=Kernel(), normalizer=Sum(), pattern=Window(1, 1))):
        learned = {name: torch.zeros(shape).double() for name, shape in attention.parameters(2, 4, 4).items()}
        reason = plan(attention, LAYOUT, heads=2, d=4, dtype=torch.float64).refusals.get(name)
        if reason is None:
            assert attend(attention, *given[:3], LAYOUT, None, learned, executor=name).shape == (46, 2, 4)
            continue
        with pytest.raises(InputError) as refusal:
            attend(attention, *given[:3], LAYOUT, None, learned, executor=name)
        assert str(refusal.value) == f"the executor {name!r} refuses {attention!r}: {reason}"
        assert "\n" not in reason


def test_integers_are_no_vectors():
    x = torch.ones(46, 1, 4, dtype=torch.int64)
    with pytest.raises(InputError, match="expected the same floats"):
        attend(Attention(), x, x, x, LAYOUT)


@pytest.mark.parametrize(("heads", "d"), [(0, 4), (2, 0)])
def test_no_heads_and_no_width_are_refused(heads, d):
    for key_heads in (1, 2):
        q, k = torch.zeros(46, heads, d), torch.zeros(46, key_heads, d)
        with pytest.raises(InputError, match=f"queries have {heads} heads of width {d}, expected at least one"):
            attend(Attention(), q, k, torch.zeros(46, key_heads, 4), LAYOUT)
