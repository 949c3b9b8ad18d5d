"""Reversible blocks: gradients of a stack that stores its vectors, and memory that does not grow with its blocks."""

import pytest
import torch

from regard import Attention, InputError, Layout, VectorSets
from regard.attention import ALiBi, Causal, Routing, Shaw
from regard.data.encoding import Encoding
from regard.layers.attention import CrossAttention, SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.layers.mixers import Pointwise
from regard.layers.reversible import ReversibleStack
from regard.layers.side_by_side import SideBySide
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.train.kinds import build

WIDTH = 8


def blocks_of(number: int, attention=None, dropout: float = 0.0, skip: float = 0.0) -> list[Block]:
    spec = Attention(bias=Shaw(2)) if attention is None else attention
    return [
        Block(
            SelfAttention(WIDTH, 2, spec, dropout=dropout),
            FeedForward(WIDTH, 16, dropout),
            WIDTH,
            dropout=dropout,
            skip=skip,
        )
        for _ in range(number)
    ]


def sets_of(*lengths: int) -> VectorSets:
    return VectorSets.pack([torch.randn(n, WIDTH, dtype=torch.float64) for n in lengths])


def by_storing(stack: ReversibleStack, sets: VectorSets, positions=None) -> torch.Tensor:
    """The same formula, written out, with what autograd stores."""
    first = second = sets.values
    for n, block in enumerate(stack.blocks):
        read = block.norm_mixer(second) if positions is None else block.norm_mixer(second) + positions[n]
        first = first + block.mixer(sets.with_values(read)).values
        second = second + block.feed_forward(block.norm_feed_forward(first))
    return stack.norm((first + second) / 2)


def gradients(out: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    above = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return list(torch.autograd.grad(out, inputs, above))


@pytest.mark.parametrize("number", [0, 1, 5])
@pytest.mark.parametrize("placed", [False, True])
def test_gradients_are_those_of_a_stack_that_stores(number, placed):
    torch.manual_seed(0)
    stack, sets = ReversibleStack(blocks_of(number), WIDTH).double(), sets_of(7, 0, 1, 12)
    x = sets.values.requires_grad_()
    positions = torch.randn(number, len(x), WIDTH, dtype=torch.float64, requires_grad=True) if placed else None
    inputs = [x, *stack.parameters(), *([positions] if placed and number else [])]
    out, expected = stack(sets.with_values(x), positions).values, by_storing(stack, sets, positions)
    assert torch.allclose(out, expected, atol=1e-12)
    for found, true in zip(gradients(out, inputs), gradients(expected, inputs), strict=True):
        assert torch.allclose(found, true, atol=1e-10)


def test_one_block_alone_is_no_more_than_its_formula():
    torch.manual_seed(0)
    (block,), sets = blocks_of(1), sets_of(3)
    stack = ReversibleStack([block], WIDTH, final_norm=False).double()
    x = sets.values
    y = x + block.mixer(sets.with_values(block.norm_mixer(x))).values
    assert torch.allclose(stack(sets).values, (y + x + block.feed_forward(block.norm_feed_forward(y))) / 2)


@pytest.mark.parametrize(("dropout", "skip"), [(0.3, 0.0), (0.2, 0.4)])
def test_dropout_draws_the_same_again(dropout, skip):
    """Of a function that is computed with the draws of one seed, finite differences are the gradients."""
    torch.manual_seed(0)
    stack, sets = ReversibleStack(blocks_of(3, dropout=dropout, skip=skip), WIDTH).double(), sets_of(4, 2)

    def run(x):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return stack(sets.with_values(x)).values

    assert not torch.equal(run(sets.values), stack.eval()(sets).values)
    stack.train()
    assert torch.autograd.gradcheck(run, (sets.values.requires_grad_(),), fast_mode=True)


def test_draws_move_torchs_generator_as_one_call_and_differ_from_block_to_block():
    stack, sets = ReversibleStack(blocks_of(2, dropout=0.5), WIDTH).double(), sets_of(50)
    first, second = (stack(sets).values for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    once = stack(sets).values
    torch.manual_seed(1)
    assert torch.equal(once, stack(sets).values)


def stored(stack: torch.nn.Module, sets: VectorSets) -> int:
    """Numbers that autograd stores of a forward pass, without parameters."""
    own, numbers = {x.data_ptr() for x in stack.parameters()}, 0

    def pack(x):
        nonlocal numbers
        numbers += x.numel() * (x.untyped_storage().data_ptr() not in own)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = stack(sets.with_values(sets.values.requires_grad_())).values
    assert out.requires_grad
    return numbers


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_what_is_stored_does_not_grow_with_the_blocks(dropout):
    torch.manual_seed(0)
    sets = sets_of(100)
    kept = {
        kind: [stored(kind(blocks_of(number, dropout=dropout), WIDTH).double(), sets) for number in (2, 12)]
        for kind in (Stack, ReversibleStack)
    }
    assert kept[ReversibleStack][0] == kept[ReversibleStack][1]
    assert kept[Stack][1] > 4 * kept[Stack][0] > 4 * kept[ReversibleStack][0]


def test_centroids_that_move_in_the_forward_pass_are_as_they_were_in_the_backward_pass():
    torch.manual_seed(0)
    stack, sets = ReversibleStack(blocks_of(2, Routing(clusters=3, decay=0.2)), WIDTH).double(), sets_of(20)
    before = {name: x.clone() for name, x in stack.named_buffers()}
    x = sets.values.requires_grad_()
    out = stack(sets.with_values(x)).values
    moved = {name: y.clone() for name, y in stack.named_buffers()}
    assert all(not torch.equal(before[name], moved[name]) for name in before)
    found = gradients(out, [x, *stack.parameters()])
    assert all(torch.equal(moved[name], y) for name, y in stack.named_buffers())
    stack.load_state_dict(before, strict=False)
    stack.eval()
    for a, b in zip(found, gradients(by_storing(stack, sets), [x, *stack.parameters()]), strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_autocast_is_that_of_the_forward_pass():
    torch.manual_seed(0)
    stack, sets = ReversibleStack(blocks_of(2), WIDTH), VectorSets.pack([torch.randn(9, WIDTH)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = stack(sets).values
    out.float().sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in stack.parameters())


def test_states_go_on_as_whole_sets_do():
    torch.manual_seed(0)
    stack = ReversibleStack(blocks_of(2, Attention(pattern=Causal(), bias=ALiBi())), WIDTH).double().eval()
    sets = sets_of(5, 3)
    whole, states, parts = stack(sets).values, stack.new_states(2), []
    for step in ([2, 1], [3, 2]):
        layout = states[0].following(step)
        rows = torch.cat(
            [torch.arange(start, start + n) + at for start, n, at in zip(layout.starts, step, (0, 5), strict=True)]
        )
        parts.append((rows, stack(VectorSets(sets.values[rows], layout), states=states).values))
    for rows, out in parts:
        assert torch.allclose(out, whole[rows], atol=1e-10)


def test_compiled_code_computes_it():
    torch.manual_seed(0)
    stack, sets = ReversibleStack(blocks_of(2), WIDTH).double().eval(), sets_of(5, 3)
    out = torch.compile(lambda x: stack(sets.with_values(x)).values, backend="aot_eager")(sets.values)
    assert torch.allclose(out, stack(sets).values, atol=1e-12)


def test_an_encoder_may_be_reversible():
    options = Encoder(width=8, heads=2, layers=3, feed_forward=8, residual="reversible", positions=Positions("none"))
    model = build(options, Encoding(width=4))
    assert isinstance(model.stack, ReversibleStack)
    with pytest.raises(
        InputError, match="a reversible stack has a Block with norms behind, expected blocks of one mixer"
    ):
        build(Encoder(residual="reversible", norm="post", positions=Positions("none")), Encoding(width=4))


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (lambda: SideBySide([Pointwise(WIDTH)], FeedForward(WIDTH, 8), WIDTH), "has a SideBySide, expected blocks"),
        (lambda: Block(Pointwise(WIDTH), FeedForward(WIDTH, 8), WIDTH, norm="post"), "has a Block with norms behind"),
        (
            lambda: Block(Pointwise(WIDTH), FeedForward(WIDTH, 8), WIDTH, cross=CrossAttention(WIDTH, 2)),
            "has a Block with cross-attention, expected blocks of one mixer",
        ),
    ],
)
def test_blocks_that_cannot_be_reversed_are_refused(block, sentence):
    with pytest.raises(InputError, match=sentence):
        ReversibleStack([block()], WIDTH)


class Relays(torch.nn.Module):
    """Gives its vectors to sets of its own."""

    context = (0, 0)

    def forward(self, sets):
        return VectorSets(sets.values, Layout(sets.layout.offsets))


def test_a_mixer_that_changes_the_sets_is_refused():
    stack = ReversibleStack([Block(Relays(), FeedForward(WIDTH, 8), WIDTH)], WIDTH).double()
    with pytest.raises(InputError, match="has Relays, which changes what edges carry, expected mixers that do not"):
        stack(sets_of(3))


def test_calls_that_cannot_be_are_refused():
    stack, sets = ReversibleStack(blocks_of(1), WIDTH).double(), sets_of(3)
    with pytest.raises(InputError, match="was given a context, expected sets alone"):
        stack(sets, context=sets)
    with pytest.raises(InputError, match="there are 0 states, expected 1"):
        stack(sets, states=[])
    learned = Layout(sets.layout.offsets, torch.zeros(3, 2, requires_grad=True))
    with pytest.raises(InputError, match="was given coords that learn, expected fixed ones"):
        stack(VectorSets(sets.values, learned))
