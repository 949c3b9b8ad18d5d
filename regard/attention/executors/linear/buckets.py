"""Buckets of sets of similar length, and stretches of their rows, which linear attention sums over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attention.problem import Problem, TileSizes
from regard.sets import Layout

__all__ = ["Bucket", "of"]


@dataclass(frozen=True)
class Side:
    """The rows of some sets: set b has `lengths[b]` rows from `begin[b]` on."""

    begin: Tensor
    lengths: Tensor
    first: int
    shortest: int
    together: bool
    """Whether the sets are of one length and lie one after another."""

    @classmethod
    def of(cls, layout: Layout, sets: Tensor) -> Side:
        begin, lengths = layout.offsets[sets], layout.lengths[sets]
        shortest = int(lengths.min())
        together = bool((begin.diff() == shortest).all()) and bool((lengths == shortest).all())
        return cls(begin, lengths, int(begin[0]), shortest, together)

    def _stretch(self, low: int, high: int) -> slice | None:
        """Where these rows of all sets lie side by side, None where they do not."""
        sets = len(self.begin)
        if high > self.shortest or not (sets == 1 or (self.together and high - low == self.shortest)):
            return None
        return slice(self.first + low, self.first + low + sets * (high - low))

    def take(self, x: Tensor, low: int, high: int) -> Tensor:
        """`[b, heads, high - low, width]` of rows low to high of each set; behind a set's end its last row again."""
        stretch = self._stretch(low, high)
        if stretch is None:
            place = torch.arange(low, high, device=x.device)
            rows = self.begin[:, None] + torch.minimum(place, self.lengths[:, None] - 1)
            part = x.index_select(0, rows.flatten())
        else:
            part = x[stretch]
        return part.view(len(self.begin), high - low, *x.shape[1:]).transpose(1, 2)

    def unreal(self, low: int, high: int) -> Tensor | None:
        """`[b, 1, high - low, 1]` True behind a set's end, None where nothing is."""
        if high <= self.shortest:
            return None
        place = torch.arange(low, high, device=self.begin.device)
        return (place >= self.lengths[:, None])[:, None, :, None]

    def put(self, x: Tensor, low: int, high: int, part: Tensor) -> None:
        """The reverse of `take`, without what lies behind the ends."""
        stretch, part = self._stretch(low, high), part.transpose(1, 2)
        if stretch is not None:
            x[stretch].view(part.shape).copy_(part)
            return
        place = torch.arange(low, high, device=x.device)
        real = place < self.lengths[:, None]
        x.index_copy_(0, (self.begin[:, None] + place)[real], part[real].to(x.dtype))


@dataclass(frozen=True)
class Bucket:
    """Sets of similar lengths, computed together: up to n queries and m keys each.

    `chunk`: rows of a chunk of a causal set; shorter sets are products of all pairs whatever the pattern. `piece`: rows that are
    computed at once.
    """

    members: Tensor
    queries: Side
    keys: Side
    n: int
    m: int
    chunk: int
    piece: int

    @property
    def sets(self) -> int:
        return len(self.queries.begin)

    @property
    def short(self) -> bool:
        """Whether products of all pairs are less than sums."""
        return max(self.n, self.m) <= self.chunk

    def pieces(self, length: int) -> Iterator[tuple[int, int]]:
        """Rows from and to, of stretches that are computed one after another."""
        step = max(self.piece // self.sets // self.chunk, 1) * self.chunk
        for low in range(0, length, step):
            yield low, min(low + step, length)


def of(problem: Problem) -> list[Bucket]:
    """All sets that have queries and keys; kept by the problem's layouts."""
    return problem.kept(("linear buckets",), lambda: _cut(problem.layout, problem.key_layout, problem.tiles))


def _cut(layout: Layout, key_layout: Layout, sizes: TileSizes) -> list[Bucket]:
    """Buckets that pad a set by a third or by 16 rows at most; a set without queries or without keys is in none."""
    chunk, piece = sizes.rows, sizes.linear
    n, m = layout.lengths.tolist(), key_layout.lengths.tolist()
    order = sorted((b for b in range(layout.sets) if n[b] and m[b]), key=lambda b: (-m[b], -n[b], b))
    cuts: list[list[int]] = []
    for b in order:
        fits = False
        if cuts:
            first = cuts[-1][0]
            alike = (
                all(abs(x[first] - x[b]) <= 16 or 3 * x[first] <= 4 * x[b] <= 4 * x[first] for x in (n, m))
                and n[b] <= n[first]
            )
            fits = alike and (len(cuts[-1]) + 1) * max(n[first], m[first]) <= piece
        if fits:
            cuts[-1].append(b)
        else:
            cuts.append([b])
    found = []
    for cut in cuts:
        sets = torch.tensor(cut, device=layout.device)
        queries, keys = n[cut[0]], m[cut[0]]
        if layout is key_layout and queries > chunk:
            # Whole chunks.
            queries = keys = (queries + chunk - 1) // chunk * chunk
        sides = Side.of(layout, sets), Side.of(key_layout, sets)
        found.append(Bucket(sets, *sides, queries, keys, chunk, piece))
    return found
