"""Specifications are values with a text form, and only that text form is read."""

import math
from dataclasses import MISSING, Field, fields, is_dataclass

import pytest
import torch

from regard import Attention, InputError
from regard.attention.adapters.base import Adapter
from regard.attention.spec import biases, scores
from regard.attention.spec.biases import ALiBi, EdgeBias, Shaw
from regard.attention.spec.feature_maps import Favor
from regard.attention.spec.normalizers import Relu
from regard.attention.spec.patterns import And, Causal, Edges, Everyone, First, Not, Or, Window
from regard.attention.spec.scores import Additive, Dot, Kernel, Separable
from regard.attention.spec.text_form import names_of
from regard.attention.vocabulary import parse, vocabulary

from .catalogue import CATALOGUE

SCORES, BIASES = (", ".join(names_of(*each)) for each in ((scores, scores.Score), (biases, biases.Bias)))


@pytest.mark.parametrize("case", CATALOGUE, ids=str)
def test_text_form_and_back(case):
    attention = case.attention
    again = parse(repr(attention))
    assert again == attention
    assert hash(again) == hash(attention)
    assert repr(again) == repr(attention)


def test_different_values_differ():
    attentions = {case.attention for case in CATALOGUE}
    assert len({repr(attention) for attention in attentions}) == len(attentions)
    assert Window(1, 2) != Window(2, 1)
    assert (Causal() & Edges()) != (Edges() & Causal())
    assert Dot() != Separable()
    assert len({Attention(), Attention(score=Dot()), Attention(pattern=Everyone())}) == 1


def types_in(value):
    """The types of a value and of all values that it is made of."""
    if isinstance(value, tuple):
        return set().union(*map(types_in, value))
    parts = [getattr(value, field.name) for field in fields(value)] if is_dataclass(value) else []
    return {type(value)}.union(*map(types_in, parts))


def test_every_name_of_the_vocabulary_is_in_the_catalogue():
    """So that what can be named is held to the reference; adapters have tests of their own."""
    tested = set().union(*(types_in(case.attention) for case in CATALOGUE))
    named = {made for made in vocabulary().values() if not issubclass(made, Adapter)}
    assert {made.__name__ for made in named - tested} == set()
    assert {"Additive", "Dot"} < set(SCORES.split(", "))
    assert "EdgeBias" in BIASES


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Window(64, 16)", Window(left=64, right=16)),
        ("  Window(right=1, left=2)\n", Window(2, 1)),
        ("Causal() & ~Window(2, 2) | First(1)", (Causal() & ~Window(2, 2)) | First(1)),
        ("Causal() & ~(Window(2, 2) | First(1))", Causal() & ~(Window(2, 2) | First(1))),
        ("(Causal(), Everyone())", (Causal(), Everyone())),
        ("Dot(scale=-0.5)", Dot(-0.5)),
        ("Kernel(Favor(64, seed=3))", Kernel(phi=Favor(features=64, seed=3))),
        ("Additive('leaky_relu', slope=1e-2)", Additive("leaky_relu", 0.01)),
        ("Attention(Separable(), bias=Shaw(4, values=False))", Attention(Separable(), bias=Shaw(4, values=False))),
        ("None", None),
    ],
)
def test_what_is_read(text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Windw(1, 2)", "'Windw' in 'Windw(1, 2)' is no part of an attention: did you mean 'Window'?"),
        ("__import__('os').system('true')", "is no part of a specification"),
        ("__import__('os')", "'__import__' in"),
        ("open('x')", "'open' in"),
        ("Window.allows(1, 2)", "is no part of a specification"),
        ("Window(1, 2).left", "is no part of a specification"),
        ("Window(1, 2)[0]", "is no part of a specification"),
        ("(lambda: 0)()", "is no part of a specification"),
        ("[Causal()]", "is no part of a specification"),
        ("[Causal() for _ in 'ab']", "is no part of a specification"),
        ("Window(*(1, 2))", "is no part of a specification"),
        ("Dot(**{'scale': 2.0})", "does not name each option once"),
        ("Window(1, right=2, right=3)", "does not name each option once"),
        ("f'{Causal()}'", "is no part of a specification"),
        ("(a := Causal())", "is no part of a specification"),
        ("Causal() if True else Edges()", "is no part of a specification"),
        ("Causal() + Edges()", "is no part of a specification"),
        ("not Causal()", "is no part of a specification"),
        ("Causal", "'Causal' in 'Causal' is no part of a specification"),
        ("And(Causal(), Edges())", "'And' in"),
        ("b'x'", "is no part of a specification"),
        ("Window(1)", "has options that do not fit"),
        ("Window(1, 2, 3)", "has options that do not fit"),
        ("Window(1, to=2)", "Window in 'Window(1, to=2)' has no option 'to': known are left, right"),
        ("Attention(patern=Causal())", "has no option 'patern': did you mean 'pattern'?"),
        ("Window(1.5, 2)", "Window has left 1.5, expected a whole number"),
        ("Window('1', 2)", "Window has left '1', expected a whole number"),
        ("Window(True, 2)", "Window has left True, expected a whole number"),
        ("Window(10000000000000000000000, 2)", "expected at most 1,099,511,627,776"),
        ("Dot(scale=1e999)", "Dot has scale inf, expected a number or None"),
        ("Dot(scale=Dot())", "Dot has scale Dot(), expected a number or None"),
        ("Additive('relu')", "expected 'tanh' or 'leaky_relu'"),
        ("Shaw(2, keys=1)", "Shaw has keys 1, expected bool"),
        ("Causal() & 3", "'3' in 'Causal() & 3' is no pattern"),
        ("~Dot()", "is no pattern"),
        (
            "Attention(score=Causal())",
            f"Attention has score Causal(), expected one of {SCORES}",
        ),
        ("Attention(Kernel())", "Attention has score Kernel() and normalizer Softmax(), expected Kernel with Sum"),
        ("Attention(normalizer=Sum())", "Attention has score Dot() and normalizer Sum(), expected Kernel with Sum"),
        ("Attention(Kernel(), normalizer=Sum(), bias=ALiBi())", "Attention has bias ALiBi() and normalizer Sum()"),
        ("Attention(Elu(), normalizer=Sum())", "Attention has score Elu(), expected one of"),
        ("Kernel('elu')", "Kernel has phi 'elu', expected Elu() or Favor()"),
        ("Favor(0)", "Favor has features 0, expected at least 1"),
        ("Synthesized()", "has options that do not fit"),
        ("Synthesized(0)", "Synthesized has places 0, expected at least 1"),
        ("Synthesized(9, kind='sparse')", "expected 'dense', 'random', 'factorized' or 'factorized_dense'"),
        (
            "Mixture(Dot())",
            "Mixture has scores Dot(), expected two or more, and no Kernel, such as (Dot(), Synthesized(512))",
        ),
        ("Mixture((Dot(), Kernel()))", "expected two or more, and no Kernel"),
        ("Mixture((Dot(), Causal()))", "Mixture has scores (Dot(), Causal()), expected two or more"),
        ("Attention(pattern=())", "Attention has pattern ()"),
        ("Attention(pattern=(Causal(), 1))", "Attention has pattern"),
        ("Attention(normalizer=None)", "expected one of Relu, Sigmoid, Softmax, Sum"),
        ("Attention(bias=Dot())", f"expected None or one of {BIASES}"),
        ("", "is no specification"),
        ("Window(1, 2", "is no specification"),
        ("Window(1, 2); import os", "is no specification"),
        ("Causal()\x00", "is no specification"),
        ("9" * 5000, "is no specification"),
        ("~" * 2000 + "Causal()", "is no specification"),
        ("(" * 2000 + "Causal()" + ")" * 2000, "is no specification"),
        ("Causal()|" * 1000 + "Causal()", "is no specification"),
        ("~" * 1_000_000 + "Causal()", "is too long, expected at most 10,000"),
    ],
)
def test_what_is_refused(text, sentence):
    with pytest.raises(InputError) as refusal:
        parse(text)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def numbers_of(made: type) -> list[Field]:
    return [field for field in fields(made) if str(field.type).split(" | ")[0] in ("int", "float")]


NUMBERS = [(made, field) for made in vocabulary().values() for field in numbers_of(made)]
# What the other options must be; one that is not tried here needs none.
NEEDED = {
    "edges": 1,
    "left": 1,
    "longest": 1,
    "right": 1,
    "step": 1,
    "k": 1,
    "size": 1,
    "per_row": 1,
    "n": 1,
    "radius": 1,
    "places": 1,
    "width": 1,
}


@pytest.mark.parametrize(("made", "field"), NUMBERS, ids=lambda x: getattr(x, "__name__", None) or x.name)
def test_every_number_of_the_vocabulary_is_checked_where_it_is_made(made, field):
    others = {f.name: NEEDED[f.name] for f in fields(made) if f.default is MISSING and f.default_factory is MISSING}
    least, most = field.metadata["least"], field.metadata["most"]
    wrong = [math.nan, math.inf, -math.inf, True, "3", [3], 1 << 80, -(1 << 80), 1e30, 3 + 0j, torch.tensor(3)]
    wrong += [1.5, 3.0] if str(field.type).startswith("int") else []
    wrong += [] if "None" in str(field.type) else [None]
    wrong += [least - 1] if least > -(1 << 40) else []
    wrong += [most + 1]
    for value in wrong:
        with pytest.raises(InputError, match=rf"^{made.__name__} has {field.name} .*, expected ") as refusal:
            made(**others | {field.name: value})
        assert "\n" not in str(refusal.value)
    for value in (least, most) if made.__name__ != "T5" else ():  # whose numbers bound each other
        value = value if str(field.type).startswith("float") else int(value)
        value_made = made(**others | {field.name: value})
        assert parse(repr(value_made)) == value_made


def test_parts_of_patterns_are_patterns():
    for wrong in (lambda: And(Causal(), 3), lambda: Or("Causal()", Causal()), lambda: Not(None)):
        with pytest.raises(InputError, match="expected a pattern such as Window"):
            wrong()


def test_values_are_immutable_and_hold_no_tensors():
    with pytest.raises(AttributeError):
        Window(1, 2).left = 3
    assert Attention(bias=ALiBi()).parameters(4, 8) == {}


def test_parameters_are_named_with_their_shapes():
    assert Attention(score=Separable()).parameters(4, 8) == {"score_query": (4, 8), "score_key": (4, 8)}
    shaw = Attention(bias=Shaw(radius=2, coordinates=2))
    assert shaw.parameters(4, 8, 6) == {"bias_keys": (2, 5, 8), "bias_values": (2, 5, 6)}
    assert Attention(bias=EdgeBias(width=3)).parameters(4, 8) == {"bias_edges": (3, 4)}
    assert Attention(Additive(), normalizer=Relu()).parameters(2, 3) == {"score_weight": (2, 3)}
