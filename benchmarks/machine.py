"""What a measurement says of its machine, and where results are written."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from regard.attention.costs import processor_class
from regard.kernels.rates import matrix_rate, memory_rate, peak_rate

__all__ = ["RESULTS", "machine", "write"]

RESULTS = Path(__file__).parent / "results"


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
