"""A model of `Segments` reads a text segment by segment: in effect in one pass with a memory of everything, else as its paper."""

import pytest
import torch
from streamed import WIDTH, drawn, made, paper, segmented

from regard import Layout, VectorSets
from regard.attention import parse
from regard.attention.adapters.segments import Segments
from regard.data.batch import Batch
from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.memory import Memory
from regard.models.pieces import Front
from regard.models.remembering import memory_of


@pytest.mark.parametrize(
    ("attention", "positions"),
    [
        ("Segments(memory=64)", "none"),
        ("Segments(Attention(pattern=Causal()), memory=64)", "rotary"),
        ("Segments(Attention(pattern=Causal()), memory=64)", "sinusoidal"),
        ("Segments(Attention(pattern=Causal()), memory=64)", "learned"),
        ("Segments(Attention(pattern=Causal(), bias=ALiBi()), memory=64)", "none"),
        ("Segments(Attention(pattern=Window(5, 0) | First(2) & Causal(), bias=Shaw(3)), memory=64)", "none"),
        ("Segments(Attention(score=Additive(), pattern=Stride(3) & Causal(), bias=T5(buckets=8)), memory=64)", "none"),
        ("Segments(Attention(score=Kernel(), pattern=Causal(), normalizer=Sum()), memory=64)", "rotary"),
    ],
)
@pytest.mark.parametrize("norm", ["pre", "post"])
@torch.no_grad()
def test_with_a_memory_of_everything_it_is_one_pass(attention, positions, norm):
    model = made(attention, positions, norm=norm)
    streams = drawn(23, 9, 0, 17)
    whole = model(Batch(VectorSets.pack(streams))).values.split([len(each) for each in streams])
    found = segmented(model, streams, [4, 5, 12], memory_of(model))
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@torch.no_grad()
def test_without_a_memory_it_is_the_attention_itself():
    ids = Batch(VectorSets.pack(drawn(7, 3)))
    segments, plain = made("Segments(memory=64)"), made("Attention(pattern=Causal(), bias=TransformerXL())")
    assert torch.equal(segments(ids).values, plain(ids).values)
    assert memory_of(made("Segments(memory=0)")) is None
    assert memory_of(plain) is None
    # Each segment is then read alone.
    nothing, streams = Memory(0), drawn(6, 6)
    found = segmented(segments, streams, [4], nothing)
    for stream, values in zip(streams, found, strict=True):
        alone = [segments(Batch(VectorSets.pack([part]))).values for part in (stream[:4], stream[4:])]
        torch.testing.assert_close(values, torch.cat(alone), rtol=0, atol=1e-12)


def written_out(model, ids, length, cuts):
    """The whole model on one stream, segment by segment, with the memory of the paper: inputs of each block, without gradient."""
    blocks = list(model.stack.blocks)
    memories, out = [torch.zeros(0, WIDTH, dtype=torch.float64)] * len(blocks), []
    for begin, end in zip((0, *cuts), (*cuts, len(ids)), strict=True):
        h = model.front(Batch(VectorSets.pack([ids[begin:end]]))).values
        for n, block in enumerate(blocks):
            entered, memory = h, memories[n]
            h = h + paper(block.mixer, block.norm_mixer(h), block.norm_mixer(memory))
            h = h + block.feed_forward(block.norm_feed_forward(h))
            memories[n] = torch.cat([memory, entered.detach()])[-length:] if length else memory
        out.append(model.stack.norm(h))
    return torch.cat(out)


@pytest.mark.parametrize("length", [1, 3, 5, 100])
def test_values_and_gradients_are_those_of_the_paper(length):
    model, ids, cuts = made(), drawn(14)[0], [4, 8, 9]
    results = []
    for run in (
        lambda: segmented(model, [ids], cuts, Memory(length))[0],
        lambda: written_out(model, ids, length, cuts),
    ):
        model.zero_grad()
        values = run()
        values[4:].square().sum().backward()
        results.append((values.detach(), {name: each.grad for name, each in model.named_parameters()}))
    (values, gradients), (expected, others) = results
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-11)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-9, atol=1e-10, msg=name)


def test_no_gradient_reaches_an_earlier_segment():
    stack, memory = made().stack, Memory(8)
    earlier, later = (torch.randn(3, WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(2))
    stack(memory.begin(VectorSets.pack([earlier]), [0]), memory=memory)
    stack(memory.begin(VectorSets.pack([later]), [3]), memory=memory).values.square().sum().backward()
    assert earlier.grad is None
    assert (later.grad != 0).all()


@torch.no_grad()
def test_streams_of_a_batch_change_nothing_of_one_another():
    model, streams = made("Segments(memory=3)"), drawn(15, 15, 15)
    together = segmented(model, streams, [5, 10], memory_of(model))
    for stream, values in zip(streams, together, strict=True):
        alone = segmented(model, [stream], [5, 10], memory_of(model))[0]
        torch.testing.assert_close(values, alone, rtol=0, atol=1e-12)


@torch.no_grad()
def test_streams_begin_anew_end_and_are_as_long_as_they_are():
    model, (a, b, c) = made("Segments(memory=4)"), drawn(9, 6, 4)
    memory = memory_of(model)

    def read(ids, starts):
        return model(Batch(VectorSets.pack(ids), starts=starts), memory=memory).values

    read([a[:3], b[:3]], (0, 0))
    assert memory.lengths.tolist() == [3, 3]
    # The second stream is a new one, a third comes.
    values = read([a[3:6], c, b[:1]], (3, 0, 0))
    expected = model(Batch(VectorSets.pack([a[:6], c, b[:1]]))).values
    torch.testing.assert_close(values, torch.cat([expected[3:10], expected[10:]]), rtol=0, atol=1e-12)
    # The others have ended.
    values = read([a[6:]], (6,))
    torch.testing.assert_close(values, segmented(model, [a], [3, 6], Memory(4))[0][6:], rtol=0, atol=1e-12)
    assert memory.lengths.tolist() == [4]


@torch.no_grad()
def test_a_memory_goes_on_from_what_was_saved_of_it():
    model, (ids,) = made("Segments(memory=5)"), drawn(9)
    memory, again = memory_of(model), memory_of(model)
    model(Batch(VectorSets.pack([ids[:4]]), starts=(0,)), memory=memory)
    again.load_state_dict(memory.state_dict())
    rest = Batch(VectorSets.pack([ids[4:]]), starts=(4,))
    assert torch.equal(model(rest, memory=memory).values, model(rest, memory=again).values)


def test_fewer_key_heads_and_no_added_vectors():
    torch.manual_seed(0)
    layer = SelfAttention(8, 4, parse("Segments(memory=9)"), key_heads=2, bias=False).double()
    x, memory = torch.randn(7, 8, dtype=torch.float64), Memory(9)
    whole = layer(VectorSets.pack([x])).values
    parts = []
    for begin, end in ((0, 3), (3, 7)):
        sets = memory.begin(VectorSets.pack([x[begin:end]]), [begin])
        parts.append(layer(sets, memory=memory.recall(0, sets.values)).values)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)


def test_the_text_form_names_the_memory():
    assert repr(Segments()) == "Segments()"
    assert parse("Segments(memory=7)").memory == 7
    assert parse(repr(parse("Segments(Attention(pattern=Window(9, 0)), 7)"))).attention.extent == (9, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Segments(memory=-1), "Segments has memory -1, expected at least 0"),
        (lambda: parse("Segments(Attention())"), r"Segments has attention Attention\(\), which looks at later vectors"),
        (lambda: Memory(-1), "Memory has length -1, expected at least 0"),
        (lambda: memory_of(made("Attention(pattern=Causal())"), 9), "a memory of 9 was asked for and the model's"),
        (
            lambda: memory_of(made(mixer="lstm+attention")),
            r"the model has Segments\(memory=64\), and joins ids, or has",
        ),
        (lambda: memory_of(made(front=Front(ngrams=2))), "and joins ids"),
        (lambda: memory_of(made(front=Front(step=2))), "and joins ids"),
        (lambda: memory_of(made(positions="floater")), "or the positions floater"),
    ],
)
def test_what_cannot_remember_is_refused(make, message):
    with pytest.raises(InputError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_a_set_that_begins_elsewhere_is_refused():
    memory = Memory(4)
    sets = VectorSets.pack([torch.ones(2, 4), torch.ones(3, 4)])
    with pytest.raises(InputError, match="set 1 begins at place 2 of its stream, expected 0, where"):
        memory.begin(sets, [0, 2])
    memory.begin(sets, [0, 0])
    with pytest.raises(InputError, match="set 0 begins at place 3 of its stream, expected 2, where the memory"):
        memory.begin(sets, [3, 3])
    places = VectorSets(torch.ones(2, 4), Layout(torch.tensor([0, 2]), places=torch.tensor([1, 0])))
    with pytest.raises(InputError, match="a memory reads rows in their order"):
        memory.begin(places, [0])
