"""Steppers whose scores are known, or made by a network so small that a row's numbers never depend on other rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Toy:
    """Logits that are a function of the ids of a row, the first of them included, and of the set that it began as.

    Args:
        logits: from the set and its ids to `[vocabulary]`. sets: which sets there are.
    """

    def __init__(self, logits: Callable[[int, tuple[int, ...]], Tensor], vocabulary: int, sets: Sequence[int]) -> None:
        self.logits, self.vocabulary = logits, vocabulary
        self.rows: list[tuple[int, tuple[int, ...]]] = [(b, ()) for b in sets]
        self.sizes: list[int] = []
        """How many rows each step had."""

    def __len__(self) -> int:
        return len(self.rows)

    def next(self, ids: Tensor) -> Tensor:
        assert len(ids) == len(self.rows) > 0
        self.rows = [(b, (*before, n)) for (b, before), n in zip(self.rows, ids.tolist(), strict=True)]
        self.sizes.append(len(self.rows))
        return torch.stack([self.logits(b, before) for b, before in self.rows])

    def select(self, rows: Tensor) -> None:
        self.rows = [self.rows[row] for row in rows.tolist()]


class Recurrent:
    """h = tanh(A h + B[id]), logits = C h, one row at a time: the state of a row is its own, and moves when rows are selected.

    The state begins as a vector of the set, so that sets differ from the first step on.
    """

    def __init__(self, vocabulary: int, sets: Sequence[int], seed: int = 0, sharp: float = 2.0) -> None:
        generator, width = torch.Generator().manual_seed(seed), 8
        self.vocabulary, self.sizes = vocabulary, []
        self.a = torch.randn(width, width, generator=generator)
        self.b = torch.randn(vocabulary, width, generator=generator)
        self.c = torch.randn(vocabulary, width, generator=generator) * sharp
        starts = torch.randn(64, width, generator=generator)
        self.states = [starts[b] for b in sets]

    def __len__(self) -> int:
        return len(self.states)

    def next(self, ids: Tensor) -> Tensor:
        assert len(ids) == len(self.states) > 0
        self.sizes.append(len(ids))
        self.states = [torch.tanh(self.a @ h + self.b[n]) for h, n in zip(self.states, ids.tolist(), strict=True)]
        return torch.stack([self.c @ h for h in self.states])

    def select(self, rows: Tensor) -> None:
        self.states = [self.states[row] for row in rows.tolist()]


def table(vocabulary: int, seed: int = 0, sharp: float = 1.5) -> Callable[[int, tuple[int, ...]], Tensor]:
    """Logits drawn for each set and prefix by itself."""

    def logits(b: int, before: tuple[int, ...]) -> Tensor:
        key = hash((seed, b, before)) % (1 << 31)
        return torch.randn(vocabulary, generator=torch.Generator().manual_seed(key)) * sharp

    return logits
