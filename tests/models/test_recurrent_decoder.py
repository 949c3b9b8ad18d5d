"""The recurrent encoder and decoder compute Bahdanau's formulas, written out here for one sentence at a time."""

from dataclasses import replace

import pytest
import torch
from test_encoder_decoder import (
    ENTRIES,
    SOURCES,
    TARGET_LENGTHS,
    encoding_of,
    example_alone,
    example_batch,
    model_of,
    without_targets,
    written_step_by_step,
)

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.gated import BothWays, GatedUnit
from regard.models.recurrent_decoder import RecurrentEncoderDecoder
from regard.sets import VectorSets
from regard.train.kinds import build

OPTIONS = RecurrentEncoderDecoder(width=6, hidden=5, aligned=7, maxout=6, dropout=0.0)
N = OPTIONS.hidden


def unit_by_hand(unit, x, s):
    """z, r, the candidate and the next state, gate by gate."""
    w, b = unit.into.weight.split(N), unit.into.bias.split(N)
    u = unit.gates.weight.split(N)
    z = torch.sigmoid(w[0] @ x + u[0] @ s + b[0])
    r = torch.sigmoid(w[1] @ x + u[1] @ s + b[1])
    made = torch.tanh(w[2] @ x + unit.candidate.weight @ (r * s) + b[2])
    return (1 - z) * s + z * made


def logits_by_hand(model, source, target, after=False):
    """The logits at each target of one sentence; ids in, numbers out."""
    read = model.front.embed.tables[0].weight * 6**0.5
    written = model.target_embed.tables[0].weight * 6**0.5
    forward, backward = model.encoder.networks
    decoder, unit = model.decoder, model.decoder.unit
    zero = torch.zeros(N, dtype=torch.float64)
    there, back, s = [], [], zero
    for n in source:
        s = unit_by_hand(forward, read[n], s)
        there.append(s)
    s = zero
    for n in reversed(source):
        s = unit_by_hand(backward, read[n], s)
        back.insert(0, s)
    h = [torch.cat(both) for both in zip(there, back, strict=True)]
    s = torch.tanh(decoder.start.weight @ back[0] + decoder.start.bias)
    v = decoder.attend.learned["score_weight"][0]
    logits = []
    for y in [written[n] for n in (1, *target[:-1])]:
        e = torch.stack([v @ torch.tanh(decoder.query.weight @ s + decoder.key.weight @ hj) for hj in h])
        weights = e.exp() / e.exp().sum()
        c = sum(a * hj for a, hj in zip(weights, h, strict=True))
        before = s
        # The matrices W and C of the paper side by side, for [E y; c].
        both = torch.cat([unit.into.weight, decoder.of_context.weight], 1)
        whole = GatedUnit(6 + 2 * N, N).double()
        whole.into.weight.data, whole.into.bias.data = both.data, unit.into.bias.data
        whole.gates, whole.candidate = unit.gates, unit.candidate
        s = unit_by_hand(whole, torch.cat([y, c]), s)
        of_state, of_word, of_context = decoder.readout.weight.split([N, 6, 2 * N], dim=1)
        t = of_state @ (s if after else before) + of_word @ y + of_context @ c + decoder.readout.bias
        t = torch.stack([torch.maximum(t[2 * i], t[2 * i + 1]) for i in range(6)])
        logits.append(model.output @ t)
    return torch.stack(logits)


@pytest.mark.parametrize("readout", ["before", "after"])
def test_it_is_what_the_paper_says(readout):
    model = model_of(replace(OPTIONS, readout=readout))
    batch = example_batch()
    found = model.logits(model(batch).values)
    expected = torch.cat(
        [
            logits_by_hand(model, source.tolist(), target.tolist(), readout == "after")
            for source, target in zip(batch.inputs.unpack(), batch.target_sets.unpack(), strict=True)
        ]
    )
    assert torch.allclose(found, expected, atol=1e-12)
    above = torch.randn_like(found)
    weights = [
        model.front.embed.tables[0].weight,
        model.decoder.key.weight,
        model.decoder.query.weight,
        model.decoder.attend.learned["score_weight"],
        model.decoder.start.weight,
        model.encoder.networks[1].candidate.weight,
        model.decoder.readout.weight,
    ]
    for a, b in zip(
        torch.autograd.grad(found, weights, above), torch.autograd.grad(expected, weights, above), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-10)


def test_gates_multiply_the_state_before_the_matrix():
    """Of one number: z = sigmoid(0) = 1/2, r = sigmoid(ln 3) = 3/4, s~ = tanh(2 * 3/4 * 1)."""
    unit = GatedUnit(1, 1)
    with torch.no_grad():
        unit.into.weight.zero_()
        unit.into.bias.copy_(torch.tensor([0.0, 3.0, 0.0]).log1p() * torch.tensor([0.0, 1.0, 0.0]))
        unit.into.bias[1] = torch.tensor(3.0).log()
        unit.gates.weight.zero_()
        unit.candidate.weight.fill_(2.0)
    state = unit.step(unit.into(torch.zeros(1, 1)), torch.ones(1, 1))
    assert state.item() == pytest.approx(0.5 + 0.5 * torch.tensor(1.5).tanh().item())


def test_states_of_both_ways_stay_in_their_sets():
    layer = BothWays(3, 4).double()
    sets = VectorSets.pack([torch.randn(n, 3, dtype=torch.float64) for n in (4, 0, 1, 9)])
    states = layer(sets)
    assert states.values.shape == (14, 8)
    for b, one in enumerate(sets):
        assert torch.allclose(layer(one).values, states[b].values, atol=1e-12)
    first = layer.first_of_backward(states)
    assert torch.equal(first[1], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(first[2:], states.values[[4, 5], 4:])


@torch.no_grad()
def test_sets_are_apart_and_the_future_is_not_read():
    model, batch = model_of(OPTIONS), example_batch([3, 6, 0, 2], [5, 2, 3, 1])
    whole = model(batch)
    for b, one in enumerate(whole.unpack()):
        assert torch.allclose(model(example_alone(batch, b)).values, one, atol=1e-12)
    targets = batch.target_sets.values.clone()
    targets[2] = 3 + (targets[2] - 2) % 8
    after = model(replace(batch, targets=batch.target_sets.with_values(targets))).values
    assert torch.equal(after[:3], whole.values[:3])
    assert torch.equal(after[5:], whole.values[5:])
    assert (after[3:5] != whole.values[3:5]).any(1).all()


@pytest.mark.parametrize("readout", ["before", "after"])
@torch.no_grad()
def test_steps_equal_whole_sequences(readout):
    options = replace(OPTIONS, readout=readout)
    model, batch = model_of(options), example_batch([3, 6, 1, 2, 4], [5, 2, 7, 1, 3])
    assert torch.allclose(written_step_by_step(model, batch), model.logits(model(batch).values), atol=1e-10)
    single = model_of(options, dtype=torch.float32)
    whole = single.logits(single(batch).values)
    assert (written_step_by_step(single, batch) - whole).abs().max() <= 1e-5 * whole.abs().max()


@torch.no_grad()
def test_selected_rows_go_on_as_they_would_alone():
    model, sources = model_of(OPTIONS), example_batch([3, 6, 1, 2], [1, 1, 1, 1])
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


def test_keys_are_computed_once():
    model, calls = model_of(OPTIONS), []
    model.decoder.key.register_forward_hook(lambda *call: calls.append(call))
    batch = example_batch()
    model(batch)
    assert len(calls) == 1
    stepper = model.stepper(without_targets(batch))
    for _ in range(3):
        stepper.next(torch.ones(4, dtype=torch.int64))
    assert len(calls) == 2


def test_tables_and_dropout():
    shared = model_of(OPTIONS, encoding_of(ENTRIES))
    assert shared.output is shared.front.embed.tables[0].weight
    loose = model_of(replace(OPTIONS, tied=False, maxout=9), encoding_of(ENTRIES))
    assert loose.output.shape == (len(ENTRIES), 9)
    assert loose.target_embed is not None
    model, batch = model_of(replace(OPTIONS, dropout=0.5)).train(), example_batch()
    assert (model(batch).values == 0).float().mean() > 0.2
    assert not model(
        replace(batch, targets=batch.target_sets.select([]), inputs=batch.inputs.select([]))
    ).values.numel()
    assert len(model(batch).values) == sum(TARGET_LENGTHS)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"model.maxout is 64 and model.width 128, expected the same where model.tied"):
        RecurrentEncoderDecoder(maxout=64)
    with pytest.raises(InputError, match=r"which reads places, expected an attention without pattern and bias"):
        build(replace(OPTIONS, attention="Attention(pattern=Causal())"), encoding_of())
    with pytest.raises(InputError, match=r"the targets of the data are missing"):
        build(OPTIONS, Encoding(columns={"piece": SOURCES}))
    dots = build(replace(OPTIONS, attention="Attention()"), encoding_of()).double()
    assert dots(example_batch()).values.isfinite().all()
