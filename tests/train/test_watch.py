"""The metric that is watched decides which weights stay and when a training stops, also after a kill."""

import re
import signal

import pytest
import tiny
from processes import in_process, kill_when

from regard.errors import InputError
from regard.tasks.configs import PerSetLabel
from regard.train import Run, fit
from regard.train.card import read_facts
from regard.train.checkpoints import Checkpoints
from regard.train.experiment import from_yaml, to_yaml
from regard.train.recorder import read_metrics


def train(folder, resume, killed, options):
    if killed:
        kill_when(*killed)
    fit(tiny.experiment(**options), folder, resume)


def validations(folder, name):
    return [float(row[f"validation_{name}"]) for row in read_metrics(folder) if row["kind"] == "epoch"]


@pytest.mark.parametrize(
    ("target", "watch", "best"),
    [("set label", "loss", min), ("set label", "macro_f1", max), ("set number", "r2", max), ("set number", "mae", min)],
)
def test_the_best_weights_are_those_of_the_watched_metric(target, watch, best, tmp_path):
    folder = fit(tiny.experiment(target, watch=watch, epochs=6), tmp_path / "run")
    values = validations(folder, watch)
    facts = read_facts(folder)
    assert facts["epoch"] == values.index(best(values)) + 1
    assert facts["validation"][watch] == pytest.approx(best(values))
    found = Run.open(folder).evaluate("validation")
    assert found["monitor"] == [watch, best.__name__]
    assert found["metrics"][watch] == pytest.approx(best(values), rel=1e-5)


def test_early_stopping_by_the_loss_outlives_a_kill(tmp_path):
    options = {"epochs": 30, "patience": 1, "watch": "loss", "checkpoint_every": 0}
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert in_process(train, calm, False, None, options) == 0
    values = validations(calm, "loss")
    assert len(values) < 30
    assert values.index(min(values)) == len(values) - 2, "it stops one epoch after the best one"
    moment = (Checkpoints, "on_train_epoch_end", len(values) - 1, True)
    assert in_process(train, killed, False, moment, options) == -signal.SIGKILL
    assert in_process(train, killed, True, None, options) == 0
    assert (killed / "metrics.csv").read_text() == (calm / "metrics.csv").read_text()
    assert (killed / "model.safetensors").read_bytes()[-64:] == (calm / "model.safetensors").read_bytes()[-64:]
    assert read_facts(killed)["epoch"] == read_facts(calm)["epoch"]


@pytest.mark.parametrize(
    ("watch", "hint"), [("acuracy", "did you mean 'accuracy'"), ("bleu", "known are accuracy, loss")]
)
def test_a_metric_that_the_task_does_not_compute_is_refused(watch, hint, tmp_path):
    with pytest.raises(InputError, match=f"training.watch is '{watch}', which the task does not compute: {hint}"):
        fit(tiny.experiment(watch=watch), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("weights", ["balanced", None, {"up": 2.0, "down": 0.5}, {"0": 1.5}])
def test_class_weights_have_a_text_form(weights):
    from dataclasses import replace

    experiment = replace(tiny.experiment(), task=PerSetLabel(class_weights=weights))
    assert from_yaml(to_yaml(experiment)) == experiment


@pytest.mark.parametrize(
    ("text", "weights"),
    [("balanced", "balanced"), ("{up: 2, '0560': 3}", {"up": 2.0, "0560": 3.0}), ('{"1": 2}', {"1": 2.0})],
)
def test_class_weights_are_an_option_of_the_command(text, weights, capsys):
    from regard.cli import main

    assert main(["train", "digits", "--task.class_weights", text, "--print_config"]) == 0
    assert from_yaml(capsys.readouterr().out).task.class_weights == weights


@pytest.mark.parametrize("text", ["evenly", "{a: b}", "[1, 2]", "3"])
def test_other_class_weights_are_refused(text, capsys):
    from regard.cli import main

    assert main(["train", "digits", "--task.class_weights", text, "--print_config"]) == 2
    assert "expected one of balanced or {name: a number, ...} or null" in capsys.readouterr().err


def test_an_epoch_without_validation_says_its_training_loss(tmp_path, capsys):
    folder = fit(tiny.experiment(epochs=5, validate_every=3, progress=True), tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert len(lines) == 5
    assert ["validation: loss" in line for line in lines] == [False, False, True, False, True]
    assert not any(line.rstrip().endswith(":") for line in lines)
    losses = [float(row["loss"]) for row in read_metrics(folder) if row["kind"] == "epoch"]
    shown = [float(re.search(r"training: loss (\S+)", line)[1]) for line in lines]
    assert shown == pytest.approx(losses, rel=1e-3)
