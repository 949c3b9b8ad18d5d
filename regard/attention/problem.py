"""`Problem`: all that a plan and an executor know of one call of `attend`, beside the tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from regard.attention.dropout import Dropout
from regard.attention.pairs.pairs import AT_ONCE, Intervals, Rows
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Edges, Or, Pattern
from regard.sets import Layout
from regard.sets.layout import keep

__all__ = ["STEPS", "USUAL", "Problem", "Tensors", "TileSizes"]

T = TypeVar("T")

# Under which a layout of keys that are attended to step by step keeps what serves every step.
STEPS = "steps"
# Distances of which a table is made for however few vectors.
_TABLE = 1 << 16
_NAMED = "_named"


@dataclass(frozen=True)
class Tensors:
    """The tensors of one call: q `[t, h, d]`, k `[u, g, d]`, v `[u, g, e]`, and the learned ones by name."""

    q: Tensor
    k: Tensor
    v: Tensor
    parameters: Mapping[str, Tensor]


class TileSizes(NamedTuple):
    """How much the executors compute at once. Results depend on it by rounding alone, time and memory a lot.

    These sizes are measured ones, and nothing but a test or a measurement asks for others: small ones let a set of 20 vectors cross
    every boundary that one of 20,000 crosses. What a kernel was compiled for is not among them: its register tile of 8 query rows
    (4 on processors without AVX-512) by whole vectors of keys (16 numbers of float32, 8 of float64), to which sizes are rounded up,
    32 pairs of a row of `edges` and 128 keys of additive scores.
    """

    rows: int = 64
    """Query rows of a tile, and rows of a chunk of causal linear attention. Thresholds in pairs are multiples of its square."""
    keys: int = 288
    """Keys of a stretch of `fused`; its backward pass takes two thirds."""
    scores: int = 1 << 20
    """Bytes of the scores of a tile batch, which caches hold; `additive` and differentiated formulas take multiples."""
    most_scores: int = 1 << 26
    """The same where few rows would remain of a tile, and on graphics processors, which want more at once."""
    listed: int = 16
    """Tiles at uneven distances whose biases are read tile by tile."""
    padding: int = 3000
    """Pairs that `dense` computes in vain rather than start another rectangle, which takes about as long."""
    most_padding: int = 1 << 18
    """The same on graphics processors, where starting a hundred operators takes longer than what they compute."""
    linear: int = 1024
    """Rows of a piece, or a part, of linear attention."""
    block: int = 128
    """Rows, and keys, of a block of `flex`: what FlexAttention's own kernels take."""
    slots: int = 64 << 20
    """Bytes of packed keys that a thread of `fused` may hold, and at least two stretches."""
    units: int = 4
    """Units of work that each thread of `fused` should find, so that threads end at about the same time."""
    near: int = 1 << 17
    """Bytes of rows, of all heads, that `fused` takes head by head before it goes on: with keys, values and gradients they stay in
    the second cache, and vectors of neighboring heads lie in neighboring cache lines. Larger sets are taken one head at a time."""
    part: int = 1 << 19
    """Multiplications that are worth a part of `edges`."""
    at_once: int = AT_ONCE
    """Pairs that a pattern is asked about at once."""


USUAL = TileSizes()


@dataclass(frozen=True)
class Problem:
    """What is to be computed.

    Args:
        attention: the specification, as `attention.for_heads(heads)` gives it.
        layout: of the queries. key_layout: of the keys, the same object in self-attention.
        heads: of the queries. key_heads: of the keys and values; a divisor of `heads`.
        d: width of queries and keys. e: width of values.
        dtype: of the vectors. dropout: on the weights, or None. tiles: how much is computed at once.
        where: the device of the vectors, None for that of the layouts, which are on the CPU while something is decided.
    """

    attention: Attention
    layout: Layout
    key_layout: Layout
    heads: int
    key_heads: int
    d: int
    e: int
    dtype: torch.dtype
    dropout: Dropout | None = None
    tiles: TileSizes = USUAL
    where: torch.device | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the inputs and the output."""
        queries, keys = self.layout.total * self.heads, self.key_layout.total * self.key_heads
        return (queries + keys) * (self.d + self.e) * self.dtype.itemsize

    @property
    def device(self) -> torch.device:
        return self.layout.device if self.where is None else self.where

    @property
    def on_host(self) -> Problem:
        """The same problem with its layouts on the CPU, for what is decided of it; this very object where they lie there."""
        layout, key_layout = self.layout.host, self.key_layout.host
        if layout is self.layout and key_layout is self.key_layout:
            return self
        return replace(self, layout=layout, key_layout=key_layout, where=self.device)

    def kept(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` gives, computed once per tile sizes and cached by the query layout for all layers.

        It must not refer to a layout: such cycles would keep batches in memory until the garbage collector comes.
        """
        derived = self.layout.derived
        if self.key_layout is not self.layout:
            # Held weakly: two layouts that attend to each other would never be freed.
            derived = derived.setdefault("by key layout", WeakKeyDictionary()).setdefault(self.key_layout, {})
        key = (self.tiles, self.where, *key)
        if key in derived:
            found: T = derived[key]
            return found
        # What is kept holds no graph.
        with torch.no_grad():
            return keep(derived, key, make)

    def kept_for_steps(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """As `kept`, but where sets are written step by step it serves the steps to come, until there is twice as much of anything.

        They have a few queries less and a few keys more, which changes times a little and nothing else.
        """
        steps = self.key_layout.derived.get(STEPS)
        if steps is None:
            return self.kept(key, make)
        ours, theirs = self.layout.host, self.key_layout.host
        sizes = (n.bit_length() for n in (ours.sets, ours.total, ours.longest, theirs.total, theirs.longest))
        with torch.no_grad():
            return keep(steps, (self.tiles, *sizes, *key), make)

    @cached_property
    def dense_pairs(self) -> int:
        """The number of pairs of the same set, allowed or not."""
        return int((self.layout.host.lengths * self.key_layout.host.lengths).sum())

    @cached_property
    def groups(self) -> list[tuple[Pattern, list[int]]]:
        """The different patterns, each with the heads that use it."""
        patterns = self.attention.patterns
        if len(patterns) == 1:
            return [(patterns[0], list(range(self.heads)))]
        groups: dict[Pattern, list[int]] = {}
        for head, pattern in enumerate(patterns):
            groups.setdefault(pattern, []).append(head)
        return list(groups.items())

    @cached_property
    def union(self) -> Pattern:
        """What at least one head allows."""
        first, *rest = (pattern for pattern, _ in self.groups)
        for pattern in rest:
            first = Or(first, pattern)
        return first

    def intervals(self, pattern: Pattern) -> Intervals:
        """The keys of every query row under a pattern."""
        named: dict[Pattern, Intervals] | None = self.__dict__.get(_NAMED)
        if named is not None and pattern in named:
            return named[pattern]
        every = torch.arange(self.layout.total, device=self.layout.device)
        found = pattern.keys(Rows(every, self.layout, self.key_layout, self.tiles.at_once))
        if named is not None:
            named[pattern] = found
        return found

    @contextmanager
    def naming_once(self) -> Iterator[None]:
        """Within it, the intervals of a pattern are named once, whoever asks for them; they may be large, and end with it."""
        object.__setattr__(self, _NAMED, {})
        try:
            yield
        finally:
            object.__delattr__(self, _NAMED)

    def count(self, pattern: Pattern) -> int:
        """The number of pairs that a pattern allows, derived once per layout."""
        host = self.on_host
        if isinstance(pattern, Edges) and host.layout.edges is not None:
            return host.layout.edges.shape[1]
        return host.kept(("count", pattern), lambda: int(host.intervals(pattern).counts().sum()))

    @property
    def reach(self) -> int:
        """The largest |i - j| of the allowed pairs, derived once per layout."""
        host = self.on_host
        return host.kept(("reach", self.union), lambda: host.intervals(self.union).reach())

    @property
    def far(self) -> str | None:
        """Why biases are not read from a table of all distances: one would be longer than all that they are added to."""
        if self.reach <= _TABLE + 4 * (self.layout.total + self.key_layout.total):
            return None
        return (
            f"queries and keys lie up to {self.reach:,} places apart, and it reads biases from a table of all distances"
        )

    @cached_property
    def pairs(self) -> int:
        """The number of allowed pairs, summed over the heads."""
        return sum(self.count(pattern) * len(heads) for pattern, heads in self.groups)
