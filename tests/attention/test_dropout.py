"""Dropout by a hash: what it does to weights, and that the hash is as good as chance."""

import pytest
import torch
from torch import Tensor

from regard import Attention, InputError, Layout, attend
from regard.attention.dropout import Dropout

ROWS = torch.arange(300)


def kept(dropout: Dropout, heads: int = 4, rows: Tensor = ROWS, keys: Tensor = ROWS) -> Tensor:
    """`[h, rows, keys]` True where a weight is kept."""
    return dropout.factors(torch.arange(heads)[:, None, None], rows[:, None], keys, torch.float64) > 0


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, (1 << 62) - 1])
def test_the_mean_is_kept(p, seed):
    """Within four standard deviations, over all, for every head, and for every row and key within five."""
    factors = Dropout(p, seed).factors(torch.arange(4)[:, None, None], ROWS[:, None], ROWS, torch.float64)
    assert set(factors.unique().tolist()) == {0.0, 1 / (1 - p)}
    sigma = (p / (1 - p)) ** 0.5
    assert abs(factors.mean() - 1) < 4 * sigma / factors.numel() ** 0.5
    for dims in ((1, 2), (0, 2), (0, 1)):
        means = factors.mean(dims)
        assert (means - 1).abs().max() < 5 * sigma / (factors.numel() / len(means)) ** 0.5


def test_nothing_is_dropped_at_zero():
    assert (Dropout(0.0, 3).factors(torch.arange(2)[:, None, None], ROWS[:, None], ROWS, torch.float32) == 1).all()


def test_heads_rows_keys_and_seeds_are_independent():
    """Any two masks agree where chance says so: half of the places, within five standard deviations."""
    one = kept(Dropout(0.5, 11))
    others = {
        "next head": one.roll(1, 0),
        "next row": one.roll(1, 1),
        "next key": one.roll(1, 2),
        "query and key swapped": one.transpose(1, 2),
        "next seed": kept(Dropout(0.5, 12)),
        "seed that differs in its high half": kept(Dropout(0.5, 11 + (1 << 32))),
        "seed that differs in its last bit": kept(Dropout(0.5, 11 + (1 << 61))),
        "rows far away": kept(Dropout(0.5, 11), rows=ROWS + (1 << 20)),
        "keys far away": kept(Dropout(0.5, 11), keys=ROWS + (1 << 16)),
    }
    for name, other in others.items():
        share = (one == other).double().mean()
        assert abs(share - 0.5) < 5 * 0.5 / one.numel() ** 0.5, f"{name}: {share}"


def test_every_bit_of_a_place_decides():
    """Changing one bit of a key's or a query's row changes half of the choices."""
    base = torch.arange(2000)
    for bit in range(20):
        other = base ^ (1 << bit)
        for before, after in (((ROWS[:10], base), (ROWS[:10], other)), ((base, ROWS[:10]), (other, ROWS[:10]))):
            same = kept(Dropout(0.5, 5), 4, *before) == kept(Dropout(0.5, 5), 4, *after)
            assert abs(same.double().mean() - 0.5) < 5 * 0.5 / same.numel() ** 0.5, f"bit {bit}"


def test_no_pair_of_rows_or_columns_is_alike():
    masks = kept(Dropout(0.5, 99), 1)[0].double() * 2 - 1
    for each in (masks, masks.T):
        likeness = (each @ each.T / 300).fill_diagonal_(0).abs()
        assert likeness.max() < 6 / 300**0.5


def test_the_seed_comes_from_the_generator_of_torch():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, second = Dropout.draw(0.5), Dropout.draw(0.5)
        torch.manual_seed(1)
        assert Dropout.draw(0.5) == first
    assert first != second
    assert 0 <= first.seed < 1 << 62


def test_weights_are_dropped_and_the_rest_scaled():
    """With uniform weights and values of one, each output is the number of kept keys over the expected number."""
    n, p = 200, 0.25
    x, v = torch.zeros(n, 2, 1), torch.ones(n, 2, 1)
    dropout = Dropout(p, 7)
    out = attend(Attention(), x, x, v, Layout.of_lengths([n]), dropout=dropout)[..., 0]
    expected = kept(dropout, 2, ROWS[:n], ROWS[:n]).sum(2).T / (n * (1 - p))
    torch.testing.assert_close(out, expected.float())
    assert abs(out.mean() - 1) < 0.01


def test_no_dropout_is_none():
    x = torch.randn(5, 1, 4, generator=torch.Generator().manual_seed(0))
    layout = Layout.of_lengths([5])
    assert torch.equal(attend(Attention(), x, x, x, layout, dropout=Dropout(0.0)), attend(Attention(), x, x, x, layout))


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_probabilities_outside_are_refused(p):
    with pytest.raises(InputError, match="expected 0 <= p < 1"):
        Dropout(p)
