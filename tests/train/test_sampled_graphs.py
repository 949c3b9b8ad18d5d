from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regard.data.masked_graph import MaskedGraph
from regard.data.sampling import NeighborSampling
from regard.errors import InputError
from regard.models.graph import GraphNetwork
from regard.tasks.configs import PerVectorLabel
from regard.train import Experiment, Optimizer, Run, Training, fit


def graph(path: Path, nodes: int = 300) -> str:
    """Two communities; only a neighborhood tells which one a node is in: features are mostly noise."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, nodes)
    pairs = random.integers(0, nodes, (nodes * 12, 2))
    pairs = pairs[(labels[pairs[:, 0]] == labels[pairs[:, 1]]) & (pairs[:, 0] != pairs[:, 1])]
    features = random.normal(size=(nodes, 3)).astype(np.float32)
    features[:, 0] += 0.8 * (2 * labels - 1)
    masks = random.integers(0, 4, nodes)
    held = {name: (masks == n)[None] for n, name in enumerate(("val_masks", "test_masks"))}
    arrays = held | {"train_masks": (masks > 1)[None], "node_features": features, "node_labels": labels, "edges": pairs}
    np.savez(path, **arrays)
    return str(path)


def experiment(path: Path, layer_rows: int, mixer: str = "graphsage") -> Experiment:
    return Experiment(
        "sampled",
        MaskedGraph(graph(path / "graph.npz"), self_loops=False, neighbors=NeighborSampling((4, 2), seeds=20)),
        GraphNetwork(width=8, layers=2, heads=2, mixer=mixer, dropout=0.1, attention_dropout=0),
        PerVectorLabel(head="none"),
        Optimizer(learning_rate=0.02),
        Training(epochs=4, batch_vectors=64, layer_rows=layer_rows, progress=False, threads=1),
    )


def test_training_by_parts_and_evaluation_layer_by_layer(tmp_path: Path) -> None:
    trained = experiment(tmp_path, 64)
    run = Run.open(fit(trained, tmp_path / "run"))
    found = run.evaluate("test")["metrics"]
    assert found["accuracy"] > 0.9
    whole = replace(run, experiment=replace(trained, training=replace(trained.training, layer_rows=0)))
    assert whole.evaluate("test")["metrics"] == pytest.approx(found, abs=1e-6)
    by_parts, at_once = (next(each.predict([trained.data.path or ""])) for each in (run, whole))
    assert [row["label"] for row in by_parts["vectors"]] == [row["label"] for row in at_once["vectors"]]


def test_a_layer_that_cannot_is_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^SpectralFilter cannot be computed for some vectors of a graph at a time"):
        fit(experiment(tmp_path, 64, "spectral"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
