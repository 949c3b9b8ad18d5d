"""Adapters: values with a text form, each held to an independent twin.

`Axes` is held to attentions with `AlongAxis`, and states of sets that grow to whole sets.
"""

import copy
import math
import pickle
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch.utils import _pytree as pytree

from regard import Attention, InputError, Layout, attend, plan
from regard.attention.adapters.axes import Axes
from regard.attention.adapters.key_values import KeyValues
from regard.attention.adapters.memory_compressed import MemoryCompressed
from regard.attention.adapters.remember import Remember
from regard.attention.adapters.segments import Segments
from regard.attention.adapters.states import begin
from regard.attention.dropout import Dropout
from regard.attention.problem import Tensors
from regard.attention.reference import reference
from regard.attention.spec.biases import ALiBi, EdgeBias, Shaw
from regard.attention.spec.patterns import (
    Causal,
    Dilated,
    Edges,
    Everyone,
    Near,
    RandomBlocks,
    Window,
)
from regard.attention.vocabulary import parse
from regard.layers.positions import Rotary

from . import checks
from .catalogue import ADAPTED, BACK, MIXED, Case, Inputs
from .checks import EXACT, Run, close, results, the_meaning

CASES = [case for case in ADAPTED if isinstance(case.attention, Axes)]
AXES = [case.attention for case in CASES]


def adapted(executor: str | None = None) -> Run:
    """As users call it."""

    def run(adapter, x, dropout):
        return attend(adapter, x.q, x.k, x.v, x.layout, x.key_layout, x.parameters, dropout=dropout, executor=executor)

    return run


each_case = pytest.mark.parametrize("case", ADAPTED, ids=str)


@each_case
def test_equals_the_meaning(case):
    for sizes in ((0,), (1,), (36,), MIXED):
        close(results(adapted(), case.attention, case.inputs(sizes)), checks.truth(case, sizes))
    close(results(adapted("blocks"), case.attention, case.inputs(MIXED)), checks.truth(case, MIXED))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_axes_equal_the_meaning_in_float32(case):
    for sizes in ((0,), (1,), (36,), MIXED):
        checks.equals_the_meaning(adapted(), case, sizes)


@pytest.mark.parametrize("attention", BACK, ids=repr)
def test_what_can_be_remembered_is_computed_as_without(attention):
    x = Case(attention, e=5).inputs(MIXED, torch.float32)
    both = [results(adapted(), each, x) for each in (Remember(attention), attention)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


@each_case
@pytest.mark.parametrize(
    "check",
    [
        checks.packed_equals_alone,
        checks.spoils_only_its_own_set,
        checks.empty_rows_are_zero,
        checks.gradients_are_those_of_the_output,
    ],
    ids=lambda check: check.__name__,
)
def test_passes_what_executors_pass(case, check):
    check(adapted(), case)


@each_case
def test_forbidden_keys_change_nothing(case):
    stacked = isinstance(case.attention, Axes) and case.attention.combine == "stack"
    summed = stacked or isinstance(case.attention, MemoryCompressed)
    checks.forbidden_keys_change_nothing(adapted(), case, overflowing=not summed)


@pytest.mark.parametrize("case", [CASES[0], CASES[1]], ids=str)
def test_permuting_vectors_permutes_the_output(case):
    checks.permuting_vectors_permutes_the_output(adapted(), case)


@pytest.mark.unpoisoned
@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_repeats_itself(case, two_threads):
    checks.repeats_itself(adapted(), case)


def test_a_coordinate_that_is_no_number_leaves_a_vector_out():
    case = CASES[1]
    x = case.inputs((12,))
    coords = x.layout.coords.clone()
    coords[3, 0], coords[7, 1] = math.nan, math.nan
    layout = Layout(x.layout.offsets, coords)
    x = Inputs(layout, layout, x.q, x.k, x.v, x.parameters)
    close(results(adapted(), case.attention, x), results(the_meaning, case.attention, x))


def test_axes_of_rows_in_another_order():
    case = CASES[2]
    x = case.inputs((20, 5))
    order = torch.cat([torch.randperm(20), 20 + torch.randperm(5)])
    layout = Layout(x.layout.offsets, x.layout.coords[order], places=x.layout.index[order])
    moved = Inputs(layout, layout, x.q[order], x.k[order], x.v[order], x.parameters)
    expected = the_meaning(case.attention, x, None)[order]
    assert torch.allclose(adapted()(case.attention, moved, None), expected, atol=EXACT)


def test_gradients_reach_coordinates():
    adapter = Axes(Attention(bias=ALiBi(coordinates=True)))
    x = Case(adapter, coords=2).inputs((10,))
    both = []
    for run in (the_meaning, adapted()):
        coords = x.layout.coords.clone().requires_grad_()
        layout = Layout(x.layout.offsets, coords)
        for _ in range(2):
            out = run(adapter, Inputs(layout, layout, x.q, x.k, x.v, x.parameters), None)
            (gradient,) = torch.autograd.grad(out.square().sum(), coords)
        both.append(gradient)
    assert both[0].abs().max() > 0
    assert torch.allclose(*both, atol=1e-10)


def test_a_square_takes_its_side_times_as_many_pairs_as_it_has_vectors():
    side = 150
    place = torch.cartesian_prod(torch.arange(side), torch.arange(side)).double()
    report = plan(Axes(), Layout(torch.tensor([0, side * side]), place), heads=2, d=8)
    assert report.pairs == 2 * 2 * side * side * side
    assert report.memory < side**4
    assert "axis 0" in str(report)
    assert str(report).startswith("Axes()\n")


def test_axes_drop_for_each_axis_anew():
    x = Case(Axes(), coords=2).inputs((40,))
    dropout = Dropout(0.5, seed=8)
    once, again = (adapted()(Axes(), x, dropout) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, adapted()(Axes(), x, Dropout(0.5, seed=99)))
    # A vector that is alone in both of its lines has the weight 1 twice, and loses each half of the times.
    apart = torch.arange(400.0)[:, None].expand(-1, 2)
    layout, ones = Layout(torch.tensor([0, 400]), apart), torch.ones(400, 1, 1)
    out = attend(Axes(), ones, ones, ones, layout, dropout=dropout).flatten()
    assert sorted(out.unique().tolist()) == [0, 2, 4]
    assert abs(float((out == 2).double().mean()) - 0.5) < 0.1


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Axes(axes=0), "Axes has axes 0, expected at least 1"),
        (lambda: Axes(combine="mean"), "Axes has combine 'mean', expected 'sum' or 'stack'"),
        (lambda: Axes(Attention(pattern=Edges())), "which reads edges, expected one that reads none"),
        (lambda: Axes(Attention(bias=EdgeBias(2))), "which reads edges"),
        (lambda: Axes(Everyone()), r"Axes has attention Everyone\(\), expected an Attention"),
        (lambda: Remember(Attention()), "which looks at later vectors, expected patterns that do not, such as Causal"),
        (lambda: Remember(Attention(pattern=(Causal(), Window(2, 1)))), "which looks at later vectors"),
        (lambda: Remember(Attention(pattern=Causal() & RandomBlocks(1, 2))), "drawn anew when a set grows"),
        (lambda: Remember(Attention(pattern=Causal() & Edges())), "which reads edges"),
        (lambda: parse("Axes(Attention(), combines='sum')"), "Axes in .* has no option 'combines': did you mean"),
        (lambda: parse("Axis()"), "'Axis' in 'Axis\\(\\)' is no part of an attention: did you mean 'Axes'"),
    ],
)
def test_what_no_adapter_can_be_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_layouts_that_axes_cannot_cut_are_refused():
    x, plain, flat = torch.ones(4, 1, 2), Layout.of_lengths([4]), Layout(torch.tensor([0, 4]), torch.ones(4, 1))
    grid = Layout(torch.tensor([0, 4]), torch.ones(4, 2))
    for layout, keys, sentence in (
        (plain, None, r"the sets have 0 coordinates, expected 2 for Axes\(\)"),
        (flat, None, "the sets have 1 coordinates, expected 2"),
        (grid, Layout(torch.tensor([0, 4]), torch.ones(4, 2)), "expected queries and keys of the same layout"),
    ):
        for call in (
            lambda layout=layout, keys=keys: attend(Axes(), x, x, x, layout, keys),
            lambda layout=layout, keys=keys: plan(Axes(), layout, key_layout=keys),
        ):
            with pytest.raises(InputError, match=sentence):
                call()
    learned = Axes(Attention(bias=Shaw(2)))
    with pytest.raises(InputError, match=r"the parameter 'bias_keys' of Axes\(.* is missing"):
        attend(learned, x, x, x, grid)


@pytest.mark.parametrize(
    "adapter", [*AXES, Remember(Attention(pattern=Causal(), bias=ALiBi())), Segments(memory=9)], ids=repr
)
def test_an_adapter_is_its_text(adapter):
    again = parse(repr(adapter))
    assert again == adapter == pickle.loads(pickle.dumps(adapter)) == copy.deepcopy(adapter)
    assert hash(again) == hash(adapter)
    assert again.text == repr(adapter)
    assert adapter.parameters(4, 8, 6) == adapter.attention.parameters(4, 8, 6)


def test_how_far_axes_look():
    inner = Attention(pattern=Window(3, 1))
    assert Axes(inner).extent == (3, 1)
    assert Axes(inner, combine="stack").extent == (6, 2)
    assert Remember(Attention(pattern=Window(3, 0))).extent == (3, 0)
    assert Axes(axes=3).coordinates == 3


@pytest.mark.parametrize("case", [CASES[0], CASES[4]], ids=str)
def test_compiled_code_computes_adapters(case):
    x = case.inputs(MIXED)
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)

    def run(adapter, x, dropout):
        return compiled(adapter, x.q, x.k, x.v, x.layout, None, x.parameters)

    plain = Inputs(x.layout, x.layout, *(leaf.detach() for leaf in (x.q, x.k, x.v)), x.parameters)
    close(results(run, case.attention, plain), results(the_meaning, case.attention, x))


def grown(attention: Attention, x: Inputs, steps: Sequence[Sequence[int]], executor: str | None = None):
    """The outputs of sets that grow by so many vectors at each step, in the order of whole sets; and the last state."""

    def verb(attention, tensors, layout, key_layout=None, dropout=None):
        return attend(
            attention, tensors.q, tensors.k, tensors.v, layout, key_layout, tensors.parameters, executor=executor
        )

    state = begin(Remember(attention), x.layout.sets, x.k.shape[1], x.k.shape[2], x.v.shape[2], x.q.dtype)
    out, had = torch.zeros(*x.q.shape[:2], x.v.shape[2], dtype=x.q.dtype), torch.zeros(x.layout.sets, dtype=torch.int64)
    for step in steps:
        number = torch.tensor(step)
        layout = Layout(Layout.of_lengths(number).offsets, starts=had)
        rows = x.layout.offsets[:-1][layout.set_of_row] + layout.index
        # Queries and keys are turned by their places, as a layer does.
        tensors = Tensors(*(t.index_select(0, rows) for t in (x.q, x.k, x.v)), x.parameters)
        tensors = replace(tensors, q=Rotary()(tensors.q, layout), k=Rotary()(tensors.k, layout))
        part, state = state.attend(verb, tensors, layout)
        out = out.index_copy(0, rows, part)
        had = had + number
    return out, state


SIZES = (9, 0, 14, 1)
STEPS = {
    "one at a time": [[int(n > i) for n in SIZES] for i in range(max(SIZES))],
    "all at once": [SIZES],
    "at their own pace": [(4, 0, 0, 0), (0, 0, 9, 1), (3, 0, 1, 0), (0, 0, 0, 0), (2, 0, 4, 0)],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("attention", BACK, ids=repr)
def test_sets_that_grow_give_what_whole_sets_give(attention, steps):
    x = Case(attention, key_heads=2, e=5).inputs(SIZES)

    def whole(attention, x, dropout):
        q, k = (Rotary()(t, x.layout) for t in (x.q, x.k))
        return the_meaning(attention, Inputs(x.layout, x.layout, q, k, x.v, x.parameters), None)

    found = results(lambda attention, x, _: grown(attention, x, steps)[0], attention, x)
    close(found, results(whole, attention, x))


def test_one_executor_gives_the_same_bits_whether_keys_were_cached_or_not():
    attention = Attention(pattern=Causal())
    x = Case(attention).inputs(SIZES, torch.float32)
    together, single = (grown(attention, x, STEPS[steps], "edges")[0] for steps in ("all at once", "one at a time"))
    assert torch.equal(together, single)


def test_a_window_forgets_what_it_left_behind():
    attention = Attention(pattern=(Window(4, 0), Dilated(2, 0, step=3)), bias=ALiBi())
    x = Case(attention, heads=2, key_heads=2).inputs(SIZES)
    _, state = grown(attention, x, STEPS["one at a time"])
    assert isinstance(state, KeyValues)
    assert state.layout.lengths.tolist() == [6, 0, 6, 1]
    assert state.places.tolist() == [9, 0, 14, 1]
    assert len(state.k) == 13
    assert len(grown(Attention(pattern=Causal()), x, STEPS["one at a time"])[1].k) == sum(SIZES)


@pytest.mark.parametrize("attention", [BACK[0], BACK[2], BACK[8]], ids=repr)
def test_sets_are_removed_and_repeated(attention):
    """Two hypotheses of the third set go on differently; the first set is finished."""
    x = Case(attention).inputs((3, 5, 4))
    _, state = grown(attention, x, [(3, 5, 4)])
    state = state.select(torch.tensor([2, 2, 1]))
    more = Case(attention).inputs((3,), torch.float64)
    layout = Layout(torch.tensor([0, 1, 2, 3]), starts=torch.tensor([4, 4, 5]))
    turned = Tensors(*(Rotary()(t, layout) for t in (more.q, more.k)), more.v, x.parameters)

    def verb(attention, tensors, layout, key_layout=None, dropout=None):
        return attend(attention, tensors.q, tensors.k, tensors.v, layout, key_layout, tensors.parameters)

    out, _ = state.attend(verb, turned, layout)
    for n, b in enumerate((2, 2, 1)):
        rows = slice(*x.layout.offsets[b : b + 2].tolist())
        q, k, v = (
            torch.cat([whole[rows], one[n : n + 1]]) for whole, one in ((x.q, more.q), (x.k, more.k), (x.v, more.v))
        )
        alone = Layout.of_lengths([len(q)])
        expected = reference(attention, Rotary()(q, alone), Rotary()(k, alone), v, alone, alone, x.parameters)
        assert torch.allclose(out[n], expected[-1], atol=EXACT)


def test_coordinates_are_remembered():
    attention = Attention(pattern=Near(1.0) & Causal(), bias=Shaw(2, coordinates=2))
    case = Case(attention, coords=2)
    x = case.inputs((12,))
    state, parts = begin(Remember(attention), 1, 4, 8, dtype=torch.float64), []
    for first, end in ((0, 5), (5, 6), (6, 12)):
        layout = Layout(torch.tensor([0, end - first]), x.layout.coords[first:end], starts=torch.tensor([first]))
        tensors = Tensors(x.q[first:end], x.k[first:end], x.v[first:end], x.parameters)
        part, state = state.attend(
            lambda a, t, layout, keys=None, drop=None: attend(a, t.q, t.k, t.v, layout, keys, t.parameters),
            tensors,
            layout,
        )
        parts.append(part)
    assert torch.allclose(torch.cat(parts), the_meaning(attention, x, None), atol=EXACT)


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        (Layout.of_lengths([1, 1]), r"set 0 goes on at place 0, expected starts\[0\] 2: so many vectors it has had"),
        (Layout.of_lengths([1]), "there are 1 sets, expected the 2 that are remembered"),
        (
            Layout(torch.tensor([0, 1, 2]), places=torch.tensor([2, 3])),
            "the next vectors have places, expected rows in",
        ),
        (
            Layout(torch.tensor([0, 1, 2]), torch.ones(2, 1), starts=torch.tensor([2, 3])),
            "some vectors of the sets have coordinates and some have none",
        ),
    ],
)
def test_vectors_that_do_not_go_on_are_refused(layout, sentence):
    x = Case(BACK[0]).inputs((2, 3))
    _, state = grown(BACK[0], x, [(2, 3)])
    some = Tensors(*(t[: layout.total] for t in (x.q, x.k, x.v)), {})
    with pytest.raises(InputError, match=sentence):
        state.attend(lambda *_: pytest.fail("must not attend"), some, layout)


def test_a_running_state_has_no_dropout():
    x = Case(BACK[8]).inputs((2,))
    _, state = grown(BACK[8], x, [(2,)])
    with pytest.raises(InputError, match="expected no dropout"):
        state.attend(lambda *_: None, Tensors(x.q, x.k, x.v, {}), x.layout, Dropout(0.1, 1))


def test_a_cache_is_a_tree_of_tensors():
    _, state = grown(BACK[2], Case(BACK[2]).inputs((2, 3)), [(2, 3)])
    leaves, tree = pytree.tree_flatten(state)
    again = pytree.tree_unflatten(leaves, tree)
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves)
    assert again.attention == state.attention
    assert torch.equal(again.places, state.places)
