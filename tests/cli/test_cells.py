"""From pictures with boxes to a model that finds them, and back: train, evaluate, predict, drawn pictures, explain."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.cli import main
from regard.train import Run

BOXES = Path(__file__).parent.parent / "data"
TINY = [
    *("--data.size", "40", "--data.patch", "8", "--data.crop", "1", "--data.jitter", "0", "--data.flip", "false"),
    *("--model.width", "32", "--model.heads", "4", "--model.queries", "9", "--model.feed_forward", "64"),
    *("--model.decoder_layers", "2", "--training.device", "cpu", "--training.progress", "false"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Squares that a model of some seconds finds: "red", and in every second picture "blue"."""
    import sys

    sys.path.insert(0, str(BOXES))
    from voc import voc

    root = tmp_path_factory.mktemp("cells")
    voc(root / "own", {"train": range(48), "val": range(48, 56), "test": range(56, 64)}, count=64)
    longer = ["--training.epochs", "60", "--training.batch_vectors", "160", "--training.validate_every", "20"]
    fast = ["--optimizer.learning_rate", "0.003", "--optimizer.warm_up", "20"]
    arguments = [
        "train",
        "cells",
        "--data.path",
        str(root / "own"),
        "--folder",
        str(root / "run"),
        *TINY,
        *longer,
        *fast,
    ]
    assert main(arguments) == 0
    return root / "run"


def test_squares_are_found(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["metrics"]["map_50"] > 0.8
    assert evaluation["metrics"]["map_50"] > evaluation["baseline"]["map_50"] + 0.3
    assert evaluation["targets"] == 12
    assert evaluation["monitor"] == ["map_50", "max"]
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    assert [len(each["target"]) for each in lines] == [1, 2] * 4
    assert all(len(each["boxes"]) == 9 for each in lines)


def test_boxes_are_written_and_drawn(run, tmp_path, capsys):
    root = run.parent / "own" / "JPEGImages"
    assert main(["predict", str(run), str(root / "p57.png"), "--out", str(tmp_path / "a.png")]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    best = found["boxes"][0]
    assert set(best) == {"label", "score", "box", "query"}
    drawn, plain = (np.asarray(Image.open(path).convert("RGB")) for path in (tmp_path / "a.png", root / "p57.png"))
    assert drawn.shape == plain.shape
    changed = (drawn != plain).any(2)
    sure = [each for each in found["boxes"] if each["score"] >= 0.5]
    assert found["counts"] == {label: sum(each["label"] == label for each in sure) for label in ("blue", "red")}
    assert changed.any() == bool(sure)
    assert main(["predict", str(run), str(root), "--out", str(tmp_path / "all")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(list((tmp_path / "all").glob("*.png"))) == 64


def test_boxes_lie_over_the_picture_of_what_queries_attend_to(run, tmp_path, capsys):
    """The queries of a page are called by their boxes, which lie where `predict` says."""
    from regard.inspector.answers import Questions
    from regard.inspector.inspection import Inspection

    opened, file = Run.open(run), run.parent / "own" / "JPEGImages" / "p57.png"
    questions = Questions(Inspection.of_run(opened, opened.inputs([file]), files=True))
    overview, place = (questions.answer({"ask": each}).content for each in ("overview", "place"))
    (found,) = opened.predict([file])
    with Image.open(file) as picture:
        scales = [place["width"] / picture.width, place["height"] / picture.height] * 2
    for box, expected in zip(place["boxes"], found["boxes"], strict=True):
        np.testing.assert_allclose(box["box"], np.multiply(expected["box"], scales), rtol=1e-5)
    layer = next(n for n, each in enumerate(overview["layers"]) if each["kind"] == "cross")
    names = overview["axes"][overview["layers"][layer]["queries"]]["names"]
    best = found["boxes"][0]
    assert names[best["query"]] == f"{best['query']}: {best['label']} {best['score']:.2f}"
    for each in range(len(overview["layers"])):
        questions.answer({"ask": "heads", "layer": each})
    seen = tmp_path / "seen.svg"
    options = ["--view", "place", "--layer", str(layer), "--query", str(best["query"]), "--svg", str(seen)]
    assert main(["inspect", str(run), str(file), *options]) == 0
    assert f"query {best['query']}: {best['label']} {best['score']:.3f}" in seen.read_text()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("a.gif", "expected a folder, or a picture ending in .png"),
        ("no/a.png", "is no folder, expected one that is there"),
        ("a.png", "for 64 pictures, expected a folder"),
    ],
)
def test_places_that_do_not_fit_are_refused(run, tmp_path, capsys, monkeypatch, place, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(run), str(run.parent / "own" / "JPEGImages"), "--out", place]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert sentence in error
    assert not list(tmp_path.iterdir())


def test_what_a_query_attends_to_is_explained(run, capsys):
    picture = str(run.parent / "own" / "JPEGImages" / "p57.png")
    # The encoder's block, then self- and cross-attention of each block of the decoder.
    for layer, keys in ((0, 20), (1, 9), (2, 20), (4, 20)):
        assert main(["explain", str(run), picture, "--layer", str(layer), "--query", "3"]) == 0
        text = capsys.readouterr().out
        # Patches by number, and queries, which the decoder has learned.
        names = [line.split()[0] for line in text.splitlines() if line.split()]
        assert len([name for name in names if name[0].isdigit() or name == "learned"]) == keys
        assert ("query learned 'learned 3'" in text) == (layer > 0)


def test_examples_are_shown_with_their_counts(run, capsys):
    assert main(["predict", str(run), "--show", "2"]) == 0
    text = capsys.readouterr().out
    assert "red" in text
    assert '"boxes"' not in text


def test_a_run_reads_pictures_in_memory(run):
    opened = Run.open(run)
    path = run.parent / "own" / "JPEGImages" / "p57.png"
    (one,), (two,) = (
        list(opened.predict_values([value], ["a"])) for value in (path.read_bytes(), np.asarray(Image.open(path)))
    )
    (file,) = opened.predict([path])
    assert one == two == file | {"name": "a"}
