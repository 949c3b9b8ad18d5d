"""A key-value cache in memory with room for more: what it gives, what it copies, and that no state changes."""

import itertools

import pytest
import torch
from torch.utils import _pytree as pytree

from regard import Attention, Layout, attend
from regard.attention import planning as plans
from regard.attention.adapters.key_values import KeyValues
from regard.attention.adapters.remember import Remember
from regard.attention.adapters.states import begin
from regard.attention.problem import Tensors
from regard.attention.reference import reference
from regard.attention.spec.biases import T5, ALiBi
from regard.attention.spec.normalizers import Sigmoid, Sum
from regard.attention.spec.patterns import Causal, Dilated, First, Window
from regard.attention.spec.scores import Additive, Kernel

from .counting import Counted

BACK = [
    Attention(pattern=Causal()),
    Attention(pattern=Window(5, 0)),
    Attention(pattern=(Causal(), Window(4, 0), Dilated(2, 0, step=3), First(2) & Causal()), bias=ALiBi()),
    Attention(pattern=(Window(40, 0), Window(2, 0), Causal(), Causal())),
    Attention(score=Additive(), pattern=Causal(), bias=T5()),
    Attention(pattern=Causal(), normalizer=Sigmoid()),
    Attention(score=Kernel(), pattern=Window(6, 0), normalizer=Sum()),
]
LENGTHS = (57, 0, 44, 9)


def verb(attention, tensors, layout, key_layout=None, dropout=None, executor=None):
    q, k, v = tensors.q, tensors.k, tensors.v
    return attend(attention, q, k, v, layout, key_layout, tensors.parameters, executor=executor)


class Sets:
    """Random vectors of some sets, of which `grow` gives a state the next ones."""

    def __init__(self, attention, lengths=LENGTHS, heads=4, key_heads=4, d=8, dtype=torch.float64):
        generator = torch.Generator().manual_seed(0)
        self.attention, self.layout = attention, Layout.of_lengths(lengths)
        self.q, self.k, self.v = (
            torch.randn(self.layout.total, n, d, generator=generator, dtype=torch.float64).to(dtype)
            for n in (heads, key_heads, key_heads)
        )
        shapes = attention.parameters(heads, d)
        self.parameters = {n: torch.randn(s, generator=generator).to(dtype) for n, s in shapes.items()}
        self.empty = begin(Remember(attention), self.layout.sets, key_heads, d, dtype=dtype)

    def grow(self, state, number, which=None, verb=verb):
        """The output for so many next vectors of each set, and the state with them; set n of the state is that of `which[n]`."""
        which = torch.arange(self.layout.sets) if which is None else which
        layout = Layout(Layout.of_lengths(number).offsets, starts=state.places)
        rows = self.layout.offsets[:-1][which][layout.set_of_row] + layout.index
        tensors = Tensors(*(x[rows] for x in (self.q, self.k, self.v)), self.parameters)
        return state.attend(verb, tensors, layout)

    def whole(self):
        return reference(self.attention, self.q, self.k, self.v, self.layout, self.layout, self.parameters)

    def step(self, state, verb=verb):
        return self.grow(state, (state.places < self.layout.lengths).long(), verb=verb)


def grown(sets, first, verb=verb):
    """The outputs of all vectors, so many at first, then one at a time; and the last state."""
    parts = [torch.zeros(0, *sets.q.shape[1:], dtype=sets.q.dtype) for _ in range(sets.layout.sets)]
    state, number = sets.empty, torch.tensor(first)
    while number.any():
        out, state = sets.grow(state, number, verb=verb)
        parts = [torch.cat(pair) for pair in zip(parts, out.split(number.tolist()), strict=True)]
        number = (state.places < sets.layout.lengths).long()
    return torch.cat(parts), state


@torch.no_grad()
@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("attention", BACK, ids=repr)
def test_sets_that_grow_in_their_room_give_what_whole_sets_give(attention, key_heads):
    sets = Sets(attention, key_heads=key_heads)
    for first in ((3, 0, 11, 1), (0, 0, 40, 0)):
        out, state = grown(sets, first)
        torch.testing.assert_close(out, sets.whole(), rtol=1e-9, atol=1e-9)
        assert isinstance(state, KeyValues)
        assert state.room is not None


@torch.no_grad()
@pytest.mark.parametrize("executor", ["dense", "blocks", "edges", "fused"])
@pytest.mark.parametrize("attention", BACK[:4], ids=repr)
@pytest.mark.parametrize("lengths", [LENGTHS, (50,)])
def test_every_executor_reads_keys_with_room_between_them(lengths, attention, executor):
    sets = Sets(attention, lengths)
    run = lambda *args: verb(*args, executor=executor)  # noqa: E731
    out, _ = grown(sets, [n // 2 for n in lengths], run)
    torch.testing.assert_close(out, sets.whole(), rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_are_as_exact_as_whole_sets(dtype):
    sets, exact = Sets(BACK[0], (90, 70), d=32, dtype=dtype), Sets(BACK[0], (90, 70), d=32)
    exact.q, exact.k, exact.v = (x.double() for x in (sets.q, sets.k, sets.v))
    whole = attend(BACK[0], sets.q, sets.k, sets.v, sets.layout, executor="dense")
    errors = [(out.double() - exact.whole()).square().mean() for out in (grown(sets, (5, 5))[0], whole)]
    assert errors[0] < 2 * errors[1]


@torch.no_grad()
def test_two_states_that_go_on_from_one_change_neither_it_nor_each_other():
    sets, other = Sets(BACK[0], (30, 30)), Sets(BACK[0], (30, 30))
    other.q, other.k, other.v = sets.q, sets.k.clone(), sets.v.clone()
    for x in (other.k, other.v):
        x[[12, 42]] += 1
    _, state = sets.grow(sets.empty, (12, 12))
    _, state = sets.grow(state, (0, 0))
    _, left = sets.step(state)
    _, right = other.step(state)
    assert left.room is state.room is not right.room
    for made, at in ((sets, left), (other, right)):
        out, _ = made.step(at)
        torch.testing.assert_close(out, made.whole()[[13, 43]], rtol=1e-9, atol=1e-9)
    again, _ = sets.step(state)
    torch.testing.assert_close(again, sets.whole()[[12, 42]], rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("number", [1, 3])
def test_memory_is_made_anew_now_and_then_alone(number):
    sets = Sets(BACK[0], (400,) * number, heads=1, key_heads=1, d=2, dtype=torch.float32)
    _, state = sets.grow(sets.empty, (1,) * number)
    places, rooms = [], []
    while int(state.places[0]) < 400:
        _, state = sets.step(state)
        places.append(state.k.untyped_storage().data_ptr())
        rooms.append(state.room)
    changes = sum(a is not b for a, b in itertools.pairwise(rooms))
    assert changes < 12
    assert sum(a != b for a, b in itertools.pairwise(places)) == changes
    assert state.room.layout.total <= number * (400 * 1.25 + 33)


@torch.no_grad()
def test_a_window_has_room_for_little_more_than_it_reaches():
    sets = Sets(BACK[1], (300, 200), heads=1, key_heads=1, d=2, dtype=torch.float32)
    _, state = grown(sets, (1, 1))
    assert state.places.tolist() == [300, 200]
    assert state.room.layout.total <= 2 * (5 + 1 + 32)


@torch.no_grad()
def test_late_steps_copy_no_more_than_early_ones():
    sets = Sets(Attention(pattern=Window(3, 0)), (300,), heads=1, key_heads=1, d=4, dtype=torch.float32)
    _, state = sets.grow(sets.empty, (1,))
    counts = []
    while int(state.places[0]) < 300:
        with Counted() as counted:
            _, state = sets.step(state)
        counts.append(counted.numbers)
    assert sorted(counts)[-12] < 2 * min(counts[20:])


@torch.no_grad()
def test_one_choice_serves_the_steps_until_there_are_twice_as_many_keys(monkeypatch):
    chosen, before = [], plans._choose
    monkeypatch.setattr(plans, "_choose", lambda *args: chosen.append(1) or before(*args))
    for lengths in ((60,), (60, 60)):
        sets = Sets(BACK[0], lengths)
        _, state = sets.grow(sets.empty, [20 for _ in lengths])
        chosen.clear()
        for _ in range(30):
            _, state = sets.step(state)
        # One set has 21 to 50 keys; the memory of two has as many rows all the time.
        assert len(chosen) == (2 if len(lengths) == 1 else 1)
        if len(lengths) > 1:
            sets.step(state.select(torch.tensor([1, 0])))
            assert len(chosen) == 1


@torch.no_grad()
@pytest.mark.parametrize("attention", [BACK[0], BACK[1], BACK[2]], ids=repr)
def test_sets_are_chosen_and_repeated(attention):
    sets = Sets(attention, (40, 40, 40))
    _, state = sets.grow(sets.empty, (7, 20, 5))
    for _ in range(3):
        _, state = sets.step(state)
    assert state.select(torch.arange(3)) is state
    which = torch.tensor([2, 2, 0])
    state = state.select(which)
    assert state.places.tolist() == [8, 8, 10]
    for n in range(3):
        out, state = sets.grow(state, (1, 1, 1), which)
        rows = torch.tensor([88, 88, 10]) + n
        torch.testing.assert_close(out, sets.whole()[rows], rtol=1e-9, atol=1e-9)


def test_what_was_made_in_inference_mode_goes_on_without_it():
    sets = Sets(BACK[0], (30, 20))
    with torch.inference_mode():
        _, state = sets.grow(sets.empty, (5, 5))
        _, state = sets.step(state)
    with torch.no_grad():
        out, state = sets.step(state)
    torch.testing.assert_close(out, sets.whole()[[6, 36]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lengths", [(30,), (30, 20)])
def test_gradients_go_through_a_state_that_others_go_on_from(lengths):
    sets = Sets(BACK[0], lengths)
    with torch.no_grad():
        _, state = sets.grow(sets.empty, [5 for _ in lengths])
        _, state = sets.step(state)
    sets.q.requires_grad_()
    out, after = sets.step(state)
    with torch.no_grad():
        _, state = sets.step(state)
        sets.step(state)
    (found,) = torch.autograd.grad(out.square().sum(), sets.q)
    rows = sets.layout.offsets[:-1] + 6
    (expected,) = torch.autograd.grad(sets.whole()[rows].square().sum(), sets.q)
    torch.testing.assert_close(found, expected)
    assert after.room is None


@torch.no_grad()
def test_a_cache_with_room_is_a_tree_of_the_vectors_alone():
    sets = Sets(BACK[0], (30, 20))
    _, state = sets.grow(sets.empty, (5, 4))
    _, state = sets.step(state)
    leaves, tree = pytree.tree_flatten(state)
    again = pytree.tree_unflatten(leaves, tree)
    assert again.k.shape[0] == 11
    assert again.places.tolist() == [6, 5]
    for one in (again, state):
        torch.testing.assert_close(sets.step(one)[0], sets.whole()[[6, 35]], rtol=1e-9, atol=1e-9)
