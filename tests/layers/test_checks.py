"""Every layer refuses, in words of its own, numbers that make no sense and what is no sets."""

import importlib
import inspect
import math
import pkgutil

import pytest
import torch
from torch import nn

import regard.layers
import regard.models
from regard import Attention, InputError, Layout, VectorSets, attend, attention_weights, plan
from regard.attention import Axes, Causal, Dot, Remember, Shaw, Softmax, Window
from regard.attention.spec.scores import Synthesized
from regard.layers.attention import Attend, CrossAttention, SelfAttention
from regard.layers.checks import _KINDS, _PROBABILITIES
from regard.layers.mixers import Convolution, WindowedLinear
from regard.models.model import Model


def layers() -> list[type[nn.Module]]:
    found = {}
    for package in (regard.layers, regard.models):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if module.name.rpartition(".")[2] in (
                "like_torch",
                "padded",
                "checks",
                "bert",
                "sequences",
                "gan_networks",
            ):
                continue
            named = vars(importlib.import_module(module.name))
            classes = {name: thing for name, thing in named.items() if isinstance(thing, type)}
            found |= {
                name: x for name, x in classes.items() if issubclass(x, nn.Module) and x.__module__ == module.name
            }
    return [layer for name, layer in sorted(found.items()) if not name.startswith("_")]


LAYERS = layers()
OF_SETS = [
    layer
    for layer in LAYERS
    if str(list(inspect.signature(layer.forward).parameters.values())[1].annotation) == "VectorSets"
]
NUMBERS = [
    (layer, name)
    for layer in LAYERS
    for name, option in inspect.signature(layer.__init__).parameters.items()
    if str(option.annotation) in _KINDS
]
# What constructors take beside numbers, where it is looked at at all.
OTHERS = {"sizes": (3,), "extent": (3,), "kind": "elman", "attention": Attention(), "drop_ids": 0.5, "drop": 0.5}


def test_the_layers_are_found():
    assert {"SelfAttention", "Convolution", "LSTM", "Mean", "Sinusoidal", "Embed", "Stack"} < {
        x.__name__ for x in OF_SETS
    }
    assert len(NUMBERS) > 60


@pytest.mark.parametrize("layer", OF_SETS, ids=lambda layer: layer.__name__)
def test_a_tensor_where_sets_belong_is_refused_in_our_words(layer):
    made = layer.__new__(layer)
    nn.Module.__init__(made)
    given = [(torch.ones(2, 3, 8), r"a tensor of shape \[2, 3, 8\]"), ([[1.0]], "a list"), (None, "a NoneType")]
    for x, found in given:
        with pytest.raises(InputError, match=rf"^{layer.__name__} was given {found}, expected VectorSets, such as Vec"):
            made.forward(x, None) if layer.__name__ in ("CrossAttention", "Characters", "BoxDecoder") else made(x)


@pytest.mark.parametrize(("layer", "name"), NUMBERS, ids=lambda x: getattr(x, "__name__", x))
def test_numbers_that_make_no_sense_are_refused_where_a_layer_is_made(layer, name):
    parameters = dict(list(inspect.signature(layer.__init__).parameters.items())[1:])
    options = {
        n: OTHERS.get(n, 8)
        for n, option in parameters.items()
        if option.default is inspect.Parameter.empty and n != name
    }
    whole = "int" in str(parameters[name].annotation)
    wrong = [math.nan, math.inf, True, "8", [8], 1 << 60, -(1 << 60), *([1.5, 8.0, -1] if whole else [])]
    wrong += [2.0, -0.1] if name in _PROBABILITIES else []
    for value in wrong:
        with pytest.raises(InputError, match=rf"^{layer.__name__} has {name} .*, expected ") as refusal:
            layer(**options | {name: value})
        assert "\n" not in str(refusal.value)


def test_none_and_the_least_numbers_are_taken():
    assert SelfAttention(8, 2, key_heads=None, dropout=0).heads == 2
    assert WindowedLinear(4, 0, 0, None).width == 4
    assert Convolution(width_in=4, left=0, right=0).step == 1
    with pytest.raises(TypeError, match="missing"):
        Convolution(4)


Q, LAYOUT = torch.ones(5, 1, 4), Layout.of_lengths([2, 3])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda a: attend(a, Q, Q, Q, LAYOUT), None),
        (lambda a: attention_weights(a, Q, Q, LAYOUT), None),
        (lambda a: plan(a, LAYOUT), None),
        (lambda a: Attend(a, 1, 4), None),
        (lambda a: SelfAttention(4, 2, a), None),
        (lambda a: CrossAttention(4, 2, attention=a), None),
        (lambda a: Remember(a), "Remember has attention"),
        (lambda a: Axes(a), "Axes has attention"),
    ],
)
def test_what_is_no_attention_is_refused_with_what_to_write(call, sentence):
    for value, wanted in (
        (Window(2, 2), "Attention(pattern=Window(left=2, right=2))"),
        (Dot(), "Attention(score=Dot())"),
        (Softmax(), "Attention(normalizer=Softmax())"),
        (Shaw(3), "Attention(bias=Shaw(radius=3))"),
        ("Causal()", "parse('Causal()'), the value of that text"),
        (3, "an Attention or an adapter"),
    ):
        with pytest.raises(InputError) as refusal:
            call(value)
        assert str(refusal.value).startswith(sentence or f"the attention is {value!r}, expected {wanted}")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: attend(Attention(), [1.0], Q, Q, LAYOUT), "q is of type list, expected a tensor"),
        (lambda: attend(Attention(), Q, Q, None, LAYOUT), "v is of type NoneType, expected a tensor"),
        (lambda: attend(Attention(), Q, Q, Q, [2, 3]), "layout is of type list, expected a Layout, such as"),
        (lambda: attend(Attention(), Q, Q, Q, LAYOUT, [2, 3]), "key_layout is of type list, expected a Layout"),
        (lambda: plan(Attention(), [2, 3]), "layout is of type list, expected a Layout"),
        (lambda: Model.forward(None, VectorSets(Q[:, 0], LAYOUT)), "a model was given VectorSets, expected a Batch"),
        (lambda: Model.forward(None, Q), "a model was given Tensor, expected a Batch"),
        (
            lambda: Attend(Attention(Synthesized(1 << 20, "random")), 1, 4),
            "learns 1,099,511,627,776 numbers, expected at most 1,073,741,824",
        ),
        (lambda: SelfAttention(8, 2, Attention(bias=Shaw(1 << 40))), "numbers, expected at most 1,073,741,824"),
    ],
)
def test_other_arguments_of_another_type_are_refused_too(call, sentence):
    with pytest.raises(InputError) as refusal:
        call()
    assert sentence in str(refusal.value)


def test_checks_are_no_obstacle_to_compiled_code():
    layer = SelfAttention(8, 2, Attention(pattern=Causal()))
    sets = VectorSets(torch.randn(5, 8), LAYOUT)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(sets).values, layer(sets).values)
