"""What an input is, for people: a picture, a sound, or a graph, on which weights lie in their places."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.data.examples import Array, Example
from regard.data.features import FRAMES_PER_SECOND
from regard.inspector.asked import Answer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from regard.inspector.stems import StemGrid

__all__ = ["material", "node_places", "picture_of"]

_NODES = 300  # of a graph whose nodes are all drawn
_RATE = 16_000
_LONGEST = 60 * _RATE  # samples that a page plays
_STEPS = 300  # of a layout of nodes


def material(
    example: Example,
    reader: Any,
    samples: Array | None = None,
    boxes: Sequence[Mapping[str, Any]] = (),
    grid: StemGrid | None = None,
) -> Answer:
    """What weights can be shown on: `{"kind": "picture", "sound", "graph" or "none"}` and its numbers.

    Args:
        reader: of the run's data. samples: of a sound, at 16 kHz.
        boxes: that are predicted in a picture, each with its `query` and its `box` in parts of the picture.
        grid: where the vectors lie that a stem has made of a picture's.
    """
    from regard.data.sound_reader import SoundReader

    if isinstance(reader, SoundReader):
        return _sound(example.values, samples)
    if example.edges is not None:
        return _graph(example)
    values, coords = _pixels(example, reader)
    if coords is not None and coords.shape[1] == 2 and values.ndim == 2:
        pixels, side = picture_of(values, coords)
        height, width = pixels.shape[:2]
        if grid is not None:
            side, coords = side * grid.side, grid.coords
        places = coords.round().astype(int).tolist()
        content = {"kind": "picture", "height": height, "width": width, "patch": side, "places": places}
        if boxes:
            sizes = (width, height) * 2
            content["boxes"] = [
                {**box, "box": [end * size for end, size in zip(box["box"], sizes, strict=True)]} for box in boxes
            ]
        return Answer(content, (pixels.tobytes(),))
    return Answer({"kind": "none"})


def _pixels(example: Example, reader: Any) -> tuple[Array, Array | None]:
    """The values and coordinates of an example; of pixels that are read as ids, their gray and where they lie."""
    from regard.data.arena.raster import Raster
    from regard.data.pixels import Pixels

    if isinstance(reader, Pixels):
        return example.values[:, None] / np.float32(255), example.coords
    if isinstance(reader, Raster):
        return (example.values[:, None] - 1) / np.float32(255), np.stack(
            np.divmod(np.arange(len(example.values)), reader.size), 1
        )
    return example.values, example.coords


def picture_of(values: Array, coords: Array) -> tuple[NDArray[np.uint8], int]:
    """`[height, width, 3]` of patches `[n, side * side * c]` at their (row, column), and their side; black where there is none.

    >>> picture_of(np.ones((1, 4), np.float32), np.array([[0.0, 1.0]]))[0][..., 0].tolist()
    [[0, 0, 255, 255], [0, 0, 255, 255]]
    """
    channels = 3 if math.isqrt(values.shape[1]) ** 2 != values.shape[1] else 1
    side = math.isqrt(values.shape[1] // channels)
    if side * side * channels != values.shape[1]:
        # No patch of pixels: what its numbers are on the mean.
        values, side, channels = values.mean(1, keepdims=True), 1, 1
    rows, columns = coords.round().astype(int).T
    rows, columns = rows - rows.min(initial=0), columns - columns.min(initial=0)
    canvas = np.zeros((rows.max(initial=0) + 1, side, columns.max(initial=0) + 1, side, channels), np.float32)
    canvas[rows, :, columns] = np.nan_to_num(values).reshape(-1, side, side, channels)
    pixels = canvas.reshape(canvas.shape[0] * side, -1, channels).clip(0, 1) * 255
    return np.ascontiguousarray(np.broadcast_to(pixels.round().astype(np.uint8), (*pixels.shape[:2], 3))), side


def _sound(values: Array, samples: Array | None) -> Answer:
    """The mel bands, and the samples where each frame is 10 ms of them."""
    content: dict[str, Any] = {"kind": "sound", "frames": len(values), "bands": values.shape[1], "rate": 0}
    content["per_second"] = FRAMES_PER_SECOND
    finite = np.nan_to_num(values.astype(np.float64))
    low, high = (np.quantile(finite, share) for share in (0.02, 0.99)) if finite.size else (0.0, 1.0)
    bands = ((finite - low) / max(high - low, 1e-9)).clip(0, 1) * 255
    buffers = [bands.round().astype(np.uint8).tobytes()]
    if samples is not None and len(samples) <= _LONGEST and abs(len(samples) // (_RATE // 100) - len(values)) <= 3:
        content["rate"] = _RATE
        buffers.append((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
    return Answer(content, tuple(buffers))


def _graph(example: Example) -> Answer:
    assert example.edges is not None
    count, edges = len(example.values), example.edges
    content: dict[str, Any] = {"kind": "graph", "nodes": count, "drawn": count <= _NODES, "edges": []}
    if count > _NODES:
        return Answer(content)
    # One line for both directions, none from a node to itself.
    content["edges"] = sorted({(min(pair), max(pair)) for pair in edges.T.tolist() if pair[0] != pair[1]})
    return Answer(content, (node_places(count, edges).astype("<f4").tobytes(),))


def node_places(count: int, edges: Array) -> NDArray[np.float64]:
    """`[count, 2]` places of nodes, from 0 to 1, whose distances are as near as can be to those along edges.

    Stress majorization (Gansner et al. 2005) with weights d^-2, from classical scaling on; parts that are not joined lie apart.

    >>> places = node_places(3, np.array([[0, 1], [1, 2]]))
    >>> a, b = np.linalg.norm(places[0] - places[1]), np.linalg.norm(places[0] - places[2])
    >>> round(float(b / a), 3)
    2.0
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    if count < 2:
        return np.full((count, 2), 0.5)
    ones = np.ones(edges.shape[1])
    apart = shortest_path(coo_array((ones, tuple(edges)), (count, count)).tocsr(), directed=False, unweighted=True)
    farthest = apart[np.isfinite(apart)].max()
    apart[~np.isfinite(apart)] = farthest + 2
    weights = (apart + np.eye(count)) ** -2.0
    np.fill_diagonal(weights, 0)
    laplacian = np.diag(weights.sum(1)) - weights
    inverse = np.linalg.pinv(laplacian)
    x = _classical(apart)
    for _ in range(_STEPS):
        now = np.linalg.norm(x[:, None] - x, axis=2)
        np.fill_diagonal(now, 1)
        ratio = weights * apart / np.maximum(now, 1e-9)
        x = inverse @ (np.diag(ratio.sum(1)) - ratio) @ x
    x -= x.min(0)
    found: NDArray[np.float64] = x / max(float(x.max()), 1e-9)
    return found


def _classical(apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two first principal coordinates of distances (Torgerson 1952)."""
    squared = apart**2
    centered = squared - squared.mean(0) - squared.mean(1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centered / 2)
    # The sign of an eigenvector is anybody's.
    vectors = vectors[:, -2:] * np.sign(vectors[np.abs(vectors[:, -2:]).argmax(0), [-2, -1]])
    found: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values[-2:], 0))
    return found
