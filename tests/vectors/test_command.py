"""`regard vectors`: from text to a picture, and what it refuses."""

import numpy as np
import pytest

from regard.cli import main
from regard.vectors.files import load, save
from regard.vectors.methods import METHODS
from regard.vectors.words import WordVectors

KINDS = {"animal": ["cat", "dog", "cow"], "number": ["one", "two", "three"]}


@pytest.fixture
def text(tmp_path):
    """Animals among verbs, and numbers among nouns."""
    draw = np.random.default_rng(0)
    around = {"animal": ["runs", "sleeps", "eats"], "number": ["apples", "stones", "days"]}
    lines = []
    for _ in range(1500):
        kind = draw.choice(["animal", "number"])
        lines.append(" ".join(np.concatenate([draw.permutation(KINDS[kind])[:2], draw.permutation(around[kind])[:2]])))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("\n".join(lines))
    return str(tmp_path / "text")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Small sets in place of the published ones."""
    folder = tmp_path / "data" / "word-vectors"
    folder.mkdir(parents=True)
    for name in ("EN-WS-353-ALL", "EN-SIMLEX-999", "EN-MEN-TR-3k", "EN-RW-STANFORD"):
        (folder / f"{name}.txt").write_text("cat dog 9\none two 8\ncat two 1\ndog absent 3\n")
    (folder / "questions-words.txt").write_text(": pairs\ncat dog one two\nabsent cat dog one\n")
    monkeypatch.setenv("REGARD_DATA", str(tmp_path / "data"))
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_vectors_in_which_kinds_come_together(tmp_path, text, method, capsys):
    out = tmp_path / "out" / "v.txt"
    options = ["--out", str(out), "--method", method, "--width", "6", "--lines", "true", "--threads", "1"]
    epochs = {"auto-encoder": "300", "variational": "300", "next-word": "15"}.get(method, "30")
    assert main(["vectors", "train", text, *options, "--epochs", epochs, "--window", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n"
    assert captured.err.startswith("6,000 words, 12 distinct\n")
    vectors = load(out)
    assert vectors.width == 6
    cosines = dict(vectors.nearest("cat", 11))
    apart = [np.mean([cosines[word] for word in words if word != "cat"]) for words in KINDS.values()]
    assert apart[0] - apart[1] > 0.3


def test_from_vectors_to_answers_scores_and_a_picture(tmp_path, published, capsys):
    matrix = np.array([[1, 0, 0], [1, 0.2, 0], [0, 0, 1], [0, 0.3, 1.1]])
    save(WordVectors(["cat", "dog", "one", "two"], matrix), tmp_path / "v.bin")
    file = str(tmp_path / "v.bin")
    assert main(["vectors", "nearest", file, "cat", "one", "--count", "1"]) == 0
    out = capsys.readouterr().out
    assert "nearest to cat\n" in out
    assert "dog 0.981" in " ".join(out.split())
    assert main(["vectors", "analogy", file, "cat", "dog", "one"]) == 0
    assert "two" in capsys.readouterr().out.splitlines()[2]
    assert main(["vectors", "evaluate", file, "--pairs", str(published / "EN-WS-353-ALL.txt")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "WordSim-353 Spearman 1.000 75.0% 4" in out
    assert "analogies accuracy 1.000 50.0% 2" in out
    assert "EN-WS-353-ALL.txt Spearman 1.000" in out
    (tmp_path / "kinds.txt").write_text(": animal\ncat dog\n: number\none two three $\n")
    for by in ("pca", "tsne"):
        picture = tmp_path / f"{by}.png"
        assert (
            main(["vectors", "draw", file, "--kinds", str(tmp_path / "kinds.txt"), "--out", str(picture), "--by", by])
            == 0
        )
        assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian"], "vectors does not know 'trian': did you mean 'train'?"),
        (["train", "--out", "v.txt"], "vectors train got 0 operands, expected files or folders of text"),
        (["train", "TEXT"], "vectors train needs --out"),
        (["train", "TEXT", "--out", "."], "--out . is a folder"),
        (["train", "nowhere", "--out", "v.txt"], "nowhere is not there, expected a file or a folder of text"),
        (["train", "TEXT", "--out", "v.txt", "--method", "glove"], "there is no method 'glove'"),
        (["train", "TEXT", "--out", "v.txt", "--method", "ppmi"], "the width is 100, expected 1 to 12"),
        (["train", "TEXT", "--out", "v.txt", "--width", "0"], "vectors.width is 0, expected at least 1"),
        (
            ["train", "TEXT", "--out", "v.txt", "--width", "100000000"],
            "vectors.width is 100000000, expected at least 1 and",
        ),
        (
            ["train", "TEXT", "--out", "v.txt", "--window", "100000000"],
            "vectors.window is 100000000, expected at least 1",
        ),
        (["train", "TEXT", "--out", "new/v.model"], "new/v.model has a name that says no format of word vectors"),
        (["extract", "RUN", "--out", "v.npz"], "v.npz has a name that says no format of word vectors"),
        (["train", "TEXT", "--out", "v.txt", "--negatives", "-1"], "vectors.negatives is -1, expected at least 0"),
        (["train", "TEXT", "--out", "v.txt", "--rate", "0"], "vectors.rate is 0.0, expected more than 0"),
        (["train", "TEXT", "--out", "v.txt", "--minimum_count", "99999"], "no word occurs 99999 times"),
        (["nearest", "v.bin", "bird"], "the word 'bird' has no vector among 2"),
        (["nearest", "v.bin"], "vectors nearest got 1 operands"),
        (["nearest", "v.bin", "cat", "--count", "0"], "--count is 0, expected at least 1"),
        (
            ["analogy", "v.bin", "cat"],
            "vectors analogy got 2 operands, expected a file of vectors and three words",
        ),
        (
            ["draw", "v.bin", "--out", "v.png", "--kinds", "kinds.txt"],
            "2 of the words have a vector, expected at least 3",
        ),
        (["draw", "v.bin", "--out", "v.png", "--kinds", "kinds.txt", "--only", "fish"], "there is no kind 'fish'"),
        (["draw", "v.bin", "--out", "v.png", "--kinds", "bad.txt"], "bad.txt, line 1, holds 'cat dog'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, text, arguments, sentence, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(WordVectors(["cat", "dog"], np.eye(2)), tmp_path / "v.bin")
    (tmp_path / "kinds.txt").write_text(": animal\ncat dog\n")
    (tmp_path / "bad.txt").write_text("cat dog\n")
    before = sorted(tmp_path.iterdir())
    assert main(["vectors", *(text if each == "TEXT" else each for each in arguments)]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


def test_the_vectors_of_a_trained_model_are_taken_out_and_another_begins_with_them(tmp_path, monkeypatch, capsys):
    from regard.train import Run

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lines = [f"{text},{label}" for _ in range(12) for text, label in (("a good film", "up"), ("a dull film", "down"))]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *lines]))
    options = ["--data.path", str(tmp_path / "films.csv"), "--model.width", "8", "--model.heads", "2"]
    options += ["--training.epochs", "1", "--training.progress", "false", "--optimizer.warm_up", "1"]
    run, out = tmp_path / "run", tmp_path / "out" / "films.safetensors"
    assert main(["train", "sentiment", "--folder", str(run), *options]) == 0
    capsys.readouterr()
    assert main(["vectors", "extract", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    vectors, trained = load(out), Run.open(run)
    words = trained.encoding.words
    assert vectors.words == words[1:]
    assert {"good", "dull"} < set(words)
    np.testing.assert_array_equal(vectors.matrix, trained.model.front.embed.tables[0].weight[1:].detach())
    again = [*options, "--model.front.vectors", str(out), "--training.epochs", "2"]
    assert main(["train", "sentiment", "--folder", str(tmp_path / "again"), *again]) == 0
    letters = [*options, "--data.tokens", "bytes"]
    assert main(["train", "sentiment", "--folder", str(tmp_path / "letters"), *letters]) == 0
    capsys.readouterr()
    assert main(["vectors", "extract", str(tmp_path / "letters"), "--out", str(tmp_path / "no.bin")]) == 2
    assert "letters reads no words, expected a run on data read as words" in capsys.readouterr().err
    assert not (tmp_path / "no.bin").exists()
