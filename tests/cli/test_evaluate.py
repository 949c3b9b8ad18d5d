"""What `regard evaluate` shows by label."""

import json

import pytest

from regard.cli import main

SMALL = [
    *("--model.width", "8", "--training.epochs", "1", "--training.progress", "false", "--training.device", "cpu"),
    *("--model.layers", "1", "--model.heads", "2"),
]


def trained(folder, recipe, *arguments):
    assert main(["train", recipe, "--folder", str(folder), *map(str, arguments), *SMALL]) == 0
    return str(folder)


def test_numbers_by_label_and_the_matrix_are_printed(pictures, tmp_path, capsys):
    run = trained(tmp_path / "run", "digits", "--data.path", pictures)
    capsys.readouterr()
    assert main(["evaluate", run, "--per-class", "--confusion"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert next(line for line in lines if line.startswith("label ")).split() == [
        "label",
        *("precision", "recall", "f1", "support", "predicted"),
    ]
    at = next(n for n, line in enumerate(lines) if line.startswith("target \\ predicted"))
    assert [line.split() for line in lines[at + 1 : at + 3]] == [
        [label, *map(str, counts)]
        for label, counts in zip(found["confusion"]["labels"], found["confusion"]["counts"], strict=True)
    ]
    assert sum(map(sum, found["confusion"]["counts"])) == found["targets"]
    assert sum(row["support"] for row in found["labels"].values()) == found["targets"]
    assert main(["evaluate", run]) == 0
    assert "precision" not in capsys.readouterr().out


def test_many_labels_are_shown_by_the_most_confused_pairs(capsys):
    from regard.cli.evaluate import _print_confusion
    from regard.tasks.by_label import confusion

    pairs = {(f"l{n}", f"l{n + 1}"): n + 1 for n in range(39)}
    _print_confusion(confusion(pairs, ()))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{sum(range(1, 40))} mistakes; {sum(range(1, 10))} others are of rarer pairs"
    assert lines[2].split() == ["l38", "l39", "39"]


@pytest.mark.parametrize("option", ["--per-class", "--confusion"])
def test_a_task_without_labels_has_nothing_to_show(option, tmp_path, capsys):
    rows = [f"text {n},{n}" for n in range(40)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    options = ["--data.target", "number", "--task.type", "PerSetNumber", "--data.minimum_count", "1"]
    run = trained(tmp_path / "run", "sentiment", "--data.path", tmp_path / "texts.csv", *options)
    capsys.readouterr()
    assert main(["evaluate", run, option]) == 2
    assert f"has the task PerSetNumber, which has nothing for {option} to show" in capsys.readouterr().err
    assert not (tmp_path / "run" / "evaluation.json").exists()
