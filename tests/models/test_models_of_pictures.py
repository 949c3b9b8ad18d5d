"""Models of pictures: the stem in front of the encoder, positions on the grid that it leaves, and a class vector among them."""

from dataclasses import replace

import pytest
import torch

from regard import InputError, VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Grid
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.train.kinds import build

PIXELS = Encoding(width=2, grid=Grid(2, (9, 11)))
STEM = Front(stem="convolution2d", stages=(6,))
SIZES = ((9, 11), (4, 3), (1, 1), (8, 10))


def options(front: Front, positions: str = "learned", **others) -> Encoder:
    return Encoder(
        width=8, layers=2, heads=2, feed_forward=16, dropout=0.0, positions=Positions(positions), front=front, **others
    )


def batch(*sizes: tuple[int, int]) -> Batch:
    generator = torch.Generator().manual_seed(3)
    values = {(h, w): torch.randn(h * w, 2, generator=generator) for h, w in SIZES}
    coords = [torch.cartesian_prod(torch.arange(float(h)), torch.arange(float(w))) for h, w in sizes]
    return Batch(VectorSets.pack([values[size] for size in sizes], coords=coords))


@pytest.mark.parametrize("class_vector", [False, True])
@pytest.mark.parametrize("positions", ["none", "learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize("stem", ["joined", "convolution2d"])
def test_pictures_of_all_sizes_are_each_as_alone(stem, positions, class_vector) -> None:
    front = replace(STEM, class_vector=class_vector) if stem != "joined" else Front(class_vector=class_vector)
    torch.manual_seed(0)
    model = build(options(front, positions), PIXELS).eval()
    together = model(batch(*SIZES))
    for size, found in zip(SIZES, together.unpack(), strict=True):
        count = size[0] * size[1] if stem == "joined" else -(-size[0] // 4) * -(-size[1] // 4)
        assert len(found) == count + class_vector
        torch.testing.assert_close(model(batch(size)).values, found, atol=1e-5, rtol=1e-5)


def test_rotary_positions_leave_a_class_vector_unturned() -> None:
    # A picture of one pixel at (0, 0) is turned by nothing either, so without rotation the two sets are the same.
    torch.manual_seed(0)
    turned = build(options(Front(class_vector=True), "rotary"), PIXELS).eval()
    plain = build(options(Front(class_vector=True), "none"), PIXELS).eval()
    plain.load_state_dict(turned.state_dict())
    torch.testing.assert_close(turned(batch((1, 1))).values, plain(batch((1, 1))).values)
    assert not torch.allclose(turned(batch((4, 3))).values, plain(batch((4, 3))).values, atol=1e-4)


def test_learned_positions_are_as_many_as_the_stem_leaves() -> None:
    model = build(options(STEM), PIXELS)
    assert model.positions.added.extent == (3, 3)
    assert model.front.embed.__class__ is torch.nn.Identity
    assert not model.grows


def test_a_network_of_stages_alone_is_a_model_too() -> None:
    front = Front(stem="convolution2d", stages=(4, 6), convolutions=2, norm=True)
    model = build(replace(options(front, "none"), layers=0), PIXELS)
    assert [len(stage) for stage in model.front.stem.stages] == [2, 2, 2]
    assert model(batch((9, 11))).values.shape == (4, 8)


def test_ids_on_a_grid_are_embedded_before_the_stem() -> None:
    encoding = Encoding(columns={"level": tuple(map(str, range(5)))}, grid=Grid(2, (4, 4)))
    model = build(options(STEM), encoding)
    coords = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    sets = VectorSets.pack([torch.arange(16) % 5], coords=[coords])
    assert model(Batch(sets)).values.shape == (1, 8)


def test_what_fits_no_picture_is_refused_in_a_sentence() -> None:
    with pytest.raises(
        InputError, match=r"model.front.stem is 'convolution2d' and the vectors of the data have 0 coord"
    ):
        build(options(STEM), Encoding(width=2))
    with pytest.raises(InputError, match=r"model.front.stages is \[0\], expected widths of at least 1"):
        Front(stages=(0,))
    with pytest.raises(InputError, match=r"model.front.step is 2 and the stem is 'convolution2d', expected 1"):
        Front(stem="convolution2d", step=2)
