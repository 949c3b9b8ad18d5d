"""Layers of graphs beside PyTorch Geometric's, with the same weights, on one large graph and on a batch of molecules.

    python -m benchmarks.graphs [--repeats N] [--quick]

Each layer computes forward and backward, in turns with its peer in one process, after both gave the same output; and the most
memory that a step allocates is measured. Writes `results/graphs-speed.json`. `make peers` installs the peer; without it ours are
measured alone. `--quick` takes 16 molecules, and writes nothing. Needs REGARD_DATA. What is derived from the edges counts for
molecules, where every batch is another one, and not for the large graph, which stays the same: PyTorch Geometric keeps norms there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.machine import machine, write
from benchmarks.measure import Contestant, peak_memory, race
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Edges
from regard.attention.spec.scores import Additive, Separable
from regard.data.molecules import Molecules
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.layers.gcn import GraphConvolution
from regard.layers.graph_attention import GraphAttentionLayer
from regard.sets import Layout, VectorSets

__all__ = ["LAYERS", "main", "measure", "molecules", "tolokers"]

_MOLECULES = 256
_WIDTH = 64


@cache
def tolokers() -> tuple[int, Tensor]:
    """Nodes, and `[2, e]` edges in both directions, of tolokers: people who worked on the same tasks (Platonov et al. 2023).

    Raises:
        InputError: `REGARD_DATA` names no folder that holds it.
    """
    path = Path(os.environ.get("REGARD_DATA", "")) / "heterophilous" / "tolokers.npz"
    if not path.is_file():
        raise InputError(f"the graph is not in {path}, expected REGARD_DATA to name the folder of data sets")
    with np.load(path) as found:
        edges = torch.from_numpy(found["edges"]).T
        nodes = len(found["node_labels"])
    both = torch.cat([edges, edges.flip(0)], 1)
    codes = (both[0] * nodes + both[1]).unique()
    return nodes, torch.stack([codes // nodes, codes % nodes])


def molecules(number: int = _MOLECULES) -> Layout:
    """A batch of molecules of ESOL, whose bonds go both ways."""
    reader = Molecules(dataset="esol", self_loops=False)
    examples = reader.part("train", reader.fit()).examples[:number]
    offsets = np.cumsum([0, *(len(each.values) for each in examples)])
    edges = [each.edges + start for each, start in zip(examples, offsets[:-1], strict=True) if each.edges is not None]
    return Layout(torch.from_numpy(offsets), edges=torch.from_numpy(np.concatenate(edges, axis=1)))


class _Transformer(nn.Module):
    """Queries, keys and values of a projection with biases, and nothing after attention, as `TransformerConv` without a root."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.attend = Attend(Attention(pattern=Edges()), heads, width // heads)

    def forward(self, sets: VectorSets) -> VectorSets:
        q, k, v = self.project(sets.values).unflatten(-1, (3, self.heads, -1)).unbind(1)
        return sets.with_values(self.attend(q, k, v, sets.layout).flatten(1))


def _gcn(kept: bool) -> tuple[nn.Module, nn.Module | None]:
    ours = GraphConvolution(_WIDTH)
    peer = _peer("GCNConv", _WIDTH, _WIDTH, cached=kept)
    if peer is not None:
        peer.lin.weight.data = ours.linear.weight.data
    return ours, peer


def _gat(kept: bool) -> tuple[nn.Module, nn.Module | None]:
    ours = GraphAttentionLayer(_WIDTH, _WIDTH, 8, Attention(Separable(), Edges()))
    peer = _peer("GATConv", _WIDTH, _WIDTH // 8, heads=8, add_self_loops=False)
    if peer is not None:
        peer.lin.weight.data, learned = ours.project.weight.data, ours.attend.learned
        peer.att_dst.data, peer.att_src.data = learned["score_query"].data[None], learned["score_key"].data[None]
    return ours, peer


def _gatv2(kept: bool) -> tuple[nn.Module, nn.Module | None]:
    ours = GraphAttentionLayer(_WIDTH, _WIDTH, 8, Attention(Additive("leaky_relu"), Edges()), shared=False)
    peer = _peer("GATv2Conv", _WIDTH, _WIDTH // 8, heads=8, add_self_loops=False)
    if peer is not None:
        assert ours.project_query is not None
        peer.lin_l.weight.data, peer.lin_r.weight.data = ours.project.weight.data, ours.project_query.weight.data
        for linear in (peer.lin_l, peer.lin_r):
            linear.bias.data.zero_()
        peer.att.data = ours.attend.learned["score_weight"].data[None]
    return ours, peer


def _transformer(kept: bool) -> tuple[nn.Module, nn.Module | None]:
    ours = _Transformer(_WIDTH, 4)
    peer = _peer("TransformerConv", _WIDTH, _WIDTH // 4, heads=4, root_weight=False)
    if peer is not None:
        weights, biases = ours.project.weight.data.split(_WIDTH), ours.project.bias.data.split(_WIDTH)
        for linear, weight, bias in zip((peer.lin_query, peer.lin_key, peer.lin_value), weights, biases, strict=True):
            linear.weight.data, linear.bias.data = weight, bias
    return ours, peer


LAYERS: dict[str, Callable[[bool], tuple[nn.Module, nn.Module | None]]] = {
    "GCN": _gcn,
    "GAT, 8 heads": _gat,
    "GATv2, 8 heads": _gatv2,
    "Transformer, 4 heads": _transformer,
}
"""Ours and the peer with its weights, or None where it is not installed, for a graph that stays the same or not."""


def _peer(name: str, *sizes: int, **options: Any) -> Any:
    from benchmarks.peers import load, missing

    return getattr(load("torch_geometric.nn"), name)(*sizes, **options) if missing("GATConv") is None else None


def measure(name: str, data: str, layout: Layout, kept: bool, repeats: int = 5) -> dict[str, Any]:
    """A row: milliseconds and megabytes of a step, and how many times as much the peer takes.

    Raises:
        InputError: the two layers give different outputs.
    """
    torch.manual_seed(0)
    ours, peer = LAYERS[name](kept)
    values = torch.randn(layout.total, _WIDTH, requires_grad=True)

    def forward() -> Tensor:
        sets = layout if kept else Layout(layout.offsets, edges=layout.edges)
        found: VectorSets = ours(VectorSets(values, sets))
        return found.values

    contestants = {"regard": Contestant(forward, [values, *ours.parameters()])}
    if peer is not None:
        assert layout.edges is not None
        index = layout.edges.flip(0).contiguous()
        contestants["peer"] = Contestant(lambda: peer(values, index), [values, *peer.parameters()])
        with torch.no_grad():
            distance = float((forward() - peer(values, index)).abs().max())
        if not distance < 1e-4:
            raise InputError(f"{name} differs from its peer by {distance:.2g} on {data}, expected the same output")
    times = {each: found.seconds for each, found in race(contestants, repeats).items()}
    megabytes = {each: peak_memory(contestant) / 1e6 for each, contestant in contestants.items()}
    row: dict[str, Any] = {
        "layer": name,
        "data": data,
        "nodes": layout.total,
        "edges": layout.edges.shape[1] if layout.edges is not None else 0,
    }
    row |= {"ms": _digits(times["regard"] * 1e3), "MB": _digits(megabytes["regard"])}
    if peer is not None:
        row |= {"PyG ms": _digits(times["peer"] * 1e3), "PyG MB": _digits(megabytes["peer"])}
        row |= {"times as fast": _digits(times["peer"] / times["regard"])}
        row |= {"share of memory": _digits(megabytes["regard"] / megabytes["peer"])}
    return row


def _graphs(quick: bool) -> Iterator[tuple[str, Layout, bool]]:
    number = 16 if quick else _MOLECULES
    yield f"{number} molecules", molecules(number), False
    if not quick:
        nodes, edges = tolokers()
        yield "tolokers", Layout(torch.tensor([0, nodes]), edges=edges), True


def _digits(x: float) -> float:
    return float(f"{x:.4g}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rows = []
    for data, layout, kept in _graphs(options.quick):
        for name in LAYERS:
            rows.append(measure(name, data, layout, kept, options.repeats))
            print(rows[-1], flush=True)
    if not options.quick:
        write("graphs-speed", {"case": "graphs-speed", "rows": rows, "machine": machine()}, show=False)


if __name__ == "__main__":
    main()
