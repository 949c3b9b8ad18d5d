"""A reader whose examples are pairs, and whose targets are sets of their own, goes all the way."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pairs import Retell, Retold

from regard.data.examples import VectorSet
from regard.models.encoder import Encoder
from regard.train import Experiment, Optimizer, Run, Training, fit

WORDS = ("tea", "milk", "salt", "rice")


def lines(path: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = []
    for n in range(120):
        words = " ".join(generator.choice(WORDS, generator.integers(1, 5)))
        loud = bool(n % 2)
        told = "please say loud" if loud else "please whisper"
        rows.append({"id": f"s{n}", "words": words, "told": told, "answer": words.upper() if loud else words})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def experiment(path: Path, epochs: int = 12) -> Experiment:
    return Experiment(
        "pairs",
        Retold(str(path)),
        Encoder(width=16, layers=1, heads=2, feed_forward=16, dropout=0.0),
        Retell(),
        Optimizer(learning_rate=3e-2, warm_up=3),
        Training(epochs=epochs, batch_vectors=64, device="cpu", progress=False),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    return fit(experiment(lines(folder / "lines.jsonl")), folder / "run")


def test_pairs_are_trained_on_and_evaluated(trained: Path) -> None:
    run = Run.open(trained)
    assert run.encoding == run.experiment.data.fit()
    example = run.experiment.data.part("test", run.encoding)[0]
    assert isinstance(example.target, VectorSet)
    assert example.context is not None
    found = run.evaluate("test")
    assert found["metrics"]["accuracy"] > 0.95
    assert found["baseline"]["accuracy"] < 0.5
    assert found["targets"] == found["vectors"] > found["sets"] == 12


def test_pairs_are_predicted_from_files_streams_and_memory(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(trained)
    asked = [{"words": "rice tea", "told": "please whisper"}, {"words": "rice tea", "told": "please say loud"}]
    text = "".join(json.dumps(each) + "\n" for each in asked)
    (tmp_path / "asked.jsonl").write_text(text)
    answers = ["rice tea", "RICE TEA"]
    assert [each["answer"] for each in run.predict([str(tmp_path / "asked.jsonl")])] == answers
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    streamed = list(run.predict(["-"]))
    assert [each["answer"] for each in streamed] == answers
    assert [each["name"] for each in streamed] == ["standard input:1", "standard input:2"]
    example = run.experiment.data.example(asked[1], run.encoding, "mine")
    assert (example.name, example.target, example.tokens) == ("mine", None, ("rice", "tea"))
    assert example.context is not None
    assert example.context.tokens == ("please", "say", "loud")


def test_a_training_on_pairs_resumes(trained: Path, tmp_path: Path) -> None:
    path = lines(tmp_path / "lines.jsonl")
    whole, stopped = fit(experiment(path, 2), tmp_path / "whole"), tmp_path / "stopped"
    fit(experiment(path, 2), stopped)
    (stopped / "card.md").unlink()
    _, last = sorted((stopped / "checkpoints").iterdir())
    last.unlink()
    fit(experiment(path, 2), stopped, resume=True)
    assert (stopped / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
