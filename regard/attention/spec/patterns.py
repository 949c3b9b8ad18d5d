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
    "BlockEnds",
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
    """Keys of one block: floor(j / size) = (floor(i / size) + shift) mod m, of the m blocks of keys of the set.

    Without a shift it is the query's own. With a shift per head, as in `(Blocks(64), Blocks(64), Blocks(64, shift=1))`, it is
    blockwise attention, whose blocks of keys are permuted in a circle.

    Source: Qiu et al. 2020 (BlockBERT), section 3.1.

    >>> [j for j in range(10) if Blocks(4).allows(5, j)]
    [4, 5, 6, 7]
    >>> print(Blocks(2, shift=1).draw(5))
    ····████··
    ····████··
    ········██
    ········██
    ████······
    """

    size: int = field(metadata=bounded(1))
    shift: int = field(default=0, metadata=bounded(0))

    @property
    def reads_number(self) -> bool:
        return self.shift > 0

    @property
    def extent(self) -> tuple[float, float]:
        return (inf, inf) if self.shift else (self.size - 1, self.size - 1)

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        if not self.shift:
            return i // self.size == j // self.size
        if pairs is None:
            raise ValueError("Blocks with a shift was asked about indices alone, expected pairs of rows in a layout")
        return self._block(i, pairs.start, pairs.places) == j // self.size

    def keys(self, rows: Rows) -> Intervals:
        block = self._block(rows.index, rows.start, rows.places) if self.shift else rows.index // self.size
        return rows.between(block * self.size, (block + 1) * self.size)

    def _block(self, i: Any, start: Tensor, number: Tensor) -> Any:
        """The block of keys of each query."""
        first, blocks = _key_blocks(self.size, start, number)
        blocks = blocks.clamp(min=1)
        return first + (i // self.size - first + self.shift % blocks) % blocks


@dataclass(frozen=True, repr=False)
class BlockEnds(Pattern):
    """Keys among the last few of each block: j mod size >= size - last.

    `Causal() & (Blocks(size) | BlockEnds(size, last))` is the fixed pattern of the Sparse Transformer, whose vectors at the ends of
    blocks sum them up for all that follow.

    Source: Child et al. 2019 (Sparse Transformer), section 4.3.

    Args:
        size: of a block. last: how many of its places all queries may attend to.

    >>> [j for j in range(12) if BlockEnds(4, 1).allows(5, j)]
    [3, 7, 11]
    """

    size: int = field(metadata=bounded(1))
    last: int = field(default=1, metadata=bounded(1))

    def allows(self, i: Any, j: Any, pairs: Pairs | None = None) -> Any:
        return (i == i) & (j % self.size >= self.size - self.last)

    def keys(self, rows: Rows) -> Intervals:
        from torch import arange

        if self.last >= self.size:
            return rows.everything()
        ends = arange(rows.reach // self.size + 1, device=rows.rows.device) * self.size + self.size
        rows.check_named(len(ends) * len(rows.index))
        ends = ends.expand(len(rows.index), -1)
        return rows.stretches(ends - self.last, ends)


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
        first, blocks = _key_blocks(self.size, pairs.start, pairs.places)
        return (j == j) & ((blocks <= self.per_row) | self._drawn(i // self.size, blocks).has(j // self.size - first))

    def keys(self, rows: Rows) -> Intervals:
        first, blocks = _key_blocks(self.size, rows.start, rows.places)
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


def _key_blocks(size: int, start: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """The first block of keys of each query's set, and how many there are, from the keys' first place and number of places."""
    from torch import where

    first = start // size
    return first, where(number > 0, (start + number - 1) // size - first + 1, 0)
