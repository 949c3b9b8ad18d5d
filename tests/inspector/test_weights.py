"""The rectangle of a head's weights is what `attention_weights` says, whatever attends."""

import pytest
import torch

from regard.attention.spec.attention import Attention
from regard.attention.verb import attention_weights
from regard.inspector import weights
from regard.inspector.calls import Call
from regard.inspector.weights import allowed_pairs, at_once, head_weights, heads_weights
from tests.attention.catalogue import CATALOGUE

ATTENTIONS = [case for case in CATALOGUE if isinstance(case.attention, Attention)]


@pytest.mark.parametrize(
    ("sizes", "sparse"), [((13,), 8), ((13,), 0), ((5, 0, 7), 8)], ids=["tiles", "pairs", "several sets"]
)
@pytest.mark.parametrize("case", ATTENTIONS, ids=str)
def test_a_rectangle_holds_the_weights_of_its_rows(case, sizes, sparse, monkeypatch):
    monkeypatch.setattr(weights, "_SPARSE", sparse)
    inputs = case.inputs(sizes)
    parameters = {name: tensor.detach() for name, tensor in inputs.parameters.items()}
    q, k, v = (x.detach() for x in (inputs.q, inputs.k, inputs.v))
    call = Call(case.attention, q, k, v, inputs.layout, inputs.key_layout, parameters, v)
    if not call.key_layout.total:
        return
    dense = attention_weights(case.attention, q, k, inputs.layout, inputs.key_layout, parameters).dense()
    rows = torch.tensor([7, 0, 3, 11])
    every = heads_weights(call, rows)
    for head in range(case.heads):
        one = head_weights(call, rows, head)
        allowed = allowed_pairs(call, rows, head)
        torch.testing.assert_close(one, every[head], rtol=0, atol=1e-12)
        assert torch.equal(one.isneginf(), ~allowed)
        torch.testing.assert_close(one.masked_fill(~allowed, 0), dense[head][rows], rtol=0, atol=1e-12)


def test_long_sets_are_asked_for_in_parts():
    q = torch.zeros(30_000, 8, 64)
    from regard.sets import Layout

    layout = Layout.of_lengths([30_000])
    assert at_once(Call(Attention(), q, q, q, layout, layout, {}, q)) * 30_000 <= 1 << 23
