"""A training that is killed at any moment and resumed leaves what it would have left undisturbed."""

import io
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import tiny
import torch
from processes import in_process, kill_when

from regard.errors import InputError
from regard.train import Run, fit
from regard.train.card import read_facts
from regard.train.checkpoints import Checkpoints, generators, newest, restore_generators
from regard.train.learner import Learner
from regard.train.recorder import Best, Recorder, cut_back, read_metrics

# Nine steps an epoch, a checkpoint after every fourth step and at the end of each of the three epochs.
MOMENTS = {
    "before the first checkpoint": (Learner, "training_step", 3),
    "in the first epoch": (Learner, "training_step", 7),
    "right after a checkpoint within an epoch": (Checkpoints, "_write", 2, True),
    "while a checkpoint is written": ("os", "fsync", 6),
    "at the last step of an epoch": (Learner, "training_step", 9),
    "after the last step of an epoch": (Learner, "training_step", 9, True),
    "during the first validation": (Learner, "validation_step", 1),
    "during the second validation": (Learner, "validation_step", 7),
    "before the row of an epoch": (Recorder, "on_train_epoch_end", 1),
    "after the row of an epoch": (Recorder, "on_train_epoch_end", 1, True),
    "after the best weights were written": (Best, "on_train_epoch_end", 1, True),
    "right after an epoch": (Checkpoints, "on_train_epoch_end", 1, True),
    "at the first step of the second epoch": (Learner, "training_step", 10),
    "in the second epoch": (Learner, "training_step", 15),
    "in the last epoch": (Learner, "training_step", 26),
    "after the last epoch": (Checkpoints, "on_train_epoch_end", 3, True),
}


def train(folder, resume, killed, options):
    if killed:
        kill_when(*killed)
    fit(tiny.experiment(**options), folder, resume)


def left(folder):
    """What the same training must leave the same: every loss, to the last bit, and the weights."""
    weights = {
        name: each.numpy().tobytes() for name, each in safetensors.torch.load_file(folder / "model.safetensors").items()
    }
    _, state = newest(folder / "checkpoints")
    last = {name: each.numpy().tobytes() for name, each in state["state_dict"].items()}
    return (folder / "metrics.csv").read_text(), weights, last


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert in_process(train, folder, False, None, {}) == 0
    return left(folder)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_goes_on_with_the_same_losses(moment, undisturbed, tmp_path):
    folder = tmp_path / "run"
    assert in_process(train, folder, False, MOMENTS[moment], {}) == -signal.SIGKILL
    assert in_process(train, folder, True, None, {}) == 0
    assert left(folder) == undisturbed
    assert not list(folder.glob("**/.*")), "half-written files are left behind"
    assert (folder / "card.md").is_file()
    assert (folder / "curves.png").is_file()


def test_early_stopping_outlives_a_kill(tmp_path):
    options = {"epochs": 12, "patience": 2, "checkpoint_every": 0}
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert in_process(train, calm, False, None, options) == 0
    epochs = [row for row in read_metrics(calm) if row["kind"] == "epoch"]
    values = [float(row["validation_accuracy"]) for row in epochs]
    assert len(values) < 12
    assert values.index(max(values)) == len(values) - 3, "it stops two epochs after the best one"
    moment = (Checkpoints, "on_train_epoch_end", len(values), True)
    assert in_process(train, killed, False, moment, options) == -signal.SIGKILL
    assert in_process(train, killed, True, None, options) == 0
    assert left(killed) == left(calm)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", []),
        ("kind,epo", []),
        ("kind,epoch,step,loss\nstep,1", []),
        ("kind,epoch,step,loss\nstep,1,2", []),
        ("kind,epoch,step,loss\nstep,1,20,0.5\nstep,1,4", ["20"]),
    ],
)
def test_a_row_that_was_half_written_is_cut_off(text, steps, tmp_path):
    (tmp_path / "metrics.csv").write_text(text)
    cut_back(tmp_path, 100)
    assert [row["step"] for row in read_metrics(tmp_path)] == steps


def test_validation_may_be_rare_and_the_last_weights_kept(tmp_path):
    options = {"epochs": 5, "validate_every": 3, "keep": "last", "checkpoint_every": 0}
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert in_process(train, calm, False, None, options) == 0
    epochs = [row for row in read_metrics(calm) if row["kind"] == "epoch"]
    assert [bool(row["validation_accuracy"]) for row in epochs] == [False, False, True, False, True]
    assert read_facts(calm)["epoch"] == 5
    assert Run.open(calm).evaluate("validation")["metrics"]["accuracy"] == float(epochs[-1]["validation_accuracy"])
    assert in_process(train, killed, False, (Checkpoints, "on_train_epoch_end", 4, True), options) == -signal.SIGKILL
    assert in_process(train, killed, True, None, options) == 0
    assert left(killed) == left(calm)
    # Within the last epoch, whose checkpoint knows of no validation.
    options["checkpoint_every"] = 4
    calm, killed = tmp_path / "calm again", tmp_path / "killed again"
    assert in_process(train, calm, False, None, options) == 0
    assert in_process(train, killed, False, (Learner, "training_step", 42), options) == -signal.SIGKILL
    assert in_process(train, killed, True, None, options) == 0
    assert left(killed) == left(calm)


def test_a_finished_training_is_resumed_to_itself(tmp_path):
    folder = fit(tiny.experiment(epochs=2), tmp_path / "run")
    before = left(folder)
    fit(tiny.experiment(epochs=2), folder, resume=True)
    assert left(folder) == before


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", b"cos\nsystem\n(S'touch /tmp/never'\ntR."])
def test_an_unreadable_checkpoint_is_passed_over(damage, undisturbed, tmp_path):
    folder = tmp_path / "run"
    assert in_process(train, folder, False, (Learner, "training_step", 15), {}) == -signal.SIGKILL
    checkpoints = sorted((folder / "checkpoints").iterdir())
    assert [path.name for path in checkpoints] == ["step-000000009.ckpt", "step-000000012.ckpt"]
    checkpoints[1].write_bytes(damage)
    assert newest(folder / "checkpoints")[0] == checkpoints[0]
    assert in_process(train, folder, True, None, {}) == 0
    assert left(folder) == undisturbed


@pytest.mark.rare
def test_a_training_with_a_worker_goes_on_with_the_same_losses(undisturbed, tmp_path):
    folder = tmp_path / "run"
    assert run_script(folder, "workers=1", until=lambda: len(read_metrics(folder)) > 12) == -signal.SIGKILL
    assert run_script(folder, "workers=1", "--resume") == 0
    assert left(folder) == undisturbed


def run_script(folder, *arguments, until=None):
    """The exit status of a training in an interpreter of its own; it is killed as soon as `until` is true."""
    process = subprocess.Popen([sys.executable, tiny.__file__, folder, *arguments])
    while until is not None and process.poll() is None and not until():
        time.sleep(0.001)
    if until is not None:
        process.kill()
    return process.wait()


def interrupted(folder):
    def interrupt(*_):
        raise KeyboardInterrupt

    Learner.validation_step = interrupt
    with pytest.raises(KeyboardInterrupt):
        fit(tiny.experiment(), folder)


def test_an_interrupt_reaches_whoever_called(undisturbed, tmp_path):
    folder = tmp_path / "run"
    assert in_process(interrupted, folder) == 0
    assert in_process(train, folder, True, None, {}) == 0
    assert left(folder) == undisturbed


def test_a_run_that_is_there_is_not_trained_over(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="already exists, expected a new folder"):
        fit(tiny.experiment(), tmp_path)


def test_another_experiment_is_not_resumed(tmp_path):
    folder = fit(tiny.experiment(epochs=1), tmp_path / "run")
    with pytest.raises(InputError, match=r"config\.yaml describes another experiment"):
        fit(tiny.experiment(epochs=1, seed=1), folder, resume=True)
    with pytest.raises(InputError, match="describes another experiment"):
        fit(tiny.experiment(epochs=2, clip=0), folder, resume=True)
    with pytest.raises(InputError, match="is not a folder"):
        fit(tiny.experiment(epochs=2), tmp_path / "nowhere", resume=True)


def constant(**training):
    """A training whose learning rate does not depend on its length."""
    whole = tiny.experiment(**training)
    return replace(whole, optimizer=replace(whole.optimizer, schedule="constant"))


def test_more_epochs_are_those_that_a_longer_training_would_have_had(tmp_path):
    whole = fit(constant(epochs=3), tmp_path / "whole")
    folder = fit(constant(epochs=1), tmp_path / "run")
    fit(constant(epochs=2), folder, resume=True)
    fit(constant(epochs=3), folder, resume=True)
    assert left(folder) == left(whole)
    assert (folder / "config.yaml").read_text() == (whole / "config.yaml").read_text()
    assert read_facts(folder)["steps"] == 27
    assert Run.open(folder).experiment.training.epochs == 3
    with pytest.raises(InputError, match=r"training.epochs is 2, and .* is a training of 3 epochs, expected more"):
        fit(constant(epochs=2), folder, resume=True)
    assert left(folder) == left(whole)


def test_with_more_epochs_the_rate_goes_on_as_in_a_longer_training(tmp_path):
    """The cosine, at its end when the shorter training ends, is that of the longer training from the next step on."""
    whole = fit(tiny.experiment(epochs=3), tmp_path / "whole")
    folder = fit(tiny.experiment(epochs=2), tmp_path / "run")
    fit(tiny.experiment(epochs=3), folder, resume=True)
    rates = [[row["learning_rate"] for row in read_metrics(each) if row["kind"] == "step"] for each in (whole, folder)]
    assert rates[1][18:] == rates[0][18:]
    assert rates[1][:18] != rates[0][:18]
    assert float(rates[1][17]) < float(rates[1][18])
    # The optimizer itself had that rate: the first further step moved the weights.
    losses = [row["loss"] for row in read_metrics(folder) if row["kind"] == "step"]
    assert len(set(losses)) == 27
    _, state = newest(folder / "checkpoints")
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == 0


def test_a_training_that_is_killed_after_it_was_made_longer_goes_on(tmp_path):
    whole = fit(constant(epochs=3), tmp_path / "whole")
    folder = fit(constant(epochs=1), tmp_path / "run")
    assert in_process(lengthened, folder) == -signal.SIGKILL
    fit(constant(epochs=3), folder, resume=True)
    assert left(folder) == left(whole)


def lengthened(folder):
    kill_when(Learner, "training_step", 5)
    fit(constant(epochs=3), folder, resume=True)


def test_generators_go_back_to_what_they_were():
    before = generators()
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    stream = io.BytesIO()
    torch.save(before, stream)
    stream.seek(0)
    restore_generators(torch.load(stream, weights_only=True))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == drawn


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    return fit(tiny.experiment(epochs=1), tmp_path_factory.mktemp("ended") / "run")


def whole(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        ("model.safetensors", None, "is missing, expected the weights"),
        ("model.safetensors", b"no weights", "is not a whole safetensors file"),
        ("metrics.csv", b"\xff\xfe", "was altered or cannot be read"),
        ("metrics.csv", b"no,table\n1,2\n3,4\n", "was altered or cannot be read"),
        ("checkpoints/*", b"no checkpoint", "is no checkpoint of a training"),
        ("checkpoints/*", {"x": 1}, "is no checkpoint of a training"),
        ("checkpoints/*", [1], "is no checkpoint of a training"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused_and_left_alone(name, damage, sentence, ended, tmp_path):
    folder = shutil.copytree(ended, tmp_path / "run")
    for path in list(folder.glob(name)):
        if damage is None:
            path.unlink()
        elif isinstance(damage, bytes):
            path.write_bytes(damage)
        else:
            torch.save(damage, path)
    before = whole(folder)
    with pytest.raises(InputError, match=sentence):
        fit(tiny.experiment(epochs=1), folder, resume=True)
    assert whole(folder) == before
