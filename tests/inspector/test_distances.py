"""How far heads look, against a loop over pairs and against attentions whose distances are known."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch

from regard import InputError, VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Grid
from regard.inspector.distances import attention_distances, even_distance, plot_distances
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.train.kinds import build

OPTIONS = Encoder(width=8, layers=2, heads=2, feed_forward=8, positions=Positions("learned"), dropout=0.3)
PATCHES = Encoding(width=3, grid=Grid(2, (6, 6)))


def batch() -> Batch:
    torch.manual_seed(1)
    sizes = ((3, 4), (0, 0), (1, 1), (5, 2))
    coords = [torch.cartesian_prod(torch.arange(float(h)), torch.arange(float(w))).view(h * w, 2) for h, w in sizes]
    return Batch(VectorSets.pack([torch.randn(len(c), 3) for c in coords], coords=coords))


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("class_vector", [False, True])
def test_it_is_the_mean_over_queries_of_weighted_distances(class_vector: bool, positions: str) -> None:
    torch.manual_seed(0)
    options = replace(OPTIONS, positions=Positions(positions), front=Front(class_vector=class_vector))
    model = build(options, PATCHES)
    seen = []
    mixers = [block.mixer for block in model.stack.blocks]
    for mixer in mixers:
        mixer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    found = attention_distances(model, batch())
    assert [distances.shape for distances in found] == [(2,), (2,)]
    places = batch().inputs.layout
    for mixer, sets, distances in zip(mixers, seen, found, strict=True):
        alone = []
        for values, coords in zip(sets.unpack(), places.coords.split(places.lengths.tolist()), strict=True):
            q, k = (
                part.view(len(values), 2, 4)
                for part in torch.nn.functional.linear(values, mixer.project.weight, mixer.project.bias).split(8, 1)[:2]
            )
            if positions == "rotary":
                layout = VectorSets.pack(
                    [values], coords=[torch.cat([coords.new_zeros(int(class_vector), 2), coords])]
                ).layout
                q, k = mixer.rotation(q, layout), mixer.rotation(k, layout)
            weights = (torch.einsum("ihd,jhd->hij", q, k) / 2).softmax(-1)[:, class_vector:, class_vector:]
            weights = weights / weights.sum(-1, keepdim=True)
            alone.append((weights * torch.cdist(coords, coords)).sum(-1))
        torch.testing.assert_close(distances.float(), torch.cat(alone, 1).mean(1), atol=1e-5, rtol=1e-5)


def test_a_head_that_weighs_all_alike_has_the_even_distance_and_near_ones_less() -> None:
    model = build(OPTIONS, PATCHES)
    for block in model.stack.blocks:
        for parameter in block.mixer.parameters():
            torch.nn.init.zeros_(parameter)
    even = even_distance(batch())
    for distances in attention_distances(model, batch()):
        torch.testing.assert_close(distances, torch.full((2,), even, dtype=torch.float64))
    near = build(replace(OPTIONS, attention="Attention(pattern=Near(1))"), PATCHES)
    assert all(0 < float(each) <= 2**0.5 for distances in attention_distances(near, batch()) for each in distances)


def test_points_of_heads_are_drawn_by_layer() -> None:
    figure, axis = plt.subplots()
    plot_distances([[1.0, 2.0], torch.tensor([3.0])], axis, even=2.5)
    assert [list(map(float, line.get_ydata())) for line in axis.lines] == [[1.0, 2.0], [3.0], [2.5, 2.5]]
    plt.close(figure)


def test_what_has_no_distances_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="the model has no attention, expected at least one"):
        attention_distances(build(replace(OPTIONS, mixer="convolution2d"), PATCHES), batch())
    words = Batch(VectorSets.pack([torch.randn(4, 3)]))
    model = build(OPTIONS, Encoding(width=3, ordered=True))
    with pytest.raises(InputError, match="the sets have no coordinates, expected some"):
        attention_distances(model, words)
    with pytest.raises(InputError, match="the sets have no coordinates, expected some"):
        even_distance(words)
