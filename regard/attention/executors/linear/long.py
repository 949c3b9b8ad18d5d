"""The kernels of `linear` on long sets of a problem: rows cut into parts, sums of parts added up between the kernels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.attention.executors.linear import causal, features, kernels
from regard.attention.problem import Problem
from regard.attention.spec.feature_maps import Favor, Features
from regard.attention.spec.patterns import Causal
from regard.attention.spec.scores import Kernel
from regard.kernels.records import Records, Stride, kind_of, record
from regard.kernels.simd.processor import ROWS, lanes
from regard.kernels.threads import memory_of, share
from regard.sets import Layout
from regard.sets.whole import repeated

__all__ = ["LongSets"]

Whole = NDArray[np.int64]


def _parts(layout: Layout, sets: Tensor, rows: int) -> Records:
    """The parts of at most so many rows: records of `kernels.Part`, whose place is that of their set among these.

    Each part is computed by one thread, and parts are the same for any number of threads, so that sums are added up in one order.
    """
    number = (layout.lengths[sets] + rows - 1) // rows
    place = repeated(torch.arange(len(sets)), number)
    turn = torch.arange(len(place)) - (number.cumsum(0) - number)[place]
    begin = layout.offsets[sets][place] + turn * rows
    end = torch.minimum(begin + rows, layout.offsets[sets + 1][place])
    return torch.stack([place, begin, end], 1).numpy().view(kind_of(kernels.Part))[:, 0]


@lru_cache(maxsize=64)
def _drawn(phi: Features, d: int, wide: int, size: int) -> Tensor:
    """What `features` reads of random rows, in numbers of `size` bytes; nothing for features that have none."""
    w = phi.rows(d) * d**-0.25 if isinstance(phi, Favor) else torch.empty(0, 0)
    columns = torch.cat([w, w[:1].expand(-len(w) % wide, -1)]).mT
    rows = torch.nn.functional.pad(w, (0, -w.shape[1] % wide))
    return torch.cat([columns.flatten(), rows.flatten()]).to(torch.float64 if size == 8 else torch.float32)


@dataclass(frozen=True)
class LongSets:
    """Sets that the kernels compute.

    Args:
        heads, key_heads, d, e: of the vectors. phi: their features. sets: how many. of_queries, of_keys: their parts. wide: numbers
            of a vector of the processor, each of `size` bytes. long: whether waiting threads are ended before. causal: whether
            sums run along.
    """

    heads: int
    key_heads: int
    d: int
    e: int
    phi: Features
    sets: int
    of_queries: Records
    of_keys: Records
    wide: int
    size: int
    causal: bool

    @classmethod
    def of(cls, problem: Problem, sets: Tensor) -> LongSets:
        wide = lanes(8 * max(4, problem.dtype.itemsize))
        of_queries, of_keys = (_parts(x, sets, problem.tiles.linear) for x in (problem.layout, problem.key_layout))
        score = problem.attention.score
        assert isinstance(score, Kernel), "a plan refuses other scores"
        sizes = problem.heads, problem.key_heads, problem.d, problem.e, score.phi
        causal = isinstance(problem.attention.patterns[0], Causal)
        return cls(*sizes, len(sets), of_queries, of_keys, wide, max(4, problem.dtype.itemsize), causal)

    @property
    def m(self) -> int:
        """How many features a vector has."""
        return self.phi.width(self.d)

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        """Rows of S and of S transposed, and the widths of rows of features and of S."""
        whole = [-(-x // ROWS) * ROWS for x in (self.m, self.e)]
        return whole[0], whole[1], self._filled(self.m), self._filled(self.e)

    def _filled(self, numbers: int) -> int:
        """So many numbers in whole vectors of the processor."""
        return -(-numbers // self.wide) * self.wide

    @property
    def memory(self) -> int:
        """Bytes of sums at the peak: of parts, of sets, and those turned, and what the forward pass kept."""
        rows, _, d, e = self._shape
        parts = max(len(self.of_keys), len(self.of_queries))
        most = 5 * parts if self.causal else parts + 3 * self.sets
        return most * self.key_heads * (rows * e + d) * self.size

    def _run(self, kernel: Any, parts: Records, tensors: Sequence[Tensor], **strided: Tensor) -> None:
        """A kernel on all parts; `strided`: those of the tensors that need not be contiguous."""
        strides = {name: Stride.of(x) for name, x in strided.items()}
        of_q, of_k = (features.QUERIES, features.KEYS) if isinstance(self.phi, Favor) else (features.ELU, features.ELU)
        d, m = self._filled(self.d), self._filled(self.m)
        numbers = kernels.Numbers(
            self.wide, self.heads, self.heads // self.key_heads, self.d, d, self.m, m, self.e, of_q, of_k, **strides
        )
        arrays = (*tensors, _drawn(self.phi, self.d, self.wide, self.size))
        share(kernel, range(len(parts) + 1), parts, *(memory_of(x) for x in arrays), record(numbers))

    def _room(self, parts: Records, like: Tensor) -> tuple[Tensor, Tensor]:
        """For S and z of each part."""
        rows, _, d, e = self._shape
        return like.new_empty(len(parts), self.key_heads, rows, e), like.new_empty(len(parts), self.key_heads, d)

    def _summed(self, parts: Records, sums: Tensor, totals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """S of each set, the same transposed, and z, from those of its parts."""
        place = torch.from_numpy(parts["place"].copy())
        sums, totals = (x.new_zeros(self.sets, *x.shape[1:]).index_add_(0, place, x) for x in (sums, totals))
        totals[..., self.m :] = 0
        return sums, self._turned(sums), totals

    def _turned(self, sums: Tensor) -> Tensor:
        _, rows, d, _ = self._shape
        turned = sums.new_zeros(len(sums), self.key_heads, rows, d)
        turned[:, :, : self.e, : self.m] = sums[:, :, : self.m, : self.e].mT
        return turned

    def _running(self, x: Tensor, backwards: bool = False) -> Tensor:
        """What the parts of each set before a part add up to, or those behind it."""
        place = torch.from_numpy(self.of_keys["place"].copy())
        if backwards:
            return self._before(x.flip(0), place.flip(0)).flip(0)
        return self._before(x, place)

    def _before(self, x: Tensor, place: Tensor) -> Tensor:
        """Set by set, for sums over several sets would lose what a small one is."""
        found = torch.zeros_like(x)
        ends = (place.diff() != 0).nonzero()[:, 0].add(1).tolist()
        for begin, end in itertools.pairwise([0, *ends, len(place)]):
            torch.cumsum(x[begin : end - 1], 0, out=found[begin + 1 : end])
        return found

    def forward(self, q: Tensor, k: Tensor, v: Tensor, out: Tensor, divisor: Tensor) -> list[Tensor]:
        """Writes the output and what divided it; what the way back needs of the sums."""
        parts = self._room(self.of_keys, divisor)
        self._run(kernels.sums_of_keys, self.of_keys, [k, v, *parts], k=k, v=v)
        if self.causal:
            sums, totals = (self._running(x) for x in parts)
            totals[..., self.m :] = 0
            states = [self._turned(sums), totals.clone()]
            self._run(causal.outputs, self.of_keys, [q, k, v, out, divisor, sums, totals], q=q, k=k, v=v)
            return states
        sums, turned, totals = self._summed(self.of_keys, *parts)
        self._run(kernels.outputs, self.of_queries, [q, out, divisor, sums, totals], q=q)
        return [turned, totals]

    def backward(
        self,
        inputs: tuple[Tensor, Tensor, Tensor],
        given: tuple[Tensor, Tensor, Tensor],
        states: tuple[Tensor, Tensor],
        gradients: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        """Writes the gradients of q, k and v; `given`: that of the output, the output, and what divided it."""
        (q, k, v), (d_q, d_k, d_v) = inputs, gradients
        parts = self._room(self.of_queries, given[2])
        if self.causal:
            # They move along with the rows, and what was saved may be asked for again.
            turned, totals = (x.clone() for x in states)
            inside, strided = [q, k, v, *given], {"q": q, "k": k, "v": v, "above": given[0]}
            self._run(causal.queries_back, self.of_keys, [*inside, turned, totals, d_q, *parts], **strided)
            sums, totals = (self._running(x, backwards=True) for x in parts)
            self._run(causal.keys_back, self.of_keys, [*inside, sums, self._turned(sums), totals, d_k, d_v], **strided)
            return
        self._run(kernels.queries_back, self.of_queries, [q, *given, *states, d_q, *parts], q=q, above=given[0])
        sums, turned, totals = self._summed(self.of_queries, *parts)
        self._run(kernels.keys_back, self.of_keys, [k, v, sums, turned, totals, d_k, d_v], k=k, v=v)
