"""What is switched off has no part in what is computed, and nothing else changes."""

import pytest
import torch

from regard.attention.adapters.axes import Axes
from regard.attention.pairs.pairs import Pairs, Rows
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import ALiBi
from regard.attention.spec.patterns import Causal, Window
from regard.errors import InputError
from regard.inspector.switching import Off, Unless, switched_off
from regard.layers.attention import SelfAttention
from regard.sets import Layout, VectorSets


@pytest.mark.parametrize(
    "pattern", [Unless(2), Unless(2, 1), Unless(9), Unless(0) & Causal(), Causal() & Unless(3, 3)], ids=repr
)
def test_its_intervals_are_what_it_allows(pattern):
    for layout in (Layout.of_lengths([4, 0, 1, 6]), Layout(torch.tensor([0, 3]), places=torch.tensor([5, 2, 0]))):
        every = torch.arange(layout.total)
        pairs = Pairs(layout, layout, every[:, None], every[None])
        same = layout.set_of_row[:, None] == layout.set_of_row
        in_order = layout.in_order()
        query, key = pattern.keys(Rows(every, in_order, in_order)).pairs()
        found = torch.zeros(layout.total, layout.total, dtype=torch.bool)
        order = every if layout.row_order is None else layout.row_order
        found[order[query], order[key]] = True
        assert torch.equal(found, pattern.allows(pairs.i, pairs.j, pairs) & same)


def a_layer(attention=None):
    torch.manual_seed(3)
    return SelfAttention(8, 2, attention), VectorSets.pack([torch.randn(5, 8), torch.randn(3, 8)])


@pytest.mark.parametrize("attention", [None, Attention(pattern=Window(2, 1), bias=ALiBi())], ids=repr)
@torch.no_grad()
def test_a_hidden_key_has_no_part(attention):
    layer, sets = a_layer(attention)
    kept = layer(sets).values
    with switched_off([Off(layer.attend, key=1)]):
        without = layer(sets).values
        changed = sets.values.clone()
        changed[[1, 6]] += 100.0
        others = [0, 2, 3, 4, 5, 7]
        torch.testing.assert_close(layer(sets.with_values(changed)).values[others], without[others])
    assert not torch.allclose(without, kept)
    torch.testing.assert_close(layer(sets).values, kept, rtol=0, atol=0)


@torch.no_grad()
def test_a_hidden_pair_changes_one_query_of_one_head():
    layer, sets = a_layer()
    layer.out = torch.nn.Identity()
    kept = layer(sets).values.unflatten(1, (2, 4))
    with switched_off([Off(layer.attend, head=1, query=2, key=0)]):
        without = layer(sets).values.unflatten(1, (2, 4))
    changed = (kept - without).abs().amax(2) > 1e-5
    # The third vector of each set.
    assert changed.nonzero().tolist() == [[2, 1], [7, 1]]


@torch.no_grad()
def test_a_silent_head_gives_zeros():
    layer, sets = a_layer(Axes(Attention()))
    sets = VectorSets(sets.values, Layout(sets.layout.offsets, torch.rand(8, 2).round()))
    layer.out = torch.nn.Identity()
    kept = layer(sets).values
    with switched_off([Off(layer.attend, head=0)]):
        without = layer(sets).values
    assert not without[:, :4].any()
    assert torch.equal(without[:, 4:], kept[:, 4:])
    with switched_off([Off(layer.attend)]):
        assert not layer(sets).values.any()


def test_a_key_of_an_adapter_is_refused():
    layer, _ = a_layer(Axes(Attention()))
    with (
        pytest.raises(InputError, match=r"a key of Axes.* was to be switched off, expected an Attention, or a head"),
        switched_off([Off(layer.attend, key=0)]),
    ):
        pass
