"""Over-smoothing on Cora: how alike vectors are behind 2 to 64 layers of each network, trained and not, and its accuracy.

    python -m benchmarks.oversmoothing [--only NETWORK] [--epochs N] [--seeds N]

Writes `results/oversmoothing.json`; with --only, that network's rows alone, and the others stay. Needs REGARD_DATA.

Each network is a linear map to 64 numbers, n layers of it, and a linear map to the topics. It is trained on the 140 papers of the
public split, by Adam (0.01, L2 of 0.0005), with dropout of 0.5 on what enters and what leaves the layers, and tested at the epoch
whose validation accuracy is the best. Vectors are measured after the last layer, untrained and at that epoch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, elu

from benchmarks.machine import RESULTS, machine, write
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Edges
from regard.attention.spec.scores import Separable
from regard.data.batch import collate
from regard.data.graph import Planetoid
from regard.inspector.smoothness import angle_distance, dirichlet_energy, effective_rank
from regard.layers.attention import SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.layers.gcn import GraphConvolution
from regard.layers.gcnii import DeepGraphConvolution
from regard.layers.graph_attention import GraphAttentionLayer
from regard.layers.graph_transformer import GraphTransformer
from regard.layers.side_by_side import SideBySide
from regard.layers.stacks import PlainStack
from regard.sets import VectorSets

__all__ = ["DEPTHS", "NETWORKS", "TRAINED", "Deep", "measured"]

DEPTHS = (2, 4, 8, 16, 32, 64)
WIDTH, HEADS = 64, 8
TRAINED = (2, 8, 32)
"""Depths that are trained as well."""
# Attention among everyone of 2,708 papers is dear: two layers of it are trained.
DEEPEST_TRAINED = {"Graph Transformer and everyone": 2}


class Residual(nn.Module):
    """x + elu(layer(x))."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.context = layer.context

    def forward(self, sets: VectorSets) -> VectorSets:
        return sets.with_values(sets.values + elu(self.layer(sets).values))


def _attention() -> GraphAttentionLayer:
    return GraphAttentionLayer(WIDTH, WIDTH, HEADS, Attention(Separable(), Edges()))


def _feed_forward() -> FeedForward:
    return FeedForward(WIDTH, 2 * WIDTH)


def _beside() -> SideBySide:
    both = [GraphTransformer(WIDTH, WIDTH, HEADS), SelfAttention(WIDTH, HEADS)]
    return SideBySide(both, _feed_forward(), WIDTH)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "GCN": lambda n: PlainStack([GraphConvolution(WIDTH) for _ in range(n)]),
    "GCNII": lambda n: PlainStack([DeepGraphConvolution(WIDTH, depth=i + 1) for i in range(n)]),
    "GCN with residuals": lambda n: Stack(
        [Residual(GraphConvolution(WIDTH)) for _ in range(n)], WIDTH, final_norm=False
    ),
    "GAT": lambda n: PlainStack([_attention() for _ in range(n)]),
    "Graph Transformer": lambda n: Stack(
        [Block(GraphTransformer(WIDTH, WIDTH, HEADS), _feed_forward(), WIDTH, "post") for _ in range(n)], WIDTH, False
    ),
    "Graph Transformer and everyone": lambda n: Stack([_beside() for _ in range(n)], WIDTH, final_norm=False),
}


class Deep(nn.Module):
    """A linear map, n layers of a network, a linear map."""

    def __init__(self, network: str, depth: int, width_in: int, classes: int) -> None:
        super().__init__()
        self.enter, self.stack = nn.Linear(width_in, WIDTH), NETWORKS[network](depth)
        self.leave, self.dropout = nn.Linear(WIDTH, classes), nn.Dropout(0.5)

    def vectors(self, sets: VectorSets) -> Tensor:
        """Behind the last layer."""
        found: Tensor = self.stack(sets.with_values(elu(self.enter(self.dropout(sets.values))))).values
        return found

    def forward(self, sets: VectorSets) -> Tensor:
        scores: Tensor = self.leave(self.dropout(self.vectors(sets)))
        return scores


@cache
def cora() -> tuple[VectorSets, dict[str, Tensor]]:
    """The graph, and the targets of each part, negative elsewhere."""
    reader = Planetoid()
    encoding = reader.fit()
    parts = {name: collate([reader.part(name, encoding)[0]]) for name in ("train", "validation", "test")}
    return parts["train"].inputs, {name: torch.as_tensor(batch.targets) for name, batch in parts.items()}


def measured(model: Deep, sets: VectorSets) -> dict[str, float]:
    """How alike the vectors are."""
    model.eval()
    with torch.no_grad():
        x = model.vectors(sets)
    size = float(x.square().sum(1).mean())
    energy = dirichlet_energy(sets.layout, x)
    found = {
        "Dirichlet energy": energy,
        "energy of unit vectors": energy / size if size else 0.0,
        "angle distance": angle_distance(sets.layout, x),
        "effective rank": effective_rank(x),
    }
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _accuracy(model: Deep, sets: VectorSets, targets: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        chosen = model(sets).argmax(1)
    there = targets >= 0
    return float((chosen[there] == targets[there]).float().mean())


def trained(model: Deep, sets: VectorSets, parts: dict[str, Tensor], epochs: int) -> dict[str, float]:
    """Accuracies and measures at the epoch with the best validation accuracy."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    best: dict[str, float] = {}
    for epoch in range(1, epochs + 1):
        model.train()
        optimizer.zero_grad()
        cross_entropy(model(sets), parts["train"], ignore_index=int(parts["train"].min())).backward()
        optimizer.step()
        if epoch % 5:
            continue
        validation = _accuracy(model, sets, parts["validation"])
        if validation > best.get("validation", -1):
            best = {"validation": validation, "test": _accuracy(model, sets, parts["test"]), **measured(model, sets)}
    return best


def untrained(network: str, depth: int, seeds: int) -> dict[str, Any]:
    """What vectors are like before training."""
    sets, parts = cora()
    return {"untrained": _means([measured(_made(network, depth, seed, sets, parts), sets) for seed in range(seeds)])}


def learned(network: str, depth: int, seeds: int, epochs: int) -> dict[str, Any]:
    """What they are like afterwards, and accuracies."""
    sets, parts = cora()
    begin = time.perf_counter()
    found = [trained(_made(network, depth, seed, sets, parts), sets, parts, epochs) for seed in range(seeds)]
    seconds = round((time.perf_counter() - begin) / seeds, 1)
    each = {"tests": " ".join(f"{one['test']:.3f}" for one in found)} if seeds > 1 else {}
    return {"trained": _means(found), **each, "seconds": seconds}


def _made(network: str, depth: int, seed: int, sets: VectorSets, parts: dict[str, Tensor]) -> Deep:
    torch.manual_seed(seed)
    return Deep(network, depth, sets.values.shape[1], int(parts["train"].max()) + 1)


def _means(each: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(f"{statistics.mean(one[name] for one in each):.4g}") for name in each[0]}


def _write(table: dict[tuple[str, int], dict[str, Any]], epochs: int, seeds: int) -> None:
    order = list(NETWORKS)
    result = {
        "case": "oversmoothing",
        "data": "Cora, public split",
        "epochs": epochs,
        "seeds": list(range(seeds)),
        "rows": [table[key] for key in sorted(table, key=lambda key: (order.index(key[0]), key[1]))],
        "machine": machine(),
    }
    write("oversmoothing", result, show=False)


def main() -> int:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(NETWORKS), help="one network")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    names = [options.only] if options.only else list(NETWORKS)
    path = RESULTS / "oversmoothing.json"
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    table = {(row["network"], row["layers"]): row for row in known if row["network"] not in names}
    for name, depth in product(names, DEPTHS):
        table[name, depth] = {"network": name, "layers": depth, **untrained(name, depth, options.seeds)}
    _write(table, options.epochs, options.seeds)
    for depth, name in product(TRAINED, names):
        if depth <= DEEPEST_TRAINED.get(name, max(TRAINED)):
            table[name, depth] |= learned(name, depth, options.seeds, options.epochs)
            print(json.dumps(table[name, depth]), flush=True)
            _write(table, options.epochs, options.seeds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
