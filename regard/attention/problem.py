"""`Problem`: all that a plan and an executor know of one call of `attend`, beside the tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from regard.attention.dropout import Dropout
from regard.attention.pairs.pairs import Intervals, Rows
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Or, Pattern
from regard.sets import Layout
from regard.sets.layout import keep

__all__ = ["Problem", "Tensors"]

T = TypeVar("T")


@dataclass(frozen=True)
class Tensors:
    """The tensors of one call: q `[t, h, d]`, k `[u, g, d]`, v `[u, g, e]`, and the learned ones by name."""

    q: Tensor
    k: Tensor
    v: Tensor
    parameters: Mapping[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """What is to be computed.

    Args:
        attention: the specification, as `attention.for_heads(heads)` gives it.
        layout: of the queries. key_layout: of the keys, the same object in self-attention.
        heads: of the queries. key_heads: of the keys and values; a divisor of `heads`.
        d: width of queries and keys. e: width of values.
        dtype: of the vectors. dropout: on the weights, or None.
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

    @property
    def bytes(self) -> int:
        """Bytes of the inputs and the output."""
        queries, keys = self.layout.total * self.heads, self.key_layout.total * self.key_heads
        return (queries + keys) * (self.d + self.e) * self.dtype.itemsize

    @property
    def device(self) -> torch.device:
        return self.layout.device

    def kept(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` gives, computed once and kept by the query layout for all layers.

        It must not refer to a layout, lest batch after batch wait for the collector of cycles.
        """
        derived = self.layout.derived
        if self.key_layout is not self.layout:
            # Held weakly: two layouts that attend to each other would never be freed.
            derived = derived.setdefault("by key layout", WeakKeyDictionary()).setdefault(self.key_layout, {})
        # What is kept holds no graph.
        return keep(derived, key, torch.no_grad()(make))

    @cached_property
    def dense_pairs(self) -> int:
        """The number of pairs of the same set, allowed or not."""
        return int((self.layout.lengths * self.key_layout.lengths).sum())

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
        rows = Rows(torch.arange(self.layout.total, device=self.layout.device), self.layout, self.key_layout)
        return pattern.keys(rows)

    def count(self, pattern: Pattern) -> int:
        """The number of pairs that a pattern allows, derived once per layout."""
        return self.kept(("count", pattern), lambda: int(self.intervals(pattern).counts().sum()))

    @property
    def reach(self) -> int:
        """The largest |i - j| of the allowed pairs, derived once per layout."""
        return self.kept(("reach", self.union), lambda: self.intervals(self.union).reach())

    @cached_property
    def pairs(self) -> int:
        """The number of allowed pairs, summed over the heads."""
        return sum(self.count(pattern) * len(heads) for pattern, heads in self.groups)
