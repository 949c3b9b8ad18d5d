"""Graphs of one's own through the commands, where one word swaps what runs along the edges."""

import json
from pathlib import Path

import pytest

from regard.cli import main
from regard.data.graph import Planetoid
from tests.cli.test_whole_way import SMALL, done, refused

GRAPH = Path(__file__).parents[1] / "models" / "earlier" / "graph"
TRAIN = ["train", "citation", "--data.path", GRAPH, *SMALL, "--model.layers", "2"]


def test_one_word_swaps_the_mixer_of_a_graph_network(tmp_path, capsys):
    names = (
        "gat",
        "attention",
        "gcn",
        "chebyshev",
        "spectral",
        "spatial_max",
        "graphsage",
        "gcnii",
        "pointwise",
        "gcn+gat",
    )
    done(capsys, *TRAIN, "--sweep", f"model.mixer={','.join(names)}", "--folder", tmp_path / "runs")
    for name in names:
        run = tmp_path / "runs" / f"mixer={name}"
        assert "accuracy" in done(capsys, "evaluate", run)
        (line,) = done(capsys, "predict", run, GRAPH).splitlines()
        assert len(json.loads(line)["vectors"]) == 24


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model.mixer", "lstm"], "model.mixer is 'lstm' and the sets of the data have no order: they are graphs"),
        (["--model.type", "Encoder", "--model.mixer", "gcn"], "model.positions is 'sinusoidal' and the vectors"),
        (["--model.mixer", "gnc"], "there is no mixer 'gnc': did you mean 'gcn'?"),
    ],
)
def test_what_a_graph_does_not_have_is_refused_before_a_run_is_begun(options, sentence, tmp_path, capsys):
    assert sentence in refused(capsys, *TRAIN, *options, "--folder", tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_graph_convolution_needs_edges(tmp_path, capsys):
    assert main(["train", "digits", "--model.mixer", "gcn", "--folder", str(tmp_path / "run")]) == 2
    assert "model.mixer is 'gcn' and the sets of the data have no edges" in capsys.readouterr().err


def test_eigenvectors_of_a_large_graph_are_refused_once_it_was_read(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "nodes.csv").write_text("id,label,a\n" + "".join(f"n{i},{'xy'[i % 2]},{i % 7}\n" for i in range(50_000)))
    (folder / "edges.csv").write_text("source,target\nn0,n1\n")
    reads = []
    read = Planetoid.read
    monkeypatch.setattr(Planetoid, "read", lambda self, source: reads.append(source) or read(self, source))
    options = ["--data.path", folder, "--model.mixer", "gat+spectral", "--folder", tmp_path / "run"]
    sentence = refused(capsys, "train", "citation", *options)
    assert (
        "model.mixer is 'spectral' and a training graph has 50,000 vectors, whose eigenvectors take 20.0 GB" in sentence
    )
    assert len(reads) == 1
    assert not (tmp_path / "run").exists()
