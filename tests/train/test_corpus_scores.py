"""Validation writes, and what it writes is scored as `evaluate` does, chooses the weights, and outlives a kill."""

import math
import signal
from dataclasses import replace

import letters
import pytest
import tiny
import toys
from processes import in_process, in_processes, kill_when
from test_resume import left

from regard.errors import InputError
from regard.models.recurrent_decoder import RecurrentEncoderDecoder
from regard.tasks import PerSetSequence
from regard.tasks.corpus import CorpusMetric
from regard.train import Run, Training, fit
from regard.train.card import read_facts
from regard.train.corpus_scores import CorpusScores
from regard.train.recorder import read_metrics

MODELS = {
    "EncoderDecoder": None,
    "RecurrentEncoderDecoder": RecurrentEncoderDecoder(width=32, hidden=32, aligned=32, maxout=32, dropout=0.0),
}
# Of the three epochs the second and the last write.
EVERY_SECOND = {"epochs": 3, "corpus_every": 2, "checkpoint_every": 4, "average": 2}


def train(folder, name, options, resume=False, killed=None, beam=1):
    if killed:
        kill_when(*killed)
    experiment = letters.experiment(MODELS[name], **options)
    fit(replace(experiment, task=PerSetSequence(longer=5, beam=beam)), folder, resume)


def column(folder, name):
    return [row[f"validation_{name}"] for row in read_metrics(folder) if row["kind"] == "epoch"]


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_are_those_with_the_best_of_what_is_written(name, tmp_path):
    folder = tmp_path / "run"
    assert in_process(train, folder, name, {"epochs": 6, "corpus_every": 2, "watch": "character_error"}) == 0
    values = column(folder, "character_error")
    assert [bool(value) for value in values] == [False, True] * 3
    assert all(column(folder, "perplexity"))
    rates = [float(value) if value else math.inf for value in values]
    facts = read_facts(folder)
    assert facts["epoch"] == rates.index(min(rates)) + 1
    assert facts["validation"]["character_error"] == pytest.approx(min(rates))
    found = Run.open(folder).evaluate("validation")
    assert found["monitor"] == ["character_error", "min"]
    # The task is greedy, as validation is whatever the task.
    for metric, value in facts["validation"].items():
        assert value == pytest.approx(found["metrics"][metric], rel=1e-5)
        if metric in found["baseline"]:
            assert facts["validation_trivial"][metric] == pytest.approx(found["baseline"][metric])
    assert facts["validation"]["character_error"] < facts["validation_trivial"]["character_error"]


def test_bleu_of_the_first_examples(tmp_path):
    pytest.importorskip("sacrebleu")
    folder = tmp_path / "run"
    options = {"epochs": 2, "corpus_every": 1, "corpus_examples": 30, "watch": "bleu"}
    assert in_process(train, folder, "EncoderDecoder", options) == 0
    run = Run.open(folder)
    part, metrics = run.part("validation"), {each.name: each for each in run.experiment.task.corpus_metrics}
    first = [part[i] for i in range(30)]
    written = list(run.predictions([letters.Listed(first)]))
    facts = read_facts(folder)
    assert facts["validation"]["bleu"] == pytest.approx(metrics["bleu"].of(written), abs=1e-9)
    assert facts["validation"]["chrf"] == pytest.approx(metrics["chrf"].of(written), abs=1e-9)
    assert run.evaluate("validation")["monitor"] == ["bleu", "max"]


def test_writing_changes_no_training_and_a_beam_is_left_out(tmp_path):
    plain, writing = tmp_path / "plain", tmp_path / "writing"
    assert in_process(train, plain, "EncoderDecoder", EVERY_SECOND | {"corpus_every": 0}) == 0
    assert in_process(train, writing, "EncoderDecoder", EVERY_SECOND, False, None, 4) == 0
    assert left(plain)[1:] == left(writing)[1:]
    losses = [[row["loss"] for row in read_metrics(folder)] for folder in (plain, writing)]
    assert losses[0] == losses[1]
    greedy = Run.open(writing)
    task = replace(greedy.experiment.task, beam=1)
    greedy.task.config = task
    rates = greedy.evaluate("validation")["metrics"]["character_error"]
    assert float(column(writing, "character_error")[-1]) == pytest.approx(rates)


@pytest.mark.parametrize(("name", "call"), [("EncoderDecoder", 2), ("RecurrentEncoderDecoder", 1)])
def test_a_training_killed_while_it_writes_goes_on(name, call, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert in_process(train, whole, name, EVERY_SECOND) == 0
    assert [bool(value) for value in column(whole, "character_error")] == [False, True, True]
    assert in_process(train, folder, name, EVERY_SECOND, False, (CorpusScores, "_records", call)) == -signal.SIGKILL
    assert in_process(train, folder, name, EVERY_SECOND, True) == 0
    assert left(folder) == left(whole)
    assert read_facts(folder)["epoch"] == read_facts(whole)["epoch"]


def test_two_processes_write_what_one_does(tmp_path):
    options = {"epochs": 1, "corpus_every": 1, "corpus_examples": 61}
    assert in_processes(2, train, tmp_path / "run", "EncoderDecoder", options) == [0, 0]
    found = float(column(tmp_path / "run", "character_error")[0])
    run = Run.open(tmp_path / "run")
    part, metrics = run.part("validation"), {each.name: each for each in run.experiment.task.corpus_metrics}
    written = list(run.predictions([letters.Listed([part[i] for i in range(61)])]))
    assert found == pytest.approx(metrics["character_error"].of(written), abs=1e-9)


def test_patience_counts_the_validations_that_write(tmp_path, monkeypatch):
    """Of a metric that never becomes better, by a task that is no sequence's."""
    worst = CorpusMetric("never", lambda prediction: prediction["name"], lambda records: -1.0)
    monkeypatch.setattr(toys.Slots, "corpus_metrics", (worst,))
    options = {"epochs": 9, "corpus_every": 2, "patience": 2, "watch": "never"}
    folder = fit(toys.experiment("ends", **options), tmp_path / "run")
    assert column(folder, "never") == ["", "-1.0"] * 3
    assert read_facts(folder)["epoch"] == 2


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: letters.experiment(watch="bleu"),
            r"training\.watch is 'bleu', which is computed from written predictions: expected --training.corpus_every of at",
        ),
        (
            lambda: letters.experiment(watch="bleuu", corpus_every=1),
            r"training\.watch is 'bleuu', which the task does not compute: did you mean 'bleu'",
        ),
        (
            lambda: tiny.experiment(corpus_every=1),
            r"training\.corpus_every is 1, and the task has no other metrics of whole parts than every validation has",
        ),
    ],
)
def test_what_validation_cannot_find_is_refused(make, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        fit(make(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_metric_whose_package_is_missing_is_refused(tmp_path, monkeypatch):
    missing = CorpusMetric("deep", len, max, package="a_package_that_nobody_has")
    monkeypatch.setattr(PerSetSequence, "corpus_metrics", (missing,))
    with pytest.raises(InputError, match="'deep', which needs a_package_that_nobody_has: it is not installed"):
        fit(letters.experiment(watch="deep", corpus_every=1), tmp_path / "run")


def test_a_number_of_examples_alone_means_nothing():
    with pytest.raises(InputError, match=r"corpus_examples is 5 and training\.corpus_every 0, expected at least 1"):
        Training(corpus_examples=5)
