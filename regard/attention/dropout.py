"""Dropout on normalized weights whose mask is a hash, so that every executor, tile and recomputation draws the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regard.errors import InputError
from regard.kernels.hashing import chains, mix_tensor, signed

__all__ = ["Dropout"]

_HASH = chains(mix_tensor)


@dataclass(frozen=True)
class Dropout:
    """Weights a_ij become a_ij / (1 - p) with probability 1 - p, and 0 otherwise.

    The choice is a function of (seed, head, query row, key row), rows counted in the packed batch: no generator's stream.

    Args:
        p: the probability to drop, 0 <= p < 1.
        seed: 62 bits; `Dropout.draw` takes one from torch's generator.

    Raises:
        InputError: a probability outside of [0, 1).
    """

    p: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise InputError(f"the dropout probability is {self.p}, expected 0 <= p < 1")

    @classmethod
    def draw(cls, p: float) -> Dropout:
        """A dropout whose seed comes from torch's generator; in code that torch traces, the seed stays a tensor."""
        seed: Any = torch.randint(1 << 62, ())
        return cls(p, seed if torch.compiler.is_compiling() else int(seed))

    def factors(self, head: Tensor, query_rows: Tensor, key_rows: Tensor, dtype: torch.dtype) -> Tensor:
        """What each weight is multiplied with: 0 or 1 / (1 - p); all three int64 and broadcastable."""
        return self.kept(head, query_rows, key_rows).to(dtype) / (1 - self.p)

    def kept(self, head: Tensor, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        """Which weights are not dropped."""
        query_rows, key_rows = (x.to(torch.int32) for x in (query_rows, key_rows))
        hashes: Tensor = _HASH.of_key(_HASH.of_row(self.of_heads(head), query_rows), key_rows)
        return hashes >= self.least

    def of_heads(self, head: Tensor) -> Tensor:
        """The part of the hash that only the seed and the heads decide, int32."""
        hashes: Tensor = _HASH.of_number(signed(self.seed), signed(self.seed >> 32), head.to(torch.int32))
        return hashes

    @property
    def least(self) -> int:
        """The least hash, an int32, of a weight that is kept."""
        return int(self.p * (1 << 32)) - (1 << 31)
