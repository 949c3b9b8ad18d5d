"""Dropout on normalized weights whose mask is a hash, so that every executor, tile and recomputation draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Dropout"]

_LOW = 0xFFFFFFFF


@dataclass(frozen=True)
class Dropout:
    """Weights a_ij become a_ij / (1 - p) with probability 1 - p, and 0 otherwise.

    The choice is a function of (seed, head, query row, key row), rows counted in the packed batch: no generator's stream.

    Args:
        p: the probability to drop, 0 <= p < 1.
        seed: 62 bits; `Dropout.draw` takes one from torch's generator.

    Raises:
        ValueError: a probability outside of [0, 1).
    """

    p: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ValueError(f"the dropout probability is {self.p}, expected 0 <= p < 1")

    @classmethod
    def draw(cls, p: float) -> Dropout:
        """A dropout whose seed comes from torch's generator."""
        return cls(p, int(torch.randint(1 << 62, ())))

    def factors(self, head: Tensor, query_rows: Tensor, key_rows: Tensor, dtype: torch.dtype) -> Tensor:
        """What each weight is multiplied with: 0 or 1 / (1 - p); all three int64 and broadcastable."""
        x = _mix(_mix(_mix(self.seed & _LOW ^ head) ^ (self.seed >> 32)) ^ query_rows)
        x = _mix(_mix(x) ^ key_rows)
        return (x >= int(self.p * (1 << 32))).to(dtype) / (1 - self.p)


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit numbers in which each bit of x changes about half of the bits (multiply and xor-shift)."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _LOW
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _LOW
    return x ^ (x >> 16)
