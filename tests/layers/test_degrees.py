import pytest
import torch

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.degrees import Degrees
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.sets import VectorSets
from regard.train.kinds import build

# Vector 0 hears of 1, 2 and itself, 1 of 0; nobody hears of 3, which hears of nobody.
EDGES = torch.tensor([[0, 0, 0, 1], [0, 1, 2, 0]])


def test_by_hand() -> None:
    layer = Degrees(3, 8).double()
    values = torch.randn(4, 3, dtype=torch.float64)
    found = layer(VectorSets.pack([values], edges=[EDGES])).values
    for row, (outgoing, incoming) in enumerate([(2, 1), (1, 1), (0, 1), (0, 0)]):
        torch.testing.assert_close(found[row], values[row] + layer.outgoing[outgoing] + layer.incoming[incoming])


def test_many_neighbors_share_the_last_vector() -> None:
    layer, star = Degrees(2, 3), torch.stack([torch.zeros(100, dtype=torch.int64), torch.arange(1, 101)])
    found = layer(VectorSets.pack([torch.zeros(101, 2)], edges=[star])).values
    torch.testing.assert_close(found[0], layer.outgoing[2] + layer.incoming[0])


def test_each_set_gets_what_it_gets_alone_and_empty_sets_nothing() -> None:
    layer = Degrees(3, 4)
    none = torch.empty(2, 0, dtype=torch.int64)
    sets = VectorSets.pack([torch.randn(4, 3), torch.randn(0, 3), torch.randn(2, 3)], edges=[EDGES, none, none])
    together = layer(sets)
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, layer(alone).values)


def test_gradients() -> None:
    layer = Degrees(3, 4).double()
    values = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    sets = VectorSets.pack([values], edges=[EDGES])
    assert torch.autograd.gradcheck(lambda x, *tables: layer(sets.with_values(x)).values, (values, *layer.parameters()))


def test_the_order_of_vectors_does_not_matter() -> None:
    layer, order = Degrees(3, 4), torch.tensor([2, 0, 3, 1])
    values, place = torch.randn(4, 3), torch.argsort(order)
    found = layer(VectorSets.pack([values], edges=[EDGES])).values
    moved = layer(VectorSets.pack([values[order]], edges=[place[EDGES]])).values
    torch.testing.assert_close(moved, found[order])


def test_in_a_model() -> None:
    options = Encoder(width=8, heads=2, feed_forward=8, positions=Positions("degree", longest=4))
    model = build(options, Encoding(width=3, ordered=False, edges=True)).eval()
    assert isinstance(model.positions.added, Degrees)
    values = torch.ones(4, 3)
    # The same vectors in the same surroundings but for who hears of whom.
    found = model(Batch(VectorSets.pack([values], edges=[EDGES]))).values
    assert not torch.allclose(found[0], found[3])
    with pytest.raises(InputError, match=r"model.positions is 'degree' and the sets of the data have no edges"):
        build(options, Encoding(width=3))
    with pytest.raises(InputError, match="the sets have no edges, expected graphs: degrees count them"):
        model(Batch(VectorSets.pack([values])))
