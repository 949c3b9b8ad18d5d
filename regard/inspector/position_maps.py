"""Positions without a run, as maps of numbers: what is added to vectors, how turned vectors agree, what a bias adds to scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from regard.attention.pairs.drawing import grid
from regard.attention.pairs.pairs import Pairs
from regard.attention.spec.bias import Bias
from regard.attention.spec.text_form import read
from regard.attention.vocabulary import parse, vocabulary
from regard.errors import InputError
from regard.inspector.answering import Answering
from regard.inspector.asked import Answer, Asked, packed
from regard.layers.positions import Rotary, Sinusoidal
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["MOST_PLACES", "PositionMaps", "is_position"]

MOST_PLACES = 512
"""Places of a map, each of which is a cell."""
_WIDEST = 1024
_HEADS = 8  # of a bias that says nothing of them
_WIDTH = 64  # of queries and keys that are turned


class Map(NamedTuple):
    """A matrix of numbers with names on its axes."""

    title: str
    rows: str
    columns: str
    values: Float[Tensor, "n m"]


class PositionMaps(Answering):
    """Maps of positions by their text form.

    `Sinusoidal(64)`: the numbers that are added to each place, and the product of those of two places. `Rotary()`: the product of
    two vectors of the same numbers, `1 / sqrt(d)` each, turned by their places, over all pairs of numbers and for some alone.
    A bias, such as `ALiBi()`: what it adds to the score of a query and a key, head by head. Coordinates are those of a grid.

    Args:
        text: of positions, or of a bias that learns nothing. length: places.

    Raises:
        InputError: another text, a bias that learns its numbers, or a length that is none.
    """

    def __init__(self, text: str, length: int = 64) -> None:
        super().__init__("positions", text.strip(), ("overview", "place", "map"))
        if not 1 <= length <= MOST_PLACES:
            raise InputError(f"--length is {length}, expected 1 to {MOST_PLACES} for positions")
        self.length = length
        value = read(text, _KNOWN) if _named(text) in _KNOWN else parse(text)
        if isinstance(value, Sinusoidal):
            self.maps = _added(value, length)
        elif isinstance(value, Rotary):
            self.maps = _turned(value, length)
        else:
            self.maps = _biases(value, length)

    def found(self, name: str, asked: Asked) -> Answer:
        if name == "place":
            return Answer({"kind": "none"})
        if name == "overview":
            maps = [
                {"title": each.title, "rows": each.rows, "columns": each.columns, "shape": list(each.values.shape)}
                for each in self.maps
            ]
            return Answer({"page": "maps", "run": self.name, "input": self.title, "maps": maps})
        values = self.maps[asked.index("map", len(self.maps), "maps")].values
        rows, columns = values.shape
        content = {"rows": [0, rows], "keys": [0, columns], "step": [1, 1], "shape": [rows, columns]}
        return Answer(content, (packed(values),))

    def all(self, layer: int | None = None) -> Iterator[dict[str, Any]]:
        yield {"ask": "overview"}
        yield {"ask": "place"}
        for n in range(len(self.maps)):
            yield {"ask": "map", "map": n}


def is_position(text: str) -> bool:
    """Whether a text form is one of positions or of a bias, rather than of a pattern or an attention.

    >>> [is_position(text) for text in ("Rotary()", "ALiBi()", "Window(2, 2)")]
    [True, True, False]
    """
    name, made = _named(text), vocabulary().get(_named(text))
    return name in _KNOWN or (isinstance(made, type) and issubclass(made, Bias))


def _named(text: str) -> str:
    begin = re.match(r"\s*(\w+)\s*\(", text)
    return begin[1] if begin else ""


def _sinusoidal(width: int = _WIDTH, coordinates: int = 0, base: float = 10000.0, scale: float = 1.0) -> Sinusoidal:
    _bounded("width", width, _WIDEST)
    _checked(coordinates, base)
    return Sinusoidal(width, coordinates, base, scale)


def _rotary(coordinates: int = 0, base: float = 10000.0) -> Rotary:
    _checked(coordinates, base)
    return Rotary(coordinates, base)


def _checked(coordinates: int, base: float) -> None:
    if coordinates:
        _bounded("coordinates", coordinates, 8)
    if isinstance(base, bool) or not isinstance(base, int | float) or not 1 < base < float("inf"):
        raise InputError(f"base is {base!r}, expected a number above 1")


def _bounded(name: str, number: int, most: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise InputError(f"{name} is {number!r}, expected 1 to {most}")


_KNOWN: dict[str, Callable[..., Any]] = {"Sinusoidal": _sinusoidal, "Rotary": _rotary}


def _layout(length: int, coordinates: int) -> Layout:
    return Layout(torch.tensor([0, length]), grid(length, coordinates) if coordinates else None)


def _added(positions: Sinusoidal, length: int) -> list[Map]:
    zeros = torch.zeros(length, positions.width, dtype=torch.float64)
    table = positions(VectorSets(zeros, _layout(length, positions.coordinates))).values
    return [
        Map("what is added to the vector of each place", "place", "number", table),
        Map("the product of what is added to two places", "place", "place", table @ table.T),
    ]


def _turned(positions: Rotary, length: int) -> list[Map]:
    ones = torch.full((length, 1, _WIDTH), _WIDTH**-0.5, dtype=torch.float64)
    turned = positions(ones, _layout(length, positions.coordinates))[:, 0]
    maps = [
        Map(
            "the product of a query and a key of equal numbers, turned by their places",
            "query",
            "key",
            turned @ turned.T,
        )
    ]
    for pair in (0, _WIDTH // 8, _WIDTH // 4):
        part = turned[:, 2 * pair : 2 * pair + 2]
        maps.append(
            Map(
                f"the share of the numbers {2 * pair} and {2 * pair + 1} in that product", "query", "key", part @ part.T
            )
        )
    return maps


def _biases(bias: object, length: int) -> list[Map]:
    if not isinstance(bias, Bias):
        raise InputError(f"{bias!r} is no position, expected Sinusoidal(64), Rotary() or a bias such as ALiBi()")
    if shapes := bias.parameters(_HEADS, _WIDTH, _WIDTH):
        learned = ", ".join(shapes)
        raise InputError(f"{bias!r} learns {learned}, expected a bias that learns nothing, or a run that has learned")
    layout = _layout(length, getattr(bias, "coordinates", 0) or 0)
    if (why := bias.needs(layout, layout)) is not None:
        raise InputError(why)
    rows = torch.arange(length)
    pairs = Pairs(layout, layout, rows[:, None], rows)
    found = bias.score_bias(torch.zeros(length, 1, _HEADS, _WIDTH, dtype=torch.float64), pairs, {})
    found = found.expand(length, length, _HEADS)
    return [
        Map(f"what head {head} of {_HEADS} adds to a score", "query", "key", found[..., head]) for head in range(_HEADS)
    ]
