"""Graph convolutions with the same weights as PyTorch Geometric's, where it is installed."""

import pytest
import torch
from torch import Tensor

from regard.layers.gcn import GraphConvolution
from regard.layers.gcnii import DeepGraphConvolution
from regard.layers.registry import MixerSizes, make_mixer
from regard.layers.spatial import GraphSAGE
from regard.sets import VectorSets

WIDTH = 16


@pytest.fixture
def graph() -> tuple[VectorSets, Tensor]:
    """Two hundred vectors, the last without edges, and edges as PyTorch Geometric has them, from key to query."""
    torch.manual_seed(0)
    edges = torch.randint(0, 199, (2, 1500))
    edges = torch.cat([edges, edges.flip(0)], dim=1)
    edges = edges[:, edges[0] != edges[1]].unique(dim=1)
    return VectorSets.pack([torch.randn(200, WIDTH)], edges=[edges]), edges.flip(0)


def test_gcn(graph: tuple[VectorSets, Tensor]) -> None:
    peers, (sets, edges) = pytest.importorskip("torch_geometric.nn"), graph
    layer, peer = GraphConvolution(WIDTH, 8), peers.GCNConv(WIDTH, 8)
    peer.lin.weight.data = layer.linear.weight.data
    torch.testing.assert_close(layer(sets).values, peer(sets.values, edges), rtol=1e-5, atol=1e-5)


def test_graphsage(graph: tuple[VectorSets, Tensor]) -> None:
    peers, (sets, edges) = pytest.importorskip("torch_geometric.nn"), graph
    layer, peer = GraphSAGE(WIDTH, 8), peers.SAGEConv(WIDTH, 8)
    peer.lin_l.weight.data, peer.lin_r.weight.data = layer.neighbors.weight.data, layer.own.weight.data
    peer.lin_l.bias.data = layer.own.bias.data
    torch.testing.assert_close(layer(sets).values, peer(sets.values, edges), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gather", ["mean", "sum", "max"])
def test_spatial_convolutions(gather: str, graph: tuple[VectorSets, Tensor]) -> None:
    peers, (sets, edges) = pytest.importorskip("torch_geometric.nn"), graph
    layer = make_mixer(f"spatial_{gather}", MixerSizes(WIDTH, 8))
    loops = torch.arange(200).repeat(2, 1)
    gathered = peers.SimpleConv(aggr=gather)(sets.values, torch.cat([edges, loops], dim=1))
    torch.testing.assert_close(layer(sets).values, gathered @ layer.linear.weight.T, rtol=1e-5, atol=1e-5)


def test_gcnii(graph: tuple[VectorSets, Tensor]) -> None:
    peers, (sets, edges) = pytest.importorskip("torch_geometric.nn"), graph
    layer = DeepGraphConvolution(WIDTH, depth=3, alpha=0.2, theta=0.7)
    peer, first = peers.GCN2Conv(WIDTH, alpha=0.2, theta=0.7, layer=3), torch.randn(200, WIDTH)
    peer.weight1.data = layer.linear.weight.data.T.clone()
    torch.testing.assert_close(layer.after(sets, first).values, peer(sets.values, first, edges), rtol=1e-5, atol=1e-5)
