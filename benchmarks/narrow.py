"""A program as on a processor with narrower vectors.

    python -m benchmarks.narrow avx2 -m benchmarks.costs

runs Python with what follows, where torch, MKL, oneDNN and Numba are told to go without AVX-512. It shows how kernels for the
narrower class compute and compare; clock and caches stay those of the machine, so that its figures are named "AVX2, forced".
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from llvmlite import binding

__all__ = ["CLASSES", "environment", "main"]

# By class: what torch, MKL and oneDNN call it, a processor of that class, and how the instruction sets that it lacks begin.
CLASSES = {"avx2": ("avx2", "AVX2", "AVX2", "haswell", ("avx512", "amx", "avx10"))}


def environment(name: str) -> dict[str, str]:
    """The variables that make libraries compute as on a processor of this class.

    >>> environment("avx2")["ATEN_CPU_CAPABILITY"]
    'avx2'
    """
    aten, mkl, onednn, processor, without = CLASSES[name]
    features = binding.get_host_cpu_features()
    for feature in features:
        features[feature] = features[feature] and not feature.startswith(without)
    return {
        "ATEN_CPU_CAPABILITY": aten,
        "MKL_ENABLE_INSTRUCTIONS": mkl,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": features.flatten(),
        # Numba tells caches of other features apart itself, but forgets those of one for the other.
        "NUMBA_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"regard-numba-{name}"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Replaces this process; 2 where the class is unknown."""
    name, *program = list(sys.argv[1:] if arguments is None else arguments) or [""]
    if name not in CLASSES or not program:
        print(
            f"the class is {name!r}, expected one of {', '.join(CLASSES)}, and then what Python is to run",
            file=sys.stderr,
        )
        return 2
    return os.execve(sys.executable, [sys.executable, *program], os.environ | environment(name))


if __name__ == "__main__":
    sys.exit(main())
