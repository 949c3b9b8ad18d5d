"""Whole attentions drawn by chance: every executor that does not refuse one equals the reference, values and gradients."""

from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.attention.dropout import Dropout
from regard.attention.planning import EXECUTORS, check
from regard.attention.problem import USUAL, Problem, TileSizes
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import T5, ALiBi, Bias, Quadratic, Shaw, TransformerXL
from regard.attention.spec.feature_maps import Elu, Favor
from regard.attention.spec.normalizers import Normalizer, Sum
from regard.attention.spec.patterns import (
    AlongAxis,
    BlockEnds,
    Blocks,
    Causal,
    Dilated,
    Edges,
    Everyone,
    First,
    Near,
    Pattern,
    RandomBlocks,
    Stride,
    Window,
)
from regard.attention.spec.scores import Additive, Dot, Kernel, Score, Separable, Synthesized
from regard.errors import InputError
from regard.sets import Layout

from . import catalogue, checks
from .catalogue import EDGE_WIDTH, SMALL, Inputs

# A gradient of a score or a bias is a sum over up to 40,000 pairs.
EXACT = 20 * checks.EXACT
PLACES = 260
EXAMPLES = 150


@dataclass(frozen=True)
class Drawn:
    """One attention with all that it is computed on; numbers follow from the seed."""

    attention: Attention
    heads: int = 2
    key_heads: int = 2
    d: int = 3
    e: int = 3
    sizes: tuple[int, ...] = (20, 0, 7)
    key_sizes: tuple[int, ...] | None = None
    starts: tuple[int, ...] | None = None
    dropout: float = 0.0
    tiles: TileSizes = SMALL
    seed: int = 0

    @property
    def inputs(self) -> Inputs:
        generator = torch.Generator().manual_seed(self.seed)

        def leaf(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

        def layout(sizes: tuple[int, ...], starts: tuple[int, ...] | None, edges: bool) -> Layout:
            plain = Layout.of_lengths(list(sizes))
            coords = torch.randint(-3, 4, (plain.total, 2), generator=generator).double()
            joined = values = None
            if edges:
                same = plain.set_of_row[:, None] == plain.set_of_row
                some = same & (torch.rand(same.shape, generator=generator) < 0.1)
                joined = some.nonzero().T
                values = torch.randn(joined.shape[1], EDGE_WIDTH, generator=generator, dtype=torch.float64)
            return Layout(plain.offsets, coords, joined, values, None if starts is None else torch.tensor(starts))

        ours = layout(self.sizes, self.starts, edges=self.key_sizes is None)
        theirs = ours if self.key_sizes is None else layout(self.key_sizes, None, edges=False)
        q, k = leaf(ours.total, self.heads, self.d), leaf(theirs.total, self.key_heads, self.d)
        v = leaf(theirs.total, self.key_heads, self.e)
        shapes = self.attention.parameters(self.heads, self.d, self.e)
        return Inputs(ours, theirs, q, k, v, {name: leaf(*shape) for name, shape in shapes.items()})

    def problem(self, x: Inputs) -> Problem:
        attention, widths = self.attention.for_heads(self.heads), (self.heads, self.key_heads, self.d, self.e)
        return Problem(attention, x.layout, x.key_layout, *widths, torch.float64, self.drops, self.tiles)

    @property
    def drops(self) -> Dropout | None:
        return Dropout(self.dropout, seed=self.seed + 3) if self.dropout else None


LEAVES: st.SearchStrategy[Pattern] = st.one_of(
    st.just(Everyone()),
    st.just(Causal()),
    st.just(Edges()),
    st.builds(Window, st.integers(0, 90), st.integers(0, 90)),
    st.builds(Window, st.integers(0, 5), st.integers(0, 5)),
    st.builds(First, st.integers(0, 9)),
    st.builds(Dilated, st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)),
    st.builds(Stride, st.integers(1, 20)),
    st.builds(Blocks, st.integers(1, 70), st.integers(0, 3)),
    st.builds(BlockEnds, st.integers(1, 30), st.integers(1, 4)),
    st.builds(RandomBlocks, st.integers(0, 3), st.integers(1, 20), st.integers(0, 9), st.integers(0, 3)),
    st.builds(Near, st.integers(0, 2)),
    st.builds(AlongAxis, st.integers(0, 1)),
)


def deeper(inner: st.SearchStrategy[Pattern]) -> st.SearchStrategy[Pattern]:
    return st.one_of(
        inner,
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    )


PATTERNS = deeper(deeper(LEAVES))
SCORES: st.SearchStrategy[Score] = st.one_of(
    st.sampled_from(catalogue.SCORES),
    st.just(Dot()),
    st.builds(Dot, st.sampled_from([0.1, 1.0])),
    st.builds(Additive, st.sampled_from(["tanh", "leaky_relu"])),
    st.builds(Separable, st.sampled_from([0.2, -0.5])),
    st.builds(
        lambda kind: Synthesized(places=PLACES, kind=kind),
        st.sampled_from(["dense", "random", "factorized", "factorized_dense"]),
    ),
)
BIASES: st.SearchStrategy[Bias | None] = st.one_of(
    st.none(),
    st.sampled_from(catalogue.BIASES),
    st.builds(lambda coordinates: ALiBi(coordinates=coordinates), st.booleans()),
    st.builds(lambda radius, keys: Shaw(radius=radius, keys=keys), st.integers(1, 9), st.booleans()),
    st.builds(lambda radius: Shaw(radius=radius, values=False), st.integers(1, 9)),
    st.just(Shaw(radius=2, coordinates=2)),
    st.just(Quadratic()),
    st.just(T5(buckets=8, max_distance=40)),
    st.just(T5(buckets=6, max_distance=9, bidirectional=False)),
    st.just(TransformerXL(width=4)),
)
NORMALIZERS: st.SearchStrategy[Normalizer] = st.sampled_from(catalogue.NORMALIZERS)
SIZES = st.lists(
    st.one_of(st.integers(0, 20), st.sampled_from([8, 16, 64, 65]), st.integers(0, 200)), min_size=1, max_size=4
)


def within(sizes: list[int], most: int) -> tuple[int, ...]:
    """Sets with so many vectors at most, since the reference computes all pairs of a batch."""
    cut: list[int] = []
    for size in sizes:
        cut.append(min(size, most - sum(cut)))
    return tuple(cut)


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    heads, times = draw(st.sampled_from([(1, 1), (2, 1), (2, 2), (3, 1), (4, 2), (5, 1)]))
    pattern = draw(st.one_of(PATTERNS, st.tuples(*[PATTERNS] * heads)))
    if draw(st.integers(0, 5)) == 0:
        score: Score = Kernel(draw(st.sampled_from([Elu(), Favor(features=8, seed=2)])))
        pattern = draw(st.one_of(st.just(Everyone()), st.just(Causal()), st.just(pattern)))
        attention = Attention(score, pattern, Sum())
    else:
        attention = Attention(draw(SCORES), pattern, draw(NORMALIZERS), draw(BIASES))
    sizes = within(draw(SIZES), 240)
    keys = draw(st.sampled_from(["same", "same", "others", "before"]))
    key_sizes = starts = None
    if keys == "others":
        key_sizes = within(draw(st.lists(st.integers(0, 90), min_size=len(sizes), max_size=len(sizes))), 240)
    elif keys == "before":
        starts = tuple(draw(st.lists(st.integers(0, 50), min_size=len(sizes), max_size=len(sizes))))
        # Keys of a cache reach from the beginning to the queries' end; without one, the queries' sets just begin later.
        if draw(st.booleans()):
            key_sizes = tuple(a + b for a, b in zip(sizes, starts, strict=True))
    return Drawn(
        attention,
        heads,
        heads // times,
        d=draw(st.sampled_from([1, 3, 8, 17])),
        e=draw(st.sampled_from([1, 4, 8, 19])),
        sizes=sizes,
        key_sizes=key_sizes,
        starts=starts,
        dropout=draw(st.sampled_from([0.0, 0.0, 0.3])),
        tiles=draw(
            st.sampled_from([SMALL, SMALL, SMALL._replace(rows=16, scores=1 << 13, most_scores=1 << 13), USUAL])
        ),
        seed=draw(st.integers(0, 9)),
    )


def refusal(problem: Problem) -> str | None:
    """Why no executor may compute it: the sets lack what it reads."""
    try:
        check(problem)
    except InputError as error:
        return str(error)
    return None


def equals_the_reference(case: Drawn) -> list[str]:
    """What computed it; nothing where the sets lack what it reads."""
    x = case.inputs
    problem = case.problem(x)
    if refusal(problem) is not None:
        return []
    served = ["reference"]
    true = checks.results(checks.the_meaning, case.attention, x, case.drops)
    for name, module in EXECUTORS.items():
        if module.why_not(problem) is not None:
            continue
        served.append(name)
        found = checks.results(checks.executor(name, case.tiles), case.attention, x, case.drops)
        for key, exact in true.items():
            error, size = (checks.distances(a, b) for a, b in ((found[key], exact), (exact, torch.zeros_like(exact))))
            assert error.largest <= EXACT * max(1.0, size.largest), (
                f"{key} of {name} is off by {error}, its size is {size}"
            )
            # A gradient that is small throughout must be as exact as others, down to the rounding of what cancels.
            assert error.square <= EXACT * max(1e-3, size.square), (
                f"{key} of {name} is off by {error}, its size is {size}"
            )
    return served


@pytest.mark.unpoisoned
def test_every_executor_that_does_not_refuse_equals_the_reference():
    served: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(drawn())
    def compute(case: Drawn) -> None:
        served.update(equals_the_reference(case))

    compute()
    legal = served["reference"]
    assert legal > EXAMPLES // 3, "most of what is drawn lacks something"
    assert all(served[name] == legal for name in ("dense", "blocks", "edges"))
    assert all(served[name] > legal // 40 for name in ("fused", "additive", "kernelized")), served
