"""A memory whose oldest vectors are compressed: at a rate of 1 a longer memory, else as its paper; what compression learns."""

import pytest
import torch
from streamed import WIDTH, drawn, made, paper, segmented

from regard import VectorSets
from regard.attention import parse
from regard.attention.adapters.compressive import Compressive
from regard.data.batch import Batch
from regard.errors import InputError
from regard.layers.compression import CompressedMemory
from regard.layers.memory import Memory
from regard.models.remembering import memory_of

CUTS = [4, 5, 9, 14, 15, 21]


@pytest.mark.parametrize("by", ["mean", "max", "convolution"])
@torch.no_grad()
def test_at_a_rate_of_1_it_is_a_longer_memory(by):
    model = made(f"Compressive(memory=3, compressed=5, rate=1, by='{by}')")
    if by == "convolution":
        for block in model.stack.blocks:
            block.mixer.attend.learned["compress"].copy_(torch.eye(WIDTH)[None])
    streams = drawn(25, 25, 25)
    found = segmented(model, streams, CUTS, memory_of(model))
    for one, other in zip(found, segmented(model, streams, CUTS, Memory(8)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@torch.no_grad()
def test_what_never_leaves_the_memory_is_not_compressed():
    model, streams = made("Compressive(memory=30, rate=2)"), drawn(25, 7, 0)
    whole = model(Batch(VectorSets.pack(streams))).values.split([25, 7, 0])
    for one, other in zip(segmented(model, streams, CUTS, memory_of(model)), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def compressed(adapter, group, layer):
    if adapter.by == "mean":
        return sum(group) / len(group)
    if adapter.by == "max":
        return torch.stack(group).amax(0)
    return sum(x @ w for x, w in zip(group, layer.attend.learned["compress"], strict=True))


def content(block, h, memory):
    """attn(h, m) of algorithm 2: of contents alone, by weights that do not learn."""
    layer = block.mixer
    h, memory = (
        torch.nn.functional.layer_norm(x, (WIDTH,), block.norm_mixer.weight.detach(), block.norm_mixer.bias.detach())
        for x in (h, memory)
    )
    weights, biases = ([each.detach() for each in x.chunk(3)] for x in (layer.project.weight, layer.project.bias))
    q, k, v = (
        (x @ w.T + b).view(len(x), layer.heads, layer.d)
        for x, w, b in zip((h, memory, memory), weights, biases, strict=True)
    )
    weights = (torch.einsum("ihd,jhd->hij", q, k) / layer.d**0.5).softmax(-1)
    return torch.einsum("hij,jhd->ihd", weights, v)


def written_out(model, ids, cuts):
    """Algorithm 1 of Rae et al. 2019 on one stream, vector by vector, and the loss of the last segment by algorithm 2."""
    blocks, out = list(model.stack.blocks), []
    adapter = blocks[0].mixer.attend.attention
    plain, old = ([[] for _ in blocks] for _ in range(2))
    for begin, end in zip((0, *cuts), (*cuts, len(ids)), strict=True):
        h, loss = model.front(Batch(VectorSets.pack([ids[begin:end]]))).values, 0.0
        for n, block in enumerate(blocks):
            entered, memory = h, torch.stack([*old[n], *plain[n]]) if old[n] or plain[n] else h[:0].detach()
            h = h + paper(block.mixer, block.norm_mixer(h), block.norm_mixer(memory))
            h = h + block.feed_forward(block.norm_feed_forward(h))
            plain[n] += entered.detach().unbind()
            leaving, made = [], []
            while len(plain[n]) >= adapter.memory + adapter.rate:
                group, plain[n] = plain[n][: adapter.rate], plain[n][adapter.rate :]
                leaving, made = leaving + group, [*made, compressed(adapter, group, block.mixer)]
            if made:
                known = content(block, entered.detach(), torch.stack(leaving))
                guess = content(block, entered.detach(), torch.stack(made))
                loss = loss + (guess - known).square().mean()
            old[n] = [*old[n], *(each.detach() for each in made)][-adapter.compressed :]
        out.append(model.stack.norm(h))
    return torch.cat(out), loss


@pytest.mark.parametrize("by", ["convolution", "mean", "max"])
@pytest.mark.parametrize(("memory", "slots", "rate"), [(4, 2, 2), (3, 2, 3), (1, 9, 4)])
def test_values_gradients_and_loss_are_those_of_the_paper(by, memory, slots, rate):
    model = made(f"Compressive(memory={memory}, compressed={slots}, rate={rate}, by='{by}')")
    (ids,), results = drawn(25), []

    def ours():
        remembered = memory_of(model)
        return segmented(model, [ids], CUTS, remembered)[0], remembered.loss

    for run in (ours, lambda: written_out(model, ids, CUTS)):
        model.zero_grad()
        values, loss = run()
        (values[9:].square().sum() + loss).backward()
        gradients = {name: each.grad for name, each in model.named_parameters()}
        results.append((values.detach(), torch.as_tensor(loss).detach().double(), gradients))
    (values, loss, gradients), (expected, other, others) = results
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-11)
    if by == "convolution":
        torch.testing.assert_close(loss, other, rtol=1e-10, atol=0)
        assert other > 0
    else:
        assert loss == 0
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-9, atol=1e-10, msg=name)


def test_each_loss_teaches_its_own_weights_alone():
    model, streams = made("Compressive(memory=2, compressed=4, rate=2)"), drawn(25, 25)
    for part in ("task", "compression"):
        model.zero_grad()
        memory = memory_of(model)
        values = segmented(model, streams, CUTS, memory)[0]
        (values[-4:].square().sum() if part == "task" else memory.loss).backward()
        reached = {name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()}
        own = {name for name, _ in model.named_parameters() if name.endswith("learned.compress")}
        assert own
        assert reached == own if part == "compression" else reached and not reached & own


def test_weights_have_a_gradient_where_nothing_is_compressed():
    model = made("Compressive(memory=20)")
    memory = memory_of(model)
    segmented(model, drawn(5), [2], memory)
    memory.loss.backward()
    for block in model.stack.blocks:
        assert torch.equal(block.mixer.attend.learned["compress"].grad, torch.zeros(3, WIDTH, WIDTH).double())


@torch.no_grad()
def test_streams_change_nothing_of_one_another_and_begin_anew():
    model, streams = made("Compressive(memory=3, compressed=2, rate=2)"), drawn(20, 20, 20)
    cuts = [5, 11, 16]
    together = segmented(model, streams, cuts, memory_of(model))
    for stream, values in zip(streams, together, strict=True):
        alone = segmented(model, [stream], cuts, memory_of(model))[0]
        torch.testing.assert_close(values, alone, rtol=0, atol=1e-12)
    memory = memory_of(model)
    segmented(model, streams[:2], [9], memory)
    assert memory.compressed.tolist() == [2, 2]
    # The first stream is a new one, the others end.
    again = segmented(model, streams[2:], cuts, memory)[0]
    torch.testing.assert_close(again, together[2], rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_memory_goes_on_from_what_was_saved_of_it():
    model, (ids,) = made("Compressive(memory=2, compressed=3, rate=2)"), drawn(14)
    memory, again = memory_of(model), memory_of(model)
    segmented(model, [ids[:9]], [4], memory)
    again.load_state_dict(memory.state_dict())
    rest = Batch(VectorSets.pack([ids[9:]]), starts=(9,))
    assert torch.equal(model(rest, memory=memory).values, model(rest, memory=again).values)
    assert memory.compressed.tolist() == again.compressed.tolist() == [3]


@torch.no_grad()
def test_evaluation_may_remember_more_and_nothing_may_be_compressed():
    model = made("Compressive(memory=2, compressed=3, rate=2)")
    ids = drawn(25)
    whole = model(Batch(VectorSets.pack(ids))).values
    torch.testing.assert_close(segmented(model, ids, CUTS, memory_of(model, 40))[0], whole, rtol=0, atol=1e-12)
    assert isinstance(memory_of(model, 0), CompressedMemory)
    plain = made("Compressive(memory=2, compressed=0)")
    assert type(memory_of(plain)) is Memory
    assert memory_of(plain, 0) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Compressive(rate=0), "Compressive has rate 0, expected at least 1"),
        (lambda: Compressive(compressed=-1), "Compressive has compressed -1, expected at least 0"),
        (lambda: Compressive(by="sum"), "Compressive has by 'sum', expected one of convolution, mean, max"),
        (lambda: parse("Compressive(Attention())"), r"Compressive has attention Attention\(\), which looks at later"),
        (
            lambda: CompressedMemory(3, made().stack.blocks),
            "a block has SelfAttention and compresses nothing, expected",
        ),
        (lambda: CompressedMemory(-3, []), "CompressedMemory has length -3, expected at least 0"),
        (lambda: memory_of(made("Compressive()", mixer="lstm+attention")), r"the model has Compressive\(\), and joins"),
    ],
)
def test_what_cannot_be_compressed_is_refused(make, message):
    with pytest.raises(InputError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)
