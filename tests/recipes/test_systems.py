"""The systems of the arena: each is made by one line and gives every set its own vectors."""

import pytest
import torch

from regard import VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.recipes.systems import SYSTEMS, name_of, system
from regard.train.kinds import build

MODEL = Encoder(width=16, layers=2, heads=2, feed_forward=16, positions=Positions("learned", longest=700))


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_trains_on_sets_of_all_lengths_and_batch_neighbors_change_nothing(name):
    torch.manual_seed(0)
    model = build(SYSTEMS[name].of(MODEL), Encoding(width=4))
    sets = [torch.randn(length, 4) for length in (700, 1, 0, 65)]
    model(Batch(VectorSets.pack(sets))).values.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        together = model(Batch(VectorSets.pack(sets)))
        for n, one in enumerate(sets):
            alone = model(Batch(VectorSets.pack([one]))).values
            torch.testing.assert_close(together[n].values, alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_model_is_called_as_its_system(name):
    assert name_of(SYSTEMS[name].of(MODEL)) == name


def test_what_is_no_system_is_refused():
    assert system("Attention(pattern=Causal())").attention == "Attention(pattern=Causal())"
    with pytest.raises(InputError, match="there is no system 'reformr': did you mean 'reformer'"):
        system("reformr")
    with pytest.raises(InputError, match="expected such as"):
        system("Window(2, 2)")
