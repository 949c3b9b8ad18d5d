"""From one's own files to predictions, through the commands: each recipe, and what stands on its runs."""

import json
import re
import shutil

import numpy as np
import pytest

from regard.cli import main
from regard.train import Run

SMALL = [
    *("--model.width", "8", "--training.epochs", "1", "--training.progress", "false", "--training.device", "cpu"),
    *("--model.layers", "1", "--model.heads", "2"),
]


def done(capsys, *arguments):
    """What a command that succeeds prints."""
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


def refused(capsys, *arguments):
    """The sentence of a command that does not."""
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


def predictions(text):
    return [json.loads(line) for line in text.splitlines()]


def test_pictures(pictures, tmp_path, capsys):
    run = tmp_path / "run"
    said = done(capsys, "train", "digits", "--data.path", pictures, "--folder", run, *SMALL)
    assert said.splitlines()[-1] == f"The run lies in {run}"
    assert not (run / "evaluation.json").exists()

    table = done(capsys, "evaluate", run)
    assert "accuracy" in table
    assert "without looking" in table

    files = sorted(pictures.glob("bright/*.png"))[:2]
    found = predictions(done(capsys, "predict", run, *files))
    assert [each["name"] for each in found] == [str(file) for file in files]
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)

    assert [len(row["vectors"]) for row in predictions(done(capsys, "embed", run, *files, "--vectors"))] == [16, 16]
    drawn = done(capsys, "predict", run, "--show", 2)
    assert "█" in drawn or "▓" in drawn
    assert "which is" in drawn

    explained = done(capsys, "explain", run, files[0], "--query", 3, "--head", 1)
    sums = [line for line in explained.splitlines() if line.startswith(("weighted sum", "the model's"))]
    assert sums[0].partition("[")[2] == sums[1].partition("[")[2]

    assert "mse" not in done(capsys, "compare", run)
    assert "did you mean" not in refused(capsys, "predict", run, tmp_path / "absent.png")


def test_sentences(sentences, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    done(capsys, "train", "tagging", "--data.path", sentences, "--folder", run, "--model.feed_forward", 8, *SMALL)
    done(capsys, "evaluate", run)
    lines = tmp_path / "lines.txt"
    lines.write_text("I saw a saw\nI saw\n")
    found = predictions(done(capsys, "predict", run, lines))
    assert [[each["token"] for each in one["vectors"]] for one in found] == [["I", "saw", "a", "saw"], ["I", "saw"]]
    with lines.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        piped = predictions(done(capsys, "predict", run))
    assert [one["vectors"] for one in piped] == [one["vectors"] for one in found]
    assert "which is" in done(capsys, "predict", run, "--show", 1)
    assert "'saw'" in done(capsys, "explain", run, lines, "--query", 1)


def test_sounds(sounds, tmp_path, capsys):
    run = tmp_path / "run"
    done(capsys, "train", "speaker", "--data.path", sounds, "--folder", run, *SMALL)
    done(capsys, "evaluate", run)
    (found,) = predictions(done(capsys, "predict", run, sounds / "low" / "0.wav"))
    assert found["label"] in ("low", "high")
    done(capsys, "embed", run, sounds / "low", "--out", tmp_path / "low.npz")
    with np.load(tmp_path / "low.npz") as arrays:
        assert arrays["names"].tolist() == [str(path) for path in sorted((sounds / "low").iterdir())]
        assert arrays["values"].shape == (6, Run.open(run).task.width)
    assert "which is" in done(capsys, "predict", run, "--show", 1)


def test_graph(graph, tmp_path, capsys):
    run = tmp_path / "run"
    done(capsys, "train", "citation", "--data.path", graph, "--folder", run, *SMALL)
    done(capsys, "evaluate", run)
    (found,) = predictions(done(capsys, "predict", run, graph))
    assert [each["token"] for each in found["vectors"]] == [f"p{n}" for n in range(30)]
    (embedded,) = predictions(done(capsys, "embed", run, graph, "--vectors"))
    assert [each["token"] for each in embedded["vectors"]] == [f"p{n}" for n in range(30)]
    assert "and 1 more" in done(capsys, "predict", run, "--show", 3)


def test_a_sweep_over_seeds_is_compared(pictures, tmp_path, capsys):
    runs = tmp_path / "runs"
    sweep = ["--sweep", "model.mixer=attention,pointwise", "--seeds", 2]
    done(capsys, "train", "digits", "--data.path", pictures, "--folder", runs, *sweep, *SMALL)
    names = sorted(folder.name for folder in runs.iterdir())
    assert names == [f"mixer={mixer},seed={seed}" for mixer in ("attention", "pointwise") for seed in (0, 1)]
    assert "is missing" in refused(capsys, "compare", runs)

    done(capsys, "evaluate", runs)
    table = done(capsys, "compare", runs)
    header, attention, pointwise = table.splitlines()[:3]
    assert re.split("  +", header.strip())[2:] == [
        *("accuracy", "95 % interval", "minus first", "95 % interval", "p", "parameters", "seconds")
    ]
    assert attention.startswith(f"{runs}/mixer=attention ")
    assert pointwise.startswith(f"{runs}/mixer=pointwise ")
    assert "±" in attention
    assert "permutation" in table

    other = tmp_path / "other"
    shutil.copytree(runs / names[0], other)
    lines = (other / "predictions-test.jsonl").read_text().splitlines()
    (other / "predictions-test.jsonl").write_text(lines[0] + "\n")
    assert "different test parts" in refused(capsys, "compare", runs / names[0], other)


def test_a_run_that_was_stopped_is_resumed(pictures, tmp_path, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = ["--data.path", pictures, *SMALL, "--training.checkpoint_every", 1, "--training.batch_vectors", 64]
    done(capsys, "train", "digits", *options, "--folder", whole)
    shutil.copytree(whole, stopped)
    for late in ("model.safetensors", "card.md", "curves.png"):
        (stopped / late).unlink()
    for checkpoint in sorted((stopped / "checkpoints").iterdir())[1:]:
        checkpoint.unlink()
    assert f"The run lies in {stopped}" in done(capsys, "train", "--resume", stopped)
    assert (stopped / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_a_folder_that_is_there_is_never_written_over(pictures, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "precious").write_text("mine")
    assert "already exists" in refused(capsys, "train", "digits", "--data.path", pictures, "--folder", run, *SMALL)
    assert [path.name for path in run.iterdir()] == ["precious"]
