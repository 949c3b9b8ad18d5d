"""The stem of pictures against torch's convolution and pooling, picture by picture, and against a maximum over single vectors."""

import math

import pytest
import torch
from torch.nn.functional import conv2d, layer_norm, max_pool2d

from regard import InputError, VectorSets
from regard.layers.stem2d import MaxPool2d, PictureStem
from tests.layers.pictures2d import flat, pictures_of

ALIKE = ((7, 9), (6, 8), (0, 0), (8, 8), (7, 9))
UNLIKE = ((1, 60), (0, 0), (50, 1), (1, 1), (4, 6))


@pytest.mark.parametrize(("reach", "step"), [(1, 2), (1, 1), (2, 3), (2, 2), (9, 4)])
@pytest.mark.parametrize("sizes", [ALIKE, UNLIKE], ids=["alike", "unlike"])
def test_pictures_of_all_sizes_are_pooled_as_torch_does_each_with_gradients(sizes, reach: int, step: int) -> None:
    sets = pictures_of(*sizes)
    leaf = sets.values.clone().requires_grad_()
    found = MaxPool2d(reach, step)(sets.with_values(leaf))
    pictures = zip(sets.with_values(leaf).unpack(), sizes, strict=True)
    expected = [
        flat(max_pool2d(x.T.view(1, 3, h, w), 2 * reach + 1, step, reach)) if h else x for x, (h, w) in pictures
    ]
    for ours, theirs in zip(found.unpack(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert found.layout.coords is not None
    for place, (h, w) in zip(found.layout.coords.split(found.layout.lengths.tolist()), sizes, strict=True):
        rows, columns = (torch.arange(float(-(-n // step))) for n in (h, w))
        torch.testing.assert_close(place, torch.cartesian_prod(rows, columns).view(-1, 2))
    above = torch.randn_like(found.values)
    ours, theirs = (torch.autograd.grad(each, leaf, above)[0] for each in (found.values, torch.cat(expected)))
    torch.testing.assert_close(ours, theirs)


def test_sets_with_holes_in_any_order_and_anywhere_are_pooled_alone_as_in_a_batch() -> None:
    generator = torch.Generator().manual_seed(2)
    layer = MaxPool2d(1, 2)
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
        expected = {}
        for row, column in {(math.floor(r / 2), math.floor(c / 2)) for r, c in coords.tolist()}:
            near = ((coords - 2 * torch.tensor([row, column])).abs() <= 1).all(1)
            expected[row, column] = values[near].amax(0)
        assert [tuple(place) for place in places.long().tolist()] == sorted(expected)
        for place, value in zip(places.long().tolist(), found, strict=True):
            torch.testing.assert_close(value, expected[tuple(place)])
        alone = layer(VectorSets.pack([values], coords=[coords]))
        torch.testing.assert_close(alone.values, found)
        torch.testing.assert_close(alone.layout.coords, places)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("sizes", [ALIKE, UNLIKE], ids=["alike", "unlike"])
def test_a_stem_is_convolutions_norms_relu_and_pooling(sizes, norm: bool) -> None:
    torch.manual_seed(1)
    stem = PictureStem(3, [4, 5], convolutions=2, norm=norm).double()
    sets = pictures_of(*sizes)
    leaf = sets.values.clone().requires_grad_()
    found = stem(sets.with_values(leaf))
    expected = []
    for x, (h, w) in zip(sets.with_values(leaf).unpack(), sizes, strict=True):
        pixels = x.T.reshape(1, 3, h, w)
        for convolutions in stem.stages if h else ():
            for convolution in convolutions:
                pixels = conv2d(pixels, convolution.taps, convolution.bias, padding=1)
                if norm:
                    pixels = layer_norm(pixels.movedim(1, -1), pixels.shape[1:2]).movedim(-1, 1)
                pixels = pixels.relu()
            pixels = max_pool2d(pixels, 3, 2, 1)
        expected.append(flat(pixels) if h else x.new_zeros(0, 5))
    for ours, theirs in zip(found.unpack(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    above = torch.randn_like(found.values)
    given = (leaf, *(parameter for name, parameter in stem.named_parameters() if "norm" not in name))
    for ours, theirs in zip(
        torch.autograd.grad(found.values, given, above),
        torch.autograd.grad(torch.cat(expected), given, above),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_what_it_cannot_pool_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="MaxPool2d has step 3, expected at most 2: one more than its reach"):
        MaxPool2d(1, 3)
    with pytest.raises(InputError, match=r"PictureStem has widths \[\], expected at least one"):
        PictureStem(3, [])
    with pytest.raises(InputError, match="MaxPool2d reads rows and columns and the sets have 0 coordinates"):
        MaxPool2d()(VectorSets.pack([torch.ones(3, 2)]))
    with pytest.raises(InputError, match=r"vector 1 of set 0 lies at .*where another vector lies"):
        MaxPool2d()(VectorSets.pack([torch.ones(2, 2)], coords=[torch.zeros(2, 2)]))


def test_no_vector_at_all_gives_none() -> None:
    sets = VectorSets.pack([torch.zeros(0, 3)], coords=[torch.zeros(0, 2)])
    assert PictureStem(3, [4])(sets).values.shape == (0, 4)


def test_traced_it_gives_the_same_for_all_sizes() -> None:
    torch.manual_seed(0)
    stem = PictureStem(3, [4], norm=True).double()
    compiled = torch.compile(stem, backend="eager")
    for sizes in (ALIKE, UNLIKE):
        sets = pictures_of(*sizes)
        with torch.no_grad():
            found, expected = compiled(sets), stem(sets)
        torch.testing.assert_close(found.values, expected.values)
        torch.testing.assert_close(found.layout.coords, expected.layout.coords)
