"""Patterns: which pairs of a query and a key of the same set may attend.

`allows(i, j, pairs)` is the meaning: True where query i may attend to key j. i and j are indices in their own sets,
integers or integer tensors that broadcast; `pairs` gives what else a pattern reads (edges, coordinates).
`keys(rows)` derives the same as sorted intervals of keys for each row, in time that grows with the intervals.
Packing never enters a pattern: pairs of different sets are excluded before it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regard.attention.values import Value

if TYPE_CHECKING:
    from regard.attention.pairs import Intervals, Pairs, Rows

__all__ = ["And", "Causal", "Edges", "Everyone", "First", "Not", "Or", "Pattern", "Window"]


@dataclass(frozen=True, repr=False)
class Pattern(Value):
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
    def tries_all(self) -> bool:
        """Whether the keys are found by asking about every pair, for want of intervals."""
        return type(self).keys is Pattern.keys or any(part.tries_all for part in self.parts)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        raise NotImplementedError

    def keys(self, rows: Rows) -> Intervals:
        return rows.tried(self)

    def __and__(self, other: Pattern) -> And:
        return And(self, other) if isinstance(other, Pattern) else NotImplemented

    def __or__(self, other: Pattern) -> Or:
        return Or(self, other) if isinstance(other, Pattern) else NotImplemented

    def __invert__(self) -> Not:
        return Not(self)


@dataclass(frozen=True, repr=False)
class Everyone(Pattern):
    """Every key of the set."""

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return (i == i) & (j == j)

    def keys(self, rows: Rows) -> Intervals:
        return rows.everything()


@dataclass(frozen=True, repr=False)
class Causal(Pattern):
    """Keys with j <= i.

    >>> Causal().allows(2, 2), Causal().allows(2, 3)
    (True, False)
    """

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return j <= i

    def keys(self, rows: Rows) -> Intervals:
        return rows.between(0, rows.index + 1)


@dataclass(frozen=True, repr=False)
class Window(Pattern):
    """Keys with i - left <= j <= i + right, so left + right + 1 keys away from the ends of the set.

    >>> [j for j in range(10) if Window(2, 1).allows(5, j)]
    [3, 4, 5, 6]
    """

    left: int
    right: int

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return (i - self.left <= j) & (j <= i + self.right)

    def keys(self, rows: Rows) -> Intervals:
        return rows.between(rows.index - self.left, rows.index + self.right + 1)


@dataclass(frozen=True, repr=False)
class First(Pattern):
    """Pairs with i < n or j < n: the first n vectors attend to all, and all attend to them (global vectors).

    >>> First(2).allows(1, 9), First(2).allows(9, 1), First(2).allows(9, 2)
    (True, True, False)
    """

    n: int

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return (i < self.n) | (j < self.n)

    def keys(self, rows: Rows) -> Intervals:
        return rows.between(0, self.n + (rows.index < self.n) * rows.reach)


@dataclass(frozen=True, repr=False)
class Edges(Pattern):
    """Pairs (query row, key row) that are edges of the layout; a vector attends to itself where the reader made a self-loop."""

    @property
    def reads_edges(self) -> bool:
        return True

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        if pairs is None:
            raise ValueError("Edges was asked about indices alone, expected pairs of rows in a layout with edges")
        return pairs.edge >= 0

    def keys(self, rows: Rows) -> Intervals:
        return rows.edges()


@dataclass(frozen=True, repr=False)
class And(Pattern):
    """Pairs that both patterns allow."""

    a: Pattern
    b: Pattern

    @property
    def parts(self) -> tuple[Pattern, ...]:
        return self.a, self.b

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return self.a.allows(i, j, pairs) & self.b.allows(i, j, pairs)

    def keys(self, rows: Rows) -> Intervals:
        return self.a.keys(rows) & self.b.keys(rows)

    def __repr__(self) -> str:
        return f"({self.a!r} & {self.b!r})"


@dataclass(frozen=True, repr=False)
class Or(Pattern):
    """Pairs that at least one of the patterns allows."""

    a: Pattern
    b: Pattern

    @property
    def parts(self) -> tuple[Pattern, ...]:
        return self.a, self.b

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

    @property
    def parts(self) -> tuple[Pattern, ...]:
        return (self.a,)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return self.a.allows(i, j, pairs) ^ True

    def keys(self, rows: Rows) -> Intervals:
        return ~self.a.keys(rows)

    def __repr__(self) -> str:
        return f"~{self.a!r}"
