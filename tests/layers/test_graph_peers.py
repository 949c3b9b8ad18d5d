"""Graph convolutions with the same weights as PyTorch Geometric's, where it is installed."""

import pytest
import torch
from torch import Tensor

from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import EdgeVectors
from regard.attention.spec.patterns import Edges
from regard.attention.spec.scores import Additive, Separable
from regard.layers.attention import SelfAttention
from regard.layers.blocks import FeedForward
from regard.layers.gcn import GraphConvolution
from regard.layers.gcnii import DeepGraphConvolution
from regard.layers.graph_attention import GraphAttentionLayer
from regard.layers.registry import MixerSizes, make_mixer
from regard.layers.side_by_side import SideBySide
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


def carrying(sets: VectorSets) -> VectorSets:
    """The same graph, with three numbers on each edge."""
    assert sets.edges is not None
    return VectorSets.pack([sets.values], edges=[sets.edges], edge_values=[torch.randn(sets.edges.shape[1], 3)])


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_graph_attention_that_reads_edges(name: str, graph: tuple[VectorSets, Tensor]) -> None:
    peers, (sets, edges) = pytest.importorskip("torch_geometric.nn"), (carrying(graph[0]), graph[1])
    score = Separable(edges=3) if name == "GATConv" else Additive("leaky_relu", edges=3)
    layer = GraphAttentionLayer(WIDTH, 8, 4, Attention(score, Edges()))
    more = {"share_weights": True} if name == "GATv2Conv" else {}
    peer, learned = (
        getattr(peers, name)(WIDTH, 2, heads=4, edge_dim=3, add_self_loops=False, **more),
        layer.attend.learned,
    )
    peer.bias.data = layer.bias.data
    if name == "GATConv":
        peer.lin.weight.data = layer.project.weight.data
        peer.att_dst.data, peer.att_src.data = learned["score_query"].data[None], learned["score_key"].data[None]
        # Its score of an edge is a product of two matrices.
        both = peer.lin_edge.weight.unflatten(0, (4, 2)) * peer.att_edge[0, :, :, None]
        learned["score_edges"].data = both.sum(1).T[..., None].detach()
    else:
        peer.lin_l.weight.data, peer.lin_l.bias.data = layer.project.weight.data, torch.zeros(8)
        peer.att.data = learned["score_weight"].data[None]
        peer.lin_edge.weight.data = learned["score_edges"].data.flatten(1).T.clone()
    carried = sets.layout.edge_values
    torch.testing.assert_close(layer(sets).values, peer(sets.values, edges, carried), rtol=1e-5, atol=1e-5)


def test_transformer_convolution_that_reads_edges(graph: tuple[VectorSets, Tensor]) -> None:
    peers, (sets, edges) = pytest.importorskip("torch_geometric.nn"), (carrying(graph[0]), graph[1])
    layer = SelfAttention(WIDTH, 4, Attention(pattern=Edges(), bias=EdgeVectors(3)))
    peer = peers.TransformerConv(WIDTH, 4, heads=4, edge_dim=3, root_weight=False)
    weights, biases = layer.project.weight.data.split(WIDTH), layer.project.bias.data.split(WIDTH)
    for linear, weight, bias in zip((peer.lin_query, peer.lin_key, peer.lin_value), weights, biases, strict=True):
        linear.weight.data, linear.bias.data = weight, bias
    peer.lin_edge.weight.data = layer.attend.learned["bias_edges"].data.flatten(1).T.clone()
    wanted = layer.out(peer(sets.values, edges, sets.layout.edge_values))
    torch.testing.assert_close(layer(sets).values, wanted, rtol=1e-5, atol=1e-5)


def test_side_by_side_is_gps(graph: tuple[VectorSets, Tensor]) -> None:
    peers, (sets, edges) = pytest.importorskip("torch_geometric.nn"), graph
    local, everyone, feed_forward = GraphConvolution(WIDTH), SelfAttention(WIDTH, 4), FeedForward(WIDTH, 2 * WIDTH)
    layer = SideBySide([local, everyone], feed_forward, WIDTH)
    peer = peers.GPSConv(WIDTH, peers.GCNConv(WIDTH, WIDTH), heads=4, act="relu", norm=None)
    peer.conv.lin.weight.data, peer.conv.bias.data = local.linear.weight.data, local.bias.data
    peer.attn.in_proj_weight.data, peer.attn.in_proj_bias.data = (
        everyone.project.weight.data,
        everyone.project.bias.data,
    )
    peer.attn.out_proj.weight.data, peer.attn.out_proj.bias.data = everyone.out.weight.data, everyone.out.bias.data
    for linear, ours in ((peer.mlp[0], feed_forward.into), (peer.mlp[3], feed_forward.out)):
        linear.weight.data, linear.bias.data = ours.weight.data, ours.bias.data
    peer.norm1, peer.norm2, peer.norm3 = *layer.norms, layer.norm_feed_forward
    peer.norm_with_batch = False
    torch.testing.assert_close(layer(sets).values, peer(sets.values, edges), rtol=1e-5, atol=1e-5)
