"""`Pattern`: which pairs of a query and a key of the same set may attend, and how patterns combine: `&`, `|` and `~`.

`allows(i, j, pairs)` is the meaning: True where query i may attend to key j. i and j are places in their own sets,
integers or integer tensors that broadcast; `pairs` gives what else a pattern reads (edges, coordinates).
`keys(rows)` derives the same as sorted intervals of keys for each row, in time that grows with the intervals.
Packing never enters a pattern: pairs of different sets are excluded before it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from regard.attention.spec.base import Part
from regard.errors import InputError

if TYPE_CHECKING:
    from regard.attention.pairs.pairs import Intervals, Pairs, Rows
    from regard.sets import Layout

__all__ = ["And", "Not", "Or", "Pattern"]


@dataclass(frozen=True, repr=False)
class Pattern(Part):
    """What every pattern offers; a new one defines `allows`, and `keys` where it can name them without trying all pairs."""

    @property
    def parts(self) -> tuple[Pattern, ...]:
        """The patterns that this one combines."""
        return ()

    @property
    def reads_edges(self) -> bool:
        """Whether the answer depends on the layout's edges."""
        return any(part.reads_edges for part in self.parts)

    @property
    def reads_number(self) -> bool:
        """Whether a query's keys depend on how many keys its set has, so that they change while the set grows."""
        return any(part.reads_number for part in self.parts)

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        sentences = (part.needs(layout, key_layout) for part in self.parts)
        return next((sentence for sentence in sentences if sentence is not None), None)

    @property
    def coordinates(self) -> int:
        """How many coordinates the vectors must have at least."""
        return max((part.coordinates for part in self.parts), default=0)

    @property
    def varies(self) -> bool:
        """Whether heads that share this pattern see different keys."""
        return any(part.varies for part in self.parts)

    def for_head(self, head: int) -> Pattern:
        """What one head sees: this very object, unless the pattern varies with the head."""
        return self

    @property
    def tries_all(self) -> bool:
        """Whether the keys are found by asking about every pair, because no part of the pattern bounds them by intervals."""
        return type(self).keys is Pattern.keys or any(part.tries_all for part in self.parts)

    @property
    def asks(self) -> bool:
        """Whether some pairs are asked about one by one, because a part of the pattern names no intervals."""
        return type(self).keys is Pattern.keys or any(part.asks for part in self.parts)

    @property
    def extent(self) -> tuple[float, float]:
        """How many places before a query its first key can lie, and behind it its last; infinite where the set decides.

        >>> from regard.attention import Dilated, Window
        >>> (Window(4, 2) | Dilated(3, 0, step=2)).extent
        (6, 2)
        """
        return inf, inf

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        raise NotImplementedError

    def keys(self, rows: Rows) -> Intervals:
        return rows.tried(self.allows)

    def draw(self, layout: Layout | int = 16) -> str:
        """The pattern as text, on the first set of a layout or on n vectors; `regard.attention.pairs.drawing` has pictures.

        >>> from regard.attention import Window
        >>> print(Window(1, 0).draw(4))
        ██······
        ████····
        ··████··
        ····████
        """
        from regard.attention.pairs.drawing import text

        return text(self, layout)

    def __and__(self, other: Pattern) -> And:
        return And(self, other) if isinstance(other, Pattern) else NotImplemented

    def __or__(self, other: Pattern) -> Or:
        return Or(self, other) if isinstance(other, Pattern) else NotImplemented

    def __invert__(self) -> Not:
        return Not(self)


def _check_parts(combined: Pattern) -> None:
    for part in combined.parts:
        if not isinstance(part, Pattern):
            raise InputError(f"{type(combined).__name__} has {part!r}, expected a pattern such as Window(64, 16)")


@dataclass(frozen=True, repr=False)
class _Two(Pattern):
    """Two patterns, combined."""

    a: Pattern
    b: Pattern

    def __post_init__(self) -> None:
        _check_parts(self)

    @property
    def parts(self) -> tuple[Pattern, ...]:
        return self.a, self.b

    def for_head(self, head: int) -> Pattern:
        return type(self)(self.a.for_head(head), self.b.for_head(head)) if self.varies else self


@dataclass(frozen=True, repr=False)
class And(_Two):
    """Pairs that both patterns allow."""

    @property
    def extent(self) -> tuple[float, float]:
        (a, b), (c, d) = self.a.extent, self.b.extent
        return min(a, c), min(b, d)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return self.a.allows(i, j, pairs) & self.b.allows(i, j, pairs)

    @property
    def tries_all(self) -> bool:
        return self.a.tries_all and self.b.tries_all

    def keys(self, rows: Rows) -> Intervals:
        if self.a.tries_all == self.b.tries_all:
            return rows.tried(self.allows) if self.tries_all else self.a.keys(rows) & self.b.keys(rows)
        bounded, other = (self.b, self.a) if self.a.tries_all else (self.a, self.b)
        return bounded.keys(rows).allowed(other.allows)

    def __repr__(self) -> str:
        return f"({self.a!r} & {self.b!r})"


@dataclass(frozen=True, repr=False)
class Or(_Two):
    """Pairs that at least one of the patterns allows."""

    @property
    def extent(self) -> tuple[float, float]:
        (a, b), (c, d) = self.a.extent, self.b.extent
        return max(a, c), max(b, d)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return self.a.allows(i, j, pairs) | self.b.allows(i, j, pairs)

    def keys(self, rows: Rows) -> Intervals:
        return self.a.keys(rows) | self.b.keys(rows)

    def __repr__(self) -> str:
        return f"({self.a!r} | {self.b!r})"


@dataclass(frozen=True, repr=False)
class Not(Pattern):
    """Pairs of the same set that the pattern does not allow."""

    a: Pattern

    def __post_init__(self) -> None:
        _check_parts(self)

    @property
    def parts(self) -> tuple[Pattern, ...]:
        return (self.a,)

    def for_head(self, head: int) -> Pattern:
        return Not(self.a.for_head(head)) if self.varies else self

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return self.a.allows(i, j, pairs) ^ True

    def keys(self, rows: Rows) -> Intervals:
        return ~self.a.keys(rows)

    def __repr__(self) -> str:
        return f"~{self.a!r}"
