"""Several processes train as one: each example once, the same weights everywhere, one of them writes."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import tiny
import torch
from processes import in_processes, kill_when

from regard.errors import InputError
from regard.train import Run, fit
from regard.train.learner import Learner
from regard.train.recorder import read_metrics


def watched(folder, target, resume, killed, options):
    """Trains, and notes per process which examples each epoch showed, and the weights at the end."""
    import os

    rank, seen = os.environ["RANK"], []
    step, end = Learner.training_step, Learner.teardown

    def training_step(self, batch, batch_idx):
        seen.append([self.trainer.current_epoch, batch.names])
        return step(self, batch, batch_idx)

    def teardown(self, stage):
        (folder.parent / f"seen-{rank}.json").write_text(json.dumps(seen))
        safetensors.torch.save_file(dict(self.state_dict()), folder.parent / f"weights-{rank}.safetensors")
        end(self, stage)

    Learner.training_step, Learner.teardown = training_step, teardown
    if killed:
        kill_when(*killed)
    fit(tiny.experiment(target, **options), folder, resume)


def seen_by(folder, rank):
    return json.loads((folder.parent / f"seen-{rank}.json").read_text())


@pytest.mark.parametrize("target", tiny.TASKS)
def test_two_processes_see_each_example_once_and_agree(target, tmp_path):
    folder = tmp_path / "run"
    assert in_processes(2, watched, folder, target, False, None, {}) == [0, 0]
    for epoch in range(3):
        names = [n for rank in (0, 1) for e, batch in seen_by(folder, rank) if e == epoch for n in batch]
        assert sorted(names) == sorted(f"train-{i}" for i in range(tiny.SIZES["train"]))
    assert all(batch for _, batch in seen_by(folder, 1)), "the second process had its share"
    first, second = ((tmp_path / f"weights-{rank}.safetensors").read_bytes() for rank in (0, 1))
    assert first == second
    # Validation is that of all examples, whichever process had them: as one process alone finds it.
    best = [row for row in read_metrics(folder) if row["kind"] == "epoch"]
    name, direction = Run.open(folder).task.monitor
    values = [float(row[f"validation_{name}"]) for row in best]
    found = Run.open(folder).evaluate("validation")["metrics"][name]
    assert found == pytest.approx(max(values) if direction == "max" else min(values), rel=1e-5)


def test_two_processes_train_like_one(tmp_path):
    # Without dropout, and with all examples in a batch, the split over processes must not show in the losses.
    one, two = tmp_path / "one", tmp_path / "two"
    assert in_processes(1, undropped, one) == [0]
    assert in_processes(2, undropped, two) == [0, 0]
    columns = ("loss", "validation_loss")
    losses = [
        [float(row[c]) for row in read_metrics(folder) if row["kind"] == "epoch" for c in columns]
        for folder in (one, two)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def undropped(folder):
    from dataclasses import replace

    plain = tiny.experiment(batch_vectors=10_000)
    fit(replace(plain, model=replace(plain.model, dropout=0.0)), folder)


def test_a_process_without_an_example_takes_part(tmp_path):
    folder = tmp_path / "run"
    assert in_processes(2, lonely, folder) == [0, 0]
    rows = read_metrics(folder)
    assert [row["kind"] for row in rows] == ["step", "epoch"] * 3
    assert len({row["loss"] for row in rows}) > 1


def lonely(folder):
    from dataclasses import replace

    small = tiny.experiment()
    fit(replace(small, data=replace(small.data, examples=1)), folder)


def test_two_killed_processes_go_on_with_the_same_losses(tmp_path):
    calm, killed = tmp_path / "calm" / "run", tmp_path / "killed" / "run"
    for folder in (calm, killed):
        folder.parent.mkdir()
    options = {"checkpoint_every": 2}
    assert in_processes(2, watched, calm, "set label", False, None, options) == [0, 0]
    moment = (Learner, "training_step", 8)
    assert in_processes(2, watched, killed, "set label", False, moment, options) == [-signal.SIGKILL] * 2
    with pytest.raises(InputError, match="was written by 2 processes, expected as many to resume, not 1"):
        fit(tiny.experiment(**options), killed, resume=True)
    assert in_processes(2, watched, killed, "set label", True, None, options) == [0, 0]
    assert (killed / "metrics.csv").read_text() == (calm / "metrics.csv").read_text()


def test_torchrun_trains(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", tiny.__file__]
    done = subprocess.run([*command, tmp_path / "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Run.open(tmp_path / "run").evaluate()["targets"] == tiny.SIZES["test"]
    assert torch.isfinite(Run.open(tmp_path / "run").task.head.weight).all()
