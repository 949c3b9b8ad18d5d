"""Attentions are called by their kind and place, whatever their modules are called."""

import pytest

from regard.inspector.titles import titles
from tests.inspector.test_inspection import a_run, an_example, asking


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["layer 0, self-attention", "layer 1, self-attention"]),
        ({"mixer": "lstm+attention"}, ["layer 0, self-attention, block 1"]),
        (
            {"attention": "Nystrom(landmarks=2)", "layers": 1},
            ["layer 0, self-attention, part 1 of 2", "layer 1, self-attention, block 0, part 2 of 2"],
        ),
        (
            {"mixer": "induced", "layers": 1},
            [
                "layer 0, cross-attention from learned vectors",
                "layer 1, cross-attention to learned vectors, block 0",
            ],
        ),
        ({"pooling": "attention", "layers": 1}, ["layer 0, self-attention", "layer 1, pooling"]),
    ],
    ids=str,
)
def test_the_page_names_attentions(options, expected):
    overview = asking(a_run(**options), an_example(5)).answer({"ask": "overview"}).content
    assert [layer["title"] for layer in overview["layers"]] == expected


def test_sides_of_a_model_that_writes():
    modules = [("encoder.stack.blocks.0.mixer.attend", "self"), ("decoder.attention.attend", "cross")]
    assert titles(modules) == [
        "layer 0, self-attention, block 0 of the encoder",
        "layer 1, cross-attention, of the decoder",
    ]
