import numpy as np
import pytest
import torch

from regard.data.batch import Batch, collate
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Example
from regard.data.sampling import NeighborSampling, SampledGraph
from regard.errors import InputError
from regard.layers.registry import Mixing
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.models.layerwise import layer_by_layer
from regard.models.model import Model
from regard.models.pieces import Positions
from regard.train.kinds import build_model

WIDTH, EDGE_WIDTH, NODES = 5, 3, 40


def graph() -> Example:
    random = np.random.default_rng(0)
    codes = np.unique(np.concatenate([random.integers(0, NODES**2, 130), np.arange(0, NODES, 2) * (NODES + 1)]))
    edges = np.stack([codes // NODES, codes % NODES])
    # The last nodes hear of nobody.
    edges = edges[:, edges[0] < 35]
    carried = random.normal(size=(edges.shape[1], EDGE_WIDTH))
    values = random.normal(size=(NODES, WIDTH))
    return Example(values, np.zeros(NODES, np.int64), "graph", "vector", edges=edges, edge_values=carried)


def made(options: GraphNetwork | Encoder) -> Model:
    from regard.tasks.configs import PerVectorLabel

    torch.manual_seed(0)
    encoding = Encoding(Labels(("x", "y")), width=WIDTH, edge_width=EDGE_WIDTH, ordered=False, edges=True)
    model = build_model(options, PerVectorLabel(), encoding).double().eval()
    assert isinstance(model, Model)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def plain(mixer: str, attention: str = "Attention(score=Separable(), pattern=Edges())") -> GraphNetwork:
    return GraphNetwork(width=8, layers=2, heads=2, mixer=mixer, attention=attention, mixing=Mixing(terms=3))


def blocks(mixer: str, attention: str = "Attention(pattern=Edges())") -> Encoder:
    return Encoder(
        width=8, layers=2, heads=2, feed_forward=12, mixer=mixer, attention=attention, positions=Positions("none")
    )


OPTIONS = {
    **{
        name: plain(name)
        for name in (
            *("gat", "gcn", "pointwise", "spatial_mean", "spatial_sum", "spatial_max"),
            *("graphsage", "chebyshev", "graph_transformer", "edge_attention", "gat+gcn"),
            *("gcnii", "deep_attention", "gcnii+gat"),
        )
    },
    "deep with linear ends": GraphNetwork(
        width=8, layers=5, heads=2, mixer="gcnii+deep_attention+gcn", activation="relu", linear_ends=True
    ),
    "gatv2 that reads edges": plain(
        "gat", "Attention(score=Additive(activation='leaky_relu', edges=3), pattern=Edges())"
    ),
    "bias of edges": plain("attention", "Attention(pattern=Edges(), bias=EdgeBias(3))"),
    "blocks": blocks("attention+graphsage"),
    "post-norm": Encoder(**{**vars(blocks("graph_transformer")), "norm": "post"}),
    "side by side": blocks("gcn&attention"),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("rows", [7, 39])
def test_layers_by_parts_give_what_the_whole_graph_gives(name: str, rows: int) -> None:
    model, batch = made(OPTIONS[name]), collate([graph(), graph()])
    with torch.no_grad():
        expected = model(batch)
    found = layer_by_layer(model, batch, rows)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-12, atol=1e-12)
    if expected.layout.edge_values is not None:
        torch.testing.assert_close(
            found.layout.edge_values, expected.layout.edge_values, rtol=1e-12, atol=1e-12, check_dtype=False
        )


@pytest.mark.parametrize("name", ["gat", "graphsage", "graph_transformer", "gcn", "blocks"])
def test_a_part_with_all_neighbors_gives_its_seeds_what_the_whole_graph_gives(name: str) -> None:
    model, whole = made(OPTIONS[name]), graph()
    # Two layers; a graph convolution reads the degrees of those that it hears of as well.
    fan_outs = (0,) * (3 if name == "gcn" else 2)
    part = SampledGraph(
        Example(
            *(whole.values, np.where(np.arange(NODES) % 5, -100, 1), "graph", "vector"),
            edges=whole.edges,
            edge_values=whole.edge_values,
            tokens=tuple(map(str, range(NODES))),
        ),
        -100,
        NeighborSampling(fan_outs, seeds=2),
    )
    with torch.no_grad():
        expected = model(collate([whole])).values
        for index in range(len(part)):
            example = part[index]
            seeds = np.flatnonzero(example.target == 1)
            nodes = [int((example.tokens or ())[seed]) for seed in seeds]
            found = model(collate([example])).values
            torch.testing.assert_close(found[seeds], expected[nodes], rtol=1e-12, atol=1e-12)


def test_an_empty_batch() -> None:
    model = made(OPTIONS["blocks"])
    empty = collate([graph()]).emptied()
    assert layer_by_layer(model, empty, 10).values.shape == model(empty).values.shape


@pytest.mark.parametrize(
    ("options", "layer"),
    [
        (blocks("attention", "Attention()"), "SelfAttention"),
        (plain("attention", "Attention(pattern=Edges() | First(1))"), "SelfAttention"),
        (plain("attention", "Attention(pattern=Edges(), bias=ShortestPath(3))"), "SelfAttention"),
        (plain("spectral"), "SpectralFilter"),
        (plain("deep_attention", "Attention()"), "DeepGraphAttention"),
    ],
)
def test_layers_that_look_farther_are_refused(options: GraphNetwork | Encoder, layer: str) -> None:
    batch: Batch = collate([graph()])
    with pytest.raises(
        InputError, match=f"^{layer} cannot be computed for some vectors of a graph at a time, expected"
    ):
        layer_by_layer(made(options), batch, 10)
