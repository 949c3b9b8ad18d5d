"""Texts of one's own, from a table to answers on a pipe, through the commands."""

import io
import json
import os
import subprocess
import sys

import pytest

from regard.cli import main
from tests.cli.test_whole_way import SMALL, done, predictions, refused

QUICK = [*SMALL, "--model.feed_forward", "8"]


@pytest.fixture
def letters(tmp_path):
    """Sixty letters of two kinds in a table."""
    path = tmp_path / "letters.csv"
    kinds = {"praise": "I love the {} film , it is good", "blame": "the {} film is bad and dull"}
    rows = [f'"{text.format(n)}",{kind}' for n in range(30) for kind, text in kinds.items()]
    path.write_text("body,kind\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def piped(monkeypatch):
    """Puts bytes on standard input."""

    def pipe(content):
        class Standard:
            buffer = io.BytesIO(content)

            @staticmethod
            def isatty():
                return False

        monkeypatch.setattr("sys.stdin", Standard)

    return pipe


def columns(letters):
    return ["--data.path", letters, "--data.text_column", "body", "--data.label_column", "kind"]


def test_a_table_is_learned_and_answers_come_for_every_source(letters, tmp_path, capsys, piped):
    run = tmp_path / "run"
    options = ["--training.epochs", "20", "--optimizer.learning_rate", "0.02", "--optimizer.warm_up", "5"]
    options += [
        f"--{name}=0" for name in ("model.dropout", "model.front.dropout", "model.front.word_dropout", "task.dropout")
    ]
    done(capsys, "train", "sentiment", *columns(letters), "--folder", run, *QUICK, *options)
    assert "accuracy" in done(capsys, "evaluate", run)
    letters.unlink()  # a run is all that predictions need

    piped("I love it , good\n\nbad and dull 😀\n".encode())
    lines = predictions(done(capsys, "predict", run))
    assert [each["name"] for each in lines] == ["standard input:1", "standard input:3"]
    assert [each["label"] for each in lines] == ["praise", "blame"]
    piped(b'{"body": "I love it , good", "id": 4}\n{"body": ""}\n')
    (first, empty) = predictions(done(capsys, "predict", run, "-"))
    assert first == lines[0] | {"name": "4"}
    assert sum(empty["probabilities"].values()) == pytest.approx(1)
    (direct,) = predictions(done(capsys, "predict", run, "I love it , good"))
    assert direct["label"] == "praise"
    assert done(capsys, "predict", run, "--csv", "bad and dull").splitlines() == ["Id,Category", "bad and dull,blame"]
    assert "'love'" in done(capsys, "explain", run, "I love it", "--query", 1)
    piped(b"bad film\nI love it\n")
    assert "'love'" in done(capsys, "explain", run, "-", "--set", 1, "--query", 1)


def test_bad_input_is_one_sentence(letters, tmp_path, capsys, piped):
    run = tmp_path / "run"
    train = ("train", "sentiment", *QUICK, "--folder", run)
    assert "has no column 'label' in its first line" in refused(
        capsys, *train, "--data.path", letters, "--data.text_column", "body"
    )
    one = tmp_path / "one.txt"
    one.write_text("".join(f"good text {n}\n" for n in range(20)))
    assert "has one label, 'good', expected at least 2" in refused(capsys, *train, "--data.path", one)
    assert "data.vocabulary is 5, expected at least" in refused(
        capsys, *train, *columns(letters), "--data.tokens", "bpe", "--data.vocabulary", "5"
    )
    assert "one target per vector, but the data has one target per set" in refused(
        capsys, *train, *columns(letters), "--task.type", "PerVectorLabel"
    )
    assert not (run / "config.yaml").exists()
    done(capsys, *train, *columns(letters))
    piped(b"fine\nbad \xff\n")
    assert refused(capsys, "predict", run) == (
        "regard: standard input, line 2, holds the byte 0xff, expected text in UTF-8\n"
    )
    piped(b"")
    assert "standard input is empty" in refused(capsys, "predict", run, "-")
    assert "expected a text, a file" in refused(capsys, "predict", run, " ")
    for options in (["--csv", "--conllu"], ["--probabilities"], ["--show", 1, "--text", "a"], ["--text", " "]):
        assert "expected" in refused(capsys, "predict", run, *options)
    assert refused(capsys, "predict", run, "good") == (
        "regard: good is not there, expected a file or a folder, or --text good for the text itself\n"
    )
    piped(b'{"txt": "I love it"}\n')
    assert "standard input, line 1, has no entry 'body'" in refused(capsys, "predict", run)


@pytest.mark.parametrize("tokens", ["characters", "bytes", "bpe", "unigram"])
def test_each_kind_of_token_is_saved_with_the_run(letters, tmp_path, capsys, tokens):
    run = tmp_path / "run"
    size = ["--data.vocabulary", "60"] if tokens in ("bpe", "unigram") else []
    stem = ["--model.front.step", "2", "--model.front.class_vector", "true", "--task.pool", "first"]
    done(
        capsys, "train", "sentiment", *columns(letters), "--folder", run, *QUICK, "--data.tokens", tokens, *size, *stem
    )
    letters.unlink()
    moved = run.rename(tmp_path / "moved")
    found = predictions(done(capsys, "predict", moved, "I love the film", "我喜欢 😀 это", "x" * 3000))
    assert [each["name"][:15] for each in found] == ["I love the film", "我喜欢 😀 это", "x" * 15]
    # Two tokens became one vector, which a class vector stands in front of.
    explained = done(capsys, "explain", moved, "--text", "I love the film", "--query", 3)
    assert "query 2-3 '" in explained
    assert [line.split()[0] for line in explained.splitlines()[4:7]] == ["class", "0-1", "2-3"]
    of_class = done(capsys, "explain", moved, "--text", "I love the film", "--query", "class")
    assert "query class '[class]'" in of_class


def test_numbers_are_learned_from_texts(tmp_path, capsys):
    path = tmp_path / "stars.jsonl"
    path.write_text("".join(json.dumps({"text": f"film {n}", "label": n / 3}) + "\n" for n in range(30)))
    run = tmp_path / "run"
    options = ["--data.target", "number", "--task.type", "PerSetNumber", "--task.loss", "squared"]
    done(capsys, "train", "sentiment", "--data.path", path, "--folder", run, *QUICK, *options)
    assert "mae" in done(capsys, "evaluate", run)
    (found,) = predictions(done(capsys, "predict", run, "a film"))
    assert isinstance(found["number"], float)


@pytest.mark.parametrize("recipe", ["sentiment", "tagging"])
def test_a_pipe_is_answered_line_by_line(recipe, letters, sentences, tmp_path, capsys):
    """The answer to a line comes before the next line is written."""
    run = tmp_path / "run"
    data = columns(letters) if recipe == "sentiment" else ["--data.path", sentences]
    done(capsys, "train", recipe, *data, "--folder", run, *QUICK)
    command = [sys.executable, "-m", "regard.cli", "predict", str(run), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ.copy()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for n, line in enumerate(("I saw a cat", "a good film"), 1):
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["name"] == f"standard input:{n}"
        process.stdin.close()
        assert process.wait(60) == 0


def test_a_look_says_what_training_then_says_and_keeps(tmp_path, capsys):
    path = tmp_path / "own.csv"
    path.write_text("body,kind\n" + "".join(f"good {n},x\nbad {n},y\n" for n in range(20)))
    options = ["--data.text_column", "body", "--data.label_column=kind"]
    assert main(["data", "look", str(path), *options]) == 0
    shown = capsys.readouterr().out
    assert "format    CSV" in shown
    assert "part      train: 32 texts" in shown
    assert "y              16           2           2" in shown
    assert main(["data", "look", "--json", str(path), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    small = ["--training.epochs=1", "--model.width=8", "--model.heads=1", "--model.layers=1", "--data.minimum_count=1"]
    folder = tmp_path / "run"
    assert main(["train", "sentiment", "--folder", str(folder), f"--data.path={path}", *options, *small]) == 0
    assert f"data: {path} (CSV" in capsys.readouterr().err
    assert json.loads((folder / "data.json").read_text()) == found


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["look"], "data look needs a file or folder"),
        (["look", "nowhere"], "nowhere is not there"),
        (["look", "sst2", "--as", "Text"], "'Text': did you mean 'Texts'"),
        (["look", "word-vectors"], "no recipe trains on 'word-vectors'"),
        (["list", "--json"], "data list takes no options"),
        (["lock"], "did you mean 'look'"),
    ],
)
def test_a_look_is_refused_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.setenv("REGARD_DATA", str(tmp_path))
    (tmp_path / "word-vectors").mkdir()
    assert main(["data", *arguments]) == 2
    assert sentence in capsys.readouterr().err
