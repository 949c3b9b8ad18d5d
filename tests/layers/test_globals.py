"""Global vectors with projections of their own: the attention of Longformer and ETC written out, and its limit, one projection."""

import pytest
import torch

from regard import Layout, VectorSets
from regard.attention import parse
from regard.attention.adapters.globals import Globals
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Edges, Window
from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.positions import Rotary

WIDTH, HEADS = 12, 3
LENGTHS = (11, 0, 2, 1, 7)


def made(text="Globals(Attention(pattern=Window(2, 1)), first=2)", **options):
    torch.manual_seed(0)
    layer = SelfAttention(WIDTH, HEADS, parse(text), **options).double()
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layer


def sets_of(*lengths, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, WIDTH, dtype=torch.float64, generator=generator) for n in lengths]


def written_out(layer, x):
    """Query by query. LongformerSelfAttention of `transformers`: a global query takes query_global, key_global and value_global for
    all vectors, any other query, key and value for its window and the global vectors. With "pairs" FusedGlobalLocalAttention of
    `etcmodel`: keys and values long-to-long, long-to-global, global-to-global and global-to-long."""
    adapter, own, n, d = layer.globals.adapter, layer.globals, len(x), layer.d
    q, k, v = (each.view(n, HEADS, d) for each in layer.project(x).chunk(3, dim=1))

    def made_by(linear):
        return linear(x).view(n, HEADS, d)

    outputs = []
    for i in range(n):
        keys, values = [], []
        for j in range(n):
            if i >= adapter.first and j >= adapter.first and not i - 2 <= j <= i + 1:
                continue
            kind = "plain" if i >= adapter.first else "global"
            if own.pairs and j < adapter.first:
                names = ("key_for_others", "value_for_others") if kind == "plain" else ("key_among", "value_among")
                key, value = (made_by(own.pairs[name])[j] for name in names)
            elif kind == "plain":
                key, value = k[j], v[j]
            else:
                key, value = made_by(own.key)[j], made_by(own.value)[j]
            keys.append(key)
            values.append(value)
        query = made_by(own.query)[i] if i < adapter.first else q[i]
        weights = (torch.stack(keys) * query).sum(-1).div(d**0.5).softmax(0)
        out = own.out if own.pairs and i < adapter.first else layer.out
        outputs.append(out((weights[..., None] * torch.stack(values)).sum(0).flatten()))
    return torch.stack(outputs) if outputs else x


@pytest.mark.parametrize("own", ["queries", "pairs"])
@pytest.mark.parametrize("first", [0, 1, 3])
def test_values_and_gradients_are_those_of_the_papers(own, first):
    layer, results = made(f"Globals(Attention(pattern=Window(2, 1)), first={first}, projections='{own}')"), []
    for run in (
        lambda xs: layer(VectorSets.pack(xs)).values,
        lambda xs: torch.cat([written_out(layer, x) for x in xs]),
    ):
        layer.zero_grad()
        xs = [x.requires_grad_() for x in sets_of(*LENGTHS)]
        values = run(xs)
        values.square().sum().backward()
        gradients = {name: each.grad for name, each in layer.named_parameters()}
        results.append((values.detach(), gradients | {n: x.grad for n, x in enumerate(xs)}))
    (values, gradients), (expected, others) = results
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)
    for name, gradient in others.items():
        # Without global vectors their projections have gradients of zero here, and none in the loop.
        wanted = torch.zeros_like(gradients[name]) if gradient is None else gradient
        torch.testing.assert_close(gradients[name], wanted, rtol=1e-10, atol=1e-11, msg=str(name))


def copy_projections(layer):
    """All projections become those of the layer."""
    q, k, v = layer.project.weight.split([layer.heads * layer.d, *[layer.key_heads * layer.d] * 2])
    biases = layer.project.bias.split([layer.heads * layer.d, *[layer.key_heads * layer.d] * 2])
    own = layer.globals
    named = {"query": own.query, "key": own.key, "value": own.value, **own.pairs}
    with torch.no_grad():
        for name, linear in named.items():
            n = ("query", "key", "value").index(name.split("_")[0])
            linear.weight.copy_((q, k, v)[n])
            linear.bias.copy_(biases[n])
        if own.out is not None:
            own.out.load_state_dict(layer.out.state_dict())
        for name, tensor in layer.attend_globals.learned.items():
            tensor.copy_(layer.attend.learned[name])


@pytest.mark.parametrize("own", ["queries", "pairs"])
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize(
    ("inner", "whole"),
    [
        ("Attention(pattern=Window(2, 1))", "Attention(pattern=Window(2, 1) | First(2))"),
        ("Attention(pattern=Window(3, 3), bias=Shaw(2))", "Attention(pattern=Window(3, 3) | First(2), bias=Shaw(2))"),
        (
            "Attention(pattern=(Window(1, 1), Dilated(2, 2, 2), Blocks(3)), normalizer=Sigmoid(), bias=T5(buckets=8))",
            "Attention(pattern=(Window(1, 1) | First(2), Dilated(2, 2, 2) | First(2), Blocks(3) | First(2)), "
            "normalizer=Sigmoid(), bias=T5(buckets=8))",
        ),
    ],
)
@torch.no_grad()
def test_with_copied_projections_it_is_one_attention(own, rotary, inner, whole):
    options = {"rotation": Rotary()} if rotary else {}
    layer = made(f"Globals({inner}, first=2, projections='{own}')", key_heads=1, **options)
    copy_projections(layer)
    plain = SelfAttention(WIDTH, HEADS, parse(whole), key_heads=1, **options).double()
    plain.load_state_dict({name: each for name, each in layer.state_dict().items() if "globals" not in name})
    x = VectorSets.pack(sets_of(*LENGTHS))
    torch.testing.assert_close(layer(x).values, plain(x).values, rtol=0, atol=1e-12)
    # By the verb alone.
    alone = SelfAttention(WIDTH, HEADS, parse(whole), key_heads=1, **options).double()
    alone.load_state_dict(plain.state_dict())
    alone.attend.attention = layer.globals.adapter
    assert torch.equal(alone(x).values, plain(x).values)


@torch.no_grad()
def test_sets_of_a_batch_change_nothing_of_one_another():
    layer, xs = made("Globals(Attention(pattern=Window(2, 1)), first=2, projections='pairs')"), sets_of(*LENGTHS)
    together = layer(VectorSets.pack(xs)).values.split(LENGTHS)
    for x, values in zip(xs, together, strict=True):
        torch.testing.assert_close(layer(VectorSets.pack([x])).values, values, rtol=0, atol=1e-13)
    backwards = layer(VectorSets.pack(xs[::-1])).values.split(LENGTHS[::-1])
    for one, other in zip(backwards[::-1], together, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@torch.no_grad()
def test_only_what_is_seen_changes_a_vector():
    layer, (x,) = made("Globals(Attention(pattern=Window(1, 0)), first=1)"), sets_of(9)
    before = layer(VectorSets.pack([x])).values
    x[5] += 1
    changed = (layer(VectorSets.pack([x])).values != before).any(1)
    assert changed.nonzero().flatten().tolist() == [0, 5, 6]


def test_near_vectors_of_a_picture_have_globals_too():
    layer = made("Globals(Attention(pattern=Near(1.0)), first=1)")
    places = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))
    (x,) = sets_of(9)
    sets = VectorSets(x, Layout(torch.tensor([0, 9]), places))
    before = layer(sets).values
    x = x.clone()
    x[8] += 1
    changed = (layer(VectorSets(x, sets.layout)).values != before).any(1)
    assert changed.nonzero().flatten().tolist() == [0, 4, 5, 7, 8]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Globals(first=-1), "Globals has first -1, expected at least 0"),
        (lambda: Globals(projections="keys"), "Globals has projections 'keys', expected 'queries' or 'pairs'"),
        (lambda: Globals(Attention(pattern=Edges())), "which reads edges, expected one that reads none"),
        (lambda: Globals(Window(2, 2)), r"Globals has attention Window\(left=2, right=2\), expected an Attention"),
        (lambda: made().new_state(2), "looks at later vectors"),
        (
            lambda: made()(VectorSets(sets_of(2)[0], Layout(torch.tensor([0, 2]), places=torch.tensor([1, 0])))),
            "an attention with global vectors reads rows in their order",
        ),
    ],
)
def test_what_has_no_globals_is_refused(make, message):
    with pytest.raises(InputError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)
