"""`fused` where each set has one query at most: a kernel of its own, which must mean the same."""

import pytest
import torch

from regard import Attention, attend
from regard.attention import parse
from regard.attention.dropout import Dropout
from regard.attention.executors.fused import executor as fused
from regard.attention.executors.fused import lone
from regard.attention.problem import Problem
from regard.attention.reference import reference
from regard.sets import Layout

LENGTHS, STARTS = [5, 3, 0, 40, 1, 130], [4, 2, 0, 30, 0, 140]
PATTERNS = [
    "Everyone()",
    "Causal()",
    "Window(3, 0)",
    "First(2) | Window(2, 0)",
    "~First(1)",
    "Window(2, 2) & ~Window(2, 2)",
]


def layouts(queries: list[int]) -> tuple[Layout, Layout]:
    return Layout(Layout.of_lengths(queries).offsets, starts=torch.tensor(STARTS)), Layout.of_lengths(LENGTHS)


def vectors(layout: Layout, keys: Layout, key_heads: int, d: int, e: int, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (layout.total, 4, d), (keys.total, key_heads, d), (keys.total, key_heads, e)
    return [torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True) for shape in shapes]


def posed(attention: Attention, layout: Layout, keys: Layout, d: int = 16, **more: object) -> Problem:
    return Problem(attention.for_heads(4), layout, keys, 4, 4, d, d, torch.float32, **more)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("queries", [[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]], ids=str)
@pytest.mark.parametrize(("key_heads", "d", "e"), [(4, 16, 16), (2, 32, 80), (1, 48, 64)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_equals_the_meaning(pattern, key_heads, d, e, queries, dtype):
    attention = parse(f"Attention(pattern={pattern})")
    layout, keys = layouts(queries)
    given = vectors(layout, keys, key_heads, d, e, dtype)
    assert lone.fits(Problem(attention.for_heads(4), layout, keys, 4, key_heads, d, e, dtype))
    exact = [x.detach().double().requires_grad_() for x in given]
    out, meant = (
        attend(attention, *given, layout, keys, executor="fused"),
        reference(attention, *exact, layout, keys, {}),
    )
    accuracy = {"rtol": 1e-5, "atol": 2e-6} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(out.double(), meant.double(), **accuracy)
    above = torch.randn(meant.shape, dtype=torch.float64)
    found = torch.autograd.grad(out, given, above.to(dtype))
    for ours, theirs in zip(found, torch.autograd.grad(meant + 0 * exact[0].sum(), exact, above), strict=True):
        torch.testing.assert_close(ours.double(), theirs, **accuracy)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_set_gets_the_same_bits_in_every_batch_and_wherever_its_keys_lie(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(lone, "_PART", 1 << 8)
    layout, keys = layouts([1] * 6)
    q, k, v = (x.detach() for x in vectors(layout, keys, 4, 32, 32, torch.float32))
    attention = parse("Attention(pattern=Causal())")
    together = attend(attention, q, k, v, layout, keys, executor="fused")
    by_head = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in (k, v)]
    assert torch.equal(together, attend(attention, q, *by_head, layout, keys, executor="fused"))
    for b, (begin, end) in enumerate(zip(keys.offsets[:-1].tolist(), keys.offsets[1:].tolist(), strict=True)):
        own = Layout(torch.tensor([0, 1]), starts=torch.tensor(STARTS[b : b + 1])), Layout.of_lengths([end - begin])
        alone = attend(attention, q[b : b + 1], k[begin:end], v[begin:end], *own, executor="fused")
        assert torch.equal(alone, together[b : b + 1])


def test_views_that_are_no_rows_of_neighbors():
    layout, keys = layouts([1] * 6)
    q, k, v = (x.detach() for x in vectors(layout, keys, 4, 16, 16, torch.float64))
    strided = [x.repeat_interleave(2, dim=2)[:, :, ::2] for x in (q, k, v)]
    out = attend(Attention(), q, k, v, layout, keys, executor="fused")
    assert torch.equal(out, attend(Attention(), *strided, layout, keys, executor="fused"))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_stays_in_its_set(number):
    layout, keys = layouts([1] * 6)
    q, k, v = (x.detach() for x in vectors(layout, keys, 4, 16, 16, torch.float32))
    clean = attend(Attention(), q, k, v, layout, keys, executor="fused")
    k[6, 1] = number  # A key of set 1.
    found = attend(Attention(), q, k, v, layout, keys, executor="fused")
    assert found[1, 1].isnan().all()
    others = torch.ones(6, 4, dtype=torch.bool)
    others[1, 1] = False
    assert torch.equal(found[others], clean[others])


def test_what_it_leaves_to_tiles():
    layout, keys = layouts([1] * 6)
    assert lone.fits(posed(Attention(), layout, keys))
    assert not lone.fits(posed(Attention(), keys, keys))
    assert not lone.fits(posed(Attention(), layout, keys, d=24))
    assert not lone.fits(posed(Attention(), layout, keys, dropout=Dropout(0.1)))
    for text in ("Attention(bias=ALiBi())", "Attention(normalizer=Sigmoid())"):
        assert not lone.fits(posed(parse(text), layout, keys))


def test_work_and_memory_grow_with_the_keys():
    layout, keys = layouts([1] * 6)
    problem = posed(Attention(), layout, keys)
    assert fused.work(problem) == {"lone calls": 1, "lone rows": 6 * 4 * 32, "lone numbers": problem.pairs * 32}
    assert fused.at_least(problem) == fused.work(problem)
    assert fused.memory(problem) == (6 * 4 * 48 + keys.total * 4 * 32) * 4
