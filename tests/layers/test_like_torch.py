"""Drop-ins for torch's modules take its state dicts and compute what it computes; rectangles come out as they came in."""

import warnings

import pytest
import torch
from torch import nn

from regard import Attention, InputError, VectorSets
from regard.attention import ALiBi, Causal, Window
from regard.layers.attention import SelfAttention
from regard.layers.like_torch import MultiheadAttention, TransformerEncoder, TransformerEncoderLayer, from_torch
from regard.layers.mixers import Convolution
from regard.layers.padded import Padded
from regard.layers.pooling import Mean

WIDTH, HEADS, SETS, LONGEST = 12, 3, 4, 6
PADDING = {
    "none": None,
    "right": torch.arange(LONGEST) >= torch.tensor([6, 4, 1, 3])[:, None],
    "left": torch.arange(LONGEST) < torch.tensor([0, 2, 5, 3])[:, None],
    "holes": torch.tensor([[0, 1, 0, 0, 1, 0]] * 4, dtype=torch.bool),
}
CAUSAL = torch.ones(LONGEST, LONGEST, dtype=torch.bool).triu(1)
BAND = (torch.arange(LONGEST)[:, None] - torch.arange(LONGEST)).abs() > 1
MASKS = {
    "all": None,
    "causal": CAUSAL,
    "floats": torch.zeros(CAUSAL.shape).masked_fill(CAUSAL, -torch.inf),
    "band": BAND,
}


def close(found, expected, most=1e-6):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= most


def gradients(out, module, x):
    return torch.autograd.grad(out.square().sum(), [x, *module.parameters()])


def theirs_and_ours(made, **options):
    theirs = getattr(nn, made.__name__)(WIDTH, HEADS, **options)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)  # Biases that are not zero, too.
    ours = made(WIDTH, HEADS, **options)
    assert ours.load_state_dict(theirs.state_dict()).missing_keys == []
    return theirs, ours


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("padding", PADDING)
def test_multihead_attention_is_that_of_torch_with_gradients_and_weights(padding, mask):
    theirs, ours = theirs_and_ours(MultiheadAttention, batch_first=True)
    x = torch.randn(SETS, LONGEST, WIDTH, requires_grad=True)
    masks = {"key_padding_mask": PADDING[padding], "attn_mask": MASKS[mask]}
    if mask == "floats" and PADDING[padding] is not None:
        masks["key_padding_mask"] = torch.zeros(SETS, LONGEST).masked_fill(PADDING[padding], -torch.inf)
    expected, weights = theirs(x, x, x, **masks, average_attn_weights=False)
    found, ours_weights = ours(x, x, x, **masks, average_attn_weights=False)
    seen = ~expected.isnan()
    assert bool(seen.any())
    close(found[seen], expected[seen])
    close(
        ours_weights[seen.any(-1)[:, None].expand(-1, HEADS, -1)], weights[seen.any(-1)[:, None].expand(-1, HEADS, -1)]
    )
    if bool(seen.all()):
        for a, b in zip(gradients(found, ours, x), gradients(expected, theirs, x), strict=True):
            close(a, b, most=2e-5 * max(1.0, float(b.abs().max())))


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 5, "vdim": 7}, {"batch_first": True}], ids=str)
def test_options_of_multihead_attention(options):
    theirs, ours = theirs_and_ours(MultiheadAttention, **options)
    query, key, value = torch.randn(LONGEST, SETS, WIDTH), torch.randn(9, SETS, WIDTH), torch.randn(9, SETS, WIDTH)
    if "kdim" in options:
        key, value = torch.randn(9, SETS, 5), torch.randn(9, SETS, 7)
    padding = torch.arange(9) >= torch.tensor([9, 4, 1, 5])[:, None]
    if options.get("batch_first"):
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    for expected, found in zip(
        theirs(query, key, value, key_padding_mask=padding),
        ours(query, key, value, key_padding_mask=padding),
        strict=True,
    ):
        close(found, expected)
    causal = torch.ones(LONGEST, 9, dtype=torch.bool).triu(1)
    expected, _ = theirs(query, key, value, attn_mask=causal, key_padding_mask=padding)
    found, none = ours(query, key, value, attn_mask=causal, key_padding_mask=padding, need_weights=False)
    assert none is None
    close(found, expected)
    close(ours(query, key, value, is_causal=True, key_padding_mask=padding)[0], expected)


def test_one_set_without_an_axis_of_sets():
    theirs, ours = theirs_and_ours(MultiheadAttention)
    x, padding = torch.randn(LONGEST, WIDTH), torch.tensor([False, False, True, False, True, True])
    for expected, found in zip(
        theirs(x, x, x, key_padding_mask=padding), ours(x, x, x, key_padding_mask=padding), strict=True
    ):
        close(found, expected)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize(
    "options",
    [
        {"batch_first": True},
        {"batch_first": False, "norm_first": True, "activation": "gelu"},
        {"batch_first": True, "bias": False, "layer_norm_eps": 1e-3},
    ],
    ids=["post", "pre", "no bias"],
)
def test_encoders_are_those_of_torch_where_vectors_are_real(options, padding, mask):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 20, dropout=0.1, **options)
    theirs = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False).eval()
    ours = TransformerEncoder(
        TransformerEncoderLayer(WIDTH, HEADS, 20, dropout=0.1, **options), 2, nn.LayerNorm(WIDTH)
    ).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(SETS, LONGEST, WIDTH, requires_grad=True)
    given = x if options["batch_first"] else x.transpose(0, 1)
    masks = {"mask": MASKS[mask], "src_key_padding_mask": PADDING[padding]}
    if mask == "floats" and PADDING[padding] is not None:
        masks["src_key_padding_mask"] = torch.zeros(SETS, LONGEST).masked_fill(PADDING[padding], -torch.inf)
    found = ours(given, **masks)
    found = found if options["batch_first"] else found.transpose(0, 1)
    real = torch.ones(SETS, LONGEST, dtype=torch.bool) if PADDING[padding] is None else ~PADDING[padding]
    assert not found[~real].any()
    # Each set alone, since rows of padding that have no key make no numbers of all in torch.
    alone = []
    for each, rows in zip(x, real, strict=True):
        part = each[rows][None] if options["batch_first"] else each[rows][:, None]
        alone.append(theirs(part, mask=None if MASKS[mask] is None else MASKS[mask][rows][:, rows]).reshape(-1, WIDTH))
    expected = torch.cat(alone)
    close(found[real], expected, most=2e-6)
    for a, b in zip(gradients(found[real], ours, x), gradients(expected, theirs, x), strict=True):
        close(a, b, most=2e-5 * max(1.0, float(b.abs().max())))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "module",
    [
        nn.MultiheadAttention(WIDTH, HEADS, kdim=5, vdim=7, bias=False, dropout=0.3),
        nn.TransformerEncoderLayer(WIDTH, HEADS, 20, activation="gelu", norm_first=True, batch_first=True),
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 20, dropout=0.2), 2, enable_nested_tensor=False
        ).eval(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_from_torch_takes_options_and_weights(module):
    ours = from_torch(module)
    assert isinstance(ours, type(module))
    assert ours.training == module.training
    assert {name: x.tolist() for name, x in ours.state_dict().items()} == {
        name: x.tolist() for name, x in module.state_dict().items()
    }
    ours.eval(), module.eval()
    x = torch.randn(LONGEST, SETS, WIDTH)
    if isinstance(module, nn.MultiheadAttention):
        k, v = torch.randn(LONGEST, SETS, 5), torch.randn(LONGEST, SETS, 7)
        close(ours(x, k, v)[0], module(x, k, v)[0])
    else:
        close(ours(x), module(x))


def test_another_attention_in_the_same_place():
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(SETS, LONGEST, WIDTH)
    band = from_torch(theirs, Attention(pattern=Window(1, 1)))
    close(band(x, x, x)[0], theirs(x, x, x, attn_mask=BAND)[0])
    both = from_torch(theirs, Attention(pattern=(Window(1, 1), Causal(), Window(1, 1))))
    expected = theirs(x, x, x, attn_mask=torch.stack([BAND | CAUSAL, CAUSAL, BAND | CAUSAL] * SETS))
    close(both(x, x, x, is_causal=True)[0], expected[0])


def test_dropout_drops_weights_and_vectors_while_training():
    layer = TransformerEncoderLayer(WIDTH, HEADS, 20, dropout=0.5, batch_first=True)
    x = torch.randn(SETS, LONGEST, WIDTH)
    assert not torch.equal(layer(x), layer(x))
    attention = MultiheadAttention(WIDTH, HEADS, dropout=0.5, batch_first=True)
    assert not torch.equal(attention(x, x, x)[0], attention(x, x, x)[0])
    assert torch.equal(attention.eval()(x, x, x)[0], attention(x, x, x)[0])


def test_rows_without_a_key_are_the_shift_of_the_output():
    layer = MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x, padding = torch.randn(2, 3, WIDTH), torch.tensor([[True] * 3, [False] * 3])
    out, weights = layer(x, x, x, key_padding_mask=padding)
    close(out[0], layer.out_proj.bias.expand(3, -1))
    assert not weights[0].any()


X = torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: MultiheadAttention(4, 2, add_bias_kv=True), "has add_bias_kv or add_zero_attn, expected neither"),
        (lambda: MultiheadAttention(4, 3), "has options that do not fit: embed_dim must be divisible by num_heads"),
        (lambda: MultiheadAttention(4, 2)([X], X, X), "query is list, expected a padded tensor"),
        (
            lambda: MultiheadAttention(4, 2)(X, X, X, attn_mask=torch.ones(3, 3)),
            "is [3, 3], expected a tensor of shape",
        ),
        (lambda: MultiheadAttention(4, 2)(X, X, X, attn_mask=torch.ones(2, 2, dtype=torch.int64)), "holds numbers of"),
        (
            lambda: MultiheadAttention(4, 2)(X, X, X, attn_mask=torch.full((2, 2), 0.5)),
            "expected bools, or floats that are 0",
        ),
        (
            lambda: MultiheadAttention(4, 2)(X, X, X, attn_mask=torch.zeros(6, 2, 2)),
            "is [6, 2, 2], expected a tensor of",
        ),
        (
            lambda: MultiheadAttention(4, 2)(X, X, X, key_padding_mask=torch.zeros(2, 3) > 0),
            "the padding mask is [2, 3]",
        ),
        (
            lambda: MultiheadAttention(4, 2)(X, X[:1], X),
            "query, key and value are [3, 2], [3, 1] and [3, 2] sets by vectors",
        ),
        (
            lambda: MultiheadAttention(4, 2, batch_first=True)(
                X, X[:, :2], X[:, :2], attn_mask=torch.eye(3)[:, :2] > 0
            ),
            "attn_mask is [3, 2] and not causal, expected as many queries as keys",
        ),
        (lambda: TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 2), "expected regard's TransformerEncoderLayer"),
        (lambda: from_torch(nn.Linear(2, 2)), "from_torch was given Linear, expected nn.MultiheadAttention"),
        (lambda: Padded(Mean(4))([[1.0]]), "x is of type list, expected a tensor"),
        (lambda: Padded(Mean(4))(X, torch.ones(3, 2) > 0), "expected [2, 3] of bool"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(call, sentence):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError) as refusal:
            call()
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("padding", ["none", "right", "left", "holes"])
def test_rectangles_come_out_as_they_came_in(padding):
    x = torch.randn(SETS, LONGEST, WIDTH)
    mask = torch.ones(SETS, LONGEST, dtype=torch.bool) if PADDING[padding] is None else ~PADDING[padding]
    out, again = VectorSets.from_padded(x, mask).to_padded(mask=mask)
    assert torch.equal(out, x * mask[..., None])
    assert again is mask
    layer = SelfAttention(WIDTH, HEADS, Attention(pattern=Causal(), bias=ALiBi()))
    found = Padded(layer)(x, mask if padding != "none" else None)
    sets = layer(VectorSets.pack([each[real] for each, real in zip(x, mask, strict=True)]))
    assert torch.equal(found[mask], sets.values)
    assert not found[~mask].any()


def test_padding_on_the_left_and_vectors_per_set():
    sets = VectorSets.pack([torch.ones(1, 2), torch.ones(3, 2), torch.ones(0, 2)])
    values, mask = sets.to_padded(fill=-1, left=True)
    assert mask.tolist() == [[False, False, True], [True, True, True], [False, False, False]]
    assert torch.equal(values, torch.where(mask[..., None], 1.0, -1.0).expand(3, 3, 2))
    assert torch.equal(VectorSets.from_padded(values, mask).values, sets.values)
    assert Padded(Mean(2))(values, mask).shape == (3, 2)
    ids = torch.tensor([[7, 3], [5, 0]])
    assert VectorSets.from_padded(ids, ids > 0).to_padded(mask=ids > 0)[0].tolist() == [[7, 3], [5, 0]]
    assert Padded(Convolution(2, 1, 1))(values, mask).shape == (3, 3, 2)
    with pytest.raises(InputError, match=r"True so many times per set: \[1, 3, 0\]"):
        sets.to_padded(mask=~mask)
