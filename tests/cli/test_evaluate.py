"""Evaluation of a run from anywhere, on its data wherever they lie now, and on other labeled data."""

import contextlib
import io
import json
import os
import shutil

import pytest
import torch

from regard import InputError
from regard.cli import main
from regard.inspector.compare import wilson
from regard.train import Run, fit, from_yaml, to_yaml
from regard.train.folder import read_config
from tests.cli.test_whole_way import SMALL, done, refused

QUICK = [*SMALL, "--model.feed_forward", "8"]


def letters(count, more=""):
    return "text,label\n" + "".join(f"good film {n},praise\nbad film {n},blame\n" for n in range(count)) + more


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with letters.csv and a run on it, trained and evaluated by relative paths."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "letters.csv").write_text(letters(30))
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        assert main(["train", "sentiment", "--data.path", "letters.csv", "--folder", "run", *QUICK]) == 0
        assert main(["evaluate", "run"]) == 0
    return folder


@pytest.fixture
def run(home, tmp_path, monkeypatch):
    """A copy of the run, seen from another folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(home / "run", tmp_path / "run")


def files(run):
    return {path.name: path.read_bytes() for path in run.glob("*.json*")}


def test_a_run_is_evaluated_from_another_folder(home, run, capsys):
    assert read_config(run).data.path == str(home / "letters.csv")
    before = json.loads((run / "evaluation.json").read_text())["metrics"]
    done(capsys, "evaluate", run)
    assert json.loads((run / "evaluation.json").read_text())["metrics"] == before


def test_small_parts_have_intervals(run, capsys):
    """Six sets that are right or wrong: Wilson's interval."""
    table = done(capsys, "evaluate", run)
    evaluation = json.loads((run / "evaluation.json").read_text())
    low, high = wilson(round(6 * evaluation["metrics"]["accuracy"]), 6)
    (row,) = [line for line in table.splitlines() if line.startswith("accuracy")]
    assert "95 % interval" in table
    assert f"{low:.4f} to {high:.4f}" in row
    assert (run / evaluation["predictions"]).is_file()


def test_data_that_moved_are_the_same_data(home, run, tmp_path, capsys):
    """Recognized by their content: the test part stays the test part, and has its usual names."""
    before = files(run)
    moved = tmp_path / "letters.csv"
    shutil.copy(home / "letters.csv", moved)
    assert "test part: 6 sets" in done(capsys, "evaluate", run, "--data.path", "letters.csv")
    after = files(run)
    assert after.keys() == before.keys()
    assert after["predictions-test.jsonl"] == before["predictions-test.jsonl"]


def test_other_data_are_evaluated_whole_and_written_under_another_name(run, tmp_path, capsys):
    before = files(run)
    card = (run / "card.md").read_text()
    (tmp_path / "new letters.csv").write_text(letters(2, "odd film,neither\n"))
    told = done(capsys, "evaluate", run, "--data.path", "new letters.csv")
    assert f"all parts of {tmp_path / 'new letters.csv'}: 5 sets" in told
    assert "'neither' (1)" in told
    after = files(run)
    assert {name: after[name] for name in before} == before
    assert (run / "card.md").read_text() == card
    evaluation, lines = sorted(after.keys() - before.keys())
    assert evaluation.startswith("evaluation-new_letters.csv-")
    assert lines.startswith("predictions-new_letters.csv-")
    found = json.loads(after[evaluation])
    assert (found["part"], found["sets"], found["path"]) == ("all", 5, str(tmp_path / "new letters.csv"))
    rows = [json.loads(line) for line in after[lines].splitlines()]
    assert found["metrics"]["accuracy"] == pytest.approx(sum(row["label"] == row["target"] for row in rows) / 5)
    # The same name elsewhere is other data.
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "new letters.csv").write_text(letters(1))
    done(capsys, "evaluate", run, "--data.path", "b/new letters.csv")
    assert json.loads((run / evaluation).read_text()) == found
    (tmp_path / "more.csv").write_text(letters(10))
    told = done(capsys, "evaluate", run, "--data.path", "more.csv", "--part", "validation")
    assert f"validation part of {tmp_path / 'more.csv'}: 2 sets" in told


def test_other_data_that_are_divided_are_evaluated_on_their_test_part(run, tmp_path, capsys):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "test.csv").write_text(letters(4))
    assert "test part of" in done(capsys, "evaluate", run, "--data.path", "parts")
    (tmp_path / "column.csv").write_text("text,label,split\ngood,praise,test\nbad,blame,train\nfilm,blame,test\n")
    assert "column.csv: 2 sets" in done(capsys, "evaluate", run, "--data.path", "column.csv")
    assert "column.csv: 3 sets" in done(capsys, "evaluate", run, "--data.path", "column.csv", "--part", "all")


def test_data_that_are_not_there_are_told(run, tmp_path, capsys):
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(read_config(run).data.path, str(tmp_path / "gone.csv")))
    told = refused(capsys, "evaluate", run)
    assert "gone.csv, which is not there, expected the place where it lies now, by --data.path" in told
    assert "nowhere.csv is not there" in refused(capsys, "evaluate", run, "--data.path", "nowhere.csv")


def test_runs_from_before_keep_their_relative_paths_and_know_no_fingerprint(home, run, capsys):
    config, card = run / "config.yaml", run / "card.md"
    config.write_text(config.read_text().replace(str(home / "letters.csv"), "letters.csv"))
    card.write_text("".join(line for line in card.read_text().splitlines(True) if not line.startswith("fingerprint")))
    with contextlib.chdir(home):
        assert "test part: 6 sets" in done(capsys, "evaluate", run)
    told = done(capsys, "evaluate", run, "--data.path", home / "letters.csv", "--part", "test")
    assert "test part of" in told


def test_a_run_that_was_begun_with_a_relative_path_is_resumed_from_anywhere(home, run, tmp_path, capsys):
    for late in ("model.safetensors", "card.md", "curves.png"):
        (run / late).unlink()
    shutil.rmtree(run / "checkpoints")
    assert "The run lies in" in done(capsys, "train", "--resume", "run")
    relative = from_yaml(to_yaml(read_config(run)).replace(str(home), os.path.relpath(home)))
    fit(relative, run, resume=True)


@pytest.mark.parametrize("recipe", ["tagging", "digits", "speaker", "citation"])
def test_all_of_other_data_whatever_they_are(recipe, request, tmp_path, capsys):
    data = {"tagging": "sentences", "digits": "pictures", "speaker": "sounds", "citation": "graph"}[recipe]
    place = request.getfixturevalue(data)
    done(capsys, "train", recipe, "--data.path", place, "--folder", tmp_path / "run", *SMALL)
    run = Run.open(tmp_path / "run")
    copy = (shutil.copytree if place.is_dir() else shutil.copy)(place, tmp_path / "copy.conllu")
    assert run.evaluate(path=copy)["part"] == "test"
    count = {"tagging": 30, "digits": 16, "speaker": 12, "citation": 1}[recipe]
    changed = place / "nodes.csv" if recipe == "citation" else place if place.is_file() else next(place.rglob("*.*"))
    if recipe == "tagging":
        changed.write_text(changed.read_text() + "\n")
    elif recipe == "citation":
        changed.write_text(changed.read_text().replace("p0,chess,20,", "p0,chess,20.5,"))
    else:
        shutil.copy(changed, changed.with_stem("again"))
        count += 1
    found = run.evaluate(path=place)
    assert (found["part"], found["sets"]) == ("all", count)
    if recipe == "citation":
        assert found["targets"] == 30
    with pytest.raises(InputError, match="there is no part 'everything': known are"):
        run.evaluate("everything")


@pytest.mark.parametrize("weights", ["int8", "bfloat16"])
def test_weights_of_another_type_are_evaluated_under_another_name(weights, run, capsys):
    before, card = files(run), (run / "card.md").read_bytes()
    assert f"test part, weights in {weights}: 6 sets" in done(capsys, "evaluate", run, "--weights", weights)
    assert {name: content for name, content in files(run).items() if name in before} == before
    assert (run / "card.md").read_bytes() == card
    found = json.loads((run / f"evaluation-{weights}-test.json").read_text())
    assert found["weights"] == weights
    assert found["parameters"] == json.loads(before["evaluation.json"])["parameters"]
    assert 0 < abs(found["metrics"]["loss"] - json.loads(before["evaluation.json"])["metrics"]["loss"]) < 0.05
    assert len((run / f"predictions-{weights}-test.jsonl").read_text().splitlines()) == 6


def test_weights_of_no_known_type_are_refused(run, capsys):
    assert "--weights is 'int4', expected" in refused(capsys, "evaluate", run, "--weights", "int4")


def test_slow_weights_are_told(run, capsys, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "avx512_bf16": False})
    assert main(["evaluate", str(run), "--weights", "bfloat16"]) == 0
    told = "--weights is bfloat16, and this processor has no instructions for bfloat16: float32 is quicker\n"
    assert capsys.readouterr().err == told
