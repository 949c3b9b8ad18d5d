"""What deep graph networks are made of: attention with first vectors, linear ends, and dropout on values."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, relu

from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Edges
from regard.attention.spec.scores import Separable
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.errors import InputError
from regard.layers.gcnii import DeepGraphAttention
from regard.layers.graph_attention import GraphAttentionLayer
from regard.layers.registry import Mixing
from regard.models.graph import GraphNetwork
from regard.sets import VectorSets
from regard.tasks.configs import PerVectorLabel
from regard.train.kinds import build_model

WIDTH = 6


def graph() -> VectorSets:
    torch.manual_seed(0)
    edges = torch.tensor([[0, 0, 1, 1, 2, 3, 3, 3], [0, 1, 0, 2, 2, 0, 1, 3]])
    return VectorSets.pack([torch.randn(4, WIDTH, dtype=torch.float64)], edges=[edges])


def attended(layer: DeepGraphAttention, sets: VectorSets) -> Tensor:
    """Head by head and pair by pair (Velickovic et al. 2018, eq. 3 and 4), with the vectors themselves as values."""
    assert sets.edges is not None
    learned, parts = layer.attend.learned, []
    for head, x in enumerate(sets.values.split(layer.width // layer.heads, dim=1)):
        scores = torch.full((len(x), len(x)), -torch.inf, dtype=x.dtype)
        for i, j in sets.edges.T.tolist():
            scores[i, j] = leaky_relu(learned["score_query"][head] @ x[i] + learned["score_key"][head] @ x[j], 0.2)
        parts.append(scores.softmax(1) @ x)
    return torch.cat(parts, dim=1)


def after(layer: DeepGraphAttention, sets: VectorSets, first: Tensor) -> Tensor:
    mixed = (1 - layer.alpha) * attended(layer, sets) + layer.alpha * first
    return (1 - layer.beta) * mixed + layer.beta * mixed @ layer.linear.weight.T


def test_attention_takes_the_place_of_averages() -> None:
    layer = DeepGraphAttention(WIDTH, heads=2, attention=Attention(Separable(), Edges()), depth=3, alpha=0.2).double()
    sets = graph()
    torch.testing.assert_close(layer(sets).values, after(layer, sets, sets.values), rtol=1e-12, atol=1e-12)


def test_heads_divide_the_width() -> None:
    with pytest.raises(
        InputError, match=r"^the graph layer has width 6 and 4 heads, expected heads to divide the width"
    ):
        DeepGraphAttention(WIDTH, heads=4)


def test_linear_ends_stand_around_a_deep_network() -> None:
    options = GraphNetwork(
        width=4, layers=2, heads=2, mixer="deep_attention", activation="relu", linear_ends=True, dropout=0.0
    )
    encoding = Encoding(Labels(("a", "b", "c")), width=WIDTH, edges=True)
    model, sets = build_model(options, PerVectorLabel(head="none"), encoding).double().eval(), graph()
    into, one, two, out = model.stack.layers
    assert one.beta > two.beta
    first = relu(into(sets).values)
    x = relu(after(one, sets.with_values(first), first))
    x = relu(after(two, sets.with_values(x), first))
    torch.testing.assert_close(model(Batch(sets)).values, out(sets.with_values(x)).values, rtol=1e-12, atol=1e-12)
    assert model.stack.width == 3


def test_first_vectors_are_not_dropped_where_they_enter_as_they_are() -> None:
    options = GraphNetwork(width=4, layers=1, mixer="gcnii", linear_ends=True, dropout=0.9, mixing=Mixing(alpha=1.0))
    model = build_model(options, PerVectorLabel(), Encoding(Labels(("a", "b")), width=WIDTH, edges=True)).train()
    stack, sets = model.stack, graph()
    sets = sets.with_values(sets.values.float())
    left, first = stack.step(0, sets)
    assert first is None
    after_one, first = stack.step(1, left, first)
    assert first is not None
    torch.testing.assert_close(first, stack.activation(left.values))
    # With alpha 1 nothing else is left, so that dropout is not seen.
    torch.testing.assert_close(after_one.values, stack.layers[1].after(left, first).values)


def test_dropout_on_values_leaves_the_scores() -> None:
    torch.manual_seed(0)
    attention = Attention(Separable(), Edges())
    layer = GraphAttentionLayer(WIDTH, 40, 2, attention, value_dropout=0.5).double()
    seen = {}
    layer.attend.register_forward_pre_hook(lambda module, given: seen.update(zip("qkv", given, strict=False)))
    layer.train()(graph())
    torch.testing.assert_close(seen["q"], seen["k"])
    kept = seen["v"] != 0
    assert 0 < kept.double().mean() < 1
    torch.testing.assert_close(seen["v"][kept], 2 * seen["k"][kept])
    layer.eval()(graph())
    torch.testing.assert_close(seen["v"], seen["k"])
