"""Positions on vectors (sinusoidal, learned) and on queries and keys (rotary). Positions on scores are biases of the attention.

Each reads a vector's index in its own set, or, with `coordinates`, as many coordinates of it, each in its own share of the width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from regard.errors import InputError
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Learned", "Rotary", "Sinusoidal", "places"]


def places(layout: Layout, coordinates: int, rows: int) -> Float[Tensor, "{rows} n"]:
    """The index in the set of each of the t rows as one number, or the first n coordinates.

    Raises:
        InputError: a layout with fewer coordinates.
    """
    if coordinates == 0:
        return layout.order(rows)[:, None].to(torch.float32)
    found = 0 if layout.coords is None else layout.coords.shape[1]
    if layout.coords is None or found < coordinates:
        raise InputError(f"the vectors have {found} coordinates, expected at least {coordinates}")
    return layout.coords[:, :coordinates].to(torch.float32)


def _angles(layout: Layout, coordinates: int, width: int, base: float, rows: int) -> Tensor:
    """`[t, width / 2]` place / base^(2 i / d), axis after axis, each with d = width / axes; kept by the layout."""
    key = ("angles", coordinates, width, base)
    return layout.kept(key, lambda: _new_angles(layout, coordinates, width, base, rows))


def _new_angles(layout: Layout, coordinates: int, width: int, base: float, rows: int) -> Tensor:
    place = places(layout, coordinates, rows)
    share = width // place.shape[1]
    frequency = base ** (-torch.arange(0, share, 2, device=layout.device, dtype=torch.float32) / share)
    return (place[..., None] * frequency).flatten(1)


def _check_share(name: str, width: int, coordinates: int) -> None:
    if width % (2 * max(1, coordinates)):
        raise InputError(
            f"{name} has width {width}, expected a multiple of {2 * max(1, coordinates)}: two for each axis"
        )


class Sinusoidal(nn.Module):
    """x + P with P(place, 2i) = sin(place / base^(2i/d)) and P(place, 2i + 1) = cos of the same (Vaswani et al. 2017, 3.5).

    Args:
        width: of the vectors, d.
        coordinates: 0 for the index in the set; n for n coordinates, each in width / n numbers of its own.
        base: 10000 in the paper.
        scale: what P is multiplied with.
    """

    def __init__(self, width: int, coordinates: int = 0, base: float = 10000.0, scale: float = 1.0) -> None:
        super().__init__()
        _check_share("Sinusoidal", width, coordinates)
        self.width, self.coordinates, self.base, self.scale = width, coordinates, base, scale

    def forward(self, sets: VectorSets) -> VectorSets:
        angles = _angles(sets.layout, self.coordinates, self.width, self.base, sets.values.shape[0])
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return sets.with_values(sets.values + (self.scale * table).to(sets.values.dtype))


class Learned(nn.Module):
    """x + P[place], one learned vector for each place; with several axes their vectors add up.

    Args:
        width: of the vectors.
        extent: how many places each axis has; one number for the index in the set.
        coordinates: 0 for the index in the set; else the number of coordinates, rounded to whole numbers.

    Raises:
        InputError: (when called) a place past the extent; the sentence names the set.
    """

    def __init__(self, width: int, extent: tuple[int, ...], coordinates: int = 0) -> None:
        super().__init__()
        if len(extent) != max(1, coordinates):
            raise InputError(f"Learned has an extent of {len(extent)} axes, expected {max(1, coordinates)}")
        self.width, self.extent, self.coordinates = width, extent, coordinates
        self.tables = nn.ParameterList(nn.Parameter(torch.randn(size, width) * 0.02) for size in extent)

    def forward(self, sets: VectorSets) -> VectorSets:
        place = places(sets.layout, self.coordinates, sets.values.shape[0]).round().long()
        values = sets.values
        for axis, table in enumerate(self.tables):
            outside = (place[:, axis] < 0) | (place[:, axis] >= self.extent[axis])
            # Traced code cannot look; there torch refuses to read past the table, in its own words.
            if not torch.compiler.is_compiling() and bool(outside.any()):
                row = int(outside.nonzero()[0])
                found = f"set {int(sets.layout.set_of_row[row])} has a vector at place {int(place[row, axis])}"
                raise InputError(f"{found}, expected less than {self.extent[axis]}: the learned positions end there")
            # Unlike an index, an embedding refuses places below zero.
            values = values + embedding(place[:, axis], table).to(values.dtype)
        return sets.with_values(values)


class Rotary(nn.Module):
    """Queries and keys turned by their places: each pair of numbers (2i, 2i + 1) by the angle place / base^(2i/d).

    The product of a turned query and a turned key depends on the difference of their places alone (Su et al. 2021, eq. 34).

    Args:
        coordinates: 0 for the index in the set; n for n coordinates, each turning d / n numbers of its own.
        base: 10000 in the paper.
    """

    def __init__(self, coordinates: int = 0, base: float = 10000.0) -> None:
        super().__init__()
        self.coordinates, self.base = coordinates, base

    def forward(self, x: Float[Tensor, "t h d"], layout: Layout) -> Float[Tensor, "t h d"]:
        """x, turned."""
        _check_share("Rotary", x.shape[-1], self.coordinates)
        angles = _angles(layout, self.coordinates, x.shape[-1], self.base, x.shape[0])[:, None]
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
