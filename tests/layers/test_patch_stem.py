"""The stem reads patches as the picture that they are, whatever is packed beside it."""

import pytest
import torch
from torch.nn.functional import conv2d, layer_norm

from regard.data.patches import cut
from regard.errors import InputError
from regard.layers.patch_stem import PatchStem
from regard.sets import VectorSets


def patches(pixels: torch.Tensor, patch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a picture `[h, w, c]`, with the place of each."""
    rows, columns = (side // patch for side in pixels.shape[:2])
    places = torch.cartesian_prod(torch.arange(float(rows)), torch.arange(float(columns)))
    return torch.from_numpy(cut(pixels.numpy(), patch)), places.view(-1, 2)


def made(*pixels: torch.Tensor, patch: int = 8) -> VectorSets:
    values, coords = zip(*(patches(each, patch) for each in pixels), strict=True)
    return VectorSets.pack(values, coords=coords)


def test_it_is_the_convolutions_of_the_picture() -> None:
    torch.manual_seed(0)
    stem, pixels = PatchStem(8, 3, 40), torch.rand(24, 40, 3)
    x = (pixels.permute(2, 0, 1)[None] - 0.5) * 4
    for n, stage in enumerate(stem.stages):
        x = conv2d(x, stage.reduce.weight, stride=2, padding=1)
        x = layer_norm(x.movedim(1, -1), x.shape[1:2], stage.norm.weight, stage.norm.bias).relu().movedim(-1, 1)
        if n:
            y = conv2d(x, stage.deepen.weight, padding=1)
            x = x + layer_norm(y.movedim(1, -1), y.shape[1:2]).relu().movedim(-1, 1)
    out = stem(made(pixels))
    assert x.shape == (1, 40, 3, 5)
    torch.testing.assert_close(out.values, x[0].flatten(1).T)


def test_each_picture_of_a_batch_is_as_it_is_alone_in_any_order_of_patches() -> None:
    torch.manual_seed(1)
    stem = PatchStem(4, 3, 24).double()
    pixels = [torch.rand(h, w, 3, dtype=torch.float64) for h, w in ((8, 12), (4, 4), (8, 12), (20, 4))]
    sets = made(*(each.float() for each in pixels), patch=4)
    sets = sets.with_values(sets.values.double())
    together = stem(sets)
    for one, alone in zip(together.unpack(), sets, strict=True):
        torch.testing.assert_close(one, stem(alone).values)
    values, coords = sets[3].values, sets[3].coords
    assert coords is not None
    order = torch.randperm(5)
    turned = stem(VectorSets.pack([values[order]], coords=[coords[order]]))
    torch.testing.assert_close(turned.values, together.unpack()[3][order])


def test_empty_sets_and_gradients() -> None:
    stem = PatchStem(4, 3, 24)
    values, places = patches(torch.rand(8, 8, 3), 4)
    values.requires_grad_()
    sets = VectorSets.pack([values[:0], values], coords=[places[:0], places])
    out = stem(sets)
    out.values.sum().backward()
    assert values.grad is not None
    assert all(each.grad is not None for each in stem.parameters())
    assert stem(sets.select([0])).values.shape == (0, 24)


def test_what_is_no_picture_is_refused() -> None:
    for patch in (1, 6):
        with pytest.raises(InputError, match=f"patches of {patch}, expected 2, 4, 8"):
            PatchStem(patch, 3, 24)
    stem = PatchStem(4, 3, 24)
    with pytest.raises(InputError, match=r"vectors of width \[12\], expected 48"):
        stem(VectorSets.pack([torch.rand(4, 12)], coords=[torch.zeros(4, 2)]))
    values, places = patches(torch.rand(8, 8, 3), 4)
    with pytest.raises(InputError, match="set 0 of 2 x 2 cells has 3 vectors"):
        stem(VectorSets.pack([values[:3]], coords=[places[:3]]))
