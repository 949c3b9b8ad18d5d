"""Decoders: blocks with cross-attention equal torch's, and sets that grow through a stack give what whole sets give."""

import pytest
import torch
from torch import nn

from regard import Attention, InputError, Layout, VectorSets
from regard.attention.adapters.axes import Axes
from regard.attention.adapters.remember import Remember
from regard.attention.spec.biases import ALiBi
from regard.attention.spec.normalizers import Sum
from regard.attention.spec.patterns import AlongAxis, Causal, Window
from regard.attention.spec.scores import Kernel
from regard.layers.attention import Attend, CrossAttention, SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.layers.mixers import Pointwise
from regard.layers.positions import Rotary, Sinusoidal

WIDTH, HEADS, HIDDEN = 16, 4, 24
LENGTHS, CONTEXT_LENGTHS = [5, 1, 7], [3, 6, 2]


def decoder_block(norm: str, activation: str) -> Block:
    return Block(
        SelfAttention(WIDTH, HEADS, Attention(pattern=Causal())),
        FeedForward(WIDTH, HIDDEN, activation=activation),
        WIDTH,
        norm,
        cross=CrossAttention(WIDTH, HEADS),
    )


def weights_of(block: Block) -> dict[str, torch.Tensor]:
    """The block's weights under the names of `torch.nn.TransformerDecoderLayer`."""
    mixer, cross = block.mixer, block.cross
    of = {
        "self_attn.in_proj": mixer.project,
        "self_attn.out_proj.": mixer.out,
        "multihead_attn.out_proj.": cross.out,
        "linear1.": block.feed_forward.into,
        "linear2.": block.feed_forward.out,
        "norm1.": block.norm_mixer,
        "norm2.": block.norm_cross,
        "norm3.": block.norm_feed_forward,
    }
    weights = {}
    for name, layer in of.items():
        for kind in ("weight", "bias"):
            weights[f"{name}_{kind}" if name.endswith("proj") else name + kind] = getattr(layer, kind)
    for kind in ("weight", "bias"):
        both = [getattr(part, kind) for part in (cross.project_query, cross.project_memory)]
        weights[f"multihead_attn.in_proj_{kind}"] = torch.cat(both)
    return {name: x.detach().clone() for name, x in weights.items()}


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_decoder_block_is_torchs(norm, activation):
    block = decoder_block(norm, activation).double()
    with torch.no_grad():
        for x in block.parameters():
            x.add_(0.1 * torch.randn_like(x))
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, HIDDEN, 0.0, activation, batch_first=True, norm_first=norm == "pre", dtype=torch.float64
    )
    theirs.load_state_dict(weights_of(block))
    sets, context = (
        VectorSets(torch.randn(sum(n), WIDTH, dtype=torch.float64, requires_grad=True), Layout.of_lengths(n))
        for n in (LENGTHS, CONTEXT_LENGTHS)
    )
    (x, real), (memory, known) = sets.to_padded(), context.to_padded()
    expected = theirs(
        x,
        memory,
        tgt_mask=torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1),
        tgt_key_padding_mask=~real,
        memory_key_padding_mask=~known,
    )[real]
    found = block(sets, context=context).values
    above = torch.randn_like(found)
    assert torch.allclose(found, expected, atol=1e-11)
    leaves = (sets.values, context.values)
    ours = torch.autograd.grad(found, [*leaves, block.feed_forward.into.weight, block.cross.out.weight], above)
    torchs = torch.autograd.grad(
        expected, [*leaves, theirs.linear1.weight, theirs.multihead_attn.out_proj.weight], above
    )
    for a, b in zip(ours, torchs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_an_encoders_block_has_the_weights_that_it_had():
    block = Block(SelfAttention(WIDTH, HEADS), FeedForward(WIDTH, HIDDEN), WIDTH)
    parts = {"mixer.project", "mixer.out", "feed_forward.into", "feed_forward.out", "norm_mixer", "norm_feed_forward"}
    assert set(block.state_dict()) == {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    decoder = decoder_block("pre", "relu")
    assert {name.split(".")[0] for name in decoder.state_dict()} - {
        name.split(".")[0] for name in block.state_dict()
    } == {
        "cross",
        "norm_cross",
    }


def test_a_context_and_cross_attention_go_together():
    sets = VectorSets.pack([torch.ones(2, WIDTH)])
    with pytest.raises(InputError, match="the block has cross-attention but no context, expected both or neither"):
        decoder_block("pre", "relu")(sets)
    with pytest.raises(InputError, match="the block has a context but no cross-attention"):
        Block(SelfAttention(WIDTH, HEADS), FeedForward(WIDTH, HIDDEN), WIDTH)(sets, context=sets)


def stack_of(attention: Attention | Remember, cross: bool = False) -> Stack:
    blocks = [
        Block(
            SelfAttention(WIDTH, HEADS, attention, key_heads=2, rotation=Rotary()),
            FeedForward(WIDTH, HIDDEN),
            WIDTH,
            cross=CrossAttention(WIDTH, HEADS) if cross else None,
        )
        for _ in range(2)
    ]
    return Stack(blocks, WIDTH).double().eval()


def rows_at(whole: Layout, layout: Layout) -> torch.Tensor:
    """The rows of whole sets that lie at the places of another layout."""
    return whole.offsets[:-1][layout.set_of_row] + layout.index


@pytest.mark.parametrize(
    "attention",
    [
        Attention(pattern=Causal()),
        Remember(Attention(pattern=Window(3, 0), bias=ALiBi())),
        Attention(Kernel(), Causal(), Sum()),
    ],
    ids=repr,
)
@torch.no_grad()
def test_a_stack_goes_on_from_its_states(attention):
    stack, positions = stack_of(attention, cross=True), Sinusoidal(WIDTH)
    whole = VectorSets(torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64), Layout.of_lengths(LENGTHS))
    context = VectorSets(torch.randn(11, WIDTH, dtype=torch.float64), Layout.of_lengths(CONTEXT_LENGTHS))
    expected = stack(positions(whole), context=context).values
    states, found = stack.new_states(sets=3), torch.zeros_like(expected)
    for step in ([2, 0, 3], [1, 1, 1], [0, 0, 1], [2, 0, 2]):
        layout = states[0].following(step)
        rows = rows_at(whole.layout, layout)
        found[rows] = stack(positions(VectorSets(whole.values[rows], layout)), context=context, states=states).values
    assert states[1].places.tolist() == LENGTHS
    assert torch.allclose(found, expected, atol=1e-11)


@torch.no_grad()
def test_finished_sets_leave_and_hypotheses_branch():
    stack = stack_of(Attention(pattern=Causal()))
    x = torch.randn(6, WIDTH, dtype=torch.float64)
    states = stack.new_states(sets=2)
    stack(VectorSets(x[:4], states[0].following([1, 3])), states=states)
    for state in states:
        state.select([1, 1])
    found = stack(VectorSets(x[4:], states[0].following()), states=states).values
    for n in range(2):
        alone = torch.cat([x[1:4], x[4 + n : 5 + n]])
        assert torch.allclose(found[n], stack(VectorSets.pack([alone])).values[-1], atol=1e-11)
    with pytest.raises(InputError, match="sets \\[2\\] were selected, expected numbers from 0 to 1"):
        states[0].select([2])


def test_what_cannot_go_on_is_refused():
    sets = VectorSets.pack([torch.ones(2, WIDTH).double()])
    stack = stack_of(Attention(pattern=Causal()))
    states = stack.new_states(sets=1)
    stack(sets, states=states)
    for call, sentence in (
        (lambda: stack(sets, states=states), r"the sets go on at places \[0\], expected \[2\]"),
        (lambda: stack(sets, states=states[:1]), "there are 1 states, expected 2: one for each block"),
        (lambda: SelfAttention(WIDTH, HEADS).new_state(1), "which looks at later vectors"),
        (lambda: SelfAttention(WIDTH, HEADS, Axes()).new_state(1), r"Axes\(\) remembers nothing"),
        (lambda: SelfAttention(WIDTH, HEADS, Backwards()).new_state(1), "Backwards remembers nothing"),
        (lambda: Block(Pointwise(WIDTH, WIDTH), nn.Identity(), WIDTH).new_state(1), "Pointwise remembers nothing"),
    ):
        with pytest.raises(InputError, match=sentence):
            call()
    training = SelfAttention(WIDTH, HEADS, Attention(pattern=Causal()), dropout=0.5)
    with pytest.raises(InputError, match="was given a state, expected one that infers"):
        training(VectorSets.pack([torch.ones(2, WIDTH)]), training.new_state(1))


class Backwards(nn.Module):
    """Something that attends in a way of its own."""

    def forward(self, q, k, v, layout, key_layout=None):
        return v.flip(0)


def test_what_attends_is_an_argument():
    sets = VectorSets.pack([torch.randn(3, WIDTH)])
    layer = SelfAttention(WIDTH, HEADS, Backwards())
    assert layer.context == (float("inf"), float("inf"))
    v = layer.project(sets.values)[:, 2 * WIDTH :]
    assert torch.allclose(layer(sets).values, layer.out(v.flip(0)))
    assert isinstance(SelfAttention(WIDTH, HEADS, Axes()).attend, Attend)
    cross = CrossAttention(WIDTH, HEADS, attention=Backwards())
    values = cross.project_memory(sets.values)[:, WIDTH:]
    assert torch.allclose(cross(sets, sets).values, cross.out(values.flip(0)))


@pytest.mark.parametrize("attention", [Axes(Attention(bias=ALiBi())), Remember(Attention(pattern=Causal()))], ids=repr)
def test_layers_take_adapters_and_learn_through_them(attention):
    coords = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0))
    sets = VectorSets.pack([torch.randn(12, WIDTH)], coords=[coords])
    layer = SelfAttention(WIDTH, HEADS, attention, rotation=Rotary())
    assert layer.context == attention.extent
    layer(sets).values.square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in layer.parameters())


def test_axes_in_a_layer_are_two_attentions():
    coords = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0))
    sets = VectorSets.pack([torch.randn(12, WIDTH)], coords=[coords])
    both = SelfAttention(WIDTH, HEADS, Axes(), rotation=Rotary(), bias=False)
    parts = []
    for axis in range(2):
        one = SelfAttention(WIDTH, HEADS, Attention(pattern=AlongAxis(axis)), rotation=Rotary(), bias=False)
        one.load_state_dict(both.state_dict())
        parts.append(one(sets).values)
    assert torch.allclose(both(sets).values, parts[0] + parts[1], atol=1e-5)


@pytest.mark.parametrize("patterns", [(Window(4, 0), Causal()), (Causal(), Window(4, 0)), (Window(4, 0), Window(9, 0))])
@pytest.mark.parametrize("chosen", [None, [1, 0, 2], [2, 2, 0]])
def test_layers_that_look_back_differently_far_forget_differently_much(patterns, chosen):
    """States of a model share how they grow, and not what a window has left behind."""
    torch.manual_seed(0)
    blocks = [Block(SelfAttention(8, 2, Attention(pattern=each)), FeedForward(8, 16), 8) for each in patterns]
    stack = Stack(blocks, 8).double().eval()
    first, steps = [3, 4, 5], 40
    x = [torch.randn(n + steps, 8, dtype=torch.float64) for n in first]
    with torch.no_grad():
        whole = [stack(VectorSets(each, Layout.of_lengths([len(each)]))).values for each in x]
        states = stack.new_states(sets=3)
        begun = torch.cat([each[:n] for each, n in zip(x, first, strict=True)])
        stack(VectorSets(begun, states[0].following(torch.tensor(first))), states=states)
        order = [0, 1, 2]
        for step in range(steps):
            if step == 20 and chosen is not None:
                order = chosen
                for state in states:
                    state.select(torch.tensor(chosen))
            rows = torch.stack([x[n][first[n] + step] for n in order])
            found = stack(VectorSets(rows, states[0].following(1)), states=states).values
            expected = torch.stack([whole[n][first[n] + step] for n in order])
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_pieces_without_vectors_may_come_first():
    layer = SelfAttention(8, 2, Attention(pattern=Causal())).eval()
    x, state = torch.randn(3, 8), layer.new_state(sets=1)
    with torch.no_grad():
        whole = layer(VectorSets(x, Layout.of_lengths([3]))).values
        found = []
        for begin, end in ((0, 0), (0, 0), (0, 1), (1, 1), (1, 3)):
            found.append(layer(VectorSets(x[begin:end], state.following(end - begin)), state).values)
    torch.testing.assert_close(torch.cat(found), whole)
