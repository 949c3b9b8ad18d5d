"""What weights are shown on: the picture, the sound and the graph that the vectors were made of."""

import numpy as np
import pytest

from regard.data.arena.raster import Raster
from regard.data.examples import Example
from regard.data.patches import cut
from regard.data.pixels import Pixels
from regard.data.speech import Sounds
from regard.inspector.material import material, node_places, picture_of
from regard.inspector.stems import StemGrid


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_put_together_of_its_patches(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, channels), np.uint8)
    coords = np.stack(np.divmod(np.arange(6), 3), 1).astype(np.float32)
    example = Example(cut(pixels / 255, 3), None, "a picture", coords=coords)
    answer = material(example, None)
    assert answer.content | {"places": None} == {"kind": "picture", "height": 6, "width": 9, "patch": 3, "places": None}
    assert answer.content["places"][4] == [1, 1]
    found = np.frombuffer(answer.buffers[0], np.uint8).reshape(6, 9, 3)
    np.testing.assert_array_equal(found, np.broadcast_to(pixels, (6, 9, 3)))


@pytest.mark.parametrize(("reader", "shift"), [(Pixels(), 0), (Raster(size=4), 1)], ids=["pixels", "raster"])
def test_pixels_that_are_read_as_ids_are_a_picture(reader, shift):
    gray = np.random.default_rng(0).integers(0, 256, (4, 4), np.uint8)
    coords = np.stack(np.divmod(np.arange(16), 4), 1).astype(np.float32) if shift == 0 else None
    example = Example(gray.reshape(-1).astype(np.int64) + shift, None, "a picture", coords=coords)
    answer = material(example, reader)
    assert answer.content["places"] == [list(divmod(n, 4)) for n in range(16)]
    found = np.frombuffer(answer.buffers[0], np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(found, np.broadcast_to(gray[..., None], (4, 4, 3)))


def test_behind_a_stem_a_vector_lies_on_a_square():
    coords = np.stack(np.divmod(np.arange(36), 6), 1).astype(np.float32)
    example = Example(np.ones((36, 1), np.float32), None, "a picture", coords=coords)
    answer = material(example, None, grid=StemGrid(2, coords[:3]))
    assert answer.content["patch"] == 2
    assert answer.content["places"] == [[0, 0], [0, 1], [0, 2]]


def test_vectors_on_a_grid_that_are_no_patches_are_shown_by_their_mean():
    pixels, side = picture_of(np.full((2, 5), 0.2, np.float32), np.array([[0.0, 0.0], [1.0, 0.0]]))
    assert (pixels.shape, side, pixels.max()) == ((2, 1, 3), 1, 51)


def test_a_sound_has_bands_and_samples():
    values = np.random.default_rng(0).standard_normal((98, 40)).astype(np.float32)
    samples = np.linspace(-1, 1, 16_000, dtype=np.float32)
    answer = material(Example(values, None, "a sound"), Sounds(), samples)
    assert answer.content == {"kind": "sound", "frames": 98, "bands": 40, "rate": 16_000, "per_second": 100}
    assert len(answer.buffers[0]) == 98 * 40
    np.testing.assert_allclose(np.frombuffer(answer.buffers[1], "<i2") / 32767, samples, atol=1e-4)
    # Frames that were dropped, or cut, have no samples of their own.
    for other in (None, samples[:8000]):
        assert material(Example(values, None, "a sound"), Sounds(), other).content["rate"] == 0


def test_a_graph_has_places_and_each_edge_once():
    ring = np.array([[0, 1, 2, 3, 0, 1], [1, 2, 3, 0, 0, 0]])
    answer = material(Example(np.zeros((5, 2), np.float32), None, "a ring", edges=ring), None)
    assert answer.content["edges"] == [(0, 1), (0, 3), (1, 2), (2, 3)]
    places = np.frombuffer(answer.buffers[0], "<f4").reshape(5, 2)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    assert np.isfinite(places).all()
    assert places.min() >= 0
    assert places.max() <= 1
    # Neighbors are nearer than others, and what is not joined is the farthest.
    assert max(apart[0, 1], apart[1, 2]) < apart[0, 2] < apart[0, 4]


def test_places_of_nodes_are_those_of_every_time():
    edges = np.random.default_rng(1).integers(0, 12, (2, 20))
    np.testing.assert_array_equal(node_places(12, edges), node_places(12, edges))
    assert node_places(1, np.zeros((2, 0), int)).tolist() == [[0.5, 0.5]]
    assert np.isfinite(node_places(4, np.zeros((2, 0), int))).all()


def test_a_large_graph_is_not_laid_out():
    answer = material(Example(np.zeros((400, 2), np.float32), None, "large", edges=np.array([[0], [1]])), None)
    assert answer.content == {"kind": "graph", "nodes": 400, "drawn": False, "edges": []}
    assert answer.buffers == ()


def test_words_have_no_place_of_their_own():
    assert material(Example(np.arange(3), None, "words"), None).content == {"kind": "none"}
