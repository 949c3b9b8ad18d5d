"""Positions on vectors (sinusoidal, learned) and on queries and keys (rotary). Positions on scores are biases of the attention.

Each reads a vector's index in its own set, or, with `coordinates`, as many coordinates of it, each in its own share of the width.
Angles are right to rounding at every place up to 2^53, so that nothing drifts where sound never ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.rotation import rotated
from regard.sets import Layout, VectorSets
from regard.sets.sinusoids import sinusoids

if TYPE_CHECKING:
    from jaxtyping import Float, Num

__all__ = ["Learned", "Rotary", "Sinusoidal", "places"]


def places(layout: Layout, coordinates: int, rows: int) -> Num[Tensor, "{rows} n"]:
    """The index in the set of each of the t rows as one number, or the first n coordinates.

    Raises:
        InputError: a layout with fewer coordinates.
    """
    if coordinates == 0:
        return layout.order(rows)[:, None]
    found = 0 if layout.coords is None else layout.coords.shape[1]
    if layout.coords is None or found < coordinates:
        raise InputError(f"the vectors have {found} coordinates, expected at least {coordinates}")
    return layout.coords[:, :coordinates]


def _turned(options: Rotary | Sinusoidal, layout: Layout, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """`[t, width / 2]` cosines and sines of place / base^(2 i / d), axis after axis, each with d = width / axes.

    For every vector of a tensor `like`, in its type, and at least in float32; all layers of a model share them.
    """
    coordinates, base, dtype = options.coordinates, options.base, torch.promote_types(like.dtype, torch.float32)

    def make() -> tuple[Tensor, Tensor]:
        place = places(layout, coordinates, like.shape[0])
        share = width // place.shape[1]
        axes = [sinusoids(column, share, base, dtype) for column in place.unbind(1)]
        cos, sin = zip(*axes, strict=True)
        return torch.cat(cos, 1), torch.cat(sin, 1)

    if coordinates and layout.coords is not None and layout.coords.requires_grad:
        # What is kept holds no graph.
        return make()
    return layout.kept(("sinusoids", coordinates, width, base, dtype), make)


def _check_share(name: str, width: int, coordinates: int) -> None:
    if width % (2 * max(1, coordinates)):
        raise InputError(
            f"{name} has width {width}, expected a multiple of {2 * max(1, coordinates)}: two for each axis"
        )


@checked(coordinates=0)
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
        cos, sin = _turned(self, sets.layout, self.width, sets.values)
        table = torch.stack([sin, cos], dim=-1).flatten(1)
        return sets.with_values(sets.values + (self.scale * table).to(sets.values.dtype))


@checked(coordinates=0)
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


@checked(coordinates=0)
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
        return rotated(x, *_turned(self, layout, x.shape[-1], x))
