"""The speed of layers of graphs: on a batch that is small enough for any machine."""

import pytest
import torch

from benchmarks.graphs import LAYERS, measure
from benchmarks.peers import missing
from regard.sets import Layout


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_measured_and_agree_with_their_peers(name: str, kept: bool) -> None:
    edges = torch.tensor([[0, 1, 1, 2, 3, 4], [1, 0, 2, 1, 4, 3]])
    row = measure(name, "two paths", Layout(torch.tensor([0, 3, 5]), edges=edges), kept, repeats=1)
    assert (row["nodes"], row["edges"]) == (5, 6)
    assert row["ms"] > 0
    assert row["MB"] > 0
    assert ("times as fast" in row) == (missing("GATConv") is None)
