"""The self-attention of SAGAN against the same written out, with gradients; at first it is none."""

import pytest
import torch

from regard import InputError, VectorSets
from regard.layers.pooled_attention import PooledAttention2d
from tests.layers.test_resized2d import pictures_of


def written_out(layer, x, h, w):
    """One picture `[h w, c]`, sizes even: the authors' block, pixel by pixel."""
    keys, values = (
        project(x).view(h // 2, 2, w // 2, 2, -1).amax((1, 3)).flatten(0, 1) for project in (layer.key, layer.value)
    )
    rows = []
    for query in layer.query(x):
        weights = torch.softmax(torch.stack([query @ key for key in keys]), 0)
        rows.append(sum(a * v for a, v in zip(weights, values, strict=True)))
    return x + layer.gamma * layer.out(torch.stack(rows))


def made(gamma):
    torch.manual_seed(0)
    layer = PooledAttention2d(16).double()
    with torch.no_grad():
        layer.gamma.fill_(gamma)
    return layer


@pytest.mark.parametrize("gamma", [0.7, 0.0])
def test_it_equals_the_formula_with_all_gradients(gamma):
    layer, sizes = made(gamma), ((4, 6), (2, 2), (6, 4))
    sets = pictures_of(*sizes, width=16)
    leaf = sets.values.clone().requires_grad_()
    found = layer(sets.with_values(leaf)).values
    parts = sets.with_values(leaf).unpack()
    expected = torch.cat([written_out(layer, x, h, w) for x, (h, w) in zip(parts, sizes, strict=True)])
    torch.testing.assert_close(found, expected)
    above = torch.randn_like(found)
    tensors = [leaf, *layer.parameters()]
    ours, theirs = (torch.autograd.grad(each, tensors, above) for each in (found, expected))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    assert ours[1].shape == ()
    assert ours[1] != 0


def test_at_first_it_is_none_and_then_not():
    sets = pictures_of((4, 4), width=16)
    assert torch.equal(made(0.0)(sets).values, sets.values)
    assert not torch.allclose(made(0.1)(sets).values, sets.values)


def test_neighbors_in_the_batch_change_nothing_and_sets_may_be_empty():
    layer = made(0.5)
    sets = pictures_of((4, 6), (0, 0), (3, 5), width=16)
    together = layer(sets).unpack()
    for n, each in enumerate(together):
        torch.testing.assert_close(layer(sets.select([n])).values, each)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="PooledAttention2d has width 7, expected at least 8"):
        PooledAttention2d(7)
    with pytest.raises(InputError, match="BlockMax2d reads rows and columns and the sets have 0 coordinates"):
        made(0.0)(VectorSets.pack([torch.ones(4, 16, dtype=torch.float64)]))
