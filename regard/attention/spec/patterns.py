"""All patterns; those that read the places of query and key in their sets are written here.

What every pattern offers, and how patterns combine, is in `pattern`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any

from regard.attention.spec.base import bounded
from regard.attention.spec.pattern import And, Not, Or, Pattern
from regard.attention.spec.patterns_by_layout import AlongAxis, Edges, Near
from regard.attention.spec.random_blocks import DrawnBlocks, drawn_blocks

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


# Places and offsets from them must fit into 64 bits.
_FARTHEST = 1 << 60


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

    left: int = field(metadata=bounded(0))
    right: int = field(metadata=bounded(0))

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

    left: int = field(metadata=bounded(0))
    right: int = field(metadata=bounded(0))
    step: int = field(metadata=bounded(1))

    @property
    def extent(self) -> tuple[float, float]:
        # Steps past all places are none: a place and an offset from it must fit into 64 bits.
        most = _FARTHEST // self.step
        return min(self.left, most) * self.step, min(self.right, most) * self.step

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        before, after = self.extent
        return (i - before <= j) & (j <= i + after) & ((i - j) % self.step == 0)

    def keys(self, rows: Rows) -> Intervals:
        before, after = self.extent
        return rows.every(self.step, rows.index - int(before), rows.index + int(after) + 1)


@dataclass(frozen=True, repr=False)
class Stride(Pattern):
    """Keys with (i - j) mod k = 0.

    Source: Child et al. 2019 (Sparse Transformer), section 4.2.

    >>> [j for j in range(10) if Stride(4).allows(5, j)]
    [1, 5, 9]
    """

    k: int = field(metadata=bounded(1))

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

    size: int = field(metadata=bounded(1))

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

    per_row: int = field(metadata=bounded(0))
    size: int = field(metadata=bounded(1))
    seed: int = field(default=0, metadata=bounded(0))
    head: int | None = field(default=None, metadata=bounded(0))

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
        first, blocks = self._blocks(pairs.start, pairs.places)
        return (j == j) & ((blocks <= self.per_row) | self._drawn(i // self.size, blocks).has(j // self.size - first))

    def keys(self, rows: Rows) -> Intervals:
        first, blocks = self._blocks(rows.start, rows.places)
        # Drawn one after another, they take about so many times as long as keys that follow a rule.
        rows.check_named(8 * self.per_row * int((blocks > self.per_row).sum()))
        drawn = self._drawn(rows.index // self.size, blocks)
        if not drawn.blocks.numel():
            return rows.between(0, (blocks <= self.per_row) * rows.reach)
        low = (drawn.blocks.index_select(0, drawn.of.clamp(min=0)) + first[:, None]) * self.size
        high, none = low + self.size, (drawn.of < 0)[:, None]
        low, high = low.masked_fill(none, 0), high.masked_fill(none, 0)
        high[:, 0] += none[:, 0] * rows.reach
        return rows.stretches(low, high)

    def _blocks(self, start: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """The first block of keys of each query's set, and how many there are, from the keys' first place and number of places."""
        from torch import where

        first = start // self.size
        return first, where(number > 0, (start + number - 1) // self.size - first + 1, 0)

    def _drawn(self, query_block: Tensor, blocks: Tensor) -> DrawnBlocks:
        """What each block of queries draws, of so many blocks of keys."""
        if self.head is None:
            raise ValueError("RandomBlocks was asked without a head, expected what `for_head` gives")
        return drawn_blocks(query_block, blocks, self.per_row, (self.seed, self.seed >> 32, self.head))


@dataclass(frozen=True, repr=False)
class First(Pattern):
    """Pairs with i < n or j < n: the first n vectors attend to all, and all attend to them (global vectors).

    >>> First(2).allows(1, 9), First(2).allows(9, 1), First(2).allows(9, 2)
    (True, True, False)
    """

    n: int = field(metadata=bounded(0))

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return (i < self.n) | (j < self.n)

    def keys(self, rows: Rows) -> Intervals:
        return rows.between(0, self.n + (rows.index < self.n) * rows.reach)
