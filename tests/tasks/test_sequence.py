"""Sequences: the loss is torch's, metrics are those of targets, and what is written comes from the model's own steps."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from regard.data.batch import Batch
from regard.data.encoding import BEGIN, END, Encoding, Labels
from regard.data.examples import IGNORE
from regard.data.tokenizer import UNKNOWN, text_of
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.pieces import Positions
from regard.models.recurrent_decoder import RecurrentEncoderDecoder
from regard.sets import VectorSets
from regard.tasks import PerSetSequence
from regard.tasks.smoothed import smoothed_cross_entropy, token_scores
from regard.train.kinds import build

LETTERS = "abcdefgh"
ENCODING = Encoding(
    Encoding(columns={"token": (UNKNOWN, BEGIN, END, *LETTERS)}), columns={"token": (UNKNOWN, BEGIN, END, *LETTERS)}
)
MODEL = EncoderDecoder(width=16, layers=1, decoder_layers=1, heads=2, feed_forward=16, dropout=0.0)


def made(options=None, model=MODEL):
    torch.manual_seed(3)
    model = build(model, ENCODING).eval()
    task = build(options or PerSetSequence(), model.width, ENCODING).eval()
    task.attach(model)
    return model, task


def ids(text, end=True):
    return torch.tensor([3 + LETTERS.index(letter) for letter in text] + [2] * end, dtype=torch.int64)


def batch_of(sources, targets=None):
    inputs = VectorSets.pack([ids(text, end=False) for text in sources])
    if targets is None:
        return Batch(inputs, names=tuple(sources))
    return Batch(inputs, VectorSets.pack([ids(text) for text in targets]), names=tuple(sources), target_kind="sets")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("rows", "classes"), [(900, 3000), (5, 4), (1, 7)])
def test_the_loss_is_torchs(rows, classes, smoothing):
    hidden = torch.randn(rows, 6, dtype=torch.float64, requires_grad=True)
    output = torch.randn(classes, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(classes, (rows,))
    expected = cross_entropy(hidden @ output.T, targets, reduction="sum", label_smoothing=smoothing)
    found = smoothed_cross_entropy(hidden, output, targets, smoothing)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    # The gradient above is that of a mean.
    ours, theirs = (torch.autograd.grad(total / 7, (hidden, output)) for total in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    scores = token_scores(hidden, output, targets, smoothing)
    each = cross_entropy(hidden @ output.T, targets, reduction="none", label_smoothing=smoothing)
    assert torch.allclose(scores.losses, each, atol=1e-12)
    assert torch.allclose(scores.nats, cross_entropy(hidden @ output.T, targets, reduction="none"), atol=1e-12)
    assert torch.equal(scores.best, (hidden @ output.T).argmax(1))


def test_no_target_has_no_loss():
    hidden, output = torch.zeros(0, 4, requires_grad=True), torch.ones(3, 4, requires_grad=True)
    total = smoothed_cross_entropy(hidden, output, torch.zeros(0, dtype=torch.int64), 0.1)
    total.backward()
    assert total.item() == 0
    assert (hidden.grad.shape, output.grad.abs().max().item()) == ((0, 4), 0)
    assert token_scores(hidden, output, torch.zeros(0, dtype=torch.int64)).nats.shape == (0,)


def test_half_precision_gives_nearly_the_same_gradients():
    hidden, output = torch.randn(40, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    targets = torch.randint(50, (40,))
    whole = smoothed_cross_entropy(hidden, output, targets, 0.1)
    expected = torch.autograd.grad(whole, (hidden, output))
    with torch.autocast("cpu", torch.bfloat16):
        half = smoothed_cross_entropy(hidden, output, targets, 0.1)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(whole.item(), rel=0.02)
    for a, b in zip(torch.autograd.grad(half, (hidden, output)), expected, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).norm() < 0.02 * b.norm()


def test_training_and_validation_have_the_same_loss():
    model, task = made()
    batch = batch_of(["abc", "h"], ["cba", "hh"])
    logits = model.logits(model(batch).values)
    expected = cross_entropy(logits, batch.target_sets.values, reduction="sum", label_smoothing=0.1)
    for training in (True, False):
        task.train(training)
        total, count = task.loss(task(model(batch), batch), batch)
        assert count == 7
        assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    metrics = task.metrics()
    task.score(metrics, task(model(batch), batch), batch)
    nats = cross_entropy(logits, batch.target_sets.values)
    right = (logits.argmax(1) == batch.target_sets.values).float().mean()
    assert metrics.compute()["perplexity"].item() == pytest.approx(math.exp(nats.item()), rel=1e-6)
    assert metrics.compute()["accuracy"].item() == pytest.approx(right.item())


def test_gaps_are_left_out():
    model, task = made()
    batch = batch_of(["abc", "h"], ["cba", "hh"])
    targets = batch.target_sets.values.clone()
    targets[[0, 5]] = IGNORE
    gaps = replace(batch, targets=batch.target_sets.with_values(targets))
    for training in (True, False):
        task.train(training)
        output = task(model(gaps), gaps)
        total, count = task.loss(output, gaps)
        logits = model.logits(model(gaps).values)
        assert count == 5
        assert total.item() == pytest.approx(
            cross_entropy(logits, targets, reduction="sum", label_smoothing=0.1).item(), rel=1e-6
        )
    task.score(metrics := task.metrics(), output, gaps)
    assert metrics["perplexity"].count == 5
    task.observe(gaps)
    assert task.counts.sum() == 5


def test_the_baseline_tells_frequencies_and_the_most_frequent_target():
    _, task = made()
    task.observe(batch_of(["a", "b", "c"], ["ab", "h", "ab"]))
    assert task.counts.tolist() == [0, 0, 3, 2, 2, 0, 0, 0, 0, 0, 1]
    batch = batch_of(["a", "b"], ["ah", "c"])
    trivial = task.trivial(replace(batch, inputs=VectorSets(torch.zeros(2, 0), batch.inputs.layout)))
    chances = [3 / 19, 2 / 19, 4 / 19, 1 / 19, 4 / 19]
    assert trivial["nats"].tolist() == pytest.approx([-math.log(p) for p in chances])
    task.score(metrics := task.metrics(), trivial, batch)
    assert metrics.compute()["accuracy"].item() == pytest.approx(2 / 5)
    assert [each["text"] for each in task.predictions(trivial, batch)] == ["ab", "ab"]
    long = batch_of(["a"], ["a" * 300])
    task.observe(long)
    assert task.predictions(task.trivial(long), long)[0] == {
        "name": "a",
        "text": "a" * 256,
        "log_probability": 0.0,
        "score": 0.0,
        "finished": False,
        "target": "a" * 300,
    }


def written_by_hand(model, source, longest):
    """Greedy decoding by whole sequences, without any state."""
    written = []
    while len(written) < longest:
        targets = VectorSets.pack([torch.tensor([*written, 2])])
        batch = Batch(VectorSets.pack([source]), targets, target_kind="sets")
        scores = model.logits(model(batch).values)[-1]
        scores[[0, 1] if written else [0, 1, 2]] = -math.inf
        written.append(int(scores.argmax()))
        if written[-1] == 2:
            return written[:-1]
    return written


@torch.no_grad()
def test_predictions_are_what_whole_sequences_give():
    model, task = made(PerSetSequence(longer=7))
    for x in model.parameters():
        x.mul_(2)
    sources = ["abc", "h", "gfedcba", "", "bb"]
    batch = batch_of(sources)
    output = task.answer(model(batch), batch)
    found = [list(each[0].ids) for each in output["hypotheses"]]
    expected = [written_by_hand(model, ids(source, end=False), len(source) + 7) for source in sources]
    assert found == expected
    predictions = task.predictions(output, batch)
    assert [each["text"] for each in predictions] == [
        "".join((UNKNOWN, BEGIN, END, *LETTERS)[n] for n in each) for each in expected
    ]
    assert [each["name"] for each in predictions] == sources
    assert "target" not in predictions[0]
    json.dumps(predictions)


@torch.no_grad()
def test_several_hypotheses_are_written_with_their_scores():
    model, task = made(PerSetSequence(beam=4, n_best=3, penalty="wu", alpha=0.6, longer=4))
    batch = batch_of(["abc", "h"], ["cba", "hh"])
    predictions = task.predictions(task.answer(model(batch), batch), batch)
    for prediction, source, target in zip(predictions, ["abc", "h"], ["cba", "hh"], strict=True):
        assert prediction["target"] == target
        assert 1 <= len(prediction["n_best"]) <= 3
        assert prediction["n_best"][0]["text"] == prediction["text"]
        for written in prediction["n_best"]:
            text = written["text"]
            whole = batch_of([source], [text])
            of_ids = -cross_entropy(model.logits(model(whole).values), whole.target_sets.values, reduction="none")
            finished = written.get("finished", True)
            expected = of_ids.sum() if finished else of_ids[:-1].sum()
            assert written["log_probability"] == pytest.approx(expected.item(), abs=1e-4)
            penalty = ((5 + len(text) + finished) / 6) ** 0.6
            assert written["score"] == pytest.approx(written["log_probability"] / penalty)


def test_learned_positions_bound_what_is_written():
    _, task = made(PerSetSequence(longer=50), replace(MODEL, positions=Positions("learned", 6)))
    found = task.decode(batch_of(["abc"]))[0][0]
    assert len(found.ids) + found.finished <= 6


LONG = [LETTERS[n % 8] for n in range(5000)]
RECURRENT = RecurrentEncoderDecoder(width=16, hidden=8, aligned=8, maxout=16)


@pytest.mark.parametrize("model", [MODEL, RECURRENT], ids=lambda each: type(each).__name__)
@torch.no_grad()
def test_a_source_of_five_thousand_ids_is_read(model):
    model, _ = made(model=model)
    batch = batch_of([LONG, "abc"], ["hgfedcba", "ab"])
    whole = model.logits(model(batch).values)
    stepper = model.stepper(replace(batch, targets=None, target_kind=None))
    before = torch.tensor([1, 1])
    for step, found in enumerate(ids("hgfedcba").tolist()):
        torch.testing.assert_close(stepper.next(before)[0], whole[step], atol=1e-4, rtol=1e-4)
        before = torch.tensor([found, found])


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("model", [MODEL, RECURRENT], ids=lambda each: type(each).__name__)
@torch.no_grad()
def test_a_model_that_never_ends_is_cut_and_one_that_is_broken_is_named(model, beam, monkeypatch):
    model, task = made(PerSetSequence(longer=7, beam=beam), model)
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda hidden: logits(hidden).index_fill(1, torch.tensor([2]), -math.inf))
    for found, source in zip(task.decode(batch_of(["abc", "abcdefgh"])), (3, 8), strict=True):
        assert (len(found[0].ids), found[0].finished) == (source + 7, False)
    monkeypatch.setattr(model, "logits", lambda hidden: logits(hidden).index_fill(1, torch.tensor([4]), math.nan))
    with pytest.raises(InputError, match="the score of id 4 at place 0 of set 0 is nan, expected numbers: the weights"):
        task.decode(batch_of(["abc"]))


def test_texts_of_words_characters_bytes_and_pieces():
    assert text_of(["a", "dog"], Encoding(columns={"word": ("a", "dog")})) == "a dog"
    assert text_of(["a", " ", "b"], Encoding(columns={"token": (UNKNOWN, "a", " ", "b")})) == "a b"
    # Bytes that are no letters are told as such.
    octets = Encoding(columns={"token": (UNKNOWN, *(f"{n:02x}" for n in range(256)))})
    assert text_of(["61", "ff"], octets) == "a\ufffd"
    assert text_of([], ENCODING) == ""


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"task.n_best is 2, expected at most task.beam, which is 1"):
        PerSetSequence(n_best=2)
    with pytest.raises(InputError, match=r"task.label_smoothing is 1"):
        PerSetSequence(label_smoothing=1.0)
    with pytest.raises(InputError, match="the task is about sets, but the targets are labels"):
        build(PerSetSequence(), 16, Encoding(Labels(("a", "b")), width=3))
    _, task = made()
    with pytest.raises(InputError, match="the task writes sequences and the model is Model, expected one such as Enc"):
        task.attach(build(Encoder(width=8, heads=2), ENCODING))
    batch = batch_of(["abc"], ["ab"])
    with pytest.raises(InputError, match="the model gave 4 vectors for 3 targets, expected one for each"):
        task(VectorSets(torch.zeros(4, 16), VectorSets.pack([torch.zeros(4, 1)]).layout), batch)
    with pytest.raises(InputError, match="the task has no model yet"):
        build(PerSetSequence(), 16, ENCODING).decode(batch)
