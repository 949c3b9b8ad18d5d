"""Sound from the command line: varied training that resumes, and the homework's folder from training to its answer."""

import csv
import io
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import yaml

from regard.cli import main

SMALL = ["--model.width", "16", "--model.layers", "1", "--model.feed_forward", "16", "--optimizer.warm_up", "2"]
SMALL += ["--training.epochs", "2", "--training.device", "cpu", "--training.progress", "false"]


def call(capsys, *arguments):
    status = main([str(each) for each in arguments])
    found = capsys.readouterr()
    assert status == 0, found.err
    return found.out


@pytest.fixture
def varied(sounds, tmp_path):
    """Options that vary training sounds in every way there is."""
    generator = np.random.default_rng(0)
    (tmp_path / "noises").mkdir()
    soundfile.write(tmp_path / "noises" / "a.wav", generator.normal(0, 0.1, 8000), 8000)
    options = [
        "--data.path",
        sounds,
        "--data.speed.factors",
        "[0.9,1.0,1.1]",
        "--data.noise.folder",
        tmp_path / "noises",
    ]
    options += ["--data.reverberation.folder", tmp_path / "noises", "--data.mask.time_masks", 1]
    return [*options, "--data.normalize", "global", "--data.voice.detect", "true", "--data.train_crop", 0.2]


def test_a_varied_training_resumes_to_the_same_losses(varied, tmp_path, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = [*varied, *SMALL, "--training.checkpoint_every", 1, "--training.batch_vectors", 80]
    call(capsys, "train", "speaker", *options, "--training.log_every", 1, "--folder", whole)
    shutil.copytree(whole, stopped)
    (stopped / "card.md").unlink()
    _, *later = sorted((stopped / "checkpoints").iterdir())
    assert later
    for checkpoint in later:
        checkpoint.unlink()
    call(capsys, "train", "--resume", stopped)
    rows = (whole / "metrics.csv").read_text()
    assert (stopped / "metrics.csv").read_text() == rows
    assert rows.count("\n") > 6
    encoding = json.loads((whole / "encoding.json").read_text())
    assert len(encoding["statistics"]["band_mean"]) == 80


def test_options_of_options_are_listed_kept_and_checked(capsys):
    text = call(capsys, "train", "speaker", "--data.noise.probability", 1, "--print_config")
    assert "  noise:\n    folder: null\n    probability: 1.0\n" in text
    for words, sentence in (
        (["--data.noise.folders", "x"], "no option '--data.noise.folders': did you mean '--data.noise.folder'"),
        (["--data.noise.probability", "2"], "data.noise.probability is 2.0, expected a number from 0 to 1"),
        (["--data.noise.probability", "x"], "--data.noise.probability is 'x', expected a number"),
        (["--data.normalize", "mean"], "--data.normalize is 'mean', expected one of none, utterance, global, level"),
    ):
        assert main(["train", "speaker", *words]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("[0560]", ["0560"]),
        ("[0560, 1e3, 2.50, 0x10, 1_000]", ["0560", "1e3", "2.50", "0x10", "1_000"]),
        ("[true, null, no, ~]", ["true", "null", "no", "~"]),
        ("['0560', \"x, y\", Jürgen]", ["0560", "x, y", "Jürgen"]),
        ("[]", []),
    ],
)
def test_names_that_look_like_numbers_are_names(capsys, value, names):
    text = call(capsys, "train", "speaker", "--data.unseen", value, "--print_config")
    assert yaml.safe_load(text)["data"]["unseen"] == names


@pytest.mark.parametrize("value", ["0560", "Ada", "[[0560]]", "[a: b]", "[0560", "{a: b}"])
def test_what_is_no_list_of_names_is_refused(capsys, value):
    assert main(["train", "speaker", "--data.unseen", value, "--print_config"]) == 2
    assert f"--data.unseen is {value!r}, expected a list in brackets of a text or null" in capsys.readouterr().err


def test_a_name_to_hold_back_must_be_in_the_data(sounds, tmp_path, capsys):
    options = ["--data.path", str(sounds), "--folder", str(tmp_path / "run")]
    assert main(["train", "speaker", "--data.unseen", "[low, hihg]", *options]) == 2
    assert "no sound has the label 'hihg' of data.unseen: did you mean 'high'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def homework(tmp_path):
    from regard.data.homework import write_log_mel_folder

    generator = np.random.default_rng(0)

    def utterance(speaker: int) -> np.ndarray:
        return generator.normal(speaker - 1, 1, (int(generator.integers(20, 40)), 40)).astype(np.float32)

    labeled = [(f"id{n % 2:05}", utterance(n % 2)) for n in range(20)]
    write_log_mel_folder(tmp_path / "Dataset", labeled, [utterance(n % 2) for n in range(5)])
    return tmp_path / "Dataset"


def test_the_homeworks_folder_from_training_to_the_answer(homework, tmp_path, capsys):
    run = tmp_path / "run"
    call(capsys, "train", "speaker", "--data.type", "LogMelFolder", "--data.path", homework, "--folder", run, *SMALL)
    call(capsys, "evaluate", run)
    rows = list(csv.reader(call(capsys, "predict", run, homework, "--csv").splitlines()))
    assert rows[0] == ["Id", "Category"]
    listed = json.loads((homework / "testdata.json").read_text())["utterances"]
    assert [row[0] for row in rows[1:]] == [each["feature_path"] for each in listed]
    assert {row[1] for row in rows[1:]} <= {"id00000", "id00001"}
    lines = [json.loads(line) for line in call(capsys, "predict", run, homework).splitlines()]
    assert [[each["name"], each["label"]] for each in lines] == rows[1:]
    (homework / listed[-1]["feature_path"]).write_bytes(b"")
    assert main(["predict", str(run), str(homework), "--csv"]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert "cannot be read as a tensor" in found.err
    assert main(["predict", str(run), "--show", "1", "--csv"]) == 2
    assert "expected no --csv with it" in capsys.readouterr().err


def test_the_training_part_is_evaluated_as_it_was_recorded(sounds, tmp_path, capsys):
    """Voices at other speeds are classes of training alone, and no label of theirs can be predicted."""
    run = tmp_path / "run"
    options = ["--data.path", sounds, "--data.speed.factors", "[0.9,1.0,1.1]", "--data.speed.voices", "true"]
    call(capsys, "train", "speaker", *options, "--data.train_crop", 0.2, "--folder", run, *SMALL)
    assert "train part: 8 sets, 264 vectors, 8 targets" in call(capsys, "evaluate", run, "--part", "train")
    lines = [json.loads(line) for line in (run / "predictions-train.jsonl").read_text().splitlines()]
    assert sorted(each["target"] for each in lines) == ["high"] * 4 + ["low"] * 4
    assert [each["target"] for each in lines] == [each["name"].partition("/")[0] for each in lines]
    # What is predicted for a file of the part is what was evaluated.
    (alone,) = [json.loads(line) for line in call(capsys, "predict", run, sounds / lines[0]["name"]).splitlines()]
    assert alone["probability"] == pytest.approx(lines[0]["probability"], rel=1e-5)


def test_a_sound_is_read_from_standard_input_and_what_cannot_be_is_refused(
    sounds, homework, tmp_path, capsys, monkeypatch
):
    def pipe(content):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))

    run = tmp_path / "run"
    call(capsys, "train", "speaker", "--data.path", sounds, "--folder", run, *SMALL)
    path = sounds / "low" / "0.wav"
    (expected,) = call(capsys, "predict", run, path).splitlines()
    for words in ((), ("-",)):
        pipe(path.read_bytes())
        (found,) = call(capsys, "predict", run, *words).splitlines()
        assert json.loads(found) == json.loads(expected) | {"name": "standard input"}
    pipe(b"no sound")
    assert main(["predict", str(run), "-"]) == 2
    assert "standard input cannot be read as sound" in capsys.readouterr().err

    other = tmp_path / "homework"
    call(capsys, "train", "speaker", "--data.type", "LogMelFolder", "--data.path", homework, "--folder", other, *SMALL)
    pipe(path.read_bytes())
    assert main(["predict", str(other), "-"]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert "data of the type LogMelFolder are not read from standard input, expected a folder" in found.err
