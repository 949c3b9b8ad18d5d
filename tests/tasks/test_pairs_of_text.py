"""Masked language models of pairs: what `[CLS]` is asked, its loss and score, and texts that begin with such a model."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from regard import InputError
from regard.cli import main
from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.data.masking import MASK
from regard.data.passages import Passages
from regard.data.segments import CLS, SEP, Marks
from regard.data.text import Texts
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.sets import VectorSets
from regard.tasks.configs import MaskedTokens, PerSetLabel, ReplacedTokens
from regard.train import Experiment, Optimizer, Run, Training, fit
from regard.train.kinds import build

MODEL = Encoder(
    width=32, layers=1, heads=2, feed_forward=32, dropout=0.0, positions=Positions("rotary"), front=Front(deviation=0.1)
)
ENCODING = Encoding(columns=Marks.columns("token", ("<unknown>", "a", "b", MASK), "order"))
CLS_ID, SEP_ID, ORDERED, SWAPPED = 4, 5, 6, 7


def made():
    torch.manual_seed(0)
    model = build(MODEL, ENCODING)
    task = build(MaskedTokens(), model.width, ENCODING)
    task.attach(model)
    return model.eval(), task.eval()


def batch():
    ids = torch.tensor([4, 1, 3, 5, 2, 5, 4, 3, 5, 3, 5, 4, 3, 5])
    segments = torch.tensor([0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0])
    targets = torch.tensor([6, -100, 2, -100, -100, -100, 7, 1, -100, 1, -100, -100, 2, -100])
    sets = VectorSets.pack(list(torch.stack([ids, segments], 1).split([6, 5, 3])))
    return Batch(sets, targets, names=("x", "y", "z"), tokens=(None,) * 3, target_kind="vector")


def test_the_loss_is_a_mean_over_tokens_and_one_over_pairs():
    model, task = made()
    output = task(model(batch()), batch())
    assert output.shape == (6, 8)
    scores = model(batch()).values @ model.front.embed.tables[0].weight.T
    tokens = cross_entropy(scores[[2, 7, 9, 12], :6], torch.tensor([2, 1, 1, 2]))
    pairs = cross_entropy(scores[[0, 6], 6:], torch.tensor([0, 1]))
    total, count = task.loss(output, batch())
    torch.testing.assert_close(total / count, tokens + pairs)
    metrics = task.metrics()
    task.score(metrics, output, batch())
    found = metrics.compute()
    assert found["pair_accuracy"] == (scores[[0, 6], 6:].argmax(1) == torch.tensor([0, 1])).float().mean()
    assert found["accuracy"] == (scores[[2, 7, 9, 12], :6].argmax(1) == torch.tensor([2, 1, 1, 2])).float().mean()


def test_of_texts_without_targets_pairs_are_asked_and_single_ones_are_not():
    model, task = made()
    known = batch()
    bare = Batch(known.inputs, names=known.names, tokens=known.tokens)
    first, second, third = task.predictions(task(model(bare), bare), bare)
    assert [gap["place"] for gap in first["gaps"]] == [1]
    assert [gap["place"] for gap in second["gaps"]] == [0, 2]
    assert set(first["pair"]["probabilities"]) == {"[in order]", "[swapped]"}
    assert sum(first["pair"]["probabilities"].values()) == pytest.approx(1)
    assert "pair" not in third
    assert set(first["gaps"][0]["probabilities"]) <= {"<unknown>", "a", "b", MASK, CLS, SEP}


def test_the_trivial_answer_is_the_most_frequent_one():
    _, task = made()
    task.observe(batch())
    metrics = task.metrics()
    task.score(metrics, task.trivial(batch()), batch())
    assert metrics.compute()["pair_accuracy"] == 0.5
    assert metrics.compute()["accuracy"] == 0.5


def experiment(path, task=None, **training):
    options = {"epochs": 30, "batch_vectors": 256, "checkpoint_every": 0, "device": "cpu", "progress": False}
    data = Passages(str(path), tokens="words", minimum_count=1, longest=9, mask=0.2, pairs="order")
    return Experiment(
        "mine", data, MODEL, task or MaskedTokens(), Optimizer(learning_rate=1e-2), Training(**options | training)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A story always begins with morning and noon, and ends with evening and night."""
    folder = tmp_path_factory.mktemp("stories")
    names = ["anna", "ben", "carla", "dora"]
    stories = [f"morning {a} noon evening {b} night" for _ in range(12) for a in names for b in names]
    (folder / "text.txt").write_text("\n\n".join(stories))
    return fit(experiment(folder / "text.txt"), folder / "run")


def test_training_learns_the_order(run, capsys):
    evaluation = Run.open(run).evaluate("test")
    assert evaluation["metrics"]["pair_accuracy"] > 0.95
    assert evaluation["baseline"]["pair_accuracy"] < 0.7
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    right = [line["pair"]["answer"] == line["pair"]["target"] for line in lines]
    assert np.mean(right) == pytest.approx(evaluation["metrics"]["pair_accuracy"])
    texts = ["morning anna noon [SEP] evening ben night", "evening ben night [SEP] morning [MASK] noon"]
    assert main(["predict", str(run), *(word for text in texts for word in ("--text", text))]) == 0
    ordered, swapped = map(json.loads, capsys.readouterr().out.splitlines())
    assert (ordered["pair"]["answer"], ordered["gaps"]) == ("[in order]", [])
    assert swapped["pair"]["answer"] == "[swapped]"
    assert len(swapped["gaps"]) == 1


def test_texts_begin_with_such_a_model_without_its_segments(run, tmp_path):
    (tmp_path / "texts.csv").write_text("text,label\n" + "morning anna,good\nnight ben,bad\n" * 20)
    data = Texts(str(tmp_path / "texts.csv"), tokens="words", minimum_count=1, vocabulary=0)
    options = Training(epochs=1, batch_vectors=64, device="cpu", progress=False, checkpoint_every=0, start=str(run))
    fit(Experiment("next", data, MODEL, PerSetLabel(), Optimizer(), options), tmp_path / "run")
    report = json.loads((tmp_path / "run" / "start.json").read_text())
    before = Run.open(run)
    assert report["taken"]["front.embed.tables.0"] == before.model.front.embed.tables[0].weight.numel()
    assert report["unused"]["front.embed.tables.1"] == 2 * 32
    assert report["misfits"] == {}


def test_replaced_tokens_of_pairs_are_refused():
    model = build(MODEL, ENCODING)
    task = build(ReplacedTokens(), model.width, ENCODING)
    with pytest.raises(InputError, match="expected a model that reads one id for each vector"):
        task.attach(model)
