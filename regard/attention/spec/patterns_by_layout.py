"""Patterns that read what a layout has beyond the order of its sets: edges and coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from regard.attention.spec.base import MOST_COORDINATES, bounded
from regard.attention.spec.pattern import Pattern

if TYPE_CHECKING:
    from regard.attention.pairs.pairs import Intervals, Pairs, Rows
    from regard.sets import Layout

__all__ = ["AlongAxis", "Edges", "Near"]


@dataclass(frozen=True, repr=False)
class Edges(Pattern):
    """Pairs (query row, key row) that are edges of the layout; a vector attends to itself where the reader made a self-loop."""

    @property
    def reads_edges(self) -> bool:
        return True

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        if layout.edges is None:
            return f"the sets have no edges, expected some for {self!r}"
        if key_layout is not layout:
            return f"{self!r} reads edges, expected queries and keys of the same layout"
        return None

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        if pairs is None:
            raise ValueError("Edges was asked about indices alone, expected pairs of rows in a layout with edges")
        return pairs.edge >= 0

    def keys(self, rows: Rows) -> Intervals:
        return rows.edges()


@dataclass(frozen=True, repr=False)
class Near(Pattern):
    """Pairs whose coordinates differ by at most `radius` in each direction (Chebyshev distance): a receptive field.

    With `Causal`, the local attention of Parmar et al. 2018 (Image Transformer), section 3.2.
    """

    radius: float = field(metadata=bounded(0))

    @property
    def coordinates(self) -> int:
        return 1

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return _lacking_coordinates(self, layout, key_layout)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        if pairs is None:
            raise ValueError("Near was asked about indices alone, expected pairs of rows in a layout with coordinates")
        return ((pairs.query_coords - pairs.key_coords).abs() <= self.radius).all(-1)

    def keys(self, rows: Rows) -> Intervals:
        from regard.attention.pairs.near import near

        return near(rows, self.allows, self.radius)


@dataclass(frozen=True, repr=False)
class AlongAxis(Pattern):
    """Pairs whose coordinates are the same but for coordinate k: with k = 1, the pixels of the query's own row.

    Source: Ho et al. 2019 (Axial Transformer), section 3.1.
    """

    k: int = field(metadata=bounded(0, MOST_COORDINATES - 1))

    @property
    def coordinates(self) -> int:
        return self.k + 1

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return _lacking_coordinates(self, layout, key_layout)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        if pairs is None:
            raise ValueError(
                "AlongAxis was asked about indices alone, expected pairs of rows in a layout with coordinates"
            )
        same = pairs.query_coords == pairs.key_coords
        same[..., self.k] = True
        return same.all(-1)

    def keys(self, rows: Rows) -> Intervals:
        return rows.alike_but_for(self.k)


def _lacking_coordinates(pattern: Pattern, layout: Layout, key_layout: Layout) -> str | None:
    ours, theirs = (0 if x.coords is None else x.coords.shape[1] for x in (layout, key_layout))
    if ours == theirs >= pattern.coordinates:
        return None
    number = f"{ours} coordinates" if layout is key_layout else f"{ours} coordinates on queries and {theirs} on keys"
    return f"the sets have {number}, expected at least {pattern.coordinates} for {pattern!r}"
