"""A training that is killed at any moment and resumed leaves what it would have left undisturbed."""

import signal

import pytest
import safetensors.torch
import tiny
from processes import in_process, kill_when

from regard.train import fit
from regard.train.checkpoints import Checkpoints, newest
from regard.train.learner import Learner
from regard.train.recorder import Best, Recorder

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
