"""All patterns; those that read the places of query and key in their sets are written here.

What every pattern offers, and how patterns combine, is in `pattern`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

from regard.attention.spec.pattern import And, Not, Or, Pattern, at_least
from regard.attention.spec.patterns_by_layout import AlongAxis, Edges, Near
from regard.kernels.hashing import hashed

if TYPE_CHECKING:
    from torch import Tensor

    from regard.attention.pairs.pairs import Intervals, Pairs, Rows

__all__ = [
    "AlongAxis",
    "And",
    "Blocks",
    "Causal",
    "Dilated",
    "Edges",
    "Everyone",
    "First",
    "Near",
    "Not",
    "Or",
    "Pattern",
    "RandomBlocks",
    "Stride",
    "Window",
]


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

    @property
    def extent(self) -> tuple[float, float]:
        return inf, 0

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

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self, "left", self.left)
        at_least(0, self, "right", self.right)

    @property
    def extent(self) -> tuple[float, float]:
        return self.left, self.right

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return (i - self.left <= j) & (j <= i + self.right)

    def keys(self, rows: Rows) -> Intervals:
        return rows.between(rows.index - self.left, rows.index + self.right + 1)


@dataclass(frozen=True, repr=False)
class Dilated(Pattern):
    """Keys j = i + step * r with -left <= r <= right: a window with gaps, as many keys as `Window(left, right)`.

    Source: Beltagy et al. 2020 (Longformer), section 3.1.

    >>> [j for j in range(12) if Dilated(2, 1, step=3).allows(6, j)]
    [0, 3, 6, 9]
    """

    left: int
    right: int
    step: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self, "left", self.left)
        at_least(0, self, "right", self.right)
        at_least(1, self, "step", self.step)

    @property
    def extent(self) -> tuple[float, float]:
        return self.left * self.step, self.right * self.step

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        inside = (i - self.left * self.step <= j) & (j <= i + self.right * self.step)
        return inside & ((i - j) % self.step == 0)

    def keys(self, rows: Rows) -> Intervals:
        return rows.every(self.step, rows.index - self.left * self.step, rows.index + self.right * self.step + 1)


@dataclass(frozen=True, repr=False)
class Stride(Pattern):
    """Keys with (i - j) mod k = 0.

    Source: Child et al. 2019 (Sparse Transformer), section 4.2.

    >>> [j for j in range(10) if Stride(4).allows(5, j)]
    [1, 5, 9]
    """

    k: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "k", self.k)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return (i - j) % self.k == 0

    def keys(self, rows: Rows) -> Intervals:
        return rows.every(self.k, rows.index % self.k, rows.index.clamp(min=rows.reach))


@dataclass(frozen=True, repr=False)
class Blocks(Pattern):
    """Keys of the query's own block: floor(i / size) = floor(j / size).

    >>> [j for j in range(10) if Blocks(4).allows(5, j)]
    [4, 5, 6, 7]
    """

    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "size", self.size)

    @property
    def extent(self) -> tuple[float, float]:
        return self.size - 1, self.size - 1

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return i // self.size == j // self.size

    def keys(self, rows: Rows) -> Intervals:
        begin = rows.index // self.size * self.size
        return rows.between(begin, begin + self.size)


@dataclass(frozen=True, repr=False)
class RandomBlocks(Pattern):
    """Each block of `size` queries sees `per_row` blocks of `size` keys of its set, drawn for every head anew.

    The blocks are distinct, each choice of them is as likely as any other, and a set of fewer blocks is seen whole. The draw is a
    hash of (seed, head, query block) and of how many blocks of keys the set has: the same in every batch and on every machine.

    Source: Zaheer et al. 2020 (BigBird), section 2, in the blocks of its appendix D.

    Args:
        per_row: how many blocks of keys a block of queries sees.
        size: of a block.
        seed: of the draw.
        head: whose draw it is; None means that each head has its own.

    >>> blocks = RandomBlocks(2, size=4, seed=1)
    >>> blocks.for_head(3)
    RandomBlocks(per_row=2, size=4, seed=1, head=3)
    """

    per_row: int
    size: int
    seed: int = 0
    head: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self, "per_row", self.per_row)
        at_least(1, self, "size", self.size)

    @property
    def varies(self) -> bool:
        return self.head is None

    @property
    def reads_number(self) -> bool:
        return True

    def for_head(self, head: int) -> Pattern:
        return replace(self, head=head) if self.varies else self

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        if pairs is None:
            raise ValueError("RandomBlocks was asked about indices alone, expected pairs of rows in a layout")
        key_block = j // self.size
        allowed = (i < i) & (j < j)
        for block in self._drawn(i, pairs.start, pairs.places):
            allowed = allowed | (block == key_block)
        return allowed

    def keys(self, rows: Rows) -> Intervals:
        blocks = self._drawn(rows.index, rows.start, rows.places)
        return rows.stretches([(block * self.size, (block + 1) * self.size) for block in blocks])

    def _drawn(self, i: Tensor, start: Tensor | int, number: Tensor) -> list[Tensor]:
        """The numbers of the blocks of keys that each query's block sees, -1 in place of those that a small set lacks.

        Floyd's way to draw k of m blocks: draw n is one of the first m - k + n + 1, or the last of these if that one is taken.

        Args:
            i: the queries' places. start, number: of the keys of each query's set, the first place and how many places.
        """
        from torch import where

        if self.head is None:
            raise ValueError("RandomBlocks was asked without a head, expected what `for_head` gives")
        first = start // self.size
        blocks = where(number > 0, (start + number - 1) // self.size - first + 1, 0)
        chosen: list[Tensor] = []
        for draw in range(self.per_row):
            last = blocks - self.per_row + draw
            one = hashed(self.seed, self.seed >> 32, self.head, i // self.size, draw) % (last + 1).clamp(min=1)
            for other in chosen:
                one = where(other == one, last, one)
            chosen.append(where(last >= 0, one, -1))
        return [where(one >= 0, first + one, -1) for one in chosen]


@dataclass(frozen=True, repr=False)
class First(Pattern):
    """Pairs with i < n or j < n: the first n vectors attend to all, and all attend to them (global vectors).

    >>> First(2).allows(1, 9), First(2).allows(9, 1), First(2).allows(9, 2)
    (True, True, False)
    """

    n: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self, "n", self.n)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return (i < self.n) | (j < self.n)

    def keys(self, rows: Rows) -> Intervals:
        return rows.between(0, self.n + (rows.index < self.n) * rows.reach)
