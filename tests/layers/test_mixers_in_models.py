"""Mixers by their names in the options of a model."""

import math

import pytest
import torch
from torch import nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding, Grid
from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.chebyshev import Chebyshev
from regard.layers.convolution2d import Convolution2d
from regard.layers.gcn import GraphConvolution
from regard.layers.gcnii import DeepGraphAttention, DeepGraphConvolution
from regard.layers.graph_attention import GraphAttentionLayer
from regard.layers.graph_transformer import GraphTransformer
from regard.layers.induced import InducedAttention
from regard.layers.mixers import Convolution, Pointwise, WindowedLinear
from regard.layers.recurrent import LSTM, Recurrent
from regard.layers.registry import MIXERS, MixerSizes, Mixing, make_mixer
from regard.layers.spatial import GraphSAGE, SpatialConvolution
from regard.layers.spectral import SpectralFilter
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.models.pieces import Positions
from regard.sets import VectorSets
from regard.train.kinds import build

KINDS = {
    "attention": SelfAttention,
    "induced": InducedAttention,
    "pointwise": Pointwise,
    "window": WindowedLinear,
    "convolution": Convolution,
    "convolution2d": Convolution2d,
    "elman": Recurrent,
    "jordan": Recurrent,
    "lstm": LSTM,
    "edge_attention": SelfAttention,
    "graph_transformer": GraphTransformer,
    "gat": GraphAttentionLayer,
    "gatv2": GraphAttentionLayer,
    "gcn": GraphConvolution,
    "spatial_mean": SpatialConvolution,
    "spatial_sum": SpatialConvolution,
    "spatial_max": SpatialConvolution,
    "graphsage": GraphSAGE,
    "gcnii": DeepGraphConvolution,
    "deep_attention": DeepGraphAttention,
    "chebyshev": Chebyshev,
    "spectral": SpectralFilter,
}
RING = [
    torch.tensor([(i, j) for i in range(n) for j in sorted({i, (i + 1) % n, (i - 1) % n})]).reshape(-1, 2).T.long()
    for n in (4, 0, 9, 2)
]
PLACES = [torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))[:n] for n in (4, 0, 9, 2)]


def built(mixer: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return build(
        Encoder(width=16, heads=2, feed_forward=16, mixer=mixer, **options),
        Encoding(width=6, edges=True, grid=Grid(2, (3, 3))),
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MIXERS)
def test_each_name_builds_its_mixer_and_each_set_gets_what_it_gets_alone(name: str) -> None:
    model = built(name).double().eval()
    assert [type(block.mixer) for block in model.stack.blocks] == [KINDS[name]] * 2
    values = [torch.randn(n, 6, dtype=torch.float64) for n in (4, 0, 9, 2)]
    sets = VectorSets.pack(values, coords=PLACES, edges=RING)
    together = model(Batch(sets))
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, model(Batch(alone)).values)


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_of_the_registry_may_change_the_width(name: str) -> None:
    layer = make_mixer(name, MixerSizes(6, 4, heads=2))
    sets = VectorSets.pack([torch.randn(n, 6) for n in (4, 0, 9, 2)], coords=PLACES, edges=RING)
    assert layer.width == 4
    assert layer(sets).values.shape == (15, 4)
    assert len(layer.context) == 2


def test_mixers_joined_by_plus_take_turns() -> None:
    model = built("lstm+attention+convolution", layers=4)
    assert [type(block.mixer) for block in model.stack.blocks] == [LSTM, SelfAttention, Convolution, LSTM]


def test_mixers_joined_by_and_stand_side_by_side() -> None:
    model = built("gcn&attention+lstm")
    beside, after = model.stack.blocks
    assert [type(mixer) for mixer in beside.mixers] == [GraphConvolution, SelfAttention]
    assert type(after.mixer) is LSTM


def test_attention_along_edges_narrows_each_pattern() -> None:
    text = "Attention(pattern=(Causal(), Edges()), bias=ALiBi())"
    model = built("edge_attention", attention=text)
    found = model.stack.blocks[0].mixer.attend.attention
    assert repr(found) == "Attention(pattern=((Edges() & Causal()), Edges()), bias=ALiBi())"


def test_a_recurrent_stack_looks_at_all_that_came_before_and_both_ways_at_everything() -> None:
    assert built("lstm", mixing=Mixing(bidirectional=False)).context == (math.inf, 0.0)
    assert built("elman+convolution").context == (math.inf, math.inf)
    assert built("convolution", layers=3, mixing=Mixing(neighbors=2)).context == (6.0, 6.0)


def test_unknown_mixers_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"model.mixer is 'ltsm' and there is no mixer 'ltsm': did you mean 'lstm'\?"):
        Encoder(mixer="ltsm")
    with pytest.raises(
        InputError, match=r"'lstm\+' and there is no mixer '': known are attention, chebyshev, convolution"
    ):
        Encoder(mixer="lstm+")
    with pytest.raises(InputError, match=r"model\.width is 9, expected a multiple of the 4 heads"):
        Encoder(mixer="lstm+attention", width=9)


GRAPHS, PICTURES = Encoding(width=6, ordered=False, edges=True), Encoding(width=6, grid=Grid(2))


@pytest.mark.parametrize("kind", [Encoder, GraphNetwork])
def test_a_mixer_of_sequences_is_refused_on_graphs_and_one_of_graphs_without_edges(kind: type) -> None:
    """On graphs all others go by one word."""
    plain = {"positions": Positions("none")} if kind is Encoder else {}
    for name, mixer in MIXERS.items():
        options = kind(width=8, heads=2, mixer=name, **plain)
        if mixer.needs in ("order", "grid"):
            missing = "order: they are" if mixer.needs == "order" else "rows and columns, expected one of attention"
            with pytest.raises(InputError, match=f"model.mixer is '{name}' and the sets of the data have no {missing}"):
                build(options, GRAPHS)
        else:
            sets = VectorSets.pack([torch.randn(n, 6) for n in (4, 0, 9, 2)], coords=PLACES, edges=RING)
            assert build(options, GRAPHS)(Batch(sets)).values.shape == (15, 8)
        if mixer.needs == "edges":
            with pytest.raises(
                InputError, match=f"model.mixer is '{name}' and the sets of the data have no edges, expected"
            ):
                build(options, PICTURES)
    assert {"gcn", "chebyshev", "lstm", "window"} < {name for name, mixer in MIXERS.items() if mixer.needs}


def test_positions_are_refused_where_no_vector_comes_first() -> None:
    with pytest.raises(InputError, match=r"model\.positions is 'rotary' and the vectors of the data have no order"):
        build(Encoder(width=8, heads=2, positions=Positions("rotary")), GRAPHS)
