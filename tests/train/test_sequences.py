"""Models that write sequences go all the way: they learn, resume, are evaluated, opened again, and write."""

import json
import signal

import letters
import pytest
from processes import in_process, kill_when
from test_resume import left

from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.recurrent_decoder import RecurrentEncoderDecoder
from regard.train import Run, fit
from regard.train.checkpoints import newest
from regard.train.recorder import Recorder

MODELS = {
    "EncoderDecoder": None,
    "RecurrentEncoderDecoder": RecurrentEncoderDecoder(width=32, hidden=32, aligned=32, maxout=32, dropout=0.0),
}


SHORT = {"epochs": 2, "checkpoint_every": 4}


def train(folder, name, options=None, resume=False, killed=None):
    if killed:
        kill_when(*killed)
    fit(letters.experiment(MODELS[name], **(options or {})), folder, resume)


@pytest.fixture(scope="module", params=MODELS)
def trained(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "run"
    assert in_process(train, folder, request.param) == 0
    return folder


def test_it_learns_to_write_words_from_their_end(trained):
    run = Run.open(trained)
    evaluation = run.evaluate()
    assert evaluation["monitor"] == ["perplexity", "min"]
    assert evaluation["metrics"]["perplexity"] < 0.3 * evaluation["baseline"]["perplexity"]
    assert evaluation["metrics"]["accuracy"] > 0.9 > evaluation["baseline"]["accuracy"]
    lines = [json.loads(line) for line in (trained / "predictions-test.jsonl").read_text().splitlines()]
    right = sum(line["text"] == line["target"] for line in lines)
    assert right > 0.7 * len(lines)
    again = list(run.predict_texts(["abc", "fed", "a", ""]))
    assert [each["name"] for each in again] == ["abc", "fed", "a", ""]
    assert "target" not in again[0]
    assert [len(each["text"]) >= 1 for each in again] == [True] * 4
    # What the weights say does not depend on what else is written for.
    assert [next(iter(run.predict_texts([text])))["text"] for text in ("abc", "fed", "a")] == [
        each["text"] for each in again[:3]
    ]


@pytest.mark.rare
def test_a_killed_training_goes_on(trained, tmp_path):
    name = trained.parent.name.rstrip("0123456789")
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert in_process(train, whole, name, SHORT) == 0
    assert in_process(train, folder, name, SHORT, False, (Recorder, "on_train_batch_end", 14)) == -signal.SIGKILL
    assert newest(folder / "checkpoints")[0] is not None
    assert in_process(train, folder, name, SHORT, True) == 0
    assert left(folder) == left(whole)


def test_a_model_that_writes_nothing_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="the task writes sequences and the model is Model, expected one such as Encoder"
    ):
        fit(letters.experiment(Encoder(width=8, heads=2)), tmp_path)
