"""`regard arena`, and its recipes on what it makes."""

import json
import shutil

import pytest

from regard.cli import main


def test_a_task_is_made_trained_and_evaluated(tmp_path, capsys):
    out, run = tmp_path / "listops", tmp_path / "run"
    assert main(["arena", "make", "listops", "--out", str(out), "--seed", "1", "--examples", "60"]) == 0
    assert "48 trees in basic_train.tsv" not in capsys.readouterr().out
    small = ["--model.width", "8", "--training.epochs", "1", "--training.progress", "false", "--training.device", "cpu"]
    assert main(["train", "arena-listops", "--data.path", str(out), "--folder", str(run), *small]) == 0
    assert main(["evaluate", str(run)]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["predict", str(run), "--text", "[MAX 1 [MIN 2 3 ] ]"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(json.loads(line)["probabilities"]) == 3
    assert main(["predict", str(run), "--text", "[MAX 1 [MIN 2 3 ]"]) == 2
    assert "ends within [MAX, expected a ] for each operation" in capsys.readouterr().err


def test_pairs_are_made_trained_and_predicted(tmp_path, capsys):
    for author in "ABCDEF":
        for title in ("one", "two"):
            (tmp_path / "books").mkdir(exist_ok=True)
            (tmp_path / "books" / f"{author}_{title}.txt").write_text(f"{author} wrote {title} " * 800)
    out, run = tmp_path / "retrieval", tmp_path / "run"
    asked = ["--texts", str(tmp_path / "books"), "--examples", "40"]
    assert main(["arena", "make", "retrieval", "--out", str(out), *asked]) == 0
    small = ["--model.width", "8", "--training.epochs", "1", "--training.progress", "false", "--training.device", "cpu"]
    small += ["--data.longest", "50"]
    assert main(["train", "arena-retrieval", "--data.path", str(out), "--folder", str(run), *small]) == 0
    assert main(["evaluate", str(run)]) == 0
    capsys.readouterr()
    assert main(["predict", str(run), "--text", "A wrote\tB wrote"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] in ("0", "1")
    assert main(["predict", str(run), "--text", "A wrote"]) == 2
    assert "has 1 fields with tabs between, expected two texts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "arena is not told action"),
        (["--sed", "1"], "arena has no option '--sed'"),
        (["mak", "listops"], "arena does not know 'mak': did you mean 'make'?"),
        (["make", "listop", "--out", "x"], "arena makes no 'listop': did you mean 'listops'?"),
        (["make", "listops"], "arena make listops needs --out, expected a new folder"),
        (["make", "listops", "--out", "x", "--examples", "2"], "--examples is 2, expected at least 3"),
        (["make", "listops", "--out", "x", "--examples", "-5"], "--examples is -5, expected at least 3"),
        (["make", "listops", "--out", "x", "--seed", "-1"], "arena make has seed -1, expected at least 0"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["arena", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


SMALL = ["--model.width", "8", "--training.epochs", "1", "--training.progress", "false", "--training.device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A task, and a run of two systems on it."""
    place = tmp_path_factory.mktemp("arena")
    assert main(["arena", "make", "listops", "--out", str(place / "listops"), "--examples", "60"]) == 0
    assert main(asked(place)) == 0
    return place


@pytest.fixture
def place(trained, tmp_path):
    """The same, to change."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def asked(place):
    """The command that trains them."""
    systems = ["--attention", "local", "--attention", "Attention(pattern=Blocks(8))"]
    return [
        "arena",
        "train",
        "listops",
        "--data",
        str(place / "listops"),
        "--runs",
        str(place / "runs"),
        *systems,
        *SMALL,
    ]


def test_each_system_is_trained_once(place, capsys):
    runs = place / "runs"
    # Other text forms of the same letters and digits are other runs.
    assert sorted(path.name for path in runs.iterdir()) == [
        "listops-attention-pattern-blocks-8-13764d80",
        "listops-local",
    ]
    changed = (runs / "listops-local" / "model.safetensors").stat().st_mtime_ns
    assert main(asked(place)) == 0
    assert f"{runs / 'listops-local'} is there already" in capsys.readouterr().out
    assert (runs / "listops-local" / "model.safetensors").stat().st_mtime_ns == changed


def test_systems_stand_in_one_table(place, capsys):
    runs = str(place / "runs")
    assert main(["arena", "table", runs]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("listops: no run of transformer, blockwise, sparse-strided, ")
    assert "left out" not in printed.err
    lines = printed.out.splitlines()
    assert lines[0].split() == [
        "task",
        "system",
        "seeds",
        "accuracy",
        "without",
        "looking",
        "parameters",
        "trained",
        "steps",
        "seconds",
    ]
    assert len(lines) == 3
    assert all("1 of 2 epochs" in line for line in lines[1:])
    assert main(["arena", "table", "--json", runs]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["system"] for row in rows} == {"local", "Attention(pattern=Blocks(8))"}
    assert all(0 <= row["without looking"] <= 1 for row in rows)


def test_runs_that_differ_in_their_seed_alone_are_one_row(place, capsys):
    runs = place / "runs"
    shutil.copytree(runs / "listops-local", runs / "copied")
    assert main(["arena", "table", str(runs)]) == 2
    assert "are the same training, expected one of them, or other seeds" in capsys.readouterr().err
    config = (runs / "listops-local" / "config.yaml").read_text()
    for before, after, seeds in (
        ("  learning_rate: 0.0001\n", "  learning_rate: 0.5\n", [1, 1, 1]),
        ("  seed: 0\n", "  seed: 1\n", [1, 2]),
    ):
        assert before in config
        (runs / "copied" / "config.yaml").write_text(config.replace(before, after))
        assert main(["arena", "table", "--json", str(runs)]) == 0
        assert sorted(row["seeds"] for row in json.loads(capsys.readouterr().out)) == seeds


def test_a_run_that_attends_otherwise_is_not_the_systems(place, capsys):
    config = place / "runs" / "listops-local" / "config.yaml"
    config.write_text(config.read_text().replace("Window(32, 32)", "Window(16, 16)"))
    assert main(asked(place)) == 2
    assert "Window(16, 16))', expected 'Attention(pattern=Window(32, 32))'" in capsys.readouterr().err


def test_what_was_not_evaluated_is_left_out_or_refused(place, capsys):
    runs = place / "runs"
    (runs / "listops-local" / "evaluation.json").unlink()
    assert main(["arena", "table", str(runs)]) == 0
    printed = capsys.readouterr()
    assert f"left out: {runs / 'listops-local'} has no evaluation.json, expected a run that" in printed.err
    assert len(printed.out.splitlines()) == 2
    assert main(["arena", "table", str(runs / "listops-local")]) == 2
    assert "has no evaluation.json" in capsys.readouterr().err


def check_taken(run):
    """All of the model, and nothing of the task, which is another one."""
    beginning = json.loads((run / "start.json").read_text())
    taken = {piece for piece, number in beginning["taken"].items() if number}
    pieces = {"front.embed.tables.0", "positions.added.tables.0", "stack.blocks.0", "stack.blocks.1", "stack.norm"}
    assert taken == pieces
    assert {piece for piece, number in beginning["new"].items() if number} == {"task.head", "task.hidden"}
    assert not any(beginning["misfits"].values())


def test_a_task_begins_with_what_was_learned_from_its_inputs(tmp_path, capsys):
    out, first, runs = tmp_path / "listops", tmp_path / "first", tmp_path / "runs"
    assert main(["arena", "make", "listops", "--out", str(out), "--examples", "60"]) == 0
    window = ["--model.attention", "Attention(pattern=Window(32, 32))"]
    asked = ["--data.path", str(out), "--folder", str(first)]
    assert main(["train", "pretraining-listops", *asked, *window, *SMALL]) == 0
    assert main(["predict", str(first), "--text", "[MAX 1 [MASK] 3 ]"]) == 0
    (gap,) = json.loads(capsys.readouterr().out.splitlines()[-1])["gaps"]
    assert gap["place"] == 2
    assert main(["predict", str(first), "--text", "[MAX 1 [MASK] x ]"]) == 2
    assert "holds 'x', expected digits, [MIN, [MAX, [MED, [SM, ] or [MASK]" in capsys.readouterr().err
    begun = ["arena", "train", "listops", "--data", str(out), "--runs", str(runs), "--attention", "local"]
    assert main([*begun, "--training.start", str(first), *SMALL]) == 0
    check_taken(runs / "listops-local")
    assert main(["arena", "table", str(runs), str(first)]) == 2
    assert f"{first} is a run of pretraining-listops, expected one of a task of the arena" in capsys.readouterr().err
    assert main(["arena", "table", "--json", str(runs)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["trained"] == "1 of 2 epochs after first"


def test_reviews_begin_with_their_bytes(tmp_path, capsys):
    lines = [f"{'good' if n % 2 else 'bad'} film {n}" for n in range(40)]
    (tmp_path / "plain.txt").write_text("\n\n".join(lines))
    (tmp_path / "own.csv").write_text("text,label\n" + "".join(f"{line},{line[:3]}\n" for line in lines))
    first, run = tmp_path / "first", tmp_path / "run"
    assert (
        main(["train", "pretraining-text", "--data.path", str(tmp_path / "plain.txt"), "--folder", str(first), *SMALL])
        == 0
    )
    asked = ["--data.path", str(tmp_path / "own.csv"), "--folder", str(run), "--training.start", str(first)]
    assert main(["train", "arena-text", *asked, *SMALL]) == 0
    check_taken(run)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "listop"], "the arena has no task 'listop': did you mean 'listops'?"),
        (["train", "listops", "--attention", "locl"], "there is no system 'locl': did you mean 'local'?"),
        (["train", "listops", "--attention", "Window(2, 2)"], "the model's attention is 'Window(2, 2)'"),
        (["train"], "arena train is not told task"),
        (
            ["train", "listops", "--model.attention", "Attention()"],
            "arena train has --model.attention, expected --attention",
        ),
        (["train", "listops", "--model.norm=post"], "arena train has --model.norm=post, expected --attention"),
        (["table", "none"], "none holds no config.yaml"),
        (["table"], "arena table is not told runs"),
    ],
)
def test_bad_input_of_comparisons_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["arena", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
