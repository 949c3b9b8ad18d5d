"""Targets that are sets, pairs of sets and a learner of a task's own go all the way: fit, resume, evaluate, predict."""

import json
import signal

import pytest
import torch
import toys
from processes import in_process, kill_when
from test_resume import left

from regard.train import Run, fit, from_yaml, to_yaml
from regard.train.checkpoints import newest
from regard.train.recorder import Recorder, read_metrics


def train(folder, target, resume=False, killed=None):
    if killed:
        kill_when(*killed)
    fit(toys.experiment(target), folder, resume)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each task, undisturbed."""
    folders = {target: tmp_path_factory.mktemp(target) / "run" for target in toys.TASKS}
    for target, folder in folders.items():
        assert in_process(train, folder, target) == 0
    return folders


@pytest.mark.parametrize("target", toys.TASKS)
def test_a_killed_training_goes_on_with_the_same_losses(target, runs, tmp_path):
    # In the second of three epochs, after its first checkpoint.
    assert in_process(train, tmp_path, target, False, (Recorder, "on_train_batch_end", 14)) == -signal.SIGKILL
    assert newest(tmp_path / "checkpoints")[0] is not None
    assert in_process(train, tmp_path, target, True) == 0
    assert left(tmp_path) == left(runs[target])


@pytest.mark.parametrize(("target", "metric"), [("ends", "distance"), ("higher", "accuracy"), ("sum", "mse")])
def test_a_run_is_evaluated_beside_the_baseline(target, metric, runs):
    run = Run.open(runs[target])
    evaluation = run.evaluate()
    lengths = run.experiment.data.part("test", run.encoding).lengths
    targets = sum(min(length, 2) for length in lengths) if target == "ends" else len(lengths)
    assert (evaluation["sets"], evaluation["targets"]) == (20, targets)
    better = evaluation["metrics"][metric] - evaluation["baseline"][metric]
    assert better > 0 if run.task.monitor[1] == "max" else better < 0
    lines = [json.loads(line) for line in (runs[target] / "predictions-test.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == [f"test-{i}" for i in range(20)]
    assert all("target" in line for line in lines)


def test_places_are_predicted_for_new_sets(runs):
    (prediction,) = Run.open(runs["ends"]).predict(["0.5,1,-1"])
    assert prediction["name"] == "0.5,1,-1"
    assert len(prediction["places"]) == 2
    assert "target" not in prediction


def test_the_context_decides_a_pair(runs):
    run = Run.open(runs["higher"])
    predictions = list(run.predict(["2,2,2", "-2,-2,-2"]))
    assert [prediction["label"] for prediction in predictions] == ["lower", "higher"]


def test_both_optimizers_are_in_a_checkpoint_and_a_step_is_a_batch(runs):
    _, state = newest(runs["sum"] / "checkpoints")
    main, critic = state["optimizer_states"]
    assert "exp_avg" in main["state"][0]
    assert "momentum_buffer" in critic["state"][0]
    rows = [row for row in read_metrics(runs["sum"]) if row["kind"] == "step"]
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    trained = Run.open(runs["sum"]).task.critic.weight
    assert not torch.equal(trained, torch.zeros_like(trained))


def test_a_task_from_elsewhere_has_its_text_form():
    experiment = toys.experiment("ends")
    assert from_yaml(to_yaml(experiment)) == experiment
