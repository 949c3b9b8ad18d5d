"""Places: what reads an order reads them, so that sets whose rows lie in another order mean what they meant."""

import io
import pickle
from dataclasses import replace

import pytest
import torch
from torch.utils import _pytree as pytree

from regard import Attention, InputError, Layout, VectorSets, attend, attention_weights, plan
from regard.attention.dropout import Dropout
from regard.attention.planning import EXECUTORS
from regard.attention.spec.biases import T5, ALiBi, Shaw
from regard.attention.spec.normalizers import Relu
from regard.attention.spec.patterns import Causal, Edges, First, Near, Window
from regard.attention.spec.score import Score
from regard.attention.spec.score_mixture import Mixture
from regard.layers.positions import Learned, Rotary, Sinusoidal

from .catalogue import CATALOGUE, MIXED, Case, Inputs
from .checks import EXACT, Run, close, executor, results, the_meaning, truth

# Every case that goes beyond the axes, and every other one of those that cover their pairs.
CASES = [case for n, case in enumerate(CATALOGUE) if case.has_order and (n > 60 or n % 2)]


def shuffled(layout: Layout, seed: int = 3) -> tuple[Layout, torch.Tensor]:
    """The rows of each set in another order, with their places; and the old row of each new one."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat([
        torch.arange(0),
        *(a + torch.randperm(b - a, generator=generator) for a, b in layout.offsets.unfold(0, 2, 1).tolist()),
    ])  # fmt: skip
    coords = None if layout.coords is None else layout.coords[order]
    edges = None if layout.edges is None else order.argsort()[layout.edges]
    return Layout(layout.offsets, coords, edges, layout.edge_values, places=layout.index[order]), order


def with_gaps(layout: Layout) -> Layout:
    """The same rows at places further apart, in the order of no other set: 0, 3, 4, 7, ... from another first place on."""
    places = layout.index * 2 + layout.index % 2 + layout.set_of_row
    return Layout(layout.offsets, layout.coords, layout.edges, layout.edge_values, places=places)


def reordered(x: Inputs) -> tuple[Inputs, torch.Tensor]:
    """The same vectors in another order, and the old row of each new query; gradients reach the vectors as they lay."""
    layout, order = shuffled(x.layout)
    key_layout, key_order = (layout, order) if x.key_layout is x.layout else shuffled(x.key_layout, 4)
    q, k, v = (leaf.index_select(0, rows) for leaf, rows in ((x.q, order), (x.k, key_order), (x.v, key_order)))
    return Inputs(layout, key_layout, q, k, v, x.parameters), order


def with_room(score: Score, places: int) -> Score:
    """The score for sets of so many places, and a mixture of such."""
    if isinstance(score, Mixture):
        return replace(score, scores=tuple(with_room(each, places) if each.placed else each for each in score.scores))
    return replace(score, places=places)


def in_another_order(run: Run) -> Run:
    """The same, computed from vectors in another order, whose results are put back."""

    def moved(attention: Attention, x: Inputs, dropout: Dropout | None) -> torch.Tensor:
        x, order = reordered(x)
        return run(attention, x, dropout).index_select(0, order.argsort())

    return moved


def names_of(case: Case, x: Inputs, dropout: float = 0.0) -> list[str]:
    """The executors that do not refuse."""
    sizes = {"heads": case.heads, "d": case.d, "dropout": dropout}
    refusals = plan(case.attention, x.layout, key_layout=x.key_layout, **sizes).refusals
    return [name for name in EXECUTORS if name not in refusals]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_another_order_of_rows_with_places_permutes_the_result(case):
    x, expected = case.inputs(MIXED), truth(case, MIXED)
    close(results(in_another_order(the_meaning), case.attention, x), expected)
    names = names_of(case, x)
    assert names == names_of(case, reordered(x)[0]), "a mere reordering costs no executor"
    for name in names:
        close(results(in_another_order(executor(name)), case.attention, x), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_places_may_have_gaps(case):
    plain = case.inputs(MIXED)
    layout = with_gaps(plain.layout)
    key_layout = layout if plain.key_layout is plain.layout else with_gaps(plain.key_layout)
    attention = case.attention
    if case.attention.score.placed:
        attention = replace(attention, score=with_room(attention.score, 300))
        case = replace(case, attention=attention)
        plain = case.inputs(MIXED)
    straight = Inputs(layout, key_layout, plain.q, plain.k, plain.v, plain.parameters)
    expected, names = results(the_meaning, attention, straight), names_of(case, straight)
    assert len(names) > 1
    for name in names:
        close(results(in_another_order(executor(name)), attention, straight), expected)


def test_places_with_gaps_are_those_of_a_larger_set():
    """Of twelve vectors under a window, five: as if the others were there and forbidden."""
    attention, chosen = Attention(pattern=Window(3, 2) | First(1), bias=ALiBi()), torch.tensor([0, 3, 4, 8, 11])
    x = torch.randn(12, 2, 4, dtype=torch.float64)
    layout = Layout(torch.tensor([0, 5]), places=chosen)
    found = attention_weights(attention, x[chosen], x[chosen], layout).dense()
    whole = attention_weights(attention, x, x, Layout.of_lengths([12])).dense()[:, chosen][:, :, chosen]
    whole = whole / whole.sum(-1, keepdim=True)
    assert torch.allclose(found, whole)


@pytest.mark.parametrize(
    "attention", [Attention(pattern=Causal(), bias=T5()), Attention(pattern=Window(4, 0))], ids=repr
)
def test_dropout_moves_with_the_vectors(attention):
    case, dropout = Case(attention), Dropout(0.3, seed=5)
    x, expected = case.inputs(MIXED), truth(case, MIXED, dropout)
    for run in (the_meaning, *(executor(name) for name in names_of(case, x, dropout.p))):
        close(results(in_another_order(run), attention, x, dropout), expected)


def test_weights_are_those_of_rows_as_they_lie():
    case = Case(Attention(pattern=Window(2, 1), bias=Shaw(2, values=False)))
    plain = case.inputs(MIXED)
    x, order = reordered(plain)
    expected = attention_weights(case.attention, plain.q, plain.k, plain.layout, parameters=plain.parameters).dense()
    found = attention_weights(case.attention, x.q, x.k, x.layout, parameters=x.parameters)
    assert (found.query.diff() >= 0).all()
    assert torch.allclose(found.dense(), expected[:, order][:, :, order], atol=EXACT)
    some = attention_weights(case.attention, x.q, x.k, x.layout, parameters=x.parameters, rows=[9])
    assert some.query.unique().tolist() == [9]
    assert torch.equal(some.dense()[:, 9], found.dense()[:, 9])


def test_coordinates_and_edges_move_along_with_gradients():
    plain = Layout.of_lengths([5, 3])
    coords = torch.randn(8, 2, dtype=torch.float64)
    edges = (plain.set_of_row[:, None] == plain.set_of_row).nonzero().T
    plain = Layout(plain.offsets, coords, edges)
    q = torch.randn(8, 2, 4, dtype=torch.float64, requires_grad=True)
    for attention in (
        Attention(pattern=Near(1.0) & Causal(), normalizer=Relu()),
        Attention(pattern=Edges() & Causal(), bias=ALiBi(coordinates=True)),
    ):
        gradients = []
        for layout, order in ((plain, torch.arange(8)), shuffled(plain)):
            leaf = coords[order].requires_grad_()
            moved = Layout(layout.offsets, leaf, layout.edges, places=layout.index if layout is not plain else None)
            # Twice, since what a layout keeps must hold no graph.
            for _ in range(2):
                out = attend(attention, q[order], q[order], q[order], moved)
                (gradient,) = torch.autograd.grad(out, leaf, q.detach()[order], allow_unused=True)
            back = order.argsort()
            gradients.append((out[back], torch.zeros_like(leaf) if gradient is None else gradient[back]))
        for a, b in zip(*gradients, strict=True):
            assert torch.allclose(a, b, atol=1e-12)


def test_positions_read_places():
    sets = VectorSets.pack([torch.randn(6, 8), torch.randn(0, 8), torch.randn(3, 8)])
    layout, order = shuffled(sets.layout)
    moved = VectorSets(sets.values[order], layout)
    learned = Learned(8, (6,))
    for layer in (Sinusoidal(8), learned):
        assert torch.equal(layer(moved).values, layer(sets).values[order])
    turned = Rotary()(sets.values[:, None], sets.layout)
    assert torch.equal(Rotary()(moved.values[:, None], layout), turned[order])


@pytest.mark.parametrize(
    ("places", "starts", "sentence"),
    [
        ([0, 1, 0, 1], None, r"places have shape \[4\] and type torch.int64, expected \[5\] of int64"),
        ([0.0, 1.0, 0.0, 1.0, 2.0], None, "type torch.float32, expected"),
        ([0, 1, 0, 3, 3], None, "set 1 has the place 3 twice, expected distinct places"),
        ([0, 1, 0, -1, 3], None, "row 3 of set 1 has the place -1, expected 0 to 2147483647"),
        ([0, 1 << 31, 0, 1, 3], None, "row 1 of set 0 has the place 2147483648"),
        ([0, 1, 0, 1, 2], [0, 0], "there are places and starts, expected one of them"),
    ],
)
def test_places_that_do_not_fit_are_refused_in_a_sentence(places, starts, sentence):
    starts = None if starts is None else torch.tensor(starts)
    with pytest.raises(InputError, match=sentence):
        Layout(torch.tensor([0, 2, 5]), places=torch.tensor(places), starts=starts)


def test_places_are_packed_selected_joined_stored_and_moved():
    values, places = [torch.ones(2, 1), torch.zeros(0, 1), torch.ones(3, 1)], [[1, 0], [], [4, 0, 2]]
    sets = VectorSets.pack(values, places=[torch.tensor(x, dtype=torch.int64) for x in places])
    assert sets.layout.places.tolist() == [1, 0, 4, 0, 2]
    assert sets.select([2, 0]).layout.places.tolist() == [4, 0, 2, 1, 0]
    assert VectorSets.concatenate([sets, sets]).layout.places.tolist() == [1, 0, 4, 0, 2] * 2
    with pytest.raises(InputError, match="differ in having places"):
        VectorSets.concatenate([sets, VectorSets.pack(values)])
    with pytest.raises(InputError, match=r"set 2 has places of shape \[2\] for 3 vectors"):
        VectorSets.pack(values, places=[torch.tensor(x, dtype=torch.int64) for x in ([1, 0], [], [4, 0])])
    leaves, tree = pytree.tree_flatten(sets)
    file = io.BytesIO()
    torch.save(sets, file)
    file.seek(0)
    for copy in (
        pickle.loads(pickle.dumps(sets)),
        pytree.tree_unflatten(leaves, tree),
        torch.load(file, weights_only=True),
        sets.to("cpu", torch.float64),
    ):
        assert copy.layout.places.tolist() == [1, 0, 4, 0, 2]
    assert sets.to("meta").layout.places.device.type == "meta"


def test_layouts_stored_before_there_were_places_still_open():
    old = Layout.of_lengths([2, 1])
    state = old.__getstate__()
    del state["places"]
    layout = Layout.__new__(Layout)
    layout.__dict__.update(state)
    assert layout.places is None
    assert layout.index.tolist() == [0, 1, 0]


def test_what_is_in_order_costs_nothing():
    layout = Layout.of_lengths([3, 2])
    assert layout.in_order() is layout
    assert layout.row_order is None
    # Places that say what the order says leave nothing to sort and no places to search.
    same = Layout(layout.offsets, places=layout.index)
    assert same.row_order is None
    assert same.in_order().places is None
    assert same.in_order().starts is None
    assert same.in_order() is same.in_order()
    later = Layout(layout.offsets, places=torch.tensor([4, 3, 5, 1, 0])).in_order()
    assert later.starts.tolist() == [3, 0]
    assert later.places is None
    assert Layout(layout.offsets, places=torch.tensor([4, 3, 6, 1, 0])).in_order().places.tolist() == [3, 4, 6, 0, 1]


def test_compiled_code_reads_places():
    case = Case(Attention(pattern=Causal(), bias=ALiBi()))
    x, order = reordered(case.inputs(MIXED))
    q, k, v = (leaf.detach() for leaf in (x.q, x.k, x.v))
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(case.attention, q, k, v, x.layout), truth(case, MIXED)["out"][order], atol=EXACT)
