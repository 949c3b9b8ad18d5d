"""Hidden tokens: scores at hidden places alone, by the model's own table; what is trained, filled in, and begun with."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from regard import InputError
from regard.cli import main
from regard.data.batch import Batch, collate
from regard.data.encoding import Encoding, Labels
from regard.data.masking import MASK
from regard.data.passages import Passages
from regard.data.text import Conllu, Texts
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.sets import VectorSets
from regard.tasks.configs import MaskedTokens, PerSetLabel, PerVectorLabel
from regard.train import Experiment, Optimizer, Run, Training, fit
from regard.train.budget import Budget
from regard.train.kinds import build
from regard.train.learner import Learner, rate

PLAIN = MaskedTokens()
NAMES = ["anna", "ben", "carla", "dora", "emil"]
THINGS = {"anna": "apples", "ben": "bread", "carla": "cherries", "dora": "dates", "emil": "eggs"}
MODEL = Encoder(
    width=32, layers=1, heads=2, feed_forward=32, dropout=0.0, positions=Positions("rotary"), front=Front(deviation=0.1)
)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Who eats what is fixed, so that what is hidden can be known."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    lines = [f"{name} eats {THINGS[name]} number {n % 7} ." for n in range(60) for name in NAMES]
    path.write_text("\n\n".join(lines))
    return path


def experiment(path, tokens="words", **training):
    options = {"epochs": 6, "batch_vectors": 128, "checkpoint_every": 0, "device": "cpu", "progress": False}
    return Experiment(
        "mine",
        Passages(str(path), tokens=tokens, vocabulary=0 if tokens == "words" else 60, mask=0.3, longest=32),
        MODEL,
        MaskedTokens(),
        Optimizer(learning_rate=1e-2, warm_up=10),
        Training(**options | training),
    )


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    return fit(experiment(text, epochs=25), tmp_path_factory.mktemp("runs") / "words")


@pytest.fixture(scope="module")
def run_of_pieces(text, tmp_path_factory):
    return fit(experiment(text, "bpe", epochs=1), tmp_path_factory.mktemp("runs") / "pieces")


def made(options=PLAIN):
    torch.manual_seed(0)
    encoding = Encoding(columns={"token": ("<unknown>", "a", "b", "c", MASK)})
    model = build(MODEL, encoding)
    task = build(options, model.width, encoding)
    task.attach(model)
    return model.eval(), task.eval()


def batch():
    values = torch.tensor([1, 4, 3, 4, 4, 2])
    targets = torch.tensor([-100, 2, -100, 1, 3, -100])
    return Batch(
        VectorSets.pack([values[:3], values[3:]]), targets, names=("x", "y"), tokens=(None, None), target_kind="vector"
    )


@pytest.mark.parametrize("options", [MaskedTokens(), MaskedTokens(transform=True, bias=False)])
def test_scores_are_products_with_the_table_at_hidden_places(options):
    model, task = made(options)
    hidden = model(batch())
    vectors = hidden.values[[1, 3, 4]]
    if options.transform:
        layer, _, norm = task.transform
        vectors = norm(nn.functional.gelu(layer(vectors)))
    else:
        nn.init.normal_(task.bias)
    expected = vectors @ model.front.embed.tables[0].weight.T + (0 if task.bias is None else task.bias)
    output = task(hidden, batch())
    torch.testing.assert_close(output, expected)
    total, count = task.loss(output, batch())
    by_hand = -expected.log_softmax(-1)[[0, 1, 2], [2, 1, 3]].sum()
    torch.testing.assert_close(total, by_hand)
    assert int(count) == 3


def test_the_table_is_the_models_alone_and_learns_from_scores():
    model, task = made()
    assert not [name for name, each in task.named_parameters() if each.shape == (5, 32)]
    output = task(model(batch()).with_values(torch.ones(6, 32)), batch())
    task.loss(output, batch())[0].backward()
    assert model.front.embed.tables[0].weight.grad.abs().sum() > 0


def test_a_batch_without_targets_is_filled_where_it_is_masked():
    model, task = made()
    bare = replace(batch(), targets=None, target_kind=None)
    first, second = task.predictions(task(model(bare), bare), bare)
    assert [gap["place"] for gap in first["gaps"]] == [1]
    assert [gap["place"] for gap in second["gaps"]] == [0, 1]
    assert all("target" not in gap and sum(gap["probabilities"].values()) == pytest.approx(1) for gap in second["gaps"])
    nothing = Batch(VectorSets.pack([torch.tensor([1, 2])]), names=("no gap",), tokens=(None,))
    with pytest.raises(InputError, match=r"the text 'no gap' has no \[MASK\], expected at least one"):
        task.predictions(task(model(nothing), nothing), nothing)


def test_models_without_a_table_and_other_data_are_refused():
    model, _ = made()
    encoding = Encoding(columns={"token": ("<unknown>", "a", "b", MASK)})
    task = build(MaskedTokens(), model.width, encoding)
    with pytest.raises(InputError, match="scores 4 tokens by the model's table of ids, expected a model that has one"):
        task.attach(model)
    with pytest.raises(InputError, match="has no table of ids yet"):
        task(model(batch()), batch())
    with pytest.raises(InputError, match=r"no \[MASK\], expected that of data read as Passages"):
        build(MaskedTokens(), 8, Encoding(Labels(("a", "b")), columns={"token": ("<unknown>", "a")}))


def test_it_learns_what_can_be_known(run):
    evaluation = Run.open(run).evaluate("test")
    metrics, baseline = evaluation["metrics"], evaluation["baseline"]
    assert metrics["accuracy"] > baseline["accuracy"] + 0.3
    assert evaluation["targets"] == sum(int((target != -100).sum()) for target in Run.open(run).part("test").targets)
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    gaps = [gap for line in lines for gap in line["gaps"]]
    assert np.mean([gap["token"] == gap["target"] for gap in gaps]) == pytest.approx(metrics["accuracy"])


def test_predict_fills_gaps(run, capsys):
    assert (
        main(
            [
                "predict",
                str(run),
                "--text",
                "Anna [MASK] apples number 3 .",
                "--text",
                "ben eats [MASK] number 2 [MASK]",
            ]
        )
        == 0
    )
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["name"], first["gaps"][0]["token"]) == ("Anna [MASK] apples number 3 .", "eats")
    assert [(gap["place"], gap["token"]) for gap in second["gaps"]] == [(2, "bread"), (5, ".")]
    assert next(iter(second["gaps"][0]["probabilities"])) == "bread"


def test_a_text_without_a_gap_is_refused(run, capsys):
    assert main(["predict", str(run), "--text", "anna eats apples"]) == 2
    assert "has no [MASK]" in capsys.readouterr().err


def test_a_resumed_training_hides_the_same(text, tmp_path):
    def of(epochs):
        made = experiment(text, epochs=epochs, log_every=1)
        return replace(made, optimizer=replace(made.optimizer, schedule="constant"))

    whole = fit(of(2), tmp_path / "whole")
    parts = fit(of(1), tmp_path / "parts")
    fit(of(2), parts, resume=True)
    assert (whole / "metrics.csv").read_text() == (parts / "metrics.csv").read_text()


def started(data, task, run, **model):
    return Experiment(
        "next",
        data,
        replace(MODEL, **model),
        task,
        Optimizer(learning_rate=1e-2, warm_up=2),
        Training(epochs=1, batch_vectors=64, device="cpu", progress=False, checkpoint_every=0, start=str(run)),
    )


def test_texts_begin_with_the_pieces_and_their_table(run_of_pieces, tmp_path):
    rows = "".join(f"{name} eats {THINGS[name]},{'good' if name < 'c' else 'bad'}\n" for name in NAMES * 6)
    (tmp_path / "texts.csv").write_text("text,label\n" + rows)
    data = Texts(str(tmp_path / "texts.csv"), tokens="bpe")
    after = Run.open(fit(started(data, PerSetLabel(pool="mean"), run_of_pieces), tmp_path / "run"))
    before = Run.open(run_of_pieces)
    assert after.encoding.columns == before.encoding.columns
    assert after.encoding.tokenizer == before.encoding.tokenizer
    report = json.loads((tmp_path / "run" / "start.json").read_text())
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in before.model.named_children()}
    assert sum(report["taken"].values()) >= sum(sizes.values())
    assert report["misfits"] == {}


def test_tags_begin_with_the_words(run, tmp_path):
    lines = [
        "\t".join([str(n), word, "_", tag, "_", "_", "0", "_", "_", "_"])
        for n, (word, tag) in enumerate([("anna", "NOUN"), ("sings", "VERB")], 1)
    ]
    (tmp_path / "tags.conllu").write_text("".join("\n".join(lines) + "\n\n" for _ in range(30)))
    data = Conllu(str(tmp_path / "tags.conllu"), characters=False, minimum_count=1)
    after = Run.open(fit(started(data, PerVectorLabel(), run), tmp_path / "run"))
    before = Run.open(run).encoding.words
    assert after.encoding.words[: len(before)] == before
    assert "sings" in after.encoding.words[len(before) :]


def test_a_budget_of_minutes_ends_the_training_and_lets_the_rate_fall(text, tmp_path):
    run = fit(experiment(text, epochs=100_000, minutes=0.03, log_every=1, keep="last"), tmp_path / "run")
    rows = [row.split(",") for row in (run / "metrics.csv").read_text().splitlines()[1:]]
    rates = [float(row[3]) for row in rows]
    assert int(rows[-1][1]) < 100_000
    assert max(rates) > 0.9e-2
    # The last step begins before the minutes are over, so its rate is small and need not be 0.
    assert rates[-1] < 0.05 * max(rates)
    assert rows[-1][0] == "epoch"
    assert rows[-1][5] != ""
    assert Run.open(run).evaluate("validation")["metrics"]["loss"] == pytest.approx(float(rows[-1][5]), rel=1e-4)


def test_a_resumed_budget_counts_what_was_used():
    budget = Budget(1)
    budget.load_state_dict({"used": 45.0})
    model, task = made()
    learner = Learner(model, task, experiment("none"), 1000)
    trainer = SimpleNamespace(should_stop=False, check_val_every_n_epoch=7)
    budget.on_train_start(trainer, learner)
    assert 0.75 <= learner.used < 0.8
    assert not trainer.should_stop
    again = Budget(1)
    again.load_state_dict({"used": budget.state_dict()["used"] + 15})
    again.on_train_start(trainer, learner)
    assert (learner.used, trainer.should_stop, trainer.check_val_every_n_epoch) == (1, True, 1)


def test_the_rate_follows_the_share_of_the_minutes_where_that_is_more():
    options = Optimizer(warm_up=10, schedule="linear")
    assert [rate(options, step, 110, used) for step, used in ((4, 0.9), (60, 0.0), (60, 0.75), (60, 1.0))] == [
        0.5,
        0.5,
        0.25,
        0,
    ]
    assert rate(replace(options, schedule="cosine"), 60, 10_000, 0.5) == pytest.approx(0.5)


def test_a_budget_for_several_processes_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"training.minutes is set and 2 processes train, expected one"):
        fit(experiment(text, minutes=1.0), tmp_path / "run")


def test_collated_passages_are_what_the_task_reads(text):
    reader = Passages(str(text), tokens="words", mask=0.3)
    encoding = reader.fit()
    part = reader.part("test", encoding)
    made_of = collate([part[i] for i in range(3)])
    assert made_of.target_kind == "vector"
    assert len(made_of.target_values("vector")) == len(made_of.inputs.values)
