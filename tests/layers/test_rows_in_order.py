"""Layers that read the rows next to each one refuse sets whose places tell another order; the others follow the places."""

import pytest
import torch

from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.convolution import Depthwise, Subsample
from regard.layers.embed import NGrams
from regard.layers.mixers import Convolution, Pointwise, WindowedLinear
from regard.layers.pooling import ClassVector, First, Mean
from regard.layers.recurrent import LSTM, Recurrent
from regard.sets import VectorSets

PLACES = [torch.tensor([2, 0, 1]), torch.tensor([0])]
BY_ROWS = [
    WindowedLinear(4, 1, 1),
    Convolution(4, 1, 1),
    Depthwise(4, 1, 1),
    Subsample(4, 4, 2),
    Recurrent(4),
    LSTM(4),
    First(4),
    ClassVector(4),
    NGrams(2, 8, 4),
]


def sets(layer: torch.nn.Module, places: list[torch.Tensor] | None) -> VectorSets:
    ids = isinstance(layer, NGrams)
    parts = [torch.arange(n) if ids else torch.randn(n, 4) for n in (3, 1)]
    return VectorSets.pack(parts, places=places)


@pytest.mark.parametrize("layer", BY_ROWS, ids=lambda layer: type(layer).__name__)
def test_layers_that_read_neighboring_rows_refuse_another_order(layer):
    layer(sets(layer, None))
    with pytest.raises(InputError, match="have places, which tell another"):
        layer(sets(layer, PLACES))


@pytest.mark.parametrize("layer", [Pointwise(4), SelfAttention(4, 2), Mean(4)], ids=lambda layer: type(layer).__name__)
def test_layers_that_read_no_neighbors_take_any_order(layer):
    layer(sets(layer, PLACES))
