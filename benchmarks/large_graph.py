"""A random graph of ten million edges, trained on by sampled neighbors and predicted layer by layer: seconds and peak memory.

    python -m benchmarks.large_graph [--nodes N] [--edges N] [--epochs N]

Writes `results/large-graph.json`. A node has one of eight classes, two thirds of its edges go to nodes of its class, and its
features are noise around the mean of its class. Edges are read both ways, so that there are twice as many to attend along.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import machine, write
from regard.data.masked_graph import MaskedGraph
from regard.data.sampling import NeighborSampling
from regard.models.graph import GraphNetwork
from regard.tasks.configs import PerVectorLabel
from regard.train import Experiment, Optimizer, Run, Training, fit

__all__ = ["main", "write_graph"]

CLASSES, FEATURES = 8, 32


def write_graph(path: Path, nodes: int, edges: int, seed: int = 0) -> None:
    """The graph as arrays, a tenth of its nodes to train on and a hundredth to validate."""
    random = np.random.default_rng(seed)
    labels = np.sort(random.integers(0, CLASSES, nodes))
    bounds = np.searchsorted(labels, np.arange(CLASSES + 1))
    source = random.integers(0, nodes, edges)
    low, high = bounds[labels[source]], bounds[labels[source] + 1]
    near = low + (random.random(edges) * (high - low)).astype(np.int64)
    target = np.where(random.random(edges) < 2 / 3, near, random.integers(0, nodes, edges))
    centers = random.normal(size=(CLASSES, FEATURES)).astype(np.float32) * 0.15
    features = centers[labels] + random.standard_normal((nodes, FEATURES), np.float32)
    part = random.random((1, nodes))
    np.savez(
        path,
        node_features=features,
        node_labels=labels,
        edges=np.stack([source, target], axis=1),
        train_masks=part < 0.1,
        val_masks=(part >= 0.1) & (part < 0.11),
        test_masks=part >= 0.11,
    )


def _experiment(path: Path, epochs: int) -> Experiment:
    return Experiment(
        "large-graph",
        MaskedGraph(str(path), neighbors=NeighborSampling((10, 10))),
        GraphNetwork(width=64, layers=2, heads=8, dropout=0.1, attention_dropout=0.0),
        PerVectorLabel(head="none"),
        Optimizer(learning_rate=3e-3, warm_up=10),
        Training(epochs=epochs, layer_rows=65_536, checkpoint_every=0, progress=False),
    )


def _peak() -> float:
    """The most memory that this process has had, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    """Write the graph, train, predict, and record what that took."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--nodes", type=int, default=1_000_000)
    options.add_argument("--edges", type=int, default=10_000_000)
    options.add_argument("--epochs", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "graph.npz"
        write_graph(path, chosen.nodes, chosen.edges)
        begin = time.perf_counter()
        run = Run.open(fit(_experiment(path, chosen.epochs), Path(place) / "run"))
        trained, memory = time.perf_counter(), _peak()
        metrics = run.evaluate("test")["metrics"]
        predicted = time.perf_counter()
        row = {
            "nodes": chosen.nodes,
            "edges": chosen.edges,
            "epochs": chosen.epochs,
            "seconds to train": round(trained - begin, 1),
            "GB while training": round(memory, 2),
            "seconds to test": round(predicted - trained, 1),
            "GB at most": round(_peak(), 2),
            "accuracy": round(float(metrics["accuracy"]), 4),
        }
    data = "a random graph of eight classes; 10, 1 and 89 % of the nodes to train, validate and test"
    write("large-graph", {"case": "large-graph", "data": data, "rows": [row], "machine": machine()})


if __name__ == "__main__":
    main()
