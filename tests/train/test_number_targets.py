"""Numbers as targets: every reader gives them, the task asks for them, and text in their place is one sentence."""

import csv
import json

import numpy as np
import pytest

from regard.cli import main
from regard.data.encoding import Encoding, Labels, Numbers
from regard.data.graph import Planetoid
from regard.data.image import Digits
from regard.data.speech import Sounds
from regard.data.text import Conllu, Texts
from regard.errors import InputError
from regard.tasks.configs import MultiLabel, PerSetLabel, PerSetNumber, PerVectorNumber
from regard.train.experiment import from_yaml
from regard.train.kinds import build

SMALL = ["--model.width", "8", "--training.epochs", "2", "--training.device", "cpu", "--training.progress", "false"]
PARTS = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4


def values(broken=False):
    """A number for each example, or a word in place of the last test number."""
    numbers = [f"{n}.5" for n in range(len(PARTS))]
    return [*numbers[:-1], "many"] if broken else numbers


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def texts(folder, numbers):
    write(folder / "texts.csv", ("text", "label", "split"), [(f"text {n}", *each) for n, each in enumerate(numbers)])
    return Texts(str(folder / "texts.csv"), target="number", minimum_count=1), "sentiment", "PerSetNumber"


def treebank(folder, numbers):
    """Sentences of two words, of which the first has no number."""
    for part in ("train", "validation", "test"):
        sentences = []
        for n, (number, its) in enumerate(numbers):
            if its == part:
                sentences.append(f"1\tthe\t_\t_\t_{'	_' * 5}\n2\tword{n}\t_\t_\t{number}{'	_' * 5}\n")
        (folder / f"{part}.conllu").write_text("\n".join([*sentences, ""]))
    return Conllu(str(folder), column="xpos", numbers=True, minimum_count=1), "tagging", "PerVectorNumber"


def recordings(folder, numbers):
    soundfile = pytest.importorskip("soundfile")
    for n in range(len(PARTS)):
        soundfile.write(folder / f"{n}.wav", np.random.default_rng(n).normal(0, 0.1, 4000), 16_000)
    write(folder / "utterances.csv", ("path", "age", "split"), [(f"{n}.wav", *each) for n, each in enumerate(numbers)])
    return Sounds(str(folder), column="age", numbers=True, cache=False), "speaker-simple", "PerSetNumber"


def pictures(folder, numbers):
    """In a table, or in a folder for each number."""
    from PIL import Image

    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for n in range(len(PARTS)):
        Image.fromarray(pixels + n).save(folder / f"{n}.png")
    write(folder / "pictures.csv", ("path", "label", "split"), [(f"{n}.png", *each) for n, each in enumerate(numbers)])
    return Digits(str(folder), patch=4, numbers=True), "digits", "PerSetNumber"


def folders(folder, numbers):
    from PIL import Image

    for n, (number, part) in enumerate(numbers):
        (folder / part / number).mkdir(parents=True)
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(folder / part / number / "a.png")
    return Digits(str(folder), patch=4, numbers=True), "digits", "PerSetNumber"


def graph(folder, numbers):
    rows = [(f"n{n}", *each, n) for n, each in enumerate(numbers)]
    write(folder / "nodes.csv", ("id", "label", "split", "age"), rows)
    write(folder / "edges.csv", ("source", "target"), [(f"n{n}", f"n{n + 1}") for n in range(len(PARTS) - 1)])
    return Planetoid(str(folder), numbers=True), "citation", "PerVectorNumber"


READERS = {each.__name__: each for each in (texts, treebank, recordings, pictures, folders, graph)}


@pytest.mark.parametrize("kind", READERS)
def test_every_reader_gives_numbers_as_targets(kind, tmp_path):
    reader, _, _ = READERS[kind](tmp_path, list(zip(values(), PARTS, strict=True)))
    encoding = reader.fit()
    train = np.array([float(value) for value, part in zip(values(), PARTS, strict=True) if part == "train"])
    assert encoding.targets == Numbers(pytest.approx(train.mean()), pytest.approx(train.std()))
    targets = [np.asarray(target) for target in reader.part("test", encoding).targets]
    assert {target.dtype for target in targets} == {np.dtype(np.float32)}
    flat = np.concatenate([target.reshape(-1) for target in targets])
    expected = (np.arange(16, 20) + 0.5 - train.mean()) / train.std()
    assert flat[~np.isnan(flat)] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", READERS)
def test_a_text_among_test_numbers_is_refused_before_training(kind, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    reader, recipe, task = READERS[kind](tmp_path / "data", list(zip(values(broken=True), PARTS, strict=True)))
    options = [f"--data.{name}={getattr(reader, name)}" for name in ("path", "column") if hasattr(reader, name)]
    options += ["--data.cache=false"] if kind == "recordings" else []
    options += ["--data.minimum_count=1"] if kind in ("texts", "treebank") else []
    run = tmp_path / "run"
    assert main(["train", recipe, "--folder", str(run), "--task.type", task, *options, *SMALL]) == 2
    said = capsys.readouterr().err
    assert "holds 'many', expected a finite number" in said
    assert not (run / "config.yaml").exists()


def test_words_have_numbers_from_training_to_predictions(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    treebank(tmp_path / "data", list(zip(values(), PARTS, strict=True)))
    run = tmp_path / "run"
    options = ["--data.path", str(tmp_path / "data"), "--data.column", "xpos", "--data.minimum_count", "1"]
    assert main(["train", "tagging", "--folder", str(run), "--task.type", "PerVectorNumber", *options, *SMALL]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    assert "4 targets" in capsys.readouterr().out
    lines = (run / "predictions-test.jsonl").read_text().splitlines()
    words = [word for line in lines for word in json.loads(line)["vectors"]]
    assert [word.get("target") for word in words[::2]] == [None] * 4
    assert [word["target"] for word in words[1::2]] == pytest.approx([16.5, 17.5, 18.5, 19.5], rel=1e-4)
    capsys.readouterr()
    assert main(["predict", str(run), "--conllu", str(tmp_path / "data" / "test.conllu")]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines() if line]
    assert [float(row[4]) for row in rows] == pytest.approx([word["number"] for word in words], rel=1e-4)


@pytest.mark.parametrize(
    ("recipe", "options", "expected"),
    [
        ("sentiment", ["--task.type", "PerSetNumber"], ("target", "number")),
        ("sentiment", ["--task.type", "MultiLabel"], ("target", "labels")),
        ("sentiment", ["--task.type", "PerSetLabel"], ("target", "label")),
        ("sentiment", ["--task.type", "PerSetNumber", "--data.target", "label"], ("target", "label")),
        ("sentiment", ["--data.target", "number"], ("target", "number")),
        ("tagging", ["--task.type", "PerVectorNumber"], ("numbers", True)),
        ("tagging", [], ("numbers", False)),
        ("citation", ["--task.type", "PerVectorNumber"], ("numbers", True)),
        ("digits", ["--task.type", "PerSetNumber"], ("numbers", True)),
        ("digits", ["--task.type", "MultiLabel"], ("label_separator", ";")),
        ("digits", ["--task.type", "MultiLabel", "--data.label_separator", "|"], ("label_separator", "|")),
        ("speaker-simple", ["--task.type", "PerSetNumber", "--data.numbers", "false"], ("numbers", False)),
    ],
)
def test_the_task_decides_what_the_reader_gives(recipe, options, expected, capsys):
    assert main(["train", recipe, "--print_config", *options]) == 0
    name, value = expected
    assert getattr(from_yaml(capsys.readouterr().out).data, name) == value


def test_a_task_says_how_its_targets_are_read():
    labels, numbers = Encoding(Labels(("a", "b")), width=4), Encoding(Numbers(0.0, 1.0), width=4)
    for options, encoding, way in (
        (PerSetNumber(), labels, r"needs another task, or to be read with --data\.numbers true"),
        (PerVectorNumber(), labels, r"texts: --data\.target number"),
        (MultiLabel(), numbers, r"about sets of labels, but the targets are numbers: .*--data\.target labels"),
        (PerSetLabel(), numbers, "the data needs another task$"),
    ):
        with pytest.raises(InputError, match=way):
            build(options, 4, encoding)
