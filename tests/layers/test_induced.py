"""Induced attention: the Set Transformer's formulas, its cost, and what the order of vectors changes."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from regard import InputError, VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.inspector.calls import record
from regard.layers.attention import CrossAttention, SelfAttention
from regard.layers.blocks import Block, FeedForward
from regard.layers.induced import InducedAttention
from regard.layers.pooling import MultiHeadPooling
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.train.kinds import build

WIDTH, HEADS, POINTS = 8, 2, 3


@pytest.fixture
def layer() -> InducedAttention:
    torch.manual_seed(0)
    layer = InducedAttention(WIDTH, HEADS, POINTS).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5)
    return layer


def sets_of(*sizes: int) -> VectorSets:
    generator = torch.Generator().manual_seed(1)
    return VectorSets.pack([torch.randn(n, WIDTH, dtype=torch.float64, generator=generator) for n in sizes])


def multihead(layer: CrossAttention, x: Tensor, y: Tensor) -> Tensor:
    """Concatenated heads, each softmax(Q K^T / sqrt(width of a head)) V, through W_o."""
    q = linear(x, layer.project_query.weight, layer.project_query.bias)
    k, v = linear(y, layer.project_memory.weight, layer.project_memory.bias).chunk(2, 1)
    d = WIDTH // HEADS
    heads = [
        (q[:, h * d : (h + 1) * d] @ k[:, h * d : (h + 1) * d].T / d**0.5).softmax(-1) @ v[:, h * d : (h + 1) * d]
        for h in range(HEADS)
    ]
    return linear(torch.cat(heads, 1), layer.out.weight, layer.out.bias)


def rff(layer: FeedForward, x: Tensor) -> Tensor:
    return linear(linear(x, layer.into.weight, layer.into.bias).relu(), layer.out.weight, layer.out.bias)


def norm(layer: torch.nn.LayerNorm, x: Tensor) -> Tensor:
    return layer_norm(x, (WIDTH,), layer.weight, layer.bias)


def test_a_post_norm_block_is_the_isab_of_the_paper(layer):
    """MAB(X, MAB(I, X)), MAB(X, Y) = norm(h + rFF(h)), h = norm(X + MultiHead(X, Y, Y)), set by set, with gradients."""
    block = Block(layer, FeedForward(WIDTH, WIDTH), WIDTH, norm="post").double()

    def paper(x: Tensor) -> Tensor:
        h = norm(layer.norm, layer.points + multihead(layer.gather, layer.points, x))
        summary = norm(layer.last_norm, h + rff(layer.feed_forward, h))
        h = norm(block.norm_mixer, x + multihead(layer.spread, x, summary))
        return norm(block.norm_feed_forward, h + rff(block.feed_forward, h))

    sets = sets_of(5, 1, 0, 9)
    found = block(sets).values
    expected = torch.cat([paper(each.values) for each in sets if len(each.values)])
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=0)
    weights = torch.randn_like(found)
    both = [torch.autograd.grad((out * weights).sum(), list(block.parameters())) for out in (found, expected)]
    for ours, theirs in zip(*both, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_gradients_are_those_of_the_output(layer):
    sets = sets_of(4, 0, 2)
    values = sets.values.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(sets.with_values(x)).values, (values,))


@pytest.mark.parametrize("mixer", ["induced", "attention"])
def test_the_order_of_vectors_changes_nothing_but_their_order(mixer):
    options = Encoder(
        width=WIDTH, heads=HEADS, feed_forward=WIDTH, mixer=mixer, norm="post", positions=Positions("none")
    )
    torch.manual_seed(0)
    model, pool = build(options, Encoding(width=WIDTH)).double().eval(), MultiHeadPooling(WIDTH, HEADS).double()
    sets = sets_of(7, 0, 2)
    order = torch.cat([torch.randperm(7), 7 + torch.randperm(2)])
    moved = sets.with_values(sets.values[order])
    one, other = model(Batch(sets)), model(Batch(moved))
    torch.testing.assert_close(other.values, one.values[order])
    torch.testing.assert_close(pool(other), pool(one))


def test_pairs_grow_with_the_vectors(layer):
    calls = record(layer, lambda: layer(sets_of(100, 40)))
    pairs = [int((call.layout.lengths * call.key_layout.lengths).sum()) for call in calls]
    assert pairs == [140 * POINTS] * 2


def test_with_one_learned_vector_all_vectors_of_a_set_get_the_same():
    torch.manual_seed(0)
    out = InducedAttention(WIDTH, HEADS, 1).double()(sets_of(6, 3))
    for each in out:
        torch.testing.assert_close(each.values, each.values[:1].expand_as(each.values))


def test_a_block_of_self_attention_is_the_sab_of_the_paper():
    """SAB(X) = MAB(X, X): self-attention whose queries, keys and values are those of a cross-attention of X to X."""
    torch.manual_seed(0)
    mixer, twin = SelfAttention(WIDTH, HEADS).double(), CrossAttention(WIDTH, HEADS).double()
    query, memory = mixer.project.weight.split([WIDTH, 2 * WIDTH])
    with torch.no_grad():
        twin.project_query.weight.copy_(query)
        twin.project_memory.weight.copy_(memory)
        twin.out.weight.copy_(mixer.out.weight)
    sets = sets_of(6, 3)
    block = Block(mixer, FeedForward(WIDTH, WIDTH), WIDTH, norm="post").double()
    for each in sets:
        h = norm(block.norm_mixer, each.values + multihead(twin, each.values, each.values))
        expected = norm(block.norm_feed_forward, h + rff(block.feed_forward, h))
        torch.testing.assert_close(block(each).values, expected, atol=1e-11, rtol=0)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match="expected heads to divide the width"):
        InducedAttention(8, 3, 2)
    with pytest.raises(InputError, match="InducedAttention has inducing 0, expected at least 1"):
        InducedAttention(8, 2, 0)
