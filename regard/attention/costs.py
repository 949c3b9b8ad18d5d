"""What executors cost: amounts of work, times the seconds that each kind of work was measured to take on a kind of processor."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from regard.attention.problem import Problem

__all__ = [
    "beside", "constants", "least", "measured_class", "of_class", "processor_class", "seconds",
    "seconds_of_product", "share_of_product", "slow_type",
]  # fmt: skip

# Of the classes without a file of their own, which other one is nearest.
_NEAREST = {"avx2": ("avx2", "avx512"), "neon": ("avx2", "avx512"), "other": ("avx2", "avx512")}


@cache
def processor_class() -> str:
    """ "avx512", "avx2", "neon" or "other": the widest vectors that torch and Numba both compute with here.

    `ATEN_CPU_CAPABILITY` narrows those of torch, `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` those of Numba.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    torchs = {"AVX512": "avx512", "AVX2": "avx2", "NEON": "neon"}.get(capability, "other")
    if capability.startswith("SVE"):
        torchs = "neon"
    if torchs not in ("avx512", "avx2") or not {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"} & os.environ.keys():
        return torchs
    from regard.kernels.simd import processor

    known = [each for each in ("avx512", "avx2") if each == torchs or torchs == "avx512"]
    return next((each for each in known if {"avx512": "avx512f"}.get(each, each) in processor.FEATURES), "other")


@cache
def measured_class(device: str = "cpu") -> str:
    """The class whose constants are taken: that of this processor where it was measured, else the nearest one.

    A graphics processor of NVIDIA has its own; other devices count as a CPU.
    """
    if device == "cuda":
        return "cuda"
    found = processor_class()
    return next(each for each in _NEAREST.get(found, (found,)) if _file(each).is_file())


def _file(name: str) -> Any:
    return files("regard.attention").joinpath(f"costs-{name}.json")


@cache
def _measured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_file(name).read_text())
    return found


# Kinds of work of which every call is one unit of one kind.
_CALLS = ("calls", "lone calls")
# Kinds of work of which a call does at least one unit.
_STEPS = ("steps", "tile batches")
# Of each type, the instruction sets that multiply it, as torch names them.
_INSTRUCTIONS = {torch.bfloat16: ("avx512_bf16", "amx_bf16"), torch.float16: ("avx512_fp16", "amx_fp16")}


def slow_type(dtype: torch.dtype, device: str = "cpu") -> str | None:
    """Why float32 is quicker than this type on this processor, in a sentence; None where it is not, or where that is not known.

    >>> slow_type(torch.float32) is None
    True
    """
    instructions = _INSTRUCTIONS.get(dtype)
    if instructions is None or device != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return None
    there = torch.cpu.get_capabilities()
    if there.get("architecture") != "x86_64" or any(there.get(name) for name in instructions):
        return None
    return f"this processor has no instructions for {str(dtype).removeprefix('torch.')}: float32 is quicker"


def constants(device: str = "cpu") -> dict[str, dict[str, float]]:
    """For each executor, the seconds that a unit of each kind of its work takes on a machine of the class."""
    found: dict[str, dict[str, float]] = _measured(measured_class(device))["seconds"]
    return found


def least(executor: str, device: str = "cpu") -> float:
    """Seconds that every call of an executor takes: those of the quickest one that was measured, or of its call and a first step.

    Cutting up a batch of many sets for `blocks` takes longer than computing it by `dense` may, so what cannot be the quickest is
    not cut up.
    """
    measured: dict[str, float] = _measured(measured_class(device)).get("least", {})
    if executor in measured:
        return measured[executor]
    each = constants(device)[executor]
    call = min((each[kind] for kind in _CALLS if kind in each), default=0.0)
    return call + min((each[kind] for kind in _STEPS if kind in each), default=0.0)


def of_class(device: str = "cpu") -> str:
    """Which constants hold without a calibration, in words.

    >>> of_class("cuda")
    'of the class cuda'
    """
    theirs = measured_class(device)
    ours = theirs if device == "cuda" else processor_class()
    return f"of the class {ours}" if ours == theirs else f"of the class {theirs}, as none are measured for {ours}"


def seconds(executor: str, work: Mapping[str, float], device: str = "cpu") -> float:
    """How long this work takes, forward and backward."""
    each = constants(device)[executor]
    return sum(each[kind] * amount for kind, amount in work.items())


def seconds_of_product(multiplications: float) -> float:
    """How long torch takes for a linear layer with so many products of two numbers, forward and backward."""
    return multiplications * float(_measured(measured_class())["linear"]["multiplications"])


def share_of_product() -> float:
    """How long the kernels of `regard.kernels.matrix` take for a linear layer on a machine of the class, as a share of torch's."""
    return float(_measured(measured_class())["linear"]["share"])


def beside(problem: Problem, pairs: float, numbers: int = 1) -> dict[str, float]:
    """Work that dropout and bias add to that on pairs, heads counted, where plain operators compute them.

    Args:
        numbers: what a bias that reads queries takes for a pair: a vector's width where its vectors are gathered, 1 where they are
            multiplied with all queries of a tile.
    """
    amounts = {} if problem.dropout is None else {"dropped pairs": pairs}
    bias = problem.attention.bias
    if bias is None:
        return amounts
    if bias.reads_queries:
        return amounts | {"biases of queries": pairs * numbers}
    return amounts | {"biases of distances" if bias.of_distance else "biases of pairs": pairs}
