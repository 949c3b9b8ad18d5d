"""GATv2 as its paper writes it, with a matrix for each end of an edge, and with what edges carry."""

import pytest
import torch
from torch import Tensor

from regard.layers.registry import MixerSizes, make_mixer
from regard.sets import VectorSets

WIDTH, HEADS, CARRIED = 6, 2, 3


def graph(dtype: torch.dtype = torch.float64, carried: int = CARRIED) -> VectorSets:
    """Nine vectors, the last without edges, and two empty sets beside them."""
    torch.manual_seed(0)
    edges = torch.randint(0, 8, (2, 40)).unique(dim=1)
    none = torch.empty(2, 0, dtype=torch.int64)
    values = [
        torch.randn(0, WIDTH, dtype=dtype),
        torch.randn(9, WIDTH, dtype=dtype),
        torch.randn(0, WIDTH, dtype=dtype),
    ]
    numbers = [torch.randn(each.shape[1], carried, dtype=dtype) for each in (none, edges, none)] if carried else None
    return VectorSets.pack(values, edges=[none, edges, none], edge_values=numbers)


def by_the_paper(layer: torch.nn.Module, sets: VectorSets, average: bool) -> Tensor:
    """e_ij = a . LeakyReLU(W_l x_i + W_r x_j + W_e x_ij), softmax over the keys of i, sum of W_r x_j; all in one loop."""
    x, layout, learned = sets.values, sets.layout, layer.attend.learned
    left = (x @ layer.project_query.weight.T).unflatten(-1, (HEADS, -1))
    right = (x @ layer.project.weight.T).unflatten(-1, (HEADS, -1))
    rows = []
    for i in range(len(x)):
        mine = (layout.edges[0] == i).nonzero()[:, 0]
        keys = layout.edges[1, mine]
        joined = left[i] + right[keys]
        if "score_edges" in learned:
            joined = joined + torch.einsum("em,mhd->ehd", layout.edge_values[mine], learned["score_edges"])
        scores = (torch.nn.functional.leaky_relu(joined, 0.2) * learned["score_weight"]).sum(-1)
        rows.append((scores.softmax(0)[..., None] * right[keys]).sum(0))
    out = torch.stack(rows)
    return (out.mean(1) if average else out.flatten(1)) + layer.bias


@pytest.mark.parametrize("carried", [0, CARRIED])
@pytest.mark.parametrize("average", [False, True])
def test_as_in_the_paper_with_gradients(carried: int, average: bool) -> None:
    layer = make_mixer("gatv2", MixerSizes(WIDTH, 4, HEADS, edge_width=carried, average=average)).double()
    torch.nn.init.normal_(layer.bias)
    sets = graph(carried=carried)
    sets = sets.with_values(sets.values.requires_grad_())
    found, expected = layer(sets).values, by_the_paper(layer, sets, average)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    above, inputs = torch.randn_like(found), [sets.values, *layer.parameters()]
    mine, theirs = (torch.autograd.grad(out, inputs, above) for out in (found, expected))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_with_the_weights_of_pytorch_geometric() -> None:
    peers, sets = pytest.importorskip("torch_geometric.nn"), graph(torch.float32)
    layer = make_mixer("gatv2", MixerSizes(WIDTH, 4, HEADS, edge_width=CARRIED))
    peer, learned = peers.GATv2Conv(WIDTH, 2, heads=HEADS, edge_dim=CARRIED, add_self_loops=False), layer.attend.learned
    peer.bias.data = layer.bias.data
    # Its source is the key, which is projected on the left there.
    peer.lin_l.weight.data, peer.lin_l.bias.data = layer.project.weight.data, torch.zeros(4)
    peer.lin_r.weight.data, peer.lin_r.bias.data = layer.project_query.weight.data, torch.zeros(4)
    peer.att.data = learned["score_weight"].data[None]
    peer.lin_edge.weight.data = learned["score_edges"].data.flatten(1).T.clone()
    edges, carried = sets.layout.edges, sets.layout.edge_values
    assert edges is not None
    torch.testing.assert_close(layer(sets).values, peer(sets.values, edges.flip(0), carried), rtol=1e-5, atol=1e-5)
