"""Alignment: the loss is the sum over all paths, written out, alone and in batches, and a task weighs it with its own."""

from itertools import groupby, pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.batch import Batch
from regard.data.encoding import BEGIN, END, Encoding
from regard.data.tokenizer import UNKNOWN
from regard.errors import InputError
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.pieces import Front
from regard.models.recurrent_decoder import RecurrentEncoderDecoder
from regard.models.sequences import DecoderOutput
from regard.sets import VectorSets
from regard.tasks import PerSetSequence
from regard.tasks.alignment import alignment_losses
from regard.train.kinds import build

LETTERS = (UNKNOWN, "a", "b", "c", BEGIN, END)
ENCODING = Encoding(Encoding(columns={"token": LETTERS}), width=3)
MODELS = [
    EncoderDecoder(width=8, layers=1, decoder_layers=1, heads=2, feed_forward=8, dropout=0.0, front=Front(step=2)),
    RecurrentEncoderDecoder(width=8, hidden=6, aligned=4, maxout=8, dropout=0.0),
]


def written_out(scores, target, blank):
    """- log of the sum over all paths that spell the target."""
    chances = scores.softmax(1)
    total = chances.new_zeros(())
    for path in product(range(scores.shape[1]), repeat=len(scores)):
        if [each for each, _ in groupby(path) if each != blank] == list(target):
            total = total + torch.stack([chances[t, each] for t, each in enumerate(path)]).prod()
    return -total.log()


targets_of = st.lists(st.sampled_from([0, 1, 3]), max_size=3)


@settings(max_examples=20, deadline=None)
@given(st.lists(targets_of, min_size=1, max_size=3), st.integers(0, 5))
def test_losses_and_gradients_are_those_of_all_paths(targets, seed):
    torch.manual_seed(seed)
    needed = [len(each) + sum(a == b for a, b in pairwise(each)) for each in targets]
    values = [torch.randn(max(1, least) + seed % 2, 4, requires_grad=True) for least in needed]
    found = alignment_losses(VectorSets.pack(values), [torch.tensor(each, dtype=torch.int64) for each in targets], 2)
    expected = torch.stack([written_out(v, each, 2) for v, each in zip(values, targets, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weights = torch.arange(1.0, len(targets) + 1)
    ours, theirs = (torch.autograd.grad((each * weights).sum(), values) for each in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_batch_is_each_set_alone():
    torch.manual_seed(0)
    values = [torch.randn(n, 5) for n in (9, 3, 6)]
    targets = [torch.tensor(each) for each in ([1, 1, 2], [3], [2, 4, 2, 4])]
    together = alignment_losses(VectorSets.pack(values), targets, 0)
    alone = [alignment_losses(VectorSets.pack([v]), [y], 0)[0] for v, y in zip(values, targets, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-6, atol=1e-6)
    assert alignment_losses(VectorSets(torch.zeros(0, 5), VectorSets.pack([]).layout), [], 0).shape == (0,)


def test_fewer_vectors_than_ids_are_refused_by_name():
    sets = VectorSets.pack([torch.zeros(3, 4)])
    assert alignment_losses(sets, [torch.tensor([1, 1])], 0).isfinite()
    with pytest.raises(InputError, match=r"a\.wav has 3 vectors for 3 ids, expected at least 4 .* a smaller --model"):
        alignment_losses(sets, [torch.tensor([1, 1, 2])], 0, ["a.wav"])


def batch_of(lengths, texts):
    torch.manual_seed(1)
    inputs = VectorSets.pack([torch.randn(n, 3) for n in lengths])
    ids = [torch.tensor([*(LETTERS.index(letter) for letter in text), 5]) for text in texts]
    return Batch(inputs, VectorSets.pack(ids), names=tuple(texts), target_kind="sets")


def made(options, alignment):
    torch.manual_seed(0)
    model = build(options, ENCODING)
    task = build(PerSetSequence(alignment=alignment), model.width, ENCODING)
    task.attach(model)
    return model, task


@pytest.mark.parametrize("options", MODELS, ids=lambda options: type(options).__name__)
@pytest.mark.parametrize("training", [True, False])
def test_a_task_weighs_the_two_losses(options, training):
    batch = batch_of([9, 12], ["abc", "ca"])
    model, task = made(options, 0.25)
    plain, without = made(options, 0.0)
    for module in (model, task, plain, without):
        module.train(training)
    hidden = model(batch)
    assert isinstance(hidden, DecoderOutput)
    total, count = task.loss(task(hidden, batch), batch)
    told, same = without.loss(without(plain(batch), batch), batch)
    scores = hidden.memory.with_values(task.align(hidden.memory.values))
    written = [torch.tensor([1, 2, 3]), torch.tensor([3, 1])]
    aligned = alignment_losses(scores, written, LETTERS.index(BEGIN)).sum()
    torch.testing.assert_close(total, 0.75 * told + 0.25 * aligned)
    assert (count, same) == (7, 7)
    if training:
        total.backward()
        assert all(each.grad is not None and each.grad.isfinite().all() for each in task.align.parameters())


def test_what_is_written_is_bounded_by_what_the_decoder_reads():
    batch = batch_of([40], ["a"])
    torch.manual_seed(0)
    model = build(MODELS[0], ENCODING).eval()
    task = build(PerSetSequence(longer=2, shortest=30), model.width, ENCODING).eval()
    task.attach(model)
    for each in (batch, Batch(batch.inputs, names=batch.names)):
        ((best,),) = task.answer(model(each), each)["hypotheses"]
        # Of 40 frames two become one vector.
        assert (len(best.ids), best.finished) == (22, False)


def test_the_weight_is_checked():
    with pytest.raises(InputError, match=r"task\.alignment is 1, expected at least 0 and less than 1"):
        PerSetSequence(alignment=1)
