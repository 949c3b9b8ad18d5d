"""What is validated and written is the mean of the last weights, and training goes on as if nothing were averaged."""

import signal

import pytest
import safetensors.torch
import tiny
import torch
from processes import in_process, kill_when
from test_resume import left

from regard.errors import InputError
from regard.train import Training, fit
from regard.train.checkpoints import AtomicCheckpoints, Checkpoints
from regard.train.learner import Learner
from regard.train.recorder import Best

OPTIONS = {"average": 2, "keep": "last"}


def train(folder, options, resume=False, killed=None):
    if killed:
        kill_when(*killed)
    fit(tiny.experiment(**options), folder, resume)


def ends(folder):
    """The weights at the ends of the last two epochs."""
    paths = sorted((folder / "checkpoints").glob("step-*.ckpt"))
    return [AtomicCheckpoints().load_checkpoint(path)["state_dict"] for path in paths]


def test_the_mean_of_the_last_weights_is_written_and_training_does_not_change(tmp_path):
    for name, options in (("mean", OPTIONS), ("last", {"keep": "last"})):
        assert in_process(train, tmp_path / name, options | {"checkpoint_every": 0}) == 0
    before, last = ends(tmp_path / "mean")
    for name, value in ends(tmp_path / "last")[-1].items():
        assert torch.equal(last[name], value)
    written = safetensors.torch.load_file(tmp_path / "mean" / "model.safetensors")
    averaged = 0
    for name, value in written.items():
        whole = next(each for each in last if each == name or each == f"model.{name}")
        if value.is_floating_point():
            torch.testing.assert_close(value, (before[whole] + last[whole]) / 2)
            averaged += not torch.equal(before[whole], last[whole])
        else:
            assert torch.equal(value, last[whole])
    assert averaged > 3


MOMENTS = {
    "in the second epoch": (Learner, "training_step", 15),
    "during the second validation": (Learner, "validation_step", 7),
    "after the mean was written": (Best, "on_train_epoch_end", 2, True),
    "in the last epoch": (Learner, "training_step", 26),
    "after the last epoch": (Checkpoints, "on_train_epoch_end", 3, True),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert in_process(train, folder, OPTIONS) == 0
    return left(folder)


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_resumes_to_the_last_bit(tmp_path, undisturbed, moment):
    folder = tmp_path / "run"
    assert in_process(train, folder, OPTIONS, False, MOMENTS[moment]) == -signal.SIGKILL
    assert in_process(train, folder, OPTIONS, True) == 0
    assert left(folder) == undisturbed


def test_less_than_none_is_refused():
    with pytest.raises(InputError, match=r"training\.average is -1, expected at least 0"):
        Training(average=-1)
