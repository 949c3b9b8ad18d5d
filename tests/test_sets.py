"""`VectorSets` and `Layout`: what belongs together stays together, and what does not fit is refused in a sentence."""

import gc
import io
import pickle
import weakref
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils import _pytree as pytree

from regard import InputError, Layout, VectorSets

FIELDS = ("values", "offsets", "coords", "edges", "edge_values")


def example(lengths=(2, 0, 3), width: int | None = 4, graph: bool = True, seed: int = 0) -> VectorSets:
    """Sets whose every number tells where it came from; `width` None means ids."""
    generator = torch.Generator().manual_seed(seed)
    values, coords, edges, edge_values = [], [], [], []
    for b, n in enumerate(lengths):
        shape = (n,) if width is None else (n, width)
        ids = torch.randint(0, 1000, shape, generator=generator)
        values.append(ids if width is None else ids + b + 0.5)
        coords.append(torch.rand(n, 2, generator=generator))
        pairs = (torch.rand(n, n, generator=generator) < 0.5).nonzero().T
        edges.append(pairs[:, torch.randperm(pairs.shape[1], generator=generator)])
        edge_values.append(torch.rand(pairs.shape[1], 3, generator=generator))
    if not graph:
        return VectorSets.pack(values)
    return VectorSets.pack(values, coords, edges, edge_values)


def contents(sets: VectorSets, b: int) -> tuple:
    """All that belongs to set b, in numbers of its own, whatever the batch around it."""
    begin, end = sets.offsets[b : b + 2].tolist()
    parts = [sets.values[begin:end].tolist()]
    if sets.coords is not None:
        parts.append(sets.coords[begin:end].tolist())
    if sets.edges is not None:
        inside = [e for e, q in enumerate(sets.edges[0].tolist()) if begin <= q < end]
        parts.append([(sets.edges[:, e] - begin).tolist() for e in inside])
        if sets.edge_values is not None:
            parts.append([sets.edge_values[e].tolist() for e in inside])
    return tuple(parts)


def same(a: VectorSets, b: VectorSets) -> bool:
    def equal(x: Tensor | None, y: Tensor | None) -> bool:
        return (x is None and y is None) or (
            x is not None and y is not None and x.dtype == y.dtype and torch.equal(x, y)
        )

    return all(equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=6)
WIDTHS = st.sampled_from([None, 1, 3])


# Packed and back.


@pytest.mark.parametrize(
    ("lengths", "sentence"),
    [
        ([3.0, 1.5], r"lengths\[0\] is 3.0, expected a whole number"),
        ([3, True], r"lengths\[1\] is True, expected a whole number"),
        ([3, float("nan")], r"lengths\[1\] is nan, expected a whole number"),
        ([3, None], r"lengths\[1\] is None, expected a whole number"),
        ([3, "4"], r"lengths\[1\] is '4', expected a whole number"),
        ("34", "lengths are '34', expected whole numbers in a list"),
        (3, "lengths are 3, expected whole numbers in a list"),
        ([[3], [4]], r"lengths\[0\] is \[3\], expected a whole number"),
        ([3, -1], "set 1 would have -1 vectors"),
        ([1 << 70], r"lengths\[0\] is 1180591620717411303424, expected at most 1,099,511,627,776"),
        (
            torch.tensor([3.0, 1.0]),
            r"lengths have shape \[2\] and type torch.float32, expected one axis of whole numbers",
        ),
        (torch.tensor([True]), r"lengths have shape \[1\] and type torch.bool"),
        (torch.tensor(3), r"lengths have shape \[\] and type torch.int64, expected one axis"),
        (torch.ones(2, 2, dtype=torch.int64), r"lengths have shape \[2, 2\]"),
        (np.array([1.5]), r"lengths have shape \[1\] and type torch.float64"),
        ([torch.tensor(2.0)], r"lengths\[0\] is tensor\(2\.\), expected a whole number"),
    ],
)
def test_lengths_that_are_no_whole_numbers_are_refused(lengths, sentence):
    with pytest.raises(InputError, match=sentence):
        Layout.of_lengths(lengths)


def test_whole_numbers_of_every_kind_are_lengths():
    for lengths in (
        [2, 0, 3],
        (2, 0, 3),
        np.array([2, 0, 3]),
        torch.tensor([2, 0, 3], dtype=torch.int32),
        iter([2, 0, 3]),
    ):
        assert Layout.of_lengths(lengths).offsets.tolist() == [0, 2, 2, 5]
    for none in ([], torch.zeros(0), np.zeros(0)):
        assert Layout.of_lengths(none).sets == 0
    assert Layout.of_lengths([np.int64(2), torch.tensor(3)]).offsets.tolist() == [0, 2, 5]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Layout([0, 2]), "offsets is of type list, expected a tensor"),
        (lambda: Layout(torch.tensor([0, 2]), starts=[1]), "starts is of type list, expected a tensor or None"),
        (
            lambda: Layout(torch.tensor([0, 2]), starts=torch.tensor([2**53 + 1])),
            "set 0 starts at place 9007199254740993",
        ),
        (lambda: Layout(torch.tensor([0, 2]), places=[0, 1]), "places is of type list, expected a tensor or None"),
        (lambda: VectorSets([[1.0]], Layout.of_lengths([1])), "values is of type list, expected a tensor"),
        (lambda: VectorSets(torch.ones(1, 2), [1]), "layout is of type list, expected a Layout, such as"),
        (lambda: VectorSets.pack([[1.0]]), r"values\[0\] is of type list, expected a tensor"),
        (lambda: VectorSets.pack("ab"), "values is of type str, expected a list with a tensor per set"),
        (lambda: VectorSets.pack([torch.ones(2, 1)], places=[[0, 1]]), r"places\[0\] is of type list"),
        (lambda: VectorSets.from_padded([[1.0]], torch.ones(1, 1) > 0), "values is of type list, expected a tensor"),
        (lambda: VectorSets.from_padded(torch.ones(1, 1, 2), [[True]]), "the mask is of type list, expected a tensor"),
        (
            lambda: VectorSets.from_padded(torch.ones(1, 2, 2), torch.ones(1, 2)),
            r"the mask has shape \[1, 2\] torch.float32",
        ),
    ],
)
def test_sets_of_other_things_than_tensors_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_pack_and_unpack():
    parts = [torch.rand(n, 3) for n in (2, 0, 4)]
    sets = VectorSets.pack(parts)
    assert sets.offsets.tolist() == [0, 2, 2, 6]
    assert len(sets) == 3
    assert all(torch.equal(a, b) for a, b in zip(sets.unpack(), parts, strict=True))


@pytest.mark.parametrize("shape", [(), (3,)])
def test_ids(shape):
    parts = [torch.randint(0, 9, (n, *shape)) for n in (2, 0, 4)]
    sets = VectorSets.pack(parts)
    assert sets.values.dtype == torch.int64
    assert all(torch.equal(a, b) for a, b in zip(sets.unpack(), parts, strict=True))
    padded, mask = sets.to_padded(fill=-1)
    assert padded.shape == (3, 4, *shape)
    assert (padded[~mask] == -1).all()
    assert same(VectorSets.from_padded(padded, mask), sets)


def test_packing_moves_edges_and_keeps_their_values():
    edges = [torch.tensor([[0, 1], [1, 1]]), torch.zeros(2, 0, dtype=torch.int64), torch.tensor([[2], [0]])]
    carried = [torch.tensor([[1.0], [2.0]]), torch.zeros(0, 1), torch.tensor([[3.0]])]
    coords = [torch.full((n, 2), float(n)) for n in (2, 0, 3)]
    sets = VectorSets.pack([torch.zeros(n, 1) for n in (2, 0, 3)], coords, edges, carried)
    assert sets.edges.tolist() == [[0, 1, 4], [1, 1, 2]]
    assert sets.edge_values.flatten().tolist() == [1, 2, 3]
    assert sets.coords[:, 0].tolist() == [2, 2, 3, 3, 3]


@given(LENGTHS, WIDTHS)
def test_padded_and_back(lengths, width):
    sets = example(lengths, width, graph=False)
    padded, mask = sets.to_padded()
    assert mask.sum(1).tolist() == lengths
    assert (padded[~mask] == 0).all()
    assert same(VectorSets.from_padded(padded, mask), sets)


def test_a_mask_may_have_holes():
    values = torch.arange(6.0).view(2, 3, 1)
    sets = VectorSets.from_padded(values, torch.tensor([[True, False, True], [False, True, False]]))
    assert [part.flatten().tolist() for part in sets.unpack()] == [[0, 2], [4]]


# Selected and joined.


@given(LENGTHS, WIDTHS, st.booleans(), st.randoms())
def test_a_permutation_and_its_inverse_change_nothing(lengths, width, graph, random):
    sets = example(lengths, width, graph)
    order = list(range(len(lengths)))
    random.shuffle(order)
    inverse = [order.index(b) for b in range(len(order))]
    shuffled = sets.select(order)
    assert [contents(shuffled, at) for at in range(len(order))] == [contents(sets, b) for b in order]
    assert same(shuffled.select(inverse), sets)


@given(LENGTHS, st.lists(st.integers(0, 5), max_size=8))
def test_selection_may_repeat_and_leave_out(lengths, wanted):
    sets = example(lengths)
    chosen = [b % len(lengths) for b in wanted]
    some = sets.select(chosen)
    Layout(some.offsets, some.coords, some.edges, some.edge_values)  # It passes its own checks.
    assert [contents(some, at) for at in range(len(chosen))] == [contents(sets, b) for b in chosen]


@given(LENGTHS, LENGTHS, WIDTHS, st.booleans())
def test_pieces_of_what_was_joined_are_the_pieces(first, second, width, graph):
    a, b = example(first, width, graph, seed=1), example(second, width, graph, seed=2)
    joined = VectorSets.concatenate([a, b])
    assert len(joined) == len(a) + len(b)
    assert same(joined.select(range(len(a))), a)
    assert same(joined.select(torch.arange(len(a), len(joined))), b)
    Layout(joined.offsets, joined.coords, joined.edges, joined.edge_values)


def test_edges_in_any_order_stay_with_their_values():
    layout = Layout(
        torch.tensor([0, 2, 4]),
        edges=torch.tensor([[3, 0, 2, 1], [2, 1, 2, 0]]),
        edge_values=torch.tensor([[32.0], [1.0], [22.0], [10.0]]),
    )
    sets = VectorSets(torch.arange(4.0)[:, None], layout).select([1, 0])
    assert sets.edges.tolist() == [[1, 0, 2, 3], [0, 0, 3, 2]]
    assert sets.edge_values.flatten().tolist() == [32, 22, 1, 10]


def test_starts_go_with_their_sets():
    layout = Layout(torch.tensor([0, 2, 3]), starts=torch.tensor([5, 9]))
    assert layout.index.tolist() == [5, 6, 9]
    sets = VectorSets(torch.zeros(3, 1), layout)
    assert sets.select([1, 0]).layout.index.tolist() == [9, 5, 6]
    assert VectorSets.concatenate([sets, sets]).layout.starts.tolist() == [5, 9, 5, 9]


def test_one_set_and_all_sets():
    sets = example()
    assert contents(sets[-1], 0) == contents(sets, 2)
    assert [contents(each, 0) for each in sets] == [contents(sets, b) for b in range(3)]
    with pytest.raises(IndexError):
        sets[3]


def test_gradients_reach_the_values():
    values = torch.rand(5, 2, requires_grad=True)
    sets = VectorSets(values, Layout.of_lengths([2, 3]))
    padded, _ = VectorSets.concatenate([sets.select([1, 1]), sets]).to_padded()
    padded.sum().backward()
    assert values.grad[:, 0].tolist() == [1, 1, 3, 3, 3]


# Nothing in it.


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_empty_batches_are_legal(lengths):
    layout = Layout.of_lengths(lengths)
    sets = VectorSets(torch.zeros(0, 3), layout)
    assert len(sets) == len(lengths)
    assert len(sets.unpack()) == len(lengths)
    assert layout.longest == 0
    assert sets.select([]).values.shape == (0, 3)
    padded, mask = sets.to_padded()
    assert padded.shape == (len(lengths), 0, 3)
    assert same(VectorSets.from_padded(padded, mask), sets)
    assert len(VectorSets.concatenate([sets, sets])) == 2 * len(lengths)


def test_a_batch_of_no_sets_can_be_packed():
    assert len(VectorSets.pack([])) == 0
    assert len(VectorSets.pack([], [], [], [])) == 0


# Elsewhere and in other types.


def test_a_type_touches_float_values_only():
    sets = example()
    half = sets.to(dtype=torch.bfloat16)
    assert half.values.dtype == torch.bfloat16
    assert half.layout is sets.layout
    assert half.coords.dtype == torch.float32
    ids = example(width=None)
    assert ids.to(dtype=torch.float64).values.dtype == torch.int64


def test_another_device_takes_everything_along():
    sets = example()
    moved = sets.to("meta")
    assert all(getattr(moved, name).device.type == "meta" for name in FIELDS)
    assert sets.to("cpu").layout is sets.layout
    assert sets.to(torch.device("cpu", 0)).offsets.device.type == "cpu"


def test_other_values_for_the_very_same_layout():
    sets = example()
    assert sets.with_values(torch.zeros(5, 7)).layout is sets.layout
    with pytest.raises(InputError, match="there are 4 vectors, expected 5"):
        sets.with_values(torch.zeros(4, 7))


def test_pickled_and_copied_without_what_was_derived():
    sets = example()
    derived = sets.layout.edge_codes, sets.layout.set_of_row
    sets.layout.derived["large"] = derived
    for again in (pickle.loads(pickle.dumps(sets)), deepcopy(sets)):
        assert same(again, sets)
        assert not again.layout.derived
        assert torch.equal(again.layout.edge_codes, derived[0])
    stored = io.BytesIO()
    torch.save(sets, stored)
    stored.seek(0)
    assert same(torch.load(stored, weights_only=True), sets)


def test_a_layout_goes_with_its_last_user():
    gc.collect()
    gc.disable()
    try:
        sets = example()
        gone = weakref.ref(sets.layout)
        _ = sets.layout.index, sets.layout.edge_order, sets.layout.lengths, sets.layout.longest, sets.layout.derived
        del sets
        assert gone() is None
    finally:
        gc.enable()


# Seen by torch.


@pytest.mark.parametrize("sets", [example(), example(width=None, graph=False)], ids=["graph", "ids"])
def test_a_tree_of_tensors_and_back(sets):
    leaves, spec = pytree.tree_flatten({"inputs": sets})
    assert all(isinstance(leaf, Tensor) for leaf in leaves)
    assert len(leaves) == sum(getattr(sets, name) is not None for name in FIELDS)
    assert same(pytree.tree_unflatten(leaves, spec)["inputs"], sets)
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec
    paths = [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(sets)]
    assert paths[:2] == [".values", ".layout.offsets"]
    doubled = pytree.tree_map(lambda x: x * 2, sets)
    assert torch.equal(doubled.values, sets.values * 2)


class Project(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, sets: VectorSets) -> VectorSets:
        return sets.with_values(self.linear(sets.values).tanh())


def test_export_takes_and_gives_sets():
    module, sets = Project(), example()
    program = torch.export.export(module, (sets,))
    assert same(program.module()(sets), module(sets))


def test_export_for_any_sizes():
    module, sets = Project(), example(graph=False)
    sizes = [{0: torch.export.Dim.DYNAMIC}, [{0: torch.export.Dim.DYNAMIC}]]
    program = torch.export.export(module, (sets,), dynamic_shapes=(sizes,))
    other = example((3, 1, 4, 9), graph=False)
    assert same(program.module()(other), module(other))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_without_a_break(backend):
    torch.compiler.reset()
    module = Project()
    compiled = torch.compile(module, backend=backend, fullgraph=True)
    for sets in (example(), example((5, 2))):
        out = compiled(sets)
        torch.testing.assert_close(out.values, module(sets).values)
        assert torch.equal(out.offsets, sets.offsets)
        out.values.sum().backward()
    assert module.linear.weight.grad is not None


# Refused.


def graph_of(lengths=(2, 3), **fields):
    return lambda: Layout(Layout.of_lengths(lengths).offsets, **fields)


def packed(*shapes, **fields):
    return lambda: VectorSets.pack([torch.zeros(shape) for shape in shapes], **fields)


def joined(*batches):
    return lambda: VectorSets.concatenate(batches)


def ints(*rows):
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), -1)


SETS = example((2, 3))
REFUSED = [
    (lambda: Layout(torch.tensor([0.0, 2.0])), "offsets have shape [2] and type torch.float32, expected [s + 1] of int64"),
    (lambda: Layout(torch.zeros(0, dtype=torch.int64)), "expected [s + 1] of int64"),
    (lambda: Layout(torch.tensor([1, 2])), "offsets begin at 1, expected 0"),
    (lambda: Layout(torch.tensor([0, 3, 2])), "set 1 would have -1 vectors, expected offsets that never decrease"),
    (graph_of(coords=torch.zeros(4, 2)), "coords have shape [4, 2], expected [5, n]: one row per vector"),
    (graph_of(coords=torch.zeros(5)), "coords have shape [5], expected [5, n]"),
    (graph_of(starts=torch.zeros(3, dtype=torch.int64)), "starts have shape [3], expected [2] of int64: one per set"),
    (graph_of(edges=torch.zeros(2, 3)), "edges have shape [2, 3] and type torch.float32, expected [2, e] of int64"),
    (graph_of(edges=ints([0], [1], [1])), "edges have shape [3, 1]"),
    (graph_of(edges=ints([0, 5], [1, 3])), "edge 1 joins rows 5 and 3, expected rows between 0 and 4"),
    (graph_of(edges=ints([0, 2], [1, -1])), "edge 1 joins rows 2 and -1, expected rows between 0 and 4"),
    (graph_of(edges=ints([0, 1], [1, 2])), "edge 1 goes from set 0 to set 1, expected both ends in the same set"),
    (graph_of(edges=ints([3, 0, 3], [4, 0, 4])), "the edge from row 3 to row 4 of set 1 is repeated, expected it once"),
    (graph_of(edges=ints([0], [1]), edge_values=torch.zeros(2, 1)), "edge values have shape [2, 1], expected [1, m]"),
    (graph_of(edge_values=torch.zeros(2, 1)), "there are 2 edge values but no edges, expected one row per edge"),
    (lambda: VectorSets(torch.zeros(5), SETS.layout), "values have shape [5] and type torch.float32, expected [t, d] floats"),
    (lambda: VectorSets(torch.zeros(5, 1, 1), SETS.layout), "values have shape [5, 1, 1]"),
    (lambda: VectorSets(torch.zeros(5, dtype=torch.int32), SETS.layout), "values are of type torch.int32, expected floats"),
    (lambda: VectorSets(torch.zeros(5, 2).bool(), SETS.layout), "values are of type torch.bool"),
    (lambda: VectorSets(torch.zeros(4, 2), SETS.layout), "there are 4 vectors, expected 5: the layout's last offset"),
    (packed((2, 3), (2, 4)), "set 1 has values of shape [n, 4] torch.float32, expected as in set 0: [n, 3] torch.float32"),
    (packed((2, 3), (2,)), "set 1 has values of shape [n]"),
    (packed((2, 3), ()), "set 1 is a single number, expected one row per vector"),
    (lambda: VectorSets.pack([torch.zeros(1, 2), torch.zeros(1, 2).double()]), "set 1 has values of shape [n, 2] torch.float64"),
    (packed((2, 3), coords=[]), "there are coords for 0 sets, expected 1: one entry per set"),
    (packed((2, 3), (1, 3), coords=[torch.zeros(2, 2), torch.zeros(2, 2)]), "set 1 has coords of shape [2, 2] for 1 vectors"),
    (packed((1, 3), (1, 3), coords=[torch.zeros(1, 2), torch.zeros(1, 1)]), "set 1 has coords of shape [n, 1]"),
    (packed((2, 3), (1, 3), edges=[ints([0], [1]), ints([0], [1])]), "set 1 has an edge to row 1, expected rows between 0 and 0"),
    (packed((2, 3), edges=[ints([0, -1], [1, 0])]), "set 0 has an edge to row -1, expected rows between 0 and 1"),
    (packed((2, 3), edges=[ints([0, 1, 0], [1, 0, 0]).T]), "set 0 has edges of shape [3, 2] torch.int64, expected [2, e] int64"),
    (packed((2, 3), edges=[torch.zeros(2, 0)]), "set 0 has edges of shape [2, 0] torch.float32"),
    (
        packed(
            (2, 3),
            (2, 3),
            edges=[ints([0], [1]), ints([0, 1], [1, 0])],
            edge_values=[torch.zeros(2, 1), torch.zeros(1, 1)],
        ),
        "set 0 has edge values of shape [2, 1] for 1 edges, expected one row per edge",
    ),
    (packed((2, 3), edge_values=[torch.zeros(1, 1)]), "there are edge values for 1 sets but no edges, expected both"),
    (
        lambda: VectorSets.from_padded(torch.zeros(2, 3, 1), torch.zeros(2, 4, dtype=torch.bool)),
        "the mask has shape [2, 4] torch.bool, expected [2, 3] of bool, True where real",
    ),
    (lambda: VectorSets.from_padded(torch.zeros(2, 3, 1), torch.zeros(2, 3)), "the mask has shape [2, 3] torch.float32"),
    (lambda: SETS.select([0, 2]), "sets [0, 2] were selected, expected numbers from 0 to 1"),
    (lambda: SETS.select([-1]), "sets [-1] were selected, expected numbers from 0 to 1"),
    (lambda: SETS.select(torch.tensor([True, False])), "sets [True, False] were selected"),
    (joined(), "there are no batches to concatenate, expected at least one"),
    (joined(SETS, example(graph=False)), "batch 1 and batch 0 differ in having coords, expected all batches alike"),
    (joined(SETS, example(width=2)), "batch 1 has values of shape [n, 2] torch.float32, expected as in batch 0: [n, 4]"),
    (joined(SETS, example(width=None)), "batch 1 has values of shape [n] torch.int64"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[sentence[:50] for _, sentence in REFUSED])
def test_what_does_not_fit_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(InputError) as refusal:
        make()
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_sets_say_of_themselves():
    assert repr(example()) == "VectorSets(values [5, 4] float32, 3 sets)"
    edges = example().edges.shape[1]
    assert repr(example().layout) == f"Layout(3 sets, 5 vectors, 2 coordinates, {edges} edges)"
