"""Explanations by numbers, also of layers whose attention is an adapter: each call that it makes counts as a layer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from regard import Attention, InputError
from regard.attention.adapters.axes import Axes
from regard.attention.adapters.remember import Remember
from regard.attention.spec.biases import Shaw
from regard.attention.spec.patterns import Causal
from regard.data.examples import Example
from regard.inspector.explain import explain_run
from regard.layers.attention import SelfAttention


class Model(nn.Module):
    def __init__(self, attention: object) -> None:
        super().__init__()
        self.attention = SelfAttention(8, 2, attention)

    def forward(self, batch):
        return self.attention(batch.inputs)


def a_run(attention: object) -> SimpleNamespace:
    """A run of one layer, on a picture of three rows and four columns whose pixels have names."""
    names = tuple(f"{row}{column}" for row in "abc" for column in "1234")
    coords = np.stack(np.divmod(np.arange(12), 4), 1).astype(np.float32)
    values = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    example = Example(values, None, "picture", coords=coords, tokens=names)
    torch.manual_seed(0)
    return SimpleNamespace(model=Model(attention), inputs=lambda sources: [[example]])


@pytest.mark.parametrize("bias", [None, Shaw(2)], ids=repr)
def test_each_axis_is_explained_as_a_layer(bias):
    run = a_run(Axes(Attention(bias=bias)))
    for layer, heard in ((0, ["a2", "b2", "c2"]), (1, ["b1", "b2", "b3", "b4"])):
        explained = explain_run(run, "picture", query=5, layer=layer, head=1)
        assert explained.name == "b2"
        assert explained.index == 5
        assert [each.name for each in explained.heard] == heard
        assert sum(each.weight for each in explained.heard) == pytest.approx(1, abs=1e-6)
        assert explained.output == pytest.approx(explained.model_output, abs=1e-5)
    with pytest.raises(InputError, match="expected one of the model's 2 attention layers"):
        explain_run(run, "picture", query=5, layer=2)
    with pytest.raises(InputError, match="query 12 was asked for, expected 0 to 11"):
        explain_run(run, "picture", query=12)


def test_what_remembers_is_explained_as_what_it_remembers_for():
    attention = Attention(pattern=Causal())
    alike = [explain_run(a_run(each), "picture", query=2) for each in (attention, Remember(attention))]
    assert alike[0] == alike[1]
    assert [each.name for each in alike[0].heard] == ["a1", "a2", "a3"]
