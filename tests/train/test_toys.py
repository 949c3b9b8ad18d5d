"""Targets that are sets, pairs of sets and a learner of a task's own go all the way: fit, resume, evaluate, predict."""

import json
import shutil
import signal

import pytest
import torch
import toys
from processes import in_process, kill_when
from test_resume import left

from regard.cli import main
from regard.train import Run, fit, from_yaml, to_yaml
from regard.train.checkpoints import newest
from regard.train.recorder import Recorder, read_metrics


def train(folder, target, resume=False, killed=None):
    if killed:
        kill_when(*killed)
    fit(toys.experiment(target), folder, resume)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of an undisturbed run of each task, trained when it is first asked for."""

    class Runs(dict):
        def __missing__(self, target):
            folder = tmp_path_factory.mktemp(target) / "run"
            assert in_process(train, folder, target) == 0
            self[target] = folder
            return folder

    return Runs()


@pytest.mark.parametrize(
    "target", ["sum", *(pytest.param(target, marks=pytest.mark.rare) for target in ("ends", "higher"))]
)
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


def test_a_metric_of_whole_parts_is_evaluated_and_compared(runs, tmp_path, capsys):
    evaluation = Run.open(runs["ends"]).evaluate()
    path = runs["ends"] / "predictions-test.jsonl"
    predictions = [json.loads(line) for line in path.read_text().splitlines()]
    assert evaluation["metrics"]["f1"] == toys.f1([toys.hits(prediction) for prediction in predictions])
    assert 0 <= evaluation["baseline"]["f1"] < evaluation["metrics"]["f1"]
    other = shutil.copytree(runs["ends"], tmp_path / "other")
    (other / "config.yaml").write_text((other / "config.yaml").read_text().replace("recipe: toys", "recipe: far"))
    far = [prediction | {"places": [[9.0, 9.0]] * 2} for prediction in predictions]
    (other / path.name).write_text("".join(json.dumps(prediction) + "\n" for prediction in far))
    assert main(["compare", str(runs["ends"]), str(other)]) == 0
    printed = capsys.readouterr().out
    assert printed.split()[:3] == ["run", "seeds", "f1"]
    assert f"{-evaluation['metrics']['f1']:+.4f}" in printed
    assert "bootstrap over the 20 test sets" in printed
    assert "paired bootstrap, 1,000 draws" in printed


def test_places_are_predicted_for_new_sets(runs):
    (prediction,) = Run.open(runs["ends"]).predict(["0.5,1,-1"])
    assert prediction["name"] == "0.5,1,-1"
    assert len(prediction["places"]) == 2
    assert "target" not in prediction


def test_sets_are_predicted_and_shown_by_the_command_line(runs, capsys):
    assert main(["predict", str(runs["ends"]), "0.5,1,-1"]) == 0
    assert len(json.loads(capsys.readouterr().out)["places"]) == 2
    assert main(["predict", str(runs["ends"]), "--show", "2"]) == 0
    assert capsys.readouterr().out.startswith('test-0: {"places": [[')
    assert main(["predict", str(runs["ends"]), "0.5,1,-1", "--csv"]) == 2
    assert "the run predicts sets, expected one per set for --csv" in capsys.readouterr().err


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
