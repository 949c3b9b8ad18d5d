"""What a measurement says of its machine, and where results are written."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.peak import memory_rate, peak_rate
from regard.attention.costs import processor_class

__all__ = ["RESULTS", "machine", "matrix_rate", "write"]

RESULTS = Path(__file__).parent / "results"


def matrix_rate(size: int = 1024, repeats: int = 9) -> float:
    """GFLOP/s of a float32 matrix product of this size, the median of several."""
    a = torch.randn(size, size)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begin)
    return 2 * size**3 / statistics.median(times) / 1e9


def machine() -> dict[str, Any]:
    """Processor and its class, threads, versions, and the rates of this very run: of a matrix product, and at most."""
    return {
        "processor": platform.machine(),
        "class": processor_class(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "matrix GFLOP/s": round(matrix_rate(), 1),
        "peak GFLOP/s": round(peak_rate(), 1),
        "memory GB/s": round(memory_rate(), 1),
    }


def write(name: str, result: dict[str, Any], show: bool = True) -> None:
    """Writes `results/NAME.json`, and prints it."""
    text = json.dumps(result, indent=2) + "\n"
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if show:
        print(text)
