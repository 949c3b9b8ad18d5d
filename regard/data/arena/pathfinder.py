"""Pathfinder: two long dashed paths among short ones, and two disks; do both lie on one path? Drawn by the published rules.

Linsley et al. 2018 (Learning long-range spatial dependencies with horizontal gated recurrent units), their generator `snakes2.py`
as of 2019, with the numbers that Long Range Arena took for it (Tay et al. 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from regard.data.examples import Array

__all__ = ["PATHFINDER", "PATH_X", "Drawing", "Rules", "draw"]

# How often a dash is drawn anew before its path is given up, and a short path before there is one less of them.
_DASH_TRIALS, _PATH_TRIALS = 3, 5
# Above it a pixel of the mask of what is drawn counts as taken, and two masks together as an overlap.
_TAKEN, _OVERLAP = 0.3, 1.8
# No further short path begins where less than this share of the picture is free.
_FREE = 0.01
# Lines and disks are drawn so many times as large, and made smaller.
_SCALE = 2

Point = tuple[int, int]
Slices = tuple[slice, ...]
Generator = np.random.Generator


@dataclass(frozen=True)
class Rules:
    """The numbers of a picture; lengths in pixels.

    Args:
        side: of the picture.
        dash: the length of a dash.
        thickness: of a dash.
        margins: half of the least gap between dashes; one of them is drawn for each picture.
        radius: of the two disks.
        apart: how far from one another the two long paths begin, and half of how far from the border the first one does.
        continuity: how straight paths are: a dash that turns by x has a probability in proportion to
            cos^2(min(continuity * x, pi / 2)).
        distractors: how many short paths there are at most.
        target: the brightness of the two long paths; a disk has 1.
        distractor: the brightness of the short paths.
        dashes: of a long path.
        distractor_dashes: of a short one.
    """

    side: int
    dash: int
    thickness: float
    margins: tuple[int, ...]
    radius: float
    apart: int
    continuity: float
    distractors: int
    target: float
    distractor: float
    dashes: int = 14
    distractor_dashes: int = 4


PATHFINDER = Rules(32, 2, 0.5, (1,), 1.5, 7, 1.0, 5, target=1.5, distractor=2.0)
"""Pathfinder of 32 x 32. The long paths are darker than the short ones: an intensity cue tells them apart without following any."""

PATH_X = Rules(128, 5, 1.5, (2, 3), 3, 20, 1.8, 8, target=0.9, distractor=0.9)
"""Path-X, of 128 x 128; all paths are alike."""


class Drawing(NamedTuple):
    """A picture and how it came about.

    Args:
        pixels: `[side, side]` uint8, from 0 to 255 in each picture.
        label: 1 where both disks are on one path, 0 where they are on two.
        paths: `[2, side, side]` the two long paths alone.
        ends: row and column of the two disks; the first is where a path begins, the second where one ends.
    """

    pixels: Array
    label: int
    paths: Array
    ends: tuple[Point, Point]


def draw(rules: Rules, seed: int, index: int) -> Drawing:
    """The picture of that number; whichever others are drawn, (seed, index) decides it.

    >>> drawing = draw(PATHFINDER, 0, 7)
    >>> drawing.pixels.shape, int(drawing.pixels.min()), int(drawing.pixels.max())
    ((32, 32), 0, 255)
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, index]))
    label = int(generator.integers(2))
    pen = _pen(rules, rules.margins[int(generator.integers(len(rules.margins)))])
    while (found := pen.two_paths(generator)) is None:
        pass
    surface, lines = found
    paths = np.zeros((2, rules.side, rules.side))
    for path, dashes in zip(paths, lines, strict=True):
        pen.paint(path, dashes, rules.target)
    image = np.maximum(*paths)
    for _ in range(rules.distractors):
        for _ in range(_PATH_TRIALS):
            short = pen.short_path(surface, generator)
            if short is not None:
                surface, dashes = short
                pen.paint(image, dashes, rules.distractor)
                break
    first = int(generator.integers(2))
    ends = lines[first][0].at, lines[first if label else 1 - first][-1].at
    for point in ends:
        image = np.maximum(image, _disk(rules.side, point, rules.radius))
    low, high = image.min(), image.max()
    pixels = ((image - low) * (255 / (high - low)) + 0.5).astype(np.uint8)
    return Drawing(pixels, label, paths, ends)


class _Shape(NamedTuple):
    """A dash in one direction, around its first point.

    Args:
        line: what it looks like, from 0 to 1. mask: where no other may be. near: the mask, grown by the margin. covered: the mask
            where it is 1, relative to the place at which the published rules draw it, one pixel beside the middle.
    """

    line: Array
    mask: Array
    near: Array
    covered: Array


class _Dash(NamedTuple):
    """A dash of a path.

    Args:
        pivot: the middle of the gap before it. direction: of the path. at: the point that it is drawn from. shape: what is drawn.
    """

    pivot: Point
    direction: float
    at: Point
    shape: _Shape


class _Surface(NamedTuple):
    """What is taken: `mask [side, side]`, and `near`, the same grown by the margin, with a border of ones."""

    mask: Array
    near: Array


@dataclass(frozen=True)
class _Pen:
    """Draws paths by some rules with one margin. What dilation would find is kept up to date, as it is a maximum of maxima."""

    rules: Rules
    margin: int

    @cached_property
    def border(self) -> int:
        """Beyond the picture, as far as any point reaches that is looked at."""
        return 3 * (self.rules.dash + 2 * self.margin) + 2

    @cached_property
    def ring(self) -> tuple[Array, Array, Array]:
        """`[n, 2]` the points around a pivot where a dash may end, `[n]` their directions, and their places in `near`."""
        points, directions = _ring(self.rules.dash + self.margin)
        return points, directions, points[:, 0] * (self.rules.side + 2 * self.border) + points[:, 1]

    @cached_property
    def empty(self) -> _Surface:
        """A picture of which nothing is taken but its border, one pixel."""
        frame = _frame(self.rules.side, 1)
        near = np.pad(_dilated(frame, _disk_kernel(self.margin)), self.border, constant_values=1)
        return _Surface(frame, near)

    def two_paths(self, generator: Generator) -> tuple[_Surface, tuple[list[_Dash], list[_Dash]]] | None:
        """What both long paths take, and their dashes; None where one finds no way on."""
        first = self._begin(self.empty, generator, 2 * self.rules.apart)
        second = None if first is None else self._beside(first.at, generator)
        if first is None or second is None:
            return None
        surface = _Surface(*(array.copy() for array in self.empty))
        paths = [first], [second]
        for _ in range(self.rules.dashes - 1):
            for path in paths:
                further = self._extended(surface, path[-1], generator)
                if further is None:
                    return None
                self._take(surface, path[-1])
                path.append(further)
        # The last dash of the first path is not taken, in the published rules.
        self._take(surface, paths[1][-1])
        return surface, paths

    def short_path(self, surface: _Surface, generator: Generator) -> tuple[_Surface, list[_Dash]] | None:
        """What is taken with one more short path, and its dashes; None where there is no room."""
        if (surface.mask <= _TAKEN).mean() < _FREE:
            return None
        first = self._begin(surface, generator, 1)
        if first is None:
            return None
        surface, path = _Surface(*(array.copy() for array in surface)), [first]
        for _ in range(self.rules.distractor_dashes - 1):
            further = self._extended(surface, path[-1], generator)
            if further is None:
                return None
            self._take(surface, path[-1])
            path.append(further)
        self._take(surface, path[-1])
        return surface, path

    def paint(self, image: Array, path: list[_Dash], brightness: float) -> None:
        """Draw the dashes of a path into a picture."""
        for dash in path:
            window, part = self._overlap(dash)
            np.maximum(image[window], dash.shape.line[part] * brightness, out=image[window])

    def _begin(self, surface: _Surface, generator: Generator, frame: int) -> _Dash | None:
        """A first dash at a free place at least `frame` pixels from the border."""
        for _ in range(_DASH_TRIALS):
            direction = int(generator.integers(-180, 180))
            free = (
                self._free_when_empty(direction, frame)
                if surface is self.empty
                else self._free(surface, direction, frame)
            )
            if not len(free):
                return None
            row, column = free[int(generator.integers(len(free)))].tolist()
            dash = self._first((row, column), direction)
            if dash is not None:
                return dash
        return None

    def _free(self, surface: _Surface, direction: int, frame: int) -> Array:
        """`[n, 2]` the points from which a dash in this direction, in degrees, meets nothing."""
        taken = (surface.mask > _TAKEN) | (_frame(self.rules.side, frame) > 0)
        return np.argwhere(~_dilated(taken, self._shape(math.radians(direction)).covered))

    @lru_cache(maxsize=1024)  # noqa: B019 (there are three pens)
    def _free_when_empty(self, direction: int, frame: int) -> Array:
        return self._free(self.empty, direction, frame)

    def _beside(self, point: Point, generator: Generator) -> _Dash | None:
        """A first dash at the distance `apart` from a point, in any direction."""
        for _ in range(_DASH_TRIALS):
            direction, angle = int(generator.integers(-180, 180)), math.radians(int(generator.integers(360)))
            row = round(point[0] + self.rules.apart * math.sin(angle))
            column = round(point[1] + self.rules.apart * math.cos(angle))
            dash = self._first((row, column), direction)
            if dash is not None:
                return dash
        return None

    def _first(self, at: Point, degrees: int) -> _Dash | None:
        """A first dash, if its end and its pivot lie in the picture."""
        rules, direction = self.rules, math.radians(degrees)
        end = _moved(at, direction, rules.dash)
        pivot = _moved(end, _flipped(direction), rules.dash + self.margin)
        inside = all(0 <= c < rules.side for c in (*end, *pivot))
        return _Dash(pivot, direction, at, self._shape(direction)) if inside else None

    def _extended(self, surface: _Surface, last: _Dash, generator: Generator) -> _Dash | None:
        """The next dash of a path, to one of the free points around its end; None where there is none."""
        pivot = _moved(last.pivot, last.direction, self.rules.dash + 2 * self.margin)
        points, directions, places = self.ring
        near = surface.near
        start = (pivot[0] + self.border) * near.shape[1] + pivot[1] + self.border
        weights = (1 - near.ravel()[places + start]) * self._straightness(last.direction)
        total = weights.sum()
        if total < 1e-4:
            return None
        shares = np.cumsum(weights / total)
        for _ in range(_DASH_TRIALS):
            n = int(np.argmax(shares > generator.random()))
            at = pivot[0] + int(points[n, 0]), pivot[1] + int(points[n, 1])
            found = _Dash(pivot, float(directions[n]), at, self._shape(_flipped(float(directions[n]))))
            window, part = self._overlap(found)
            if (surface.mask[window] + found.shape.mask[part]).max() < _OVERLAP:
                return found
        return None

    @lru_cache(maxsize=4096)  # noqa: B019
    def _straightness(self, direction: float) -> Array:
        """`[n]` cos^2 of the turn to each point of the ring, times the continuity."""
        turn = np.abs(self.ring[1] - direction)
        turn = np.minimum(np.minimum(turn, 2 * np.pi - turn) * self.rules.continuity, np.pi / 2)
        return np.maximum(np.cos(turn), 0) ** 2

    def _shape(self, direction: float) -> _Shape:
        return _shape(direction, self.rules.dash, self.rules.thickness, self.margin)

    def _overlap(self, dash: _Dash) -> tuple[Slices, Slices]:
        """Where a dash lies in the picture, and which part of its shape that is."""
        return _overlap(dash.at, len(dash.shape.mask) // 2, self.rules.side)

    def _take(self, surface: _Surface, dash: _Dash) -> None:
        window, part = self._overlap(dash)
        np.maximum(surface.mask[window], dash.shape.mask[part], out=surface.mask[window])
        half = len(dash.shape.near) // 2
        row, column = dash.at[0] + self.border, dash.at[1] + self.border
        # Beyond the border of the picture it adds nothing to what the border itself takes.
        near = surface.near[row - half : row + half + 1, column - half : column + half + 1]
        np.maximum(near, dash.shape.near, out=near)


_pen = lru_cache(maxsize=8)(_Pen)


@lru_cache(maxsize=1 << 16)
def _overlap(at: Point, half: int, side: int) -> tuple[Slices, Slices]:
    spans = [(max(0, c - half), min(side, c + half + 1), c - half) for c in at]
    window = tuple(slice(begin, end) for begin, end, _ in spans)
    return window, tuple(slice(begin - zero, end - zero) for begin, end, zero in spans)


def _moved(point: Point, direction: float, distance: int) -> Point:
    return math.ceil(point[0] + distance * math.sin(direction)), math.ceil(point[1] + distance * math.cos(direction))


def _flipped(direction: float) -> float:
    return direction + math.pi if direction < 0 else direction - math.pi


@lru_cache(maxsize=8)
def _frame(side: int, width: int) -> Array:
    """Ones along the border, zeros within."""
    frame = np.ones((side, side))
    frame[width : side - width, width : side - width] = 0
    return frame


@lru_cache(maxsize=8)
def _ring(radius: int) -> tuple[Array, Array]:
    """`[n, 2]` the pixels of a circle around 0, and `[n]` their directions."""
    angles = np.radians(np.arange(0, 360, 360 / (2 * radius * np.pi)))
    pixels = np.floor(radius * np.stack([np.sin(angles), np.cos(angles)], 1)).astype(np.int64)
    distinct = np.unique(pixels, axis=0)
    return distinct, np.arctan2(distinct[:, 0], distinct[:, 1])


@lru_cache(maxsize=8)
def _disk_kernel(radius: int) -> Array:
    row, column = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return row**2 + column**2 <= radius**2


@lru_cache(maxsize=4096)
def _shape(direction: float, length: int, thickness: float, margin: int) -> _Shape:
    from PIL import Image, ImageDraw

    half = length + math.ceil(thickness) + margin
    center, size = half * _SCALE, 2 * half + 1
    end = _moved((center, center), direction, length * _SCALE)
    large = Image.new("L", (2 * center + 1, 2 * center + 1))
    ImageDraw.Draw(large).line([(center, center), end[::-1]], fill=255, width=round(thickness * _SCALE))
    wide = Image.fromarray(_dilated(np.asarray(large), _disk_kernel(margin * _SCALE)))
    line, mask = (np.asarray(image.resize((size, size), Image.Resampling.LANCZOS)) / 255 for image in (large, wide))
    near = _dilated(np.pad(mask, margin), _disk_kernel(margin))
    reach = length + margin
    covered = np.zeros((2 * reach + 1, 2 * reach + 1), bool)
    window, part = _overlap((reach + 1, reach + 1), half, len(covered))
    covered[window] = mask[part] >= 1
    return _Shape(line, mask, near, covered)


def _dilated(image: Array, kernel: Array) -> Array:
    """`[h, w]` the maximum over the pixels that the kernel `[odd, odd]` covers around each."""
    half = len(kernel) // 2
    height, width = image.shape
    large = np.pad(image, half)
    found = np.zeros_like(image)
    for row, column in np.argwhere(kernel).tolist():
        np.maximum(found, large[row : row + height, column : column + width], out=found)
    return found


def _disk(side: int, at: Point, radius: float) -> Array:
    """A disk of brightness 1."""
    from PIL import Image

    row, column = (np.arange(side * _SCALE) - c * _SCALE for c in at)
    inside = row[:, None] ** 2 + column**2 <= (radius * _SCALE) ** 2
    large = Image.fromarray(inside.astype(np.uint8) * 255)
    return np.asarray(large.resize((side, side), Image.Resampling.LANCZOS)) / 255
