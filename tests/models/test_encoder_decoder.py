"""Encoder and decoder together are torch's Transformer; nothing leaks from the future or from other sets; steps equal wholes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from regard.data.batch import Batch, collate
from regard.data.encoding import BEGIN, END, Encoding, Labels
from regard.data.examples import Example, VectorSet
from regard.errors import InputError
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.pieces import Front, Positions
from regard.sets import VectorSets
from regard.train.kinds import build

ENTRIES = ("<unknown>", BEGIN, END, *"abcdefgh")
SOURCES = ("<unknown>", *"uvwxyz")
SOURCE_LENGTHS, TARGET_LENGTHS = [3, 6, 1, 2], [5, 2, 7, 1]
OPTIONS = EncoderDecoder(width=16, layers=2, decoder_layers=3, heads=4, feed_forward=24, dropout=0.0)


def encoding_of(sources=SOURCES):
    return Encoding(Encoding(columns={"piece": ENTRIES}), columns={"piece": sources})


def model_of(options=OPTIONS, encoding=None, dtype=torch.float64):
    torch.manual_seed(0)
    model = build(options, encoding or encoding_of()).to(dtype).eval()
    with torch.no_grad():
        # Biases and norms begin at values that hide mistakes.
        for x in model.parameters():
            x.add_(0.1 * torch.randn_like(x))
    return model


def example_batch(sources=SOURCE_LENGTHS, targets=TARGET_LENGTHS, seed=1):
    """Ragged sources, and targets that end in the id of the end."""
    draw = np.random.default_rng(seed)
    return collate(
        [
            Example(
                draw.integers(1, 7, n),
                VectorSet(np.append(draw.integers(3, len(ENTRIES), m - 1), 2))
                if m
                else VectorSet(np.zeros(0, np.int64)),
                f"{n} {m}",
                "sets",
            )
            for n, m in zip(sources, targets, strict=True)
        ]
    )


def without_targets(batch):
    return replace(batch, targets=None, target_kind=None)


def torchs(model, options):
    """`torch.nn.Transformer` with the weights of a model."""
    settings = {"batch_first": True, "norm_first": options.norm == "pre", "dtype": torch.float64}
    sizes = options.width, options.heads, options.feed_forward, 0.0, options.activation

    def norm():
        return nn.LayerNorm(options.width, dtype=torch.float64) if options.norm == "pre" else None

    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(*sizes, **settings), options.layers, norm(), enable_nested_tensor=False
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(*sizes, **settings), options.decoder_layers, norm())
    theirs = nn.Transformer(
        options.width, options.heads, custom_encoder=encoder, custom_decoder=decoder, batch_first=True
    )
    for stack, side in ((model.encoder.stack, encoder), (model.decoder.stack, decoder)):
        if options.norm == "pre":
            side.norm.load_state_dict(stack.norm.state_dict())
        for block, layer in zip(stack.blocks, side.layers, strict=True):
            load(block, layer)
    return theirs


def load(block, layer):
    norms = (
        ["norm_mixer", "norm_feed_forward"]
        if block.cross is None
        else ["norm_mixer", "norm_cross", "norm_feed_forward"]
    )
    pairs = [(getattr(block, name), getattr(layer, f"norm{n}")) for n, name in enumerate(norms, 1)]
    pairs += [(block.feed_forward.into, layer.linear1), (block.feed_forward.out, layer.linear2)]
    pairs.append((block.mixer.out, layer.self_attn.out_proj))
    with torch.no_grad():
        for kind in ("weight", "bias"):
            getattr(layer.self_attn, f"in_proj_{kind}").copy_(getattr(block.mixer.project, kind))
            if block.cross is not None:
                both = [getattr(part, kind) for part in (block.cross.project_query, block.cross.project_memory)]
                getattr(layer.multihead_attn, f"in_proj_{kind}").copy_(torch.cat(both))
                pairs.append((block.cross.out, layer.multihead_attn.out_proj))
            for ours, theirs in pairs:
                getattr(theirs, kind).copy_(getattr(ours, kind))


def sinusoids(length, width):
    table = torch.zeros(length, width, dtype=torch.float64)
    for place in range(length):
        for i in range(0, width, 2):
            angle = place / 10000 ** (i / width)
            table[place, i], table[place, i + 1] = math.sin(angle), math.cos(angle)
    return table


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("shared", [True, False])
def test_it_is_torchs_transformer(norm, activation, shared):
    options = replace(OPTIONS, norm=norm, activation=activation)
    model = model_of(options, encoding_of(ENTRIES if shared else SOURCES))
    theirs, batch = torchs(model, options), example_batch()
    tables = [model.encoder.front.embed.tables[0].weight]
    tables.append(tables[0] if shared else model.target_embed.tables[0].weight)
    copies = [table.detach().clone().requires_grad_() for table in tables[: 2 - shared]]

    (source, known), (target, real) = batch.inputs.to_padded(), batch.target_sets.to_padded()
    before = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], 1)
    x, y = (
        copies[side][ids] * math.sqrt(options.width) + sinusoids(ids.shape[1], options.width)
        for side, ids in ((0, source), (-1, before))
    )
    causal = torch.ones(y.shape[1], y.shape[1], dtype=torch.bool).triu(1)
    hidden = theirs(
        x, y, tgt_mask=causal, src_key_padding_mask=~known, tgt_key_padding_mask=~real, memory_key_padding_mask=~known
    )[real]
    expected = hidden @ copies[-1].T

    found = model(batch)
    assert found.layout is batch.target_sets.layout
    logits = model.logits(found.values)
    assert torch.allclose(logits, expected, atol=1e-10)
    above = torch.randn_like(expected)
    ours = [*tables[: 2 - shared], model.decoder.stack.blocks[1].cross.out.weight]
    ours += [model.encoder.stack.blocks[0].feed_forward.into.weight, model.decoder.stack.blocks[0].mixer.out.bias]
    others = [*copies, theirs.decoder.layers[1].multihead_attn.out_proj.weight]
    others += [theirs.encoder.layers[0].linear1.weight, theirs.decoder.layers[0].self_attn.out_proj.bias]
    for a, b in zip(
        torch.autograd.grad(logits, ours, above), torch.autograd.grad(expected, others, above), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-9)


def test_tables_are_tied_where_ids_are_the_same():
    shared, apart, loose = (
        model_of(replace(OPTIONS, tied=tied), encoding_of(sources))
        for tied, sources in ((True, ENTRIES), (True, SOURCES), (False, ENTRIES))
    )
    assert shared.target_embed is None
    assert shared.output is shared.encoder.front.embed.tables[0].weight
    assert apart.output is apart.target_embed.tables[0].weight
    assert apart.output.shape == (len(ENTRIES), 16)
    assert apart.encoder.front.embed.tables[0].weight.shape == (len(SOURCES), 16)
    assert loose.target_embed is not None
    assert loose.output is loose.scores.weight
    # Each number once, so that files do not hold tables twice.
    for model in (shared, apart, loose):
        assert len({x.data_ptr() for x in model.state_dict().values()}) == len(model.state_dict())
    rare = build(replace(OPTIONS, width=64), encoding_of(ENTRIES * 20)).encoder.front.embed
    assert rare.tables[0].weight.std().item() == pytest.approx(1 / 8, rel=0.1)
    assert rare.scale == 8
    plain = build(replace(OPTIONS, width=64, scaled=False), encoding_of(ENTRIES * 20)).encoder.front.embed
    assert plain.tables[0].weight.std().item() == pytest.approx(1, rel=0.1)
    assert plain.scale == 1


@torch.no_grad()
def test_later_targets_change_nothing_before():
    model, batch = model_of(), example_batch([4, 2], [6, 3])
    before = model(batch).values
    for place in range(6):
        targets = batch.target_sets.values.clone()
        targets[place] = 3 + (targets[place] - 2) % 8
        after = model(replace(batch, targets=batch.target_sets.with_values(targets))).values
        # A target is read from the next place on, and by its own set alone.
        assert torch.equal(after[: place + 1], before[: place + 1])
        assert torch.equal(after[6:], before[6:])
        assert (after[place + 1 : 6] != before[place + 1 : 6]).any(1).all()


@torch.no_grad()
def test_each_set_attends_to_the_source_of_its_number():
    model, batch = model_of(), example_batch()
    before = model(batch).unpack()
    sources = batch.inputs.values.clone()
    sources[:3] = 1 + sources[:3] % 6
    after = model(replace(batch, inputs=batch.inputs.with_values(sources))).unpack()
    assert (after[0] != before[0]).any(1).all()
    for b in (1, 2, 3):
        assert torch.allclose(after[b], before[b], atol=1e-12)
    alone = [model(example_alone(batch, b)).values for b in range(4)]
    for one, many in zip(alone, before, strict=True):
        assert torch.allclose(one, many, atol=1e-12)


def example_alone(batch, b):
    return Batch(batch.inputs[b], batch.target_sets[b], target_kind="sets")


@torch.no_grad()
def test_empty_sources_and_targets():
    model = model_of()
    hidden = model(example_batch([0, 3, 2], [2, 0, 4]))
    assert hidden.layout.lengths.tolist() == [2, 0, 4]
    assert hidden.values.isfinite().all()
    stepper = model.stepper(without_targets(example_batch([0, 3], [1, 1])))
    assert stepper.next(torch.tensor([1, 1])).isfinite().all()


def written_step_by_step(model, batch):
    """The logits at each target, by steps that are given the targets."""
    stepper = model.stepper(without_targets(batch))
    assert (len(stepper), stepper.vocabulary) == (len(batch), len(ENTRIES))
    targets, alive = batch.target_sets.unpack(), list(range(len(batch)))
    logits = [[] for _ in targets]
    ids = torch.ones(len(alive), dtype=torch.int64)
    for step in range(max(map(len, targets))):
        keep = [row for row, b in enumerate(alive) if len(targets[b]) > step]
        stepper.select(torch.tensor(keep))
        alive, ids = [alive[row] for row in keep], ids[keep]
        for b, found in zip(alive, stepper.next(ids), strict=True):
            logits[b].append(found)
        ids = torch.stack([targets[b][step] for b in alive])
    return torch.stack([x for each in logits for x in each])


STEPPED = {
    "sinusoidal": OPTIONS,
    "post": replace(OPTIONS, norm="post"),
    "rotary": replace(OPTIONS, positions=Positions("rotary")),
    "learned": replace(OPTIONS, positions=Positions("learned", 20)),
    "none": replace(OPTIONS, positions=Positions("none")),
    "floater": replace(OPTIONS, positions=Positions("floater")),
    "linear": replace(OPTIONS, decoder_attention="Attention(Kernel(), Causal(), Sum())"),
    "window": replace(OPTIONS, decoder_attention="Remember(Attention(pattern=Window(2, 0), bias=ALiBi()))"),
    "placed cross": replace(OPTIONS, cross_attention="Attention(bias=T5())"),
    "separate": replace(OPTIONS, tied=False),
}


@pytest.mark.parametrize("name", STEPPED)
@torch.no_grad()
def test_steps_equal_whole_sequences(name):
    model, batch = model_of(STEPPED[name]), example_batch([3, 6, 1, 2, 4], [5, 2, 7, 1, 3])
    whole = model.logits(model(batch).values)
    assert torch.allclose(written_step_by_step(model, batch), whole, atol=1e-10)


@torch.no_grad()
def test_single_precision_steps_are_within_1e_5():
    model, batch = model_of(dtype=torch.float32), example_batch()
    whole = model.logits(model(batch).values)
    found = written_step_by_step(model, batch)
    assert (found - whole).abs().max() <= 1e-5 * whole.abs().max()


@pytest.mark.parametrize("options", [OPTIONS, STEPPED["placed cross"]], ids=["orderless", "placed"])
@torch.no_grad()
def test_selected_rows_go_on_as_they_would_alone(options):
    """Rows that repeat, swap and vanish, as those of a beam do: each equals its own source and its own past."""
    model, sources = model_of(options), example_batch([3, 6, 1, 2], [1, 1, 1, 1])
    stepper, draw = model.stepper(without_targets(sources)), torch.Generator().manual_seed(2)
    owner, past = [0, 1, 2, 3], [[], [], [], []]
    for rows in ([0, 0, 1, 1, 2, 2, 3, 3], [1, 0, 0, 2, 3, 5, 6, 6], [3, 3, 4, 7], [3, 0, 1], [0, 1, 2, 2]):
        ids = torch.randint(1, len(ENTRIES), (len(owner),), generator=draw)
        found = stepper.next(ids)
        past = [[*before, int(new)] for before, new in zip(past, ids, strict=True)]
        for row, (b, read) in enumerate(zip(owner, past, strict=True)):
            again = model.stepper(Batch(sources.inputs[b]))
            for one in read:
                last = again.next(torch.tensor([one]))
            assert torch.allclose(last[0], found[row], atol=1e-10)
        stepper.select(torch.tensor(rows))
        owner, past = [owner[row] for row in rows], [past[row] for row in rows]
        assert len(stepper) == len(rows)


@torch.no_grad()
def test_the_memory_is_projected_once_and_copied_for_no_hypothesis():
    model, calls = model_of(), []
    for block in model.decoder.stack.blocks:
        block.cross.project_memory.register_forward_hook(lambda *call: calls.append(call))
    stepper = model.stepper(Batch(example_batch().inputs))
    for _ in range(4):
        stepper.next(torch.ones(len(stepper), dtype=torch.int64))
        stepper.select(
            torch.arange(4).repeat_interleave(2) if len(stepper) == 4 else torch.tensor([1, 0, 2, 2, 4, 5, 6, 7])
        )
        assert all(context.k.shape[0] == sum(SOURCE_LENGTHS) for context in stepper._contexts.blocks)
    assert len(calls) == OPTIONS.decoder_layers


@torch.no_grad()
def test_layers_share_what_is_derived_from_their_layouts():
    """One plan serves all layers of a step, and what is selected follows the numbers and not the tensor that holds them."""
    model = model_of()
    stepper = model.stepper(Batch(example_batch().inputs))
    for rows in ([0, 0, 1, 3], [3, 1], [1, 1, 0]):
        stepper.next(torch.arange(len(stepper)) + 3)
        stepper.select(torch.tensor(rows))
        stepper.next(torch.arange(len(stepper)) + 3)
        assert len({id(state.value.layout) for state in stepper._states}) == 1
        assert len({(id(known.layout), id(known.queries)) for known in stepper._contexts.blocks}) == 1
    stepper = model.stepper(Batch(example_batch().inputs))
    stepper.select(torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    as_wide = stepper._contexts.blocks[0].queries
    stepper.next(torch.arange(8) + 3)
    stepper.select(torch.tensor([1, 0, 2, 2, 4, 5, 7, 6]))
    assert stepper._contexts.blocks[0].queries is as_wide
    state, chosen = stepper._states[0].value, torch.tensor([0])
    before = state.select(chosen)
    chosen[0] = 2
    assert torch.equal(state.select(chosen).k, state.select(torch.tensor([2])).k)
    assert not torch.equal(state.select(chosen).k, before.k)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"the targets of the data are missing, expected sets of ids"):
        build(OPTIONS, Encoding(columns={"piece": SOURCES}))
    with pytest.raises(InputError, match=r"the targets of the data are labels, expected sets of ids"):
        build(OPTIONS, Encoding(Labels(("a", "b")), columns={"piece": SOURCES}))
    with pytest.raises(InputError, match=r"the vocabulary has no entry <begin>"):
        build(OPTIONS, Encoding(Encoding(columns={"piece": ("a", "b")}), columns={"piece": SOURCES}))
    with pytest.raises(
        InputError, match=r"model.decoder_attention must be one that remembers: .* looks at later vectors"
    ):
        EncoderDecoder(decoder_attention="Attention()")
    with pytest.raises(InputError, match=r"model.width is 10, expected a multiple of the 4 heads"):
        EncoderDecoder(width=10)
    model, batch = model_of(), example_batch()
    with pytest.raises(InputError, match=r"ids have shape \[2\].*expected \[4\] of int64"):
        model.stepper(Batch(batch.inputs)).next(torch.tensor([1, 1]))
    with pytest.raises(InputError, match=r"set 0 has id 11, expected less than 11"):
        model.stepper(Batch(batch.inputs)).next(torch.full((4,), 11))
    wrong = VectorSets(torch.ones(15, 2), batch.target_sets.layout)
    with pytest.raises(InputError, match=r"expected one id for each vector"):
        model(replace(batch, targets=wrong))
    with pytest.raises(InputError, match=r"the task has a set of targets per set, but the data has one target per set"):
        model(Batch(batch.inputs, torch.zeros(4, dtype=torch.int64), target_kind="set"))
    with pytest.raises(InputError, match=r"expected less than 4: the learned positions end there"):
        model_of(replace(OPTIONS, positions=Positions("learned", 4)))(example_batch([1], [5]))


def test_frames_can_be_read_and_ids_written():
    options = replace(OPTIONS, front=Front(step=2, stem="convolution"))
    encoding = Encoding(Encoding(columns={"token": ENTRIES}), width=5)
    model = model_of(options, encoding, torch.float32)
    sets = VectorSets.pack([torch.randn(7, 5), torch.randn(4, 5)])
    targets = VectorSets.pack([torch.tensor([4, 5, 2]), torch.tensor([2])])
    batch = Batch(sets, targets, target_kind="sets")
    assert model(batch).values.shape == (4, 16)
    assert model(Batch(sets)).layout.lengths.tolist() == [4, 2]
    assert model.longest is None
    assert model_of(STEPPED["learned"]).longest == 20
