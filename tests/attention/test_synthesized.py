"""The scores of the Synthesizer in tiles: the same numbers as pair by pair, at the cost of tables and products."""

import pytest
import torch

from regard import Attention, Layout, attend, plan
from regard.attention.pairs import rows
from regard.attention.pairs.pairs import Pairs
from regard.attention.spec.scores import Synthesized

KINDS = ("dense", "random", "factorized", "factorized_dense")


def learned_by(score: Synthesized, heads: int, d: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        name: torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for name, shape in score.parameters(heads, d).items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_has_the_scores_of_its_pairs_and_their_gradients(kind):
    score, layout = Synthesized(20, kind, rank=3), Layout.of_lengths([4, 11])
    learned = learned_by(score, 2, 5)
    # Two tiles, in the second of which rows and columns pad by the last one.
    queries, keys = torch.tensor([[0, 1, 3], [5, 14, 14]]), torch.tensor([[0, 1, 2, 3], [9, 10, 10, 10]])
    pairs = Pairs(layout, layout, queries[:, :, None], keys[:, None, :])
    q = torch.randn(2, 2, 3, 5, dtype=torch.float64, requires_grad=True)
    k = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    tile = score.tile(q, k, learned, pairs)
    one_by_one = score(q.movedim(1, 2)[:, :, None], k.movedim(1, 2)[:, None], learned, pairs)
    torch.testing.assert_close(tile, one_by_one.movedim(-1, 1).expand(tile.shape))
    above = torch.randn_like(tile)
    inputs = [q, *learned.values()]
    found = torch.autograd.grad((tile * above).sum(), inputs, allow_unused=True)
    expected = torch.autograd.grad((one_by_one.movedim(-1, 1) * above).sum(), inputs, allow_unused=True)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("executor", ["dense", "blocks"])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_read_by_places_and_not_by_pairs(kind, executor, monkeypatch):
    """Gradients of lookups for each pair took most of the time of a step."""
    read = []
    original = rows.looked_up

    def counted(table, place):
        read.append(place.numel())
        return original(table, place)

    monkeypatch.setattr(rows, "looked_up", counted)
    layout, n = Layout.of_lengths([70, 70]), 70
    score = Synthesized(n, kind)
    x = torch.randn(2 * n, 2, 4)
    learned = {name: tensor.float() for name, tensor in learned_by(score, 2, 4).items()}
    attend(Attention(score), x, x, x, layout, parameters=learned, executor=executor)
    assert sum(read) <= 16 * n


@pytest.mark.parametrize("kind", KINDS)
def test_long_sets_go_through_products(kind):
    made = plan(Attention(Synthesized(1024, kind, rank=32)), Layout.of_lengths([1024] * 4), heads=2, d=32)
    assert made.executor in ("dense", "blocks")
    assert made.seconds["edges"] > 5 * made.seconds[made.executor]


def test_the_gradient_of_a_crossed_table_is_exact():
    torch.manual_seed(0)
    table = torch.randn(5, 6, 2, dtype=torch.float64, requires_grad=True)
    row, column = torch.randint(5, (2, 3, 1)), torch.randint(6, (2, 1, 4))
    assert torch.equal(rows.crossed(table, row, column), table[row, column])
    assert torch.autograd.gradcheck(lambda x: rows.crossed(x, row, column), (table,))
