"""Repeated cells and blocks of cells against torch's, picture by picture, and by hand where there are holes."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from regard import InputError, VectorSets
from regard.layers.resized2d import BlockMax2d, BlockMean2d, Repeated2d
from tests.layers.pictures2d import flat, pictures_of

SIZES = ((4, 6), (0, 0), (2, 2), (6, 4), (2, 8))


TORCH = {
    "repeated": (Repeated2d(2), lambda x: interpolate(x, scale_factor=2.0, mode="nearest"), 2.0),
    "thrice": (Repeated2d(3), lambda x: interpolate(x, scale_factor=3.0, mode="nearest"), 3.0),
    "mean": (BlockMean2d(), lambda x: avg_pool2d(x, 2), 0.5),
    "max": (BlockMax2d(), lambda x: max_pool2d(x, 2), 0.5),
}


@pytest.mark.parametrize("name", TORCH)
def test_pictures_of_all_sizes_are_resized_as_torch_does_each_with_gradients(name: str) -> None:
    layer, theirs, scale = TORCH[name]
    sets = pictures_of(*SIZES)
    leaf = sets.values.clone().requires_grad_()
    found = layer(sets.with_values(leaf))
    pictures = zip(sets.with_values(leaf).unpack(), SIZES, strict=True)
    expected = [flat(theirs(x.T.view(1, 3, h, w))) if h else x for x, (h, w) in pictures]
    for ours, other, (h, w) in zip(found.unpack(), expected, SIZES, strict=True):
        torch.testing.assert_close(ours, other)
        assert len(ours) == int(h * scale) * int(w * scale)
    assert found.layout.coords is not None
    for place, (h, w) in zip(found.layout.coords.split(found.layout.lengths.tolist()), SIZES, strict=True):
        rows, columns = (torch.arange(float(int(n * scale))) for n in (h, w))
        torch.testing.assert_close(place, torch.cartesian_prod(rows, columns).view(-1, 2))
    above = torch.randn_like(found.values)
    ours, other = (torch.autograd.grad(each, leaf, above)[0] for each in (found.values, torch.cat(expected)))
    torch.testing.assert_close(ours, other)


@pytest.mark.parametrize(("layer", "reduced"), [(BlockMean2d(3), Tensor.mean), (BlockMax2d(3), Tensor.amax)])
def test_sets_with_holes_in_any_order_and_anywhere_become_blocks_alone_as_in_a_batch(layer, reduced) -> None:
    generator = torch.Generator().manual_seed(2)
    sets = []
    for count, extent, shift in ((30, 7, 0), (9, 40, -13), (1, 5, 3), (0, 1, 0)):
        cells = torch.randperm(extent * extent, generator=generator)[:count]
        coords = torch.stack([cells // extent, cells % extent], 1).float() + shift
        sets.append((torch.randn(count, 3, generator=generator, dtype=torch.float64), coords))
    together = layer(VectorSets.pack([v for v, _ in sets], coords=[c for _, c in sets]))
    assert together.layout.coords is not None
    bounds = together.layout.lengths.tolist()
    for (values, coords), found, places in zip(
        sets, together.unpack(), together.layout.coords.split(bounds), strict=True
    ):
        blocks = sorted({(math.floor(r / 3), math.floor(c / 3)) for r, c in coords.tolist()})
        assert [tuple(place) for place in places.long().tolist()] == blocks
        for block, value in zip(blocks, found, strict=True):
            torch.testing.assert_close(value, reduced(values[((coords / 3).floor() == torch.tensor(block)).all(1)], 0))
        alone = layer(VectorSets.pack([values], coords=[coords]))
        torch.testing.assert_close(alone.values, found)


def test_repeated_cells_lie_row_by_row_whatever_the_order_before() -> None:
    sets = pictures_of((3, 2))
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    assert sets.coords is not None
    shuffled = VectorSets.pack([sets.values[order]], coords=[sets.coords[order] - 7])
    found, expected = Repeated2d()(shuffled), Repeated2d()(sets)
    torch.testing.assert_close(found.values, expected.values)
    torch.testing.assert_close(found.coords, expected.coords - 14)


@pytest.mark.parametrize("layer", [Repeated2d(), BlockMean2d(), BlockMax2d()])
def test_sets_without_rows_and_columns_are_refused(layer) -> None:
    with pytest.raises(InputError, match=f"{type(layer).__name__} reads rows and columns and the sets have 0"):
        layer(VectorSets.pack([torch.ones(4, 2)]))
