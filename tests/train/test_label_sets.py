"""Several labels at once, from files to predictions."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from regard.cli import main
from regard.data.encoding import Encoding
from regard.data.text import Texts
from regard.errors import InputError

TOPICS = ["sea", "sun", "war"]
PARTS = ["train"] * 24 + ["validation"] * 6 + ["test"] * 6
SMALL = [
    *("--model.width", "8", "--model.layers", "1", "--model.heads", "2", "--training.epochs", "3"),
    *("--training.device", "cpu", "--data.minimum_count", "1", "--data.target", "labels", "--task.type", "MultiLabel"),
]


def examples():
    """Texts that name their topics, every subset of three in turn, one test text with a fourth."""
    for n, part in enumerate(PARTS):
        topics = [topic for bit, topic in enumerate(TOPICS) if n >> bit & 1]
        if n == len(PARTS) - 1:
            topics.append("ice")
        yield f"text about {' '.join(topics)} {n}", topics, part


def separated(folder):
    with (folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "split"), *((t, "; ".join(l), p) for t, l, p in examples())])
    return ["--data.path", str(folder / "texts.csv")]


def columns(folder):
    with (folder / "texts.csv").open("w", newline="") as file:
        rows = ((t, *(int(topic in l) for topic in TOPICS), p) for t, l, p in examples())
        csv.writer(file).writerows([("text", *TOPICS, "split"), *rows])
    return ["--data.path", str(folder / "texts.csv"), "--data.label_column", "sea,sun,war"]


def json_lines(folder):
    lines = [json.dumps({"text": text, "topics": topics, "split": part}) for text, topics, part in examples()]
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return ["--data.path", str(folder / "texts.jsonl"), "--data.label_column", "topics"]


@pytest.mark.parametrize("write", [separated, columns, json_lines])
def test_every_form_goes_from_training_to_predictions(write, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "sentiment", "--folder", str(run), *write(tmp_path), *SMALL]) == 0
    said = capsys.readouterr().err
    assert ("'ice' (1)" in said) == (write is not columns)
    assert "average_precision" in said
    assert main(["evaluate", str(run), "--per-class"]) == 0
    shown = capsys.readouterr().out
    assert "roc_auc" in shown
    found = json.loads((run / "evaluation.json").read_text())
    predictions = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    wanted = [topics for _, topics, part in examples() if part == "test"]
    names = TOPICS if write is columns else [*TOPICS, "ice"]
    assert [each["target"] for each in predictions] == [[t for t in topics if t in names] for topics in wanted]
    truth, chosen = ([[name in each[key] for name in names] for each in predictions] for key in ("target", "labels"))
    micro = f1_score(truth, chosen, average="micro", zero_division=0)
    assert found["metrics"].get("micro_f1", 0) == pytest.approx(micro)
    assert found["monitor"] == ["average_precision", "max"]
    assert found["targets"] == 6 * len(names)
    assert set(found["baseline"]) <= set(found["metrics"])
    assert list(found["labels"]) == names
    assert main(["compare", str(run)]) == 0
    assert "micro_f1" in capsys.readouterr().out
    assert main(["predict", str(run), "a text about sun and sea"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert set(one["probabilities"]) == set(TOPICS)
    assert main(["evaluate", str(run), "--confusion"]) == 2
    assert "has the task MultiLabel, which has nothing for --confusion to show" in capsys.readouterr().err


def test_an_encoding_of_several_labels_comes_back_as_it_was_saved(tmp_path):
    path = separated(tmp_path)[1]
    encoding = Texts(path, target="labels", minimum_count=1).fit()
    encoding.save(tmp_path)
    assert Encoding.load(tmp_path) == encoding
    assert encoding.labels == ("sea", "sun", "war")


def test_cells_without_anything_are_gaps_where_each_label_has_a_column(tmp_path):
    (tmp_path / "t.csv").write_text("text,a,b,split\nx,1,,train\ny,0,1,train\nz,,0,validation\nw,1,1,test\n")
    reader = Texts(str(tmp_path / "t.csv"), target="labels", label_column="a, b", minimum_count=1)
    targets = [target.tolist() for target in reader.part("train", reader.fit()).targets]
    assert targets[1] == [0, 1]
    assert targets[0][0] == 1
    assert targets[0][1] != targets[0][1]


@pytest.mark.parametrize(
    ("name", "text", "options", "sentence"),
    [
        (
            "t.csv",
            "text,a,b,split\nx,1,2,train\ny,1,0,test\n",
            {"label_column": "a,b"},
            "t.csv, line 2, label 'b', holds '2'",
        ),
        ("t.csv", "text,a,split\nx,1,train\ny,1,test\n", {"label_column": "a,c"}, "t.csv has no column 'c'"),
        ("t.jsonl", '{"text": "x", "label": null, "split": "train"}', {}, "t.jsonl, line 1, has no label"),
        ("t.jsonl", '{"text": "x", "label": [[1]], "split": "train"}', {}, "has the labels '[[1]]', expected a list"),
        ("t.jsonl", '{"text": "x", "label": ["a"]}', {"target": "label"}, "--data.target labels takes several"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(name, text, options, sentence, tmp_path):
    (tmp_path / name).write_text(text + "\n" + text.splitlines()[-1].replace("train", "test") + "\n")
    with pytest.raises(InputError) as caught:
        Texts(str(tmp_path / name), minimum_count=1, **{"target": "labels"} | options).fit()
    assert sentence in str(caught.value)


def test_a_separator_must_be_something():
    with pytest.raises(InputError, match=r"data\.label_separator is empty"):
        Texts(label_separator="")


@pytest.mark.parametrize("kind", ["sounds", "pictures"])
def test_sounds_and_pictures_have_several_labels_too(kind, tmp_path, capsys):
    rows = [(f"{n}", "; ".join(topics), part) for n, (_, topics, part) in enumerate(examples())]
    if kind == "sounds":
        soundfile = pytest.importorskip("soundfile")
        for name, _, _ in rows:
            soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(int(name)).normal(0, 0.1, 4000), 16_000)
        table, ending, recipe = "utterances.csv", "wav", "speaker-simple"
        options = ["--data.cache", "false", "--data.column", "label"]
    else:
        from PIL import Image

        for name, _, _ in rows:
            Image.fromarray(np.full((8, 8), int(name), np.uint8)).save(tmp_path / f"{name}.png")
        table, ending, recipe, options = "pictures.csv", "png", "digits", ["--data.patch", "4"]
    with (tmp_path / table).open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *((f"{n}.{ending}", label, p) for n, label, p in rows)])
    run = tmp_path / "run"
    small = [*SMALL[:2], *SMALL[6:10]]
    options += ["--data.path", str(tmp_path), "--task.type", "MultiLabel", *small]
    assert main(["train", recipe, "--folder", str(run), *options]) == 0
    assert "'ice' (1)" in capsys.readouterr().err
    assert main(["evaluate", str(run)]) == 0
    predictions = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    assert [each["target"] for each in predictions] == [topics for _, topics, part in examples() if part == "test"]
    assert json.loads((run / "data.json").read_text())["parts"]["train"]["labels"] == dict.fromkeys(TOPICS, 12)


def test_numbers_and_several_labels_at_once_are_refused(tmp_path):
    from regard.data.image import Digits

    with pytest.raises(InputError, match=r"data\.numbers and data\.label_separator are both given"):
        Digits(numbers=True, label_separator=";").fit()
