"""The graph transformer with its edges, layers side by side, and edges as the set, against loops written from their formulas."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.blocks import FeedForward
from regard.layers.gcn import GraphConvolution
from regard.layers.graph_transformer import GraphTransformer
from regard.layers.line_graph import EdgesAsSet, line_graph
from regard.layers.side_by_side import SideBySide
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.models.pieces import Front, Positions
from regard.sets import Layout, VectorSets
from regard.train.kinds import build

WIDTH, HEADS, CARRIED = 6, 2, 3
GRAPHS = [
    (4, [(0, 1), (1, 0), (1, 2), (0, 2), (2, 0)]),
    (0, []),
    (1, []),
    (3, []),
    (3, [(2, 2), (0, 1), (2, 1), (1, 2)]),
    (1, [(0, 0)]),
]


def batch(*graphs: tuple[int, list[tuple[int, int]]]) -> VectorSets:
    torch.manual_seed(len(graphs))
    edges = [torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T for _, pairs in graphs]
    values = [torch.randn(n, WIDTH, dtype=torch.float64) for n, _ in graphs]
    return VectorSets.pack(values, edges=edges, edge_values=[torch.randn(e.shape[1], CARRIED).double() for e in edges])


def normal(module: nn.Module) -> nn.Module:
    """In float64, with no number that begins as zero or one."""
    torch.manual_seed(0)
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.7)
    return module


def norm(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    return layer_norm(x, x.shape[-1:], layer.weight, layer.bias)


def by_edge(layer: GraphTransformer, x: Tensor, edges: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """Dwivedi and Bresson 2021, eq. 8 to 16, edge by edge: what vectors become, and edges; in the paper's own letters."""
    d = layer.width // layer.heads
    q_all, k_all, v_all = (x @ w.T for w in layer.project.weight.split(layer.width))
    assert layer.enter is not None
    assert layer.stream is not None
    e = layer.enter(carried)
    learned = layer.attend.learned["score_edges"]
    w_hat = torch.zeros(len(carried), layer.width, dtype=x.dtype)
    out = torch.zeros(len(x), layer.width, dtype=x.dtype)
    for h in range(layer.heads):
        part = slice(h * d, (h + 1) * d)
        exponents: list[list[tuple[Tensor, int]]] = [[] for _ in x]
        for n, (i, j) in enumerate(edges.T.tolist()):
            w_hat[n, part] = q_all[i, part] * k_all[j, part] / math.sqrt(d) * (e[n] @ learned[:, h])
            exponents[i].append((w_hat[n, part].sum().clamp(-5, 5).exp(), j))
        for i, pairs in enumerate(exponents):
            for weight, j in pairs:
                out[i, part] = out[i, part] + weight / sum(w for w, _ in pairs) * v_all[j, part]
    stream = layer.stream
    e = norm(stream.norm, e + stream.out(w_hat))
    one, _, two = stream.feed_forward
    e = norm(stream.norm_feed_forward, e + two(one(e).relu()))
    return layer.out(out), e


def test_a_graph_transformer_edge_by_edge() -> None:
    layer, sets = normal(GraphTransformer(WIDTH, WIDTH, HEADS, CARRIED)), batch(*GRAPHS)
    assert isinstance(layer, GraphTransformer)
    assert sets.edges is not None
    x, carried = sets.values.requires_grad_(), sets.layout.edge_values
    assert carried is not None
    carried.requires_grad_()
    found = layer(sets)
    wanted, edges = by_edge(layer, x, sets.edges, carried)
    torch.testing.assert_close(found.values, wanted, rtol=1e-11, atol=1e-11)
    assert found.layout.edge_values is not None
    torch.testing.assert_close(found.layout.edge_values, edges, rtol=1e-11, atol=1e-11)
    above, over, inputs = torch.randn_like(wanted), torch.randn_like(edges), [x, carried, *layer.parameters()]
    ours, theirs = (
        torch.autograd.grad((a * above).sum() + (b * over).sum(), inputs)
        for a, b in ((found.values, found.layout.edge_values), (wanted, edges))
    )
    for gradient, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-9)


def test_what_a_layer_makes_of_edges_is_what_the_next_one_reads() -> None:
    options = GraphNetwork(width=WIDTH, layers=3, heads=HEADS, last_heads=HEADS, mixer="graph_transformer", dropout=0.0)
    model, sets = normal(build(options, Encoding(width=WIDTH, edges=True, edge_width=CARRIED))).eval(), batch(*GRAPHS)
    one, two, three = model.stack.layers
    assert (one.edge_width, two.edge_width, three.edge_width, three.stream) == (CARRIED, WIDTH, WIDTH, None)
    assert sets.edges is not None
    assert sets.layout.edge_values is not None
    x, e = by_edge(one, sets.values, sets.edges, sets.layout.edge_values)
    x, e = by_edge(two, nn.functional.elu(x), sets.edges, e)
    three.stream = two.stream
    wanted, _ = by_edge(three, nn.functional.elu(x), sets.edges, e)
    three.stream = None
    torch.testing.assert_close(model(Batch(sets)).values, wanted, rtol=1e-10, atol=1e-10)


MODELS = {
    "transformer": Encoder(WIDTH, 2, HEADS, 8, mixer="graph_transformer", norm="post"),
    "GPS": Encoder(WIDTH, 2, HEADS, 8, mixer="graph_transformer&attention"),
    "turns": Encoder(WIDTH, 3, HEADS, 8, mixer="gcn&edge_attention+graph_transformer"),
    "edges as the set": Encoder(
        WIDTH, 3, HEADS, 8, mixer="edge_attention+edge_attention+attention", front=Front(set="edges")
    ),
    "Graphormer": Encoder(WIDTH, 2, HEADS, 8, attention=f"Attention(bias=ShortestPath(2, edges={CARRIED}))"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_gives_what_it_gives_alone_and_nan_stays_in_it(name: str) -> None:
    MODELS[name].positions = Positions("none")
    model = normal(build(MODELS[name], Encoding(width=WIDTH, edges=True, edge_width=CARRIED))).eval()
    sets = batch(*GRAPHS)
    together = model(Batch(sets))
    assert together.values.isfinite().all()
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, model(Batch(alone)).values, rtol=1e-10, atol=1e-10)
    spoiled = sets.values.clone()
    spoiled[0] = torch.nan
    after = model(Batch(sets.with_values(spoiled)))
    assert all(after[b].values.isfinite().all() for b in range(1, len(sets)))
    # What is learned of edges is learned: but for what a model ends with, all has a gradient.
    together.values.square().sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or ((p.grad == 0).all() and "edges" in n)]


def test_side_by_side_is_a_gps_layer() -> None:
    layer = normal(SideBySide([GraphConvolution(WIDTH), SelfAttention(WIDTH, HEADS)], FeedForward(WIDTH, 8), WIDTH))
    assert isinstance(layer, SideBySide)
    sets = batch(*GRAPHS)
    x = sets.values
    local, everyone = (mixer(sets).values for mixer in layer.mixers)
    h = norm(layer.norms[0], x + local) + norm(layer.norms[1], x + everyone)
    torch.testing.assert_close(layer(sets).values, norm(layer.norm_feed_forward, h + layer.feed_forward(h)))
    assert layer.context == (math.inf, math.inf)


def test_a_line_graph_joins_edges_that_share_an_end() -> None:
    layout = batch(*GRAPHS).layout
    lines, order = line_graph(layout)
    assert layout.edges is not None
    assert lines.edges is not None
    ends = layout.edges.T[order].tolist()
    wanted = {(a, b) for a, one in enumerate(ends) for b, two in enumerate(ends) if set(one) & set(two)}
    assert set(map(tuple, lines.edges.T.tolist())) == wanted
    assert lines.lengths.tolist() == [len(edges) for _, edges in GRAPHS]
    layer = normal(EdgesAsSet(WIDTH, CARRIED, 4))
    assert isinstance(layer, EdgesAsSet)
    sets = batch(*GRAPHS)
    assert sets.layout.edge_values is not None
    wanted_values = [
        layer.linear(torch.cat([sets.values[i], sets.values[j], sets.layout.edge_values[n]]))
        for n, (i, j) in zip(order.tolist(), ends, strict=True)
    ]
    torch.testing.assert_close(layer(sets).values, torch.stack(wanted_values))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(
        InputError, match="the graph transformer has width 6 and 4 heads, expected heads to divide the width"
    ):
        GraphTransformer(WIDTH, WIDTH, 4)
    sets = batch(*GRAPHS)
    with pytest.raises(InputError, match="the edges of the sets carry 3 values, expected 2"):
        GraphTransformer(WIDTH, WIDTH, 2, edge_width=2).double()(sets)
    with pytest.raises(InputError, match="the edges of the sets carry 3 values, expected 2"):
        EdgesAsSet(WIDTH, 2, 4).double()(sets)
    with pytest.raises(InputError, match="the sets have no edges, expected graphs: their edges are to be the set"):
        line_graph(Layout.of_lengths([2]))
    star = torch.stack([torch.zeros(10_000, dtype=torch.int64), torch.arange(1, 10_001)])
    with pytest.raises(InputError, match=r"100,010,000 pairs of edges share an end, expected at most 67,108,864"):
        line_graph(Layout(torch.tensor([0, 10_001]), edges=star))
    with pytest.raises(InputError, match="there are 0 mixers side by side, expected at least one"):
        SideBySide([], FeedForward(4, 4), 4)
    with pytest.raises(
        InputError, match=r"model\.mixer is 'gcn&attention' in a GraphNetwork, expected mixers that take turns"
    ):
        GraphNetwork(mixer="gcn&attention")
    with pytest.raises(InputError, match=r"there is no mixer 'gnc': did you mean 'gcn'\?"):
        Encoder(mixer="gnc&attention")
    with pytest.raises(InputError, match=r"edge values have shape \[2, 1\], expected \[10, m\]: one row per edge"):
        sets.layout.with_edge_values(torch.zeros(2, 1))
    with pytest.raises(InputError, match=r"model\.front\.set is 'edges' and the sets of the data have none"):
        build(Encoder(front=Front(set="edges")), Encoding(width=3))


def test_other_values_on_edges_share_what_is_derived() -> None:
    layout = batch(*GRAPHS).layout
    other = layout.with_edge_values(torch.zeros(10, 1))
    assert other.edge_codes is layout.edge_codes or torch.equal(other.edge_codes, layout.edge_codes)
    assert other.derived is layout.derived
    assert layout.edge_values is not None
    assert layout.edge_values.shape == (10, 3)
    placed = Layout(
        torch.tensor([0, 2]), edges=torch.tensor([[0], [1]]), edge_values=torch.ones(1, 1), places=torch.tensor([1, 0])
    )
    assert placed.in_order().edge_values is placed.edge_values
    changed = placed.with_edge_values(torch.full((1, 2), 2.0))
    assert changed.in_order().edge_values is changed.edge_values
    assert changed.in_order().edges is placed.in_order().edges
