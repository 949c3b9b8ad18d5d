"""Word vectors as the embedding that a recipe begins with; the trained run does without their file."""

import json
import re

import numpy as np
import pytest
import torch

from regard.cli import main
from regard.data.encoding import Encoding, Labels
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.pieces import Front
from regard.train.kinds import build
from regard.train.runs import Run
from regard.vectors.files import save
from regard.vectors.initial import begin_with
from regard.vectors.words import WordVectors

TAGS = {"I": "PRON", "saw": "VERB", "a": "DET", "cat": "NOUN"}
SMALL = ["--model.width", "8", "--model.heads", "2", "--model.front.characters", "0", "--model.layers", "1"]
TRAIN = ["train", "tagging", *SMALL, "--training.epochs", "2", "--training.progress", "false"]


@pytest.fixture
def sentences(tmp_path):
    lines = []
    for n in range(30):
        lines.append(f"# sent_id = s{n}")
        for place, word in enumerate(["I", "saw", "a", "cat"][: 2 + n % 3], 1):
            lines.append(f"{place}\t{word}\t_\t{TAGS[word]}" + "\t_" * 6)
        lines.append("")
    (tmp_path / "my.conllu").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "my.conllu")


@pytest.fixture
def vectors(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(3, 8)) * 7
    save(WordVectors(["cat", "saw", "elsewhere"], matrix), tmp_path / "v.txt")
    return str(tmp_path / "v.txt")


def test_rows_are_the_vectors_scaled_by_one_number(vectors):
    weight = torch.randn(4, 8)
    before = weight.clone()
    assert begin_with(weight, ["saw", "I", "Cat", "saw"], vectors, 0.5) == 2
    # Row 0 is the unknown, whatever it is called; words are also found lower-cased.
    assert torch.equal(weight[:2], before[:2])
    matrix = np.random.default_rng(0).normal(size=(3, 8))[:2] * 7
    expected = matrix / np.sqrt((matrix**2).mean()) * 0.5
    assert np.abs(weight[2:].numpy() - expected).max() < 1e-6


def test_a_run_begins_with_them_and_does_without_their_file(tmp_path, sentences, vectors, capsys):
    folder = tmp_path / "run"
    begin = [*TRAIN, "--data.path", sentences, "--model.front.vectors", vectors, "--optimizer.learning_rate", "1e-9"]
    assert main([*begin, "--folder", str(folder)]) == 0
    said = capsys.readouterr().err
    assert re.search(rf"vectors: {re.escape(vectors)} has one for \d of the \d words\n", said)
    (tmp_path / "v.txt").unlink()
    run = Run.open(folder)
    row = run.encoding.words.index("cat")
    learned = run.model.front.embed.tables[0].weight[row].detach().numpy()
    given = np.random.default_rng(0).normal(size=(3, 8))[0]
    assert np.corrcoef(learned, given)[0, 1] > 0.999
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    capsys.readouterr()
    assert main(["predict", str(folder), "I saw a cat"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])


def test_what_the_file_has_and_what_was_passed_over_is_told(tmp_path):
    (tmp_path / "v.txt").write_text("cat 1 2\ncat 3 4\ncow 5 6\n")
    said = []
    assert begin_with(torch.zeros(3, 2), ["<unknown>", "cat", "dog"], str(tmp_path / "v.txt"), told=said.append) == 1
    assert said == [
        f"vectors: {tmp_path / 'v.txt'} has one for 1 of the 2 words",
        f"skipped in {tmp_path / 'v.txt'}: 1 further vectors of a word that has one: 'cat'",
    ]


def test_a_file_that_does_not_fit_is_refused_before_a_run_is_begun(tmp_path, sentences, vectors, capsys):
    cases = {
        ("--model.width", "12"): "has vectors of 8 numbers, expected the model's width of 12",
        ("--model.front.vectors", str(tmp_path / "none.txt")): "cannot be read",
    }
    for options, sentence in cases.items():
        given = [*TRAIN, "--data.path", sentences, "--model.front.vectors", vectors, *options]
        assert main([*given, "--folder", str(tmp_path / "run")]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "run" / "config.yaml").exists()
    with pytest.raises(InputError, match="has a vector for none of the 1 words, such as 'dog'"):
        begin_with(torch.zeros(2, 8), ["<unknown>", "dog"], vectors)
    with pytest.raises(InputError, match="the data have no words"):
        build(Encoder(front=Front(vectors=vectors)), Encoding(Labels(("a", "b")), width=3))
