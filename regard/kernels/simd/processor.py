"""What the processor offers that kernels are compiled for."""

from __future__ import annotations

from typing import Any

from llvmlite import binding
from numba import config

__all__ = ["APPROXIMATES", "PAIRS", "ROWS", "lanes"]

_FEATURES = binding.get_host_cpu_features()
_WIDE, _MEDIUM = bool(_FEATURES.get("avx512f")), bool(_FEATURES.get("avx2"))


def _pairs() -> bool:
    """Whether Numba compiles for a processor that multiplies pairs of bfloat16, which its settings may forbid."""
    settings: Any = config
    if settings.CPU_NAME or settings.CPU_FEATURES is not None:
        return "+avx512bf16" in (settings.CPU_FEATURES or "").split(",")
    return bool(_FEATURES.get("avx512bf16"))


PAIRS = _pairs()
"""Whether there are products of pairs of bfloat16, 32 to a vector, summed in float32."""
APPROXIMATES = _WIDE
"""Whether there is a reciprocal of 16 float32 that is exact to 14 bits."""
ROWS = 8 if _WIDE or _FEATURES.get("neon") else 4
"""A tile of the product holds this many rows of three vectors each in registers: 24 of 32 registers, or 12 of 16."""


def lanes(bits: int) -> int:
    """How many numbers of this size one vector holds."""
    return (512 if _WIDE else 256 if _MEDIUM else 128) // bits
