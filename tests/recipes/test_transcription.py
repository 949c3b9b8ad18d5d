"""The recipe `transcription` on a few recordings of tones: it trains, and answers files, streams and samples in memory."""

import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from regard.train import Run

TEXTS = ["".join(letters) for letters in product("ABC", repeat=3)]


def cli(*arguments, stdin=None):
    return subprocess.run([sys.executable, "-m", "regard.cli", *map(str, arguments)], input=stdin, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("letters")
    for number, text in enumerate(TEXTS * 4):
        draw = np.random.default_rng(number)
        tones = [np.sin(2 * np.pi * 400 * (1 + "ABC".index(letter)) * np.arange(1600) / 16_000) for letter in text]
        soundfile.write(root / f"{number}.wav", 0.3 * np.concatenate(tones) + draw.normal(0, 0.01, 4800), 16_000)
    rows = "".join(f"{number}.wav,{text}\n" for number, text in enumerate(TEXTS * 4))
    (root / "tones.csv").write_text("path,text\n" + rows)
    small = ["--model.width", 32, "--model.layers", 1, "--model.decoder_layers", 1, "--model.feed_forward", 32]
    fast = ["--training.epochs", 12, "--training.batch_vectors", 256, "--training.average", 0, "--model.dropout", 0]
    plain = ["--data.mask.time_masks", 0, "--data.mask.band_masks", 0, "--data.speed.factors", "[]", "--data.mels", 20]
    rest = ["--optimizer.learning_rate", 0.01, "--optimizer.warm_up", 20, "--training.device", "cpu"]
    found = cli(
        *(
            "train",
            "transcription",
            "--folder",
            root / "run",
            "--data.path",
            root / "tones.csv",
            "--data.cache",
            "false",
        ),
        *(*small, *fast, *plain, *rest, "--training.progress", "false"),
    )
    assert found.returncode == 0, found.stderr.decode()
    assert b"parts: train 86 utterances; validation 11 utterances; test 11 utterances" in found.stderr
    return root / "run"


def predictions(found):
    assert found.returncode == 0, found.stderr.decode()
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_it_learns_and_is_scored(folder):
    evaluation = Run.open(folder).evaluate()
    for name in ("character_error", "word_error", "perplexity"):
        assert evaluation["metrics"][name] < evaluation["baseline"][name]
    assert evaluation["metrics"]["character_error"] < 0.1


def test_a_file_a_stream_and_samples_are_answered_alike(folder):
    sound = folder.parent / "5.wav"
    (of_file,) = predictions(cli("predict", folder, sound))
    (of_stream,) = predictions(cli("predict", folder, "-", stdin=sound.read_bytes()))
    (of_samples,) = Run.open(folder).predict_values([soundfile.read(sound, dtype="float32")[0]])
    assert of_file["text"] == of_stream["text"] == of_samples["text"] == TEXTS[5]
    assert set(of_file) == {"name", "text", "log_probability", "score"}


def test_a_sound_has_as_many_texts_as_are_asked_for(folder):
    (found,) = predictions(cli("predict", folder, folder.parent / "7.wav", "--beam", 5, "--n-best", 3))
    texts, scores = ([each[name] for each in found["n_best"]] for name in ("text", "score"))
    assert len(set(texts)) == 3
    assert texts[0] == found["text"] == TEXTS[7]
    assert scores == sorted(scores, reverse=True)


def test_no_text_is_much_longer_than_what_the_decoder_reads(folder):
    run = Run.open(folder)
    (found,) = run.predict_values([np.random.default_rng(0).normal(0, 0.1, 1600).astype(np.float32)])
    # Ten frames become three vectors.
    assert len(found["text"]) <= 3 + run.task.config.longer


def test_a_run_is_evaluated_on_other_recordings(folder, tmp_path: Path):
    for number in range(3):
        shutil.copy(folder.parent / f"{number}.wav", tmp_path)
    (tmp_path / "mine.csv").write_text("path,text,split\n" + "".join(f"{n}.wav,{TEXTS[n]},test\n" for n in range(3)))
    found = cli("evaluate", folder, "--data.path", tmp_path / "mine.csv")
    assert found.returncode == 0, found.stderr.decode()
    assert b"character_error" in found.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "a.wav cannot be read as sound: it is empty"),
        (b"no sound", "a.wav cannot be read as sound"),
    ],
)
def test_what_is_no_sound_is_refused(folder, tmp_path: Path, content, sentence):
    (tmp_path / "a.wav").write_bytes(content)
    found = cli("predict", folder, tmp_path / "a.wav")
    assert (found.returncode, found.stdout) == (2, b"")
    assert sentence in found.stderr.decode()
