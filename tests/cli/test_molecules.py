"""Molecules of one's own through the commands: a SMILES is a text that no file's name is."""

import json

import pytest

from tests.cli.test_whole_way import SMALL, done, refused

pytest.importorskip("rdkit")
TRAIN = ["--data.division", "hash", *SMALL, "--model.feed_forward", "8"]


@pytest.fixture
def table(tmp_path):
    rows = [f"{'C' * (n + 1)}O,{n / 2},{n % 2},{'' if n % 3 else 1}" for n in range(20)]
    (tmp_path / "own.csv").write_text("\n".join(["SMILES,label,toxic,blue", *rows, "nonsense,1,0,1"]) + "\n")
    return tmp_path / "own.csv"


def test_a_number_for_each_molecule_from_training_to_prediction(tmp_path, table, capsys):
    run = tmp_path / "run"
    done(capsys, "train", "molecules-solubility", "--data.path", table, *TRAIN, "--folder", run)
    assert "rmse" in done(capsys, "evaluate", run)
    (tmp_path / "more.smi").write_text("c1ccccc1 benzene\n[Na+].[Cl-]\n")
    lines = [json.loads(line) for line in done(capsys, "predict", run, "CCO", tmp_path / "more.smi").splitlines()]
    assert [line["name"] for line in lines] == ["CCO", "benzene", f"{tmp_path / 'more.smi'}:2"]
    assert all(isinstance(line["number"], float) for line in lines)
    assert json.loads((run / "data.json").read_text())["skipped"] == {
        "molecules that cannot be read": {"count": 1, "names": ["own.csv, line 22 (nonsense)"]}
    }
    assert "line 1, holds 'C1CC'" in refused(capsys, "predict", run, written(tmp_path, "C1CC\n"))
    assert "holds 'C(C)(C)(C)(C)C', expected the SMILES of a molecule: atom 1 (C) has 5 bonds" in refused(
        capsys, "predict", run, "--text", "C(C)(C)(C)(C)C"
    )
    assert "nonsense is not there, expected a file" in refused(capsys, "predict", run, "nonsense")


def written(tmp_path, text):
    (tmp_path / "bad.smi").write_text(text)
    return tmp_path / "bad.smi"


def test_several_labels_with_gaps(tmp_path, table, capsys):
    options = ["--task.type", "MultiLabel", "--data.label_column", "toxic,blue", *TRAIN]
    done(capsys, "train", "molecules-barrier", "--data.path", table, *options, "--folder", tmp_path / "run")
    assert "average_precision" in done(capsys, "evaluate", tmp_path / "run")
    (line,) = done(capsys, "predict", tmp_path / "run", "CCO").splitlines()
    assert set(json.loads(line)["probabilities"]) == {"toxic", "blue"}


def test_what_an_atom_attends_to_is_drawn(tmp_path, table, capsys):
    run, picture = tmp_path / "run", tmp_path / "out.svg"
    options = ["--model.mixer", "attention", *TRAIN]
    done(capsys, "train", "molecules-solubility", "--data.path", table, *options, "--folder", run)
    said = done(capsys, "explain", run, "CCO", "--query", "2", "--out", picture)
    rows = [line.split() for line in said.splitlines() if line[:5].strip().isdigit()]
    assert [row[1] for row in rows] == ["C1", "C2", "O3"]
    assert sum(float(row[3]) for row in rows) == pytest.approx(1, abs=1e-3)
    content = picture.read_text()
    assert content.startswith("<?xml")
    assert content.count("<ellipse") == 3
    (tmp_path / "more.smi").write_text("CCO\n")
    sentence = refused(capsys, "explain", run, tmp_path / "more.smi", "--out", picture)
    assert "expected it where INPUT is the SMILES of a molecule" in sentence
    assert "ends in .svg" in refused(capsys, "explain", run, "CCO", "--out", tmp_path / "out.png")
