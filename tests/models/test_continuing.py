"""The same weights over whole sets and as a recurrence: a model that only looks back gives the same numbers, id by id."""

import re

import pytest
import torch

from regard import Layout, VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.decoding.beam import beam
from regard.decoding.stepper import Limits, Stepper
from regard.decoding.walk import greedy, sample
from regard.errors import InputError
from regard.models.continuing import ModelStepper
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks.configs import NextToken
from regard.train.kinds import build

ENTRIES = ("<unknown>", *"abcdefghij")
ENCODING = Encoding(Labels(ENTRIES), {"token": ENTRIES})
ATTENTIONS = {
    "softmax": "Attention(pattern=Causal())",
    "window": "Attention(pattern=Window(3, 0))",
    "alibi": "Attention(pattern=Causal(), bias=ALiBi())",
    "linear": "Attention(score=Kernel(), pattern=Causal(), normalizer=Sum())",
    "remember": "Remember(Attention(pattern=Causal()))",
}


def made(attention="Attention(pattern=Causal())", **options):
    """A model in float64, and its task."""
    torch.manual_seed(0)
    front = options.pop("front", Front(deviation=0.1))
    model = build(
        Encoder(width=16, layers=2, heads=2, dropout=0.0, attention=attention, front=front, **options), ENCODING
    )
    task = build(NextToken(), 16, ENCODING)
    task.attach(model)
    return model.double().eval(), task.double().eval()


def stepper_of(model, task, begun):
    return ModelStepper(model, task.scores, len(ENTRIES), begun)


@pytest.mark.parametrize("positions", ["none", "sinusoidal", "learned", "rotary", "floater"])
@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
def test_a_recurrence_gives_the_numbers_of_whole_sets(attention, positions):
    model, task = made(attention, positions=Positions(positions))
    sets = [torch.randint(len(ENTRIES), (n,)) for n in (9, 6, 12)]
    batch = Batch(VectorSets.pack(sets))
    with torch.no_grad():
        whole = task(model(batch), batch).split([9, 6, 12])
    begun = [3, 0, 5]
    stepper = stepper_of(model, task, [ids[:n].tolist() for ids, n in zip(sets, begun, strict=True)])
    for step in range(6):
        found = stepper.next(torch.stack([ids[n + step] for ids, n in zip(sets, begun, strict=True)]))
        expected = torch.stack([scores[n + step] for scores, n in zip(whole, begun, strict=True)])
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("attention", [ATTENTIONS["softmax"], ATTENTIONS["linear"], ATTENTIONS["window"]])
def test_rows_that_are_chosen_go_on_as_they_were(attention):
    model, task = made(attention, positions=Positions("rotary"))
    begun = [[1, 2, 3], [4], [5, 6]]
    stepper = stepper_of(model, task, begun)
    stepper.next(torch.tensor([7, 8, 9]))
    stepper.select(torch.tensor([2, 0, 0]))
    assert len(stepper) == 3
    found = stepper.next(torch.tensor([1, 2, 3]))
    for row, ids in enumerate(([5, 6, 9, 1], [1, 2, 3, 7, 2], [1, 2, 3, 7, 3])):
        batch = Batch(VectorSets.pack([torch.tensor(ids)]))
        with torch.no_grad():
            expected = task(model(batch), batch)[-1]
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-9)


WAYS = {
    "greedy": lambda stepper, some: greedy(stepper, some),
    "sample": lambda stepper, some: sample(stepper, some, [3, 4, 5][: some.sets]),
    "beam": lambda stepper, some: beam(stepper, some, 3, 2),
}


class Recomputed:
    """A stepper that remembers ids alone, and computes every set from its beginning at each step."""

    def __init__(self, model, task, begun):
        self.model, self.task, self.rows, self.vocabulary = model, task, [list(ids) for ids in begun], len(ENTRIES)

    def __len__(self):
        return len(self.rows)

    @torch.no_grad()
    def next(self, ids):
        self.rows = [[*before, n] for before, n in zip(self.rows, ids.tolist(), strict=True)]
        last = []
        for row in self.rows:
            batch = Batch(VectorSets.pack([torch.tensor(row)]))
            last.append(self.task(self.model(batch), batch)[-1])
        return torch.stack(last)

    def select(self, rows):
        self.rows = [self.rows[row] for row in rows.tolist()]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("attention", [ATTENTIONS["softmax"], ATTENTIONS["linear"], ATTENTIONS["window"]])
def test_what_is_remembered_gives_the_same_ids_as_computing_all_again(attention, way):
    model, task = made(attention, positions=Positions("rotary"))
    begun = [[1, 2, 3], [], [5, 6]]
    some = Limits(torch.tensor([4, 5, 6]), 10, (0,), torch.tensor([12, 5, 9]))
    found = way(stepper_of(model, task, begun), some)
    again = way(Recomputed(model, task, begun), some)
    assert [[(one.ids, one.finished) for one in each] for each in found] == [
        [(one.ids, one.finished) for one in each] for each in again
    ]
    assert [[one.score for one in each] for each in found] == [
        pytest.approx([one.score for one in each], abs=1e-9) for each in again
    ]


@pytest.mark.parametrize("way", [WAYS["greedy"], WAYS["sample"], WAYS["beam"]])
def test_a_batch_writes_what_each_set_alone_would(way):
    model, task = made(positions=Positions("rotary"))
    together = way(stepper_of(model, task, [[1, 2], [3], [4, 4, 4]]), Limits(5, 10, (0,), torch.tensor([8, 8, 8])))
    for b, ids in enumerate([[1, 2], [3], [4, 4, 4]]):
        some = Limits(5, 10, (0,), torch.tensor([8]))
        stepper = stepper_of(model, task, [ids])
        (alone,) = sample(stepper, some, [3 + b]) if way is WAYS["sample"] else way(stepper, some)
        assert [one.ids for one in together[b]] == [one.ids for one in alone]


@pytest.mark.parametrize(
    "options",
    [
        {"front": Front(ngrams=2)},
        {"front": Front(class_vector=True)},
        {"front": Front(step=2)},
    ],
    ids=str,
)
def test_models_that_join_ids_cannot_go_on(options):
    torch.manual_seed(0)
    model = build(Encoder(width=16, heads=2, attention="Attention(pattern=Causal())", **options), ENCODING)
    with pytest.raises(InputError, match="expected one that goes on id by id"):
        ModelStepper(model.eval(), lambda hidden: hidden, 16, [[]])


def test_a_model_without_blocks_goes_on_too():
    torch.manual_seed(0)
    model = build(Encoder(width=16, layers=0, positions=Positions("sinusoidal"), front=Front(deviation=0.1)), ENCODING)
    task = build(NextToken(), 16, ENCODING)
    task.attach(model)
    model.eval()
    stepper = stepper_of(model, task, [[1, 2]])
    batch = Batch(VectorSets.pack([torch.tensor([1, 2, 3])]))
    torch.testing.assert_close(stepper.next(torch.tensor([3]))[0], task(model(batch), batch)[-1])
    assert isinstance(stepper, Stepper)


def test_states_belong_to_places():
    model, _ = made()
    states = model.stack.new_states(1)
    batch = Batch(VectorSets(torch.tensor([1]), Layout(torch.tensor([0, 1]), starts=torch.tensor([4]))))
    with pytest.raises(InputError, match=re.escape("the sets go on at places [4], expected [0]")):
        model(batch, states)
