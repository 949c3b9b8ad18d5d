"""Convolution over rows and columns against torch's own, picture by picture, and against a sum over single vectors."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from regard import InputError, VectorSets
from regard.layers.convolution2d import Convolution2d
from regard.layers.grids import grid_of
from tests.layers.pictures2d import pictures_of

ALIKE = ((7, 9), (6, 8), (0, 0), (8, 8), (7, 9))
UNLIKE = ((1, 60), (0, 0), (50, 1), (1, 1), (4, 6))


@pytest.mark.parametrize(("reach", "step"), [(0, 1), (1, 1), (2, 1), (1, 3), (2, 2), (9, 1)])
@pytest.mark.parametrize("sizes", [ALIKE, UNLIKE], ids=["alike", "unlike"])
def test_pictures_of_all_sizes_are_convolved_as_torch_does_each_with_gradients(sizes, reach: int, step: int) -> None:
    torch.manual_seed(1)
    layer = Convolution2d(3, reach, 4, step).double()
    torch.nn.init.normal_(layer.bias)
    sets = pictures_of(*sizes)
    leaf = sets.values.clone().requires_grad_()
    found = layer(sets.with_values(leaf)).values
    expected = torch.cat(
        [
            conv2d(
                x.T.view(1, 3, h, w), layer.taps, layer.bias, padding=reach * step, dilation=step
            )[0].flatten(1).T
            for x, (h, w) in zip(sets.with_values(leaf).unpack(), sizes, strict=True)
            if h
        ]
    )  # fmt: skip
    torch.testing.assert_close(found, expected)
    above = torch.randn_like(expected)
    given = (leaf, layer.taps, layer.bias)
    for ours, theirs in zip(
        torch.autograd.grad(found, given, above), torch.autograd.grad(expected, given, above), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def one_by_one(layer: Convolution2d, values: Tensor, coords: Tensor) -> Tensor:
    """The formula, vector by vector of one set."""
    places = {tuple(place): row for row, place in enumerate(coords.tolist())}
    out = []
    for row, column in coords.tolist():
        total = layer.bias.clone()
        for r in range(-layer.reach, layer.reach + 1):
            for c in range(-layer.reach, layer.reach + 1):
                other = places.get((row + layer.step * r, column + layer.step * c))
                if other is not None:
                    total = total + layer.taps[:, :, layer.reach + r, layer.reach + c] @ values[other]
        out.append(total)
    return torch.stack(out)


@pytest.mark.parametrize("spread", [6, 60], ids=["canvas", "gathered"])
def test_sets_with_holes_in_any_order_are_sums_over_the_vectors_that_there_are(spread: int) -> None:
    torch.manual_seed(spread)
    layer = Convolution2d(3, 2, 2, step=2).double()
    coords = []
    for n in (18, 1, 15):
        cells = torch.randperm(spread * spread)[:n]
        coords.append(torch.stack([cells // spread - 7, cells % spread + 30], 1).double())
    values = [torch.randn(len(places), 3, dtype=torch.float64) for places in coords]
    found = layer(VectorSets.pack(values, coords=coords))
    expected = torch.cat([one_by_one(layer, *each) for each in zip(values, coords, strict=True)])
    torch.testing.assert_close(found.values, expected)


def test_both_ways_are_taken_by_the_tests_above() -> None:
    for sizes, near in ((ALIKE, True), (UNLIKE, False)):
        layout = pictures_of(*sizes).layout
        grid = grid_of(layout, "it")
        assert (layout.sets * grid.height * grid.width <= 4 * layout.total) == near


@pytest.mark.parametrize("sizes", [ALIKE, UNLIKE], ids=["alike", "unlike"])
def test_pictures_in_a_batch_do_not_hear_of_each_other(sizes) -> None:
    layer, sets = Convolution2d(3, 3).double(), pictures_of(*sizes)
    spoilt = sets.values.clone()
    spoilt[sets.layout.set_of_row == 0] = torch.nan
    together, others = layer(sets), layer(sets.with_values(spoilt))
    for b in range(1, 5):
        assert torch.equal(together[b].values, others[b].values)
    assert others[0].values.isnan().all()


def test_vectors_without_a_row_and_a_column_are_refused() -> None:
    layer = Convolution2d(3)
    x = torch.zeros(2, 3)
    for coords, match in (
        (None, "the sets have 0 coordinates, expected 2"),
        ([torch.zeros(2, 3)], "the sets have 3 coordinates, expected 2"),
        ([torch.zeros(2, 2)], r"vector 1 of set 0 lies at \(0, 0\), where another vector lies"),
        ([torch.tensor([[0, 0], [0.5, 1]])], r"vector 1 of set 0 lies at \(0.5, 1\), no whole number"),
        ([torch.tensor([[torch.inf, 0], [0, 1]])], r"vector 0 of set 0 lies at \(inf, 0\), no whole number"),
    ):
        with pytest.raises(InputError, match=f"Convolution2d reads rows and columns and .*{match}"):
            layer(VectorSets.pack([x], coords=coords))
    with pytest.raises(InputError, match="Convolution2d has reach -1, expected at least 0"):
        Convolution2d(3, -1)


def test_no_vectors_stay_none() -> None:
    assert Convolution2d(3, width=2)(VectorSets.pack([torch.zeros(0, 3)], coords=[torch.zeros(0, 2)])).values.shape == (
        0,
        2,
    )
