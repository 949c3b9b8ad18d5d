"""What the processor offers that kernels are compiled for."""

from __future__ import annotations

from typing import Any

from llvmlite import binding
from numba import config

__all__ = ["APPROXIMATES", "FEATURES", "PAIRS", "ROWS", "lanes"]


def _features() -> frozenset[str]:
    """What Numba compiles for: the features of this processor, or those that its settings name instead.

    `NUMBA_CPU_FEATURES` lists them, as in "+avx2,-avx512f"; `NUMBA_CPU_NAME=generic` alone is a processor without any.
    """
    settings: Any = config
    if settings.CPU_FEATURES is None:
        return frozenset(name for name, there in binding.get_host_cpu_features().items() if there)
    return frozenset(each[1:] for each in settings.CPU_FEATURES.split(",") if each.startswith("+"))


FEATURES = _features()
"""Names of the instruction sets that kernels may use, as LLVM spells them."""
_WIDE, _MEDIUM = "avx512f" in FEATURES, "avx2" in FEATURES
PAIRS = "avx512bf16" in FEATURES
"""Whether there are products of pairs of bfloat16, 32 to a vector, summed in float32."""
APPROXIMATES = _WIDE
"""Whether there is a reciprocal of 16 float32 that is exact to 14 bits."""
ROWS = 8 if _WIDE or "neon" in FEATURES else 4
"""A tile of the product holds this many rows of three vectors each in registers: 24 of 32 registers, or 12 of 16."""


def lanes(bits: int) -> int:
    """How many numbers of this size one vector holds."""
    return (512 if _WIDE else 256 if _MEDIUM else 128) // bits
