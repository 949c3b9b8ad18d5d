"""The recipe `translation` on a few pairs: it trains, and answers sentences, lines and what it never saw."""

import json
import subprocess
import sys

import pytest

from regard.cli import main
from regard.cli.answers import with_beam
from regard.errors import InputError
from regard.train import Run

WORDS = {"ein": "a", "Hund": "dog", "Haus": "house", "rot": "red", "alt": "old", "Mann": "man"}


def cli(*arguments, stdin=None):
    return subprocess.run(
        [sys.executable, "-m", "regard.cli", *map(str, arguments)], input=stdin, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    keys = list(WORDS)
    pairs = [(f"{a} {b} {c} .", " ".join(map(WORDS.get, (a, b, c))) + " .") for a in keys for b in keys for c in keys]
    lines = "".join(f"{source}\t{target}\n" for source, target in pairs)
    (root / "pairs.tsv").write_text(f"de\ten\n{lines}")
    small = ["--model.width", 32, "--model.layers", 1, "--model.decoder_layers", 1, "--model.feed_forward", 32]
    fast = [
        "--training.epochs",
        12,
        "--training.batch_vectors",
        128,
        "--training.average",
        0,
        "--optimizer.warm_up",
        10,
        "--model.dropout",
        0,
    ]
    rest = ["--optimizer.learning_rate", 0.01, "--training.device", "cpu", "--training.progress", "false"]
    found = cli(
        *("train", "translation", "--folder", root / "run", "--data.path", root / "pairs.tsv", "--data.vocabulary", 60),
        *(*small, *fast, *rest),
    )
    assert found.returncode == 0, found.stderr
    assert "parts: train 172 pairs; validation 22 pairs; test 22 pairs" in found.stderr
    return root / "run"


def test_it_learns_and_is_scored(folder):
    pytest.importorskip("sacrebleu")
    evaluation = Run.open(folder).evaluate()
    assert evaluation["metrics"]["bleu"] > max(30, evaluation["baseline"]["bleu"])
    assert evaluation["metrics"]["character_error"] < evaluation["baseline"]["character_error"]
    assert evaluation["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp")
    first = json.loads((folder / "predictions-test.jsonl").read_text().splitlines()[0])
    assert set(first["target"].split()) <= {*WORDS.values(), "."}


def test_a_sentence_has_as_many_translations_as_are_asked_for(folder):
    found = cli("predict", folder, "ein Hund alt .", "--beam", 5, "--n-best", 3)
    (prediction,) = map(json.loads, found.stdout.splitlines())
    assert len(prediction["n_best"]) == 3
    assert prediction["text"] == prediction["n_best"][0]["text"]
    scores = [each["score"] for each in prediction["n_best"]]
    assert scores == sorted(scores, reverse=True)


def test_lines_are_answered_one_by_one_whatever_they_hold(folder):
    found = cli("predict", folder, "-", "--beam", 1, stdin="ein Hund .\nΩΨΞ ЖЖ\n\nMann Mann\n")
    names = [json.loads(line)["name"] for line in found.stdout.splitlines()]
    assert (found.returncode, names) == (0, ["standard input:1", "standard input:2", "standard input:4"])


def test_what_is_no_beam_is_refused(folder):
    opened = Run.open(folder)
    for beam, n_best, sentence in (
        (0, None, "--beam is 0, expected at least 1"),
        (None, -1, "--n-best is -1, expected at least 1"),
        (2, 3, "--n-best is 3, expected at most --beam, which is 2"),
    ):
        with pytest.raises(InputError, match=sentence):
            with_beam(opened, beam, n_best)
    assert with_beam(opened, None, 9).task.config.beam == 9
    found = cli("predict", folder, "--text", " ")
    assert found.returncode == 2
    assert "expected a text" in found.stderr


def test_the_alignment_of_a_sentence_is_a_table_numbers_and_a_picture(folder, tmp_path, capsys):
    def done(*arguments):
        assert main(["explain", str(folder), "Hund rot alt .", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    table = done()
    assert table.startswith("written: ")
    assert "weights of layer all, head all" in table
    assert all(word in table for word in ("Hund", "rot", "alt", "<end>"))
    given = json.loads(done("--target", "dog red old .", "--layer", 0, "--head", 1, "--json"))
    assert (given["text"], given["given"], given["layer"], given["head"]) == ("dog red old .", True, 0, 1)
    assert given["source"][-1] == given["written"][-1] == "<end>"
    assert [sum(row) for row in given["weights"]] == pytest.approx([1] * len(given["written"]))
    explained = json.loads(done("--target", "dog red old .", "--query", 0, "--head", 1, "--json"))
    assert [each["weight"] for each in explained["heard"]] == pytest.approx(given["weights"][0], abs=1e-6)
    assert "query 1 '" in done("--encoder")
    picture = tmp_path / "pictures" / "alignment.png"
    assert done("--out", picture).strip() == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", " "], "the target is empty, expected a sentence"),
        (
            ["--query", "class"],
            "query class was asked for, expected the number of a piece that is written, or --encoder",
        ),
        (["--query", "99"], "query 99 was asked for, expected 0 to"),
        (["--encoder", "--target", "dog"], "--target is for what a run writes, expected no --encoder with it"),
        (["--out", "picture.txt"], "--out is 'picture.txt', expected a name that ends in one of"),
        (
            ["--out", "picture.png", "--json"],
            "--out draws all that is written, expected no --query, --encoder or --json",
        ),
    ],
)
def test_alignments_that_make_no_sense_are_refused(folder, arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(folder), "Hund rot .", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
