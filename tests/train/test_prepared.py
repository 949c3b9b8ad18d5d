"""What is checked before a training, and without torch: a folder of its own, the same data, sensible numbers of threads."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import tiny
from processes import in_process

from regard.cli import main
from regard.data.text import Texts
from regard.errors import InputError
from regard.train import fit, prepared
from regard.train.folder import read_config
from regard.train.sources import SOURCES, Sources

ROWS = [f"{'good' if n % 2 else 'bad'},{'a fine' if n % 2 else 'a poor'} film {n}" for n in range(40)]
QUICK = [
    *("--model.width", "8", "--model.heads", "2", "--training.epochs", "1", "--training.progress", "false"),
    *("--training.device", "cpu"),
]


def table(folder, rows=ROWS):
    path = folder / "films.csv"
    path.write_text("label,text\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_of_two_trainings_begun_at_once_one_is_refused(tmp_path):
    """Both find the folder new; the second comes while the first reads its data."""
    folder, inner = tmp_path / "runs" / "one", []

    class Slow(tiny.Tiny):
        def fit(self):
            inner.append(in_process(second, folder))
            return super().fit()

    tiny.KINDS["data"]["Slow"] = tiny.Kind("test_prepared")
    globals()["Slow"] = Slow
    try:
        fit(replace(tiny.experiment(epochs=1), data=Slow()), folder)
        assert inner == [7]
        assert read_config(folder).data == Slow()
        # Nor is a run resumed twice at once.
        with prepared._claimed(folder, new=False):
            assert in_process(third, folder) == 7
    finally:
        del tiny.KINDS["data"]["Slow"]


def second(folder):
    with pytest.raises(InputError, match="is being written by another training"):
        fit(tiny.experiment(epochs=1), folder)
    os._exit(7)


def third(folder):
    with pytest.raises(InputError, match="is being written by another training"):
        fit(tiny.experiment(epochs=1), folder, resume=True)
    os._exit(7)


def test_trainings_without_a_folder_take_the_next_number(tmp_path, monkeypatch):
    """The second begins while the first reads its data, as two commands do that are begun at once."""
    monkeypatch.chdir(tmp_path)
    path, taken = table(tmp_path), []

    def nested(experiment, folder, **_):
        taken.append(str(folder))
        if len(taken) < 3:
            assert main(["train", "sentiment", "--data.path", str(path)]) == 0
        (folder / "config.yaml").touch()

    monkeypatch.setattr("regard.train.fit", nested, raising=False)
    assert main(["train", "sentiment", "--data.path", str(path)]) == 0
    assert taken == ["runs/sentiment-1", "runs/sentiment-2", "runs/sentiment-3"]


def test_nothing_is_left_of_a_training_that_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "sentiment", "--data.path", "absent.csv"]) == 2
    assert main(["train", "sentiment", "--data.path", "absent.csv", "--folder", "a/b/c"]) == 2
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    assert main(["train", "sentiment", "--data.path", "absent.csv", "--folder", "a"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert main(["train", "digits", "--folder", "file/run"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["no column", "no file", "one label"])
def test_wrong_data_is_reported_before_torch_is_loaded(change, tmp_path):
    path = table(tmp_path, ["same,text"] * 20 if change == "one label" else ROWS)
    if change == "no column":
        path.write_text("kind,words\n" + "good,fine\n" * 9)
    if change == "no file":
        path.unlink()
    script = f"""
import sys
from regard.cli import main
assert main(["train", "sentiment", "--data.path", {str(path)!r}, "--folder", {str(tmp_path / "run")!r}]) == 2
sys.exit("loaded torch" if {change != "one label"} and "torch" in sys.modules else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("regard: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["threads", "workers"])
def test_far_more_threads_than_processors_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 20)
    sentence = rf"training\.{name} is 100,000, and there are 20 processors here, expected at most 80"
    with pytest.raises(InputError, match=sentence):
        fit(tiny.experiment(**{name: 100_000}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A training of a file, and the folder of both."""
    place = tmp_path_factory.mktemp("films")
    assert main(["train", "sentiment", "--data.path", str(table(place)), "--folder", str(place / "run"), *QUICK]) == 0
    return place


def test_a_run_whose_data_have_changed_is_resumed_only_if_asked(films, capsys):
    run, path = films / "run", films / "films.csv"
    before = path.read_bytes()
    found = json.loads((run / SOURCES).read_text())
    assert list(found["files"]) == ["data.path/films.csv"]
    longer = ["train", "--resume", str(run), "--training.epochs"]
    try:
        path.write_bytes(before.replace(b"a fine film 39", b"a fine film 93"))
        capsys.readouterr()
        assert main([*longer, "2"]) == 2
        told = capsys.readouterr().err
        assert "is not what its training began with (data.path/films.csv has changed), expected the same files" in told
        assert read_config(run).training.epochs == 1
        assert main([*longer, "2", "--changed_data"]) == 0
        assert read_config(run).training.epochs == 2
        # What it was resumed with is what it now learned from.
        assert main([*longer, "3"]) == 0
        assert (run / SOURCES).read_text() != json.dumps(found)
    finally:
        path.write_bytes(before)
    (run / SOURCES).write_text("[]")
    assert main([*longer, "4"]) == 2
    assert "sources.json was altered" in capsys.readouterr().err


def test_files_are_told_apart_by_name_and_content(tmp_path):
    for name, text in (("a/x.txt", "1"), ("a/y.txt", "2"), ("b/z.txt", "3"), (".hidden", "4")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = Sources.of(Texts(str(tmp_path)))
    assert before is not None
    assert list(before.files) == ["data.path/a/x.txt", "data.path/a/y.txt", "data.path/b/z.txt"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / SOURCES).write_text(json.dumps(before.as_json()))
    (tmp_path / ".hidden").write_text("5")
    (tmp_path / "run" / SOURCES).rename(tmp_path / ".kept")
    (tmp_path / "run").rmdir()
    run = tmp_path / ".run"
    run.mkdir()
    (tmp_path / ".kept").rename(run / SOURCES)
    Sources.of(Texts(str(tmp_path))).check_same(run)
    (tmp_path / "a" / "x.txt").unlink()
    (tmp_path / "a" / "y.txt").write_text("9")
    (tmp_path / "b" / "w.txt").touch()
    sentence = r"\(data.path/a/x.txt is gone, data.path/a/y.txt has changed, data.path/b/w.txt is new\)"
    with pytest.raises(InputError, match=sentence):
        Sources.of(Texts(str(tmp_path))).check_same(run)


def test_a_large_file_is_told_by_its_size_and_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("regard.train.sources._WHOLE", 1 << 20)
    path = tmp_path / "large.csv"
    path.write_bytes(bytes(3 << 20))
    before = Sources.of(Texts(str(path))).digest
    assert Sources.of(Texts(str(path))).digest == before
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    assert Sources.of(Texts(str(path))).digest != before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--training.epochs", "1"], "--training.epochs is '1', and {run} is a training of "),
        (["--training.epochs", "0"], "--training.epochs is '0', and {run} is a training of "),
        (["--training.epochs", "many"], "--training.epochs is 'many', and {run} is a training of "),
        (
            ["--training.epochs", "9", "--model.width", "4"],
            "got '--model.width', expected no recipe and no other option",
        ),
        (["sentiment"], "got 'sentiment', expected no recipe and no other option"),
    ],
)
def test_only_more_epochs_go_with_resume(films, more, sentence, capsys):
    capsys.readouterr()
    assert main(["train", "--resume", str(films / "run"), *more]) == 2
    assert sentence.format(run=films / "run") in capsys.readouterr().err


def test_the_command_lets_waiting_threads_sleep_unless_told_otherwise():
    script = """
import os, sys
from regard.cli import main
main(["--version"])
print({name: os.environ.get(name) for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")})
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "GOMP_"))}
    ours, none = (
        {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"},
        dict.fromkeys(("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")),
    )
    for given, expected in (
        ({}, ours),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9"}),
        ({"KMP_BLOCKTIME": "200"}, {"KMP_BLOCKTIME": "200"}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script], env=clean | given, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == str(none | expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["config.yaml", "card.md", "predictions-test.jsonl", "model.safetensors"])
def test_a_named_pipe_in_a_run_folder_is_refused_and_not_waited_for(films, name, tmp_path, capsys):
    run = shutil.copytree(films / "run", tmp_path / "run")
    (run / "predictions-test.jsonl").write_text('{"name": "a", "label": "x", "target": "x"}\n')
    (run / name).unlink()
    os.mkfifo(run / name)
    capsys.readouterr()
    assert main(["predict" if name == "model.safetensors" else "compare", str(run)]) == 2
    assert name in capsys.readouterr().err


def test_a_configuration_that_is_no_file_is_refused(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "noise.yaml").write_bytes(b"\xff\xfe\x00")
    for name, sentence in (
        ("pipe.yaml", "a named pipe"),
        ("noise.yaml", "no text in UTF-8"),
        ("absent.yaml", "cannot be read"),
    ):
        assert main(["train", "--config", str(tmp_path / name)]) == 2
        assert sentence in capsys.readouterr().err
