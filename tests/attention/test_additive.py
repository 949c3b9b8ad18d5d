"""Additive scores by exponentials of vectors: as exact as tanh itself, whatever the size of the vectors."""

import pytest
import torch

from regard import Attention, InputError, Layout, attend, plan
from regard.attention.spec.patterns import Causal, Window
from regard.attention.spec.scores import Additive, Dot

from . import checks
from .catalogue import Case

LAYOUT = Layout.of_lengths([70, 3, 41])
TOTAL, HEADS = LAYOUT.total, 2


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(most: float, *shape: int, seed: int) -> torch.Tensor:
    return (2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1) * most


def results(attention, q, k, v, w, run: str | None, dtype: torch.dtype) -> list[torch.Tensor]:
    leaves = [x.to(dtype).requires_grad_() for x in (q, k, v, w)]
    if run is None:
        out = eager(attention, *leaves)
    else:
        out = attend(attention, *leaves[:3], LAYOUT, parameters={"score_weight": leaves[3]}, executor=run)
    above = normal(*out.shape, seed=9).to(dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, above)]


def eager(attention, q, k, v, w):
    """What one would write in torch: set by set, all pairs and columns at once."""
    out = []
    for begin, end in zip(LAYOUT.offsets[:-1].tolist(), LAYOUT.offsets[1:].tolist(), strict=True):
        x = torch.tanh(q[begin:end, None] + k[None, begin:end])
        s = (x * w).sum(-1).movedim(-1, 0)
        if isinstance(attention.pattern, Causal):
            s = s.masked_fill(torch.ones_like(s, dtype=torch.bool).triu(1), -torch.inf)
        out.append((s.softmax(-1) @ v[begin:end].transpose(0, 1)).transpose(0, 1))
    return torch.cat(out)


@pytest.mark.parametrize("pattern", [None, Causal()], ids=str)
@pytest.mark.parametrize("most", [0.01, 1.0, 5.0, 29.0, 35.0, 60.0])
def test_errors_are_at_most_five_times_those_of_tanh(most, pattern):
    attention = Attention(score=Additive()) if pattern is None else Attention(score=Additive(), pattern=pattern)
    # Keys like the queries and opposite to them, so that large exponents meet and cancel.
    q = uniform(most, TOTAL, HEADS, 64, seed=0)
    k = torch.where(torch.arange(TOTAL)[:, None, None] % 2 == 0, uniform(most, TOTAL, HEADS, 64, seed=1), -q)
    k += uniform(1.0, TOTAL, HEADS, 64, seed=2) * min(most, 1.0) / 2
    q, k = (x.clamp(-most, most).float().double() for x in (q, k))
    v, w = normal(TOTAL, HEADS, 16, seed=3).float().double(), normal(HEADS, 64, seed=4).float().double()
    true = results(attention, q, k, v, w, None, torch.float64)
    low = results(attention, q, k, v, w, None, torch.float32)
    found = results(attention, q, k, v, w, "additive", torch.float32)
    for name, a, b, c in zip(("out", "d q", "d k", "d v", "d w"), found, low, true, strict=True):
        most_off = 5 * checks.distance(b, c) + 1e-7 * float(c.abs().max())
        assert checks.distance(a, c) <= most_off, (
            f"{name} is off by {checks.distance(a, c):.1e}, expected {most_off:.1e}"
        )
    exact = results(attention, q, k, v, w, "additive", torch.float64)
    for a, c in zip(exact, true, strict=True):
        assert checks.distance(a, c) <= 1e-11 * max(1.0, float(c.abs().max()))


def test_vectors_beyond_all_exponentials():
    attention = Attention(score=Additive())
    v, w = normal(TOTAL, HEADS, 8, seed=3), normal(HEADS, 8, seed=4)
    for huge in (1e3, 1e30):
        q, k = (normal(TOTAL, HEADS, 8, seed=n) for n in range(2))
        q[::2], k[::3] = q[::2] * huge, k[::3] * huge
        k[0] = -q[0]
        q, k = q.float().double(), k.float().double()
        found = results(attention, q, k, v, w, "additive", torch.float32)
        for a, b in zip(found, results(attention, q, k, v, w, None, torch.float64), strict=True):
            assert checks.distance(a, b) <= 2e-5 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("size", [1, 7, 15, 16, 17, 65, 130])
def test_sizes_off_the_lanes(size):
    for d, e in ((1, 3), (7, 16), (17, 1), (64, 20)):
        for activation in ("tanh", "leaky_relu"):
            case = Case(Attention(score=Additive(activation)), heads=2, key_heads=1, d=d, e=e)
            found = checks.results(checks.executor("additive"), case.attention, case.inputs((size, 2)))
            checks.close(found, checks.truth(case, (size, 2)))


@pytest.mark.unpoisoned
def test_repeats_itself_on_any_number_of_threads():
    case = Case(Attention(score=Additive(), pattern=Window(40, 40)), d=16)
    x = case.inputs((300, 20), torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(checks.results(checks.executor("additive"), case.attention, x))
    finally:
        torch.set_num_threads(before)
    for name in found[0]:
        assert torch.equal(found[1][name], found[2][name]), f"{name} differs between two runs"
        torch.testing.assert_close(found[0][name], found[1][name])


def test_what_is_refused():
    with pytest.raises(InputError, match=r"it computes the score Additive, not Dot\(\)"):
        plan(Attention(score=Dot()), LAYOUT, executor="additive")
    assert plan(Attention(score=Additive()), Layout.of_lengths([2000]), d=64).executor == "additive"
