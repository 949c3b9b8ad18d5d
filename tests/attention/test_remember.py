"""A running state gives, step by step, what the parallel form gives at once."""

import pytest
import torch
from torch.utils import _pytree as pytree

from regard import Attention, InputError, Layout, attend
from regard.attention.adapters import linear_state
from regard.attention.adapters.linear_state import LinearState
from regard.attention.problem import Tensors
from regard.attention.spec.feature_maps import Elu, Favor
from regard.attention.spec.normalizers import Sum
from regard.attention.spec.patterns import Causal
from regard.attention.spec.scores import Kernel

from .counting import Counted


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def linear(phi=None) -> Attention:
    return Attention(Kernel(phi or Elu()), Causal(), Sum())


@pytest.mark.parametrize("executor", ["dense", "kernelized"])
@pytest.mark.parametrize("phi", [Elu(), Favor(features=24, seed=2)], ids=str)
def test_every_step_is_the_parallel_form(phi, executor):
    n, sets = 150, 3
    q, k, v = normal(sets, n, 4, 8, seed=0), normal(sets, n, 2, 8, seed=1), normal(sets, n, 2, 5, seed=2)
    layout = Layout.of_lengths([n] * sets)
    whole = attend(linear(phi), *(x.flatten(0, 1) for x in (q, k, v)), layout, executor=executor).view(sets, n, 4, 5)
    state = LinearState.empty(linear(phi), sets, key_heads=2, d=8, e=5, dtype=torch.float64)
    for i in range(n):
        out, state = state.step(q[:, i], k[:, i], v[:, i])
        torch.testing.assert_close(out, whole[:, i], rtol=1e-9, atol=1e-11)


def test_steps_go_on_after_sets_of_any_length():
    layout = Layout.of_lengths([7, 0, 3])
    q, k, v = normal(10, 2, 4, seed=0), normal(10, 2, 4, seed=1), normal(10, 2, 4, seed=2)
    last = [normal(3, 2, 4, seed=n) for n in range(3, 6)]
    out, _ = LinearState.empty(linear(), 3, 2, 4, 4, torch.float64).after(k, v, layout).step(*last)
    for b, (begin, end) in enumerate(layout.offsets.unfold(0, 2, 1).tolist()):
        x = [torch.cat([a[begin:end], new[b : b + 1]]) for a, new in zip((q, k, v), last, strict=True)]
        whole = attend(linear(), *x, Layout.of_lengths([end - begin + 1]))
        torch.testing.assert_close(out[b], whole[-1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("phi", [Elu(), Favor(features=24, seed=2)], ids=str)
def test_many_vectors_at_once_are_as_many_steps(phi, monkeypatch):
    """Pieces end inside of sets, bunches between them; one set has no vector and one a single one."""
    monkeypatch.setattr(linear_state, "_AT_ONCE", 4)
    monkeypatch.setattr(linear_state, "_SETS", 2)
    layout = Layout.of_lengths([9, 0, 4, 1, 11])
    q, k, v = normal(25, 4, 8, seed=0), normal(25, 2, 8, seed=1), normal(25, 2, 5, seed=2)
    begin = LinearState.empty(linear(phi), 5, key_heads=2, d=8, e=5, dtype=torch.float64)
    out, state = begin.attend(attend, Tensors(q, k, v, {}), layout)
    torch.testing.assert_close(out, attend(linear(phi), q, k, v, layout), rtol=1e-9, atol=1e-11)
    stepped = begin.after(k, v, layout)
    torch.testing.assert_close((state.sums, state.totals), (stepped.sums, stepped.totals), rtol=1e-12, atol=1e-12)
    again, _ = state.attend(attend, Tensors(q, k, v, {}), layout)
    for low, high in layout.offsets.unfold(0, 2, 1).tolist():
        twice = [torch.cat([x[low:high]] * 2) for x in (q, k, v)]
        whole = attend(linear(phi), *twice, Layout.of_lengths([2 * (high - low)]))
        torch.testing.assert_close(again[low:high], whole[high - low :], rtol=1e-9, atol=1e-11)
    nothing, same = begin.attend(attend, Tensors(q[:0], k[:0], v[:0], {}), Layout.of_lengths([0] * 5))
    assert nothing.shape == (0, 4, 5)
    assert not same.sums.any()


def test_the_operators_of_many_vectors_at_once_do_not_grow_with_the_sets():
    operators = []
    for sets in (2, 60):
        x = normal(3 * sets, 2, 4, seed=0, dtype=torch.float32)
        with Counted() as counted:
            LinearState.empty(linear(), sets, 2, 4, 4).attend(
                attend, Tensors(x, x, x, {}), Layout.of_lengths([3] * sets)
            )
        operators.append(counted.operators)
    assert operators[0] == operators[1] < 150


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("phi", [Elu(), Favor(features=40, seed=2)], ids=str)
@pytest.mark.parametrize(("d", "e", "heads"), [(8, 16, 2), (16, 17, 4), (64, 64, 8), (33, 40, 2)])
def test_compiled_steps_are_those_of_operators(d, e, heads, phi, dtype, monkeypatch):
    """Sets enough for several threads; the keys of a set and head far below zero, and those of another exactly there."""
    sets, steps = 20, 4
    q, k, v = (normal(steps, sets, *shape, seed=n, dtype=dtype) for n, shape in enumerate(((heads, d), (2, d), (2, e))))
    k[:, 3, 1], k[:, 4, 0], q[:, 5] = -200, 0, q[:, 5] - 60
    ways = {}
    for way in ("compiled", "operators"):
        state = LinearState.empty(linear(phi), sets, 2, d, e, dtype)
        assert linear_state._plain((state.sums, q, k, v)) == (way == "compiled")
        outs = []
        for step in zip(q, k, v, strict=True):
            out, state = state.step(*step)
            outs.append(out)
        ways[way] = torch.stack(outs), state.sums, state.totals
        monkeypatch.setattr(linear_state, "available", lambda: False)
    for a, b in zip(ways["compiled"], ways["operators"], strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b)


def test_a_compiled_step_changes_nothing_of_the_state_before():
    state = LinearState.empty(linear(), 2, 1, 16, 16).step(
        *(normal(2, 1, 16, seed=n, dtype=torch.float32) for n in range(3))
    )[1]
    before = state.sums.clone(), state.totals.clone()
    x = normal(2, 1, 16, seed=4, dtype=torch.float32)
    first, second = (state.step(x, x, x) for _ in range(2))
    assert torch.equal(state.sums, before[0])
    assert torch.equal(state.totals, before[1])
    assert torch.equal(first[0], second[0])


def test_what_is_not_finite_spoils_its_own_set_alone():
    state = LinearState.empty(linear(), 3, 1, 16, 16)
    x = normal(3, 1, 16, seed=4, dtype=torch.float32)
    spoiled = x.clone()
    spoiled[1, 0, 3] = torch.nan
    found, expected = state.step(spoiled, spoiled, x)[0], state.step(x, x, x)[0]
    assert torch.equal(found[[0, 2]], expected[[0, 2]])
    assert found[1].isnan().all()


def test_half_precision_remembers_in_float32():
    state = LinearState.empty(linear(), 1, 1, 4, 4, torch.bfloat16)
    one = torch.ones(1, 1, 4, dtype=torch.bfloat16)
    for _ in range(600):
        out, state = state.step(one, one, one)
    assert out.dtype == torch.bfloat16
    assert (state.totals == 1200).all()


def test_what_is_remembered_of_nothing_is_nothing():
    state = LinearState.empty(linear(), 2, 1, 4, 3)
    far = torch.full((2, 1, 4), -200.0)
    out, _ = state.step(torch.ones(2, 1, 4), far, torch.ones(2, 1, 3))
    assert (out == 0).all()
    state = LinearState.empty(linear(), 2, 1, 16, 16)
    out, _ = state.step(torch.ones(2, 1, 16), torch.full((2, 1, 16), -200.0), torch.ones(2, 1, 16))
    assert (out == 0).all()


def test_gradients_flow_through_steps():
    q, k, v = (normal(5, 1, 3, seed=n).requires_grad_() for n in range(3))
    whole = attend(linear(), q, k, v, Layout.of_lengths([5]))[-1].sum()
    state = LinearState.empty(linear(), 1, 1, 3, 3, torch.float64)
    for i in range(5):
        out, state = state.step(q[i : i + 1], k[i : i + 1], v[i : i + 1])
    for a, b in zip(torch.autograd.grad(out.sum(), (k, v)), torch.autograd.grad(whole, (k, v)), strict=True):
        torch.testing.assert_close(a, b)


def test_a_state_is_a_tree_of_tensors():
    state = LinearState.empty(linear(Favor(8, seed=3)), 2, 1, 4, 3)
    leaves, tree = pytree.tree_flatten(state)
    assert [leaf.shape for leaf in leaves] == [(2, 1, 8, 3), (2, 1, 8)]
    assert pytree.tree_unflatten(leaves, tree).phi == Favor(8, seed=3)
    assert pytree.treespec_loads(pytree.treespec_dumps(tree)) == tree


def test_a_step_of_many_sets_takes_as_many_operators_as_a_step_of_one():
    operators = []
    for sets in (1, 50):
        state = LinearState.empty(linear(), sets, 2, 4, 4)
        x = normal(sets, 2, 4, seed=0, dtype=torch.float32)
        layout = Layout.of_lengths([1] * sets)
        with Counted() as counted:
            state.attend(attend, Tensors(x, x, x, {}), layout)
        operators.append(counted.operators)
    assert operators[0] == operators[1] < 40


def test_other_attentions_are_refused():
    for attention in (Attention(pattern=Causal()), Attention(Kernel(), normalizer=Sum())):
        with pytest.raises(InputError, match=r"has no running state, expected score Kernel and pattern Causal\(\)"):
            LinearState.empty(attention, 1, 1, 4, 4)


def test_late_steps_compute_as_much_as_early_ones():
    state = LinearState.empty(linear(), 1, 8, 64, 64)
    x = normal(1, 8, 64, seed=0, dtype=torch.float32)
    counts = []
    for _ in range(200):
        with Counted() as counted:
            _, state = state.step(x, x, x)
        counts.append((counted.operators, counted.numbers))
    assert counts[0][1] > 8 * 64 * 64, "a step reads its state"
    assert len(set(counts[1:])) == 1
