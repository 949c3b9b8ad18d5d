import dataclasses
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.data.batch import collate, collate_targets
from regard.data.batching import BudgetSampler, loader
from regard.data.examples import Example, Listed, VectorSet
from regard.errors import InputError
from regard.sets import Layout, VectorSets

SAMPLERS = {
    "lengths": st.lists(st.integers(0, 40), max_size=60),
    "budget": st.integers(1, 100),
    "seed": st.integers(0, 2**40),
    "epoch": st.integers(0, 1000),
    "ranks": st.integers(1, 5),
    "shuffle": st.booleans(),
}


def spread(lengths: list[int], budget: int, seed: int, epoch: int, ranks: int, shuffle: bool) -> list[list[list[int]]]:
    samplers = [BudgetSampler(lengths, budget, seed, shuffle, rank, ranks) for rank in range(ranks)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return [list(sampler) for sampler in samplers]


@given(**SAMPLERS)
def test_each_example_comes_once_within_the_budget_on_ranks_that_keep_step(**options: Any) -> None:
    lengths, ranks = options["lengths"], options["ranks"]
    batches = spread(**options)
    taken = Counter(itertools.chain.from_iterable(itertools.chain.from_iterable(batches)))
    assert taken == Counter(range(len(lengths)))
    assert len({len(each) for each in batches}) == 1
    assert len(BudgetSampler(lengths, options["budget"], ranks=ranks, shuffle=options["shuffle"])) == len(batches[0])
    sizes = [len(batch) for each in batches for batch in each]
    for batch in itertools.chain.from_iterable(batches):
        assert len(batch) <= 1 or sum(max(lengths[i], 1) for i in batch) <= options["budget"]
    if 0 in sizes:
        assert max(sizes) == 1
        assert sizes.count(0) < ranks
    assert spread(**options) == batches


@given(**SAMPLERS, taken=st.integers(0, 60))
def test_a_resumed_sampler_gives_the_rest(taken: int, **options: Any) -> None:
    epoch, lengths = options.pop("epoch"), options.pop("lengths")
    sampler = BudgetSampler(lengths, rank=0, **options)
    sampler.set_epoch(epoch)
    whole = list(sampler)
    taken %= len(whole) + 1
    list(itertools.islice(iter(sampler), taken))
    again = BudgetSampler(lengths, rank=0, **options)
    again.load_state_dict(sampler.state_dict())
    if taken < len(whole):
        again.set_epoch(epoch)
        assert list(again) == whole[taken:]
        assert list(again) == whole
    again.set_epoch(epoch + 1)
    sampler.set_epoch(epoch + 1)
    assert list(again) == list(sampler)


def test_shuffled_batches_have_close_lengths_and_another_order_each_epoch() -> None:
    lengths = np.random.default_rng(0).geometric(1 / 16, 2000)
    sampler = BudgetSampler(lengths.tolist(), budget=1000)
    first = list(sampler)
    sampler.set_epoch(1)
    assert len(first) == len(sampler) == len(list(sampler))
    assert sorted(map(sorted, first)) != sorted(map(sorted, sampler)), "equal lengths mix anew"
    within = sum(np.ptp(lengths[batch]) for batch in first) / len(first)
    mixed = np.mean([np.ptp(lengths[i : i + len(lengths) // len(first)]) for i in range(0, 2000, 60)])
    assert within < mixed / 10
    assert sum(lengths) / len(first) > 900, "batches are full"
    means = [lengths[batch].mean() for batch in first]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.5, "short and long batches come mixed"


def test_ranks_have_batches_of_close_lengths_at_each_step() -> None:
    lengths = list(range(1, 400))
    batches = spread(lengths, 1000, 0, 0, 2, True)
    gaps = [abs(np.mean(a) - np.mean(b)) for a, b in zip(*batches, strict=True)]
    assert np.mean(gaps) < 30


def test_without_shuffle_the_order_is_kept() -> None:
    batches = spread([9, 1, 5, 5, 30, 2], 10, 0, 7, 1, False)[0]
    assert batches == [[0, 1], [2, 3], [4], [5]]


def test_fewer_examples_than_ranks_leave_empty_batches() -> None:
    assert spread([3], 10, 0, 0, 3, True) == [[[0]], [[]], [[]]]


def test_impossible_options_and_foreign_states_are_refused() -> None:
    with pytest.raises(InputError, match="budget of a batch is 0"):
        BudgetSampler([1], 0)
    with pytest.raises(InputError, match="rank is 2 of 2"):
        BudgetSampler([1], 1, rank=2, ranks=2)
    state = BudgetSampler([1, 2], 10, ranks=2).state_dict()
    with pytest.raises(InputError, match="have ranks 2, expected 1"):
        BudgetSampler([1, 2], 10).load_state_dict(state)


def graph(n: int, name: str, seed: int = 0) -> Example:
    generator = np.random.default_rng([seed, n])
    edges = np.argwhere(generator.random((n, n)) < 0.4).T
    return Example(
        generator.random((n, 3), np.float32),
        generator.integers(0, 5, n),
        name,
        "vector",
        coords=generator.random((n, 2), np.float32),
        edges=edges,
        edge_values=generator.random((edges.shape[1], 2), np.float32),
        tokens=tuple(f"{name}{i}" for i in range(n)),
    )


def test_a_batch_holds_every_example_unchanged() -> None:
    examples = [graph(n, name) for n, name in ((3, "a"), (0, "b"), (5, "c"))]
    batch = collate(examples)
    sets: VectorSets = batch.inputs
    layout = sets.layout
    Layout(layout.offsets, layout.coords, layout.edges, layout.edge_values)  # checks all that was trusted
    packed = VectorSets.pack(
        *[[torch.from_numpy(getattr(e, f)) for e in examples] for f in ("values", "coords", "edges", "edge_values")]
    )
    for ours, expected in (
        (sets.values, packed.values),
        *((getattr(sets, f), getattr(packed, f)) for f in Layout.FIELDS[:4]),
    ):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    assert batch.targets.tolist() == np.concatenate([e.target for e in examples]).tolist()
    assert batch.names == ("a", "b", "c")
    assert batch.tokens[0] == ("a0", "a1", "a2")
    assert batch.spelling is None


def words(*sentences: str) -> list[Example]:
    return [
        Example(
            np.array([len(word) for word in text.split()], np.int64),
            np.array(i),
            text,
            inner=tuple(np.array([ord(c) for c in word]) for word in text.split()),
        )
        for i, text in enumerate(sentences)
    ]


def test_each_distinct_word_is_spelled_once() -> None:
    batch = collate(words("a saw saw", "", "I saw a"))
    spelled = ["".join(map(chr, each.tolist())) for each in batch.spelling.sequences.unpack()]
    assert spelled == ["a", "saw", "I"]
    assert [spelled[i] for i in batch.spelling.index] == ["a", "saw", "saw", "I", "saw", "a"]
    assert batch.targets.tolist() == [0, 1, 2]


def pair(name: str, n: int, context: int, target: int) -> Example:
    """A sentence of ids, one in another language that belongs to it, and a translation."""
    values, other = (
        np.arange(n),
        VectorSet(np.arange(context), np.ones((context, 1), np.float32), tokens=("w",) * context),
    )
    return Example(values, VectorSet(np.arange(target)), name, "sets", context=other)


def test_targets_and_contexts_may_be_sets_of_their_own():
    batch = collate([pair("a", 2, 3, 1), pair("b", 1, 0, 4)])
    assert batch.target_kind == "sets"
    assert [values.tolist() for values in batch.target_sets.unpack()] == [[0], [0, 1, 2, 3]]
    assert [values.tolist() for values in batch.context.unpack()] == [[0, 1, 2], []]
    assert batch.context.coords.shape == (3, 1)
    assert batch.context_tokens == (("w", "w", "w"), ())
    alone = collate_targets([pair("a", 2, 3, 1), pair("b", 1, 0, 4)])
    assert alone.inputs.values.shape == (3, 0)
    assert alone.inputs.layout.lengths.tolist() == [2, 1]
    assert alone.target_sets.layout.lengths.tolist() == [1, 4]
    empty = batch.emptied()
    assert len(empty) == len(empty.target_sets) == len(empty.context) == 0


def test_targets_of_sets_may_have_any_shape():
    rows = [np.array([1.0, np.nan], np.float32), np.array([0.0, 2.0], np.float32)]
    examples = [Example(np.zeros((n, 1), np.float32), row, str(n)) for n, row in zip((2, 5), rows, strict=True)]
    assert collate(examples).target_values("set").shape == (2, 2)
    # As many numbers as vectors, and still the set's: nothing is told by a shape.
    assert collate(examples[:1]).target_values("set").shape == (1, 2)
    vectors = [Example(np.zeros((2, 1), np.float32), np.zeros((2, 3)), "a", "vector")]
    assert collate(vectors * 2).target_values("vector").shape == (4, 3)


def test_targets_of_different_kinds_are_refused_by_name():
    values = np.zeros((2, 1), np.float32)
    one, many, none = (
        Example(values, target, name, kind)
        for target, name, kind in (
            (np.array(1), "one", "set"),
            (np.array([0, 1]), "many", "vector"),
            (None, "none", "set"),
        )
    )
    with pytest.raises(
        InputError, match="'many' has one target per vector, expected it like 'one': one target per set"
    ):
        collate([one, many])
    with pytest.raises(InputError, match="'none' has no target, expected it like 'one': one target per set"):
        collate([one, none])
    with pytest.raises(InputError, match="'one' has one target per set, expected it like 'none': no target"):
        collate([none, one])
    with pytest.raises(
        InputError, match="the example 'b' has no context set, expected one, as others of the batch have"
    ):
        collate([pair("a", 1, 1, 1), dataclasses.replace(pair("b", 1, 1, 1), context=None)])
    with pytest.raises(InputError, match=r"'b' has context values \[1\] float64"):
        collate([pair("a", 1, 1, 1), dataclasses.replace(pair("b", 1, 1, 1), context=VectorSet(np.ones(1)))])


@pytest.mark.parametrize(
    ("target", "kind", "sentence"),
    [
        (np.zeros(3), "vector", r"'a' has targets of shape \[3\], expected one for each of its 2 vectors"),
        (VectorSet(np.zeros(3)), "vector", "'a' has a set as its target, expected one target per vector"),
        (np.zeros(3), "sets", r"'a' has a target of shape \[3\], expected a set of its own"),
    ],
)
def test_a_target_is_of_the_kind_that_its_example_says(target, kind, sentence):
    with pytest.raises(InputError, match=sentence):
        Example(np.zeros((2, 1)), target, "a", kind)


def test_unlabelled_examples_have_no_targets() -> None:
    assert collate([Example(np.zeros((2, 1), np.float32), None, "a")]).targets is None


@pytest.mark.parametrize("field", ["values", "coords", "edge_values", "target"])
def test_examples_that_differ_are_refused_by_name(field: str) -> None:
    odd = dataclasses.replace(graph(3, "odd"), **{field: np.zeros((3, 9), np.float32)})
    with pytest.raises(InputError, match=f"the example 'odd' has {field}"):
        collate([graph(3, "a"), odd])
    if field == "coords":
        with pytest.raises(InputError, match="the example 'odd' has coords None"):
            collate([graph(3, "a"), dataclasses.replace(graph(3, "odd"), coords=None)])


def test_a_batch_moves_as_one():
    batch = collate(words("a saw saw", "", "I saw a"))
    batch = dataclasses.replace(batch, context=batch.inputs)
    moved = batch.to("meta")
    tensors = (moved.inputs.values, moved.inputs.offsets, moved.targets, moved.context.values)
    tensors += (moved.spelling.sequences.values, moved.spelling.index)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (moved.names, moved.tokens) == (batch.names, batch.tokens)
    assert batch.to("cpu").inputs.layout is batch.inputs.layout, "what was derived is not derived again"


def test_no_examples_are_refused() -> None:
    with pytest.raises(InputError, match="no examples"):
        collate([])


def test_an_empty_batch_keeps_widths_and_types() -> None:
    examples = words("a saw")
    sampler = BudgetSampler([2], 10, rank=1, ranks=2)
    (batch,) = loader(Listed(examples), sampler)
    full = collate(examples)
    assert len(batch.inputs) == len(batch.spelling.sequences) == 0
    assert batch.inputs.values.dtype == full.inputs.values.dtype
    assert batch.targets.dtype == full.targets.dtype
    assert batch.targets.shape == (0,)
    assert batch.names == ()


class Changing(Listed):
    """Examples whose values tell the epoch in which they were read."""

    epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int, /) -> Example:
        n = len(self.examples[index].values)
        return Example(np.full((n, 1), self.epoch, np.float32), None, f"{self.epoch} {index}")


def epoch_of(batches: Any, sampler: BudgetSampler, epoch: int) -> list[list[str]]:
    sampler.set_epoch(epoch)
    return [batch.names for batch in batches]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.rare)])
def test_a_loader_resumes_in_the_middle_and_at_the_ends(workers: int) -> None:
    dataset = Changing([Example(np.zeros((n, 1), np.float32), None, "") for n in range(1, 30)])

    def fresh() -> tuple[Any, BudgetSampler]:
        sampler = BudgetSampler(dataset.lengths, 60, seed=3)
        return loader(dataset, sampler, workers), sampler

    batches, sampler = fresh()
    whole = [epoch_of(batches, sampler, epoch) for epoch in range(3)]
    assert whole[0] != whole[1]
    assert all(name.startswith(f"{epoch} ") for epoch in range(3) for name in itertools.chain(*whole[epoch]))
    # Starting workers takes seconds, so that they are tried at fewer places.
    for taken in (4, len(whole[1])) if workers else (0, 1, 4, len(whole[1])):
        batches, sampler = fresh()
        epoch_of(batches, sampler, 0)
        sampler.set_epoch(1)
        iterator = iter(batches)
        assert [next(iterator).names for _ in range(taken)] == whole[1][:taken]
        state = batches.state_dict()
        del iterator
        batches, sampler = fresh()
        batches.load_state_dict(state)
        if taken < len(whole[1]):
            assert epoch_of(batches, sampler, 1) == whole[1][taken:]
        assert epoch_of(batches, sampler, 2) == whole[2]


def test_a_loader_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader(Listed(words("a", "b c")), BudgetSampler([1, 2], 10)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.rare
def test_workers_that_are_stopped_while_they_send_end_in_order() -> None:
    # The thread that sends is busy with torch when the worker ends; its unwinding aborted every sixth worker.
    dataset = Listed([Example(np.zeros((n, 200), np.float32), None, "") for n in range(1, 300)])
    for taken in range(1, 6):
        batches = iter(loader(dataset, BudgetSampler(dataset.lengths, 600), 2))
        for _ in range(taken):
            next(batches)
        batches._shutdown_workers()
        assert [worker.exitcode for worker in batches._workers] == [0, 0]
