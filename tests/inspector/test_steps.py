"""The steps of one output vector add up to what `attend` computes, whatever attends."""

import pytest
import torch

from regard.attention.spec.attention import Attention
from regard.attention.verb import attend, attention_weights
from regard.inspector.calls import Call
from regard.inspector.steps import step
from tests.attention.catalogue import CATALOGUE

ATTENTIONS = [case for case in CATALOGUE if isinstance(case.attention, Attention)]


@pytest.mark.parametrize("case", ATTENTIONS, ids=str)
def test_the_steps_add_up(case):
    inputs = case.inputs((4, 0, 9))
    q, k, v = (x.detach() for x in (inputs.q, inputs.k, inputs.v))
    layouts = inputs.layout, inputs.key_layout
    parameters = {name: tensor.detach() for name, tensor in inputs.parameters.items()}
    out = attend(case.attention, q, k, v, *layouts, parameters)
    dense = attention_weights(case.attention, q, k, *layouts, parameters).dense()
    call = Call(case.attention, q, k, v, *layouts, parameters, out)
    for row in (0, 11):
        for head in range(case.heads):
            found = step(call, row, head)
            torch.testing.assert_close(found.score, found.scale * found.product + found.bias)
            torch.testing.assert_close(found.weight, dense[head, row, found.keys])
            assert float(dense[head, row].sum() - found.weight.sum()) == pytest.approx(0, abs=1e-12)
            torch.testing.assert_close(found.weight @ found.v, found.out)
            torch.testing.assert_close(found.out, out[row, head], rtol=1e-7, atol=1e-9)
            assert torch.equal(found.model_out, out[row, head])
