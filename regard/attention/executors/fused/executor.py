"""`fused`: dot products over tiles of queries and stretches of keys, with an own backward pass; no score outlives its tile.

The idea is FlashAttention's (Dao et al. 2022): the weights of a tile are computed, used and forgotten, and computed again in the
backward pass from each row's logarithm of the sum of exponentials. Patterns enter as each row's intervals of keys, so that time
grows with the allowed pairs, and memory with the rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax
from regard.attention.spec.patterns import Edges
from regard.attention.spec.scores import Dot
from regard.kernels import MISSING, available

__all__ = ["at_least", "memory", "run", "why_not", "work"]

_NORMALIZERS = (Softmax, Relu, Sigmoid)
_TYPES = (torch.float32, torch.float64, torch.bfloat16)


def why_not(problem: Problem) -> str | None:
    attention = problem.attention
    if problem.device.type != "cpu":
        return f"its kernels are for the CPU, and the vectors are on {problem.device}"
    if not available():
        return MISSING
    if problem.dtype not in _TYPES:
        return f"the vectors are {problem.dtype}, expected float32, float64 or bfloat16"
    if type(attention.score) is not Dot:
        return f"the score is {attention.score!r}, expected Dot"
    if type(attention.normalizer) not in _NORMALIZERS:
        return f"the normalizer is {attention.normalizer!r}, expected Softmax, Relu or Sigmoid"
    bias = attention.bias
    if bias is not None and (not bias.of_distance or bias.has_values):
        return f"the bias {bias!r} reads more than the distance of query and key, expected none or one of the distance"
    if bias is not None and not (problem.layout.places is None and problem.key_layout.places is None):
        return f"places are left out between those of some set, and it reads the bias {bias!r} by counting rows"
    if bias is not None and problem.far is not None:
        return problem.far
    if min(problem.d, problem.e) < 1:
        return f"the vectors have widths {problem.d} and {problem.e}, expected at least 1"
    return None


def work(problem: Problem) -> dict[str, float]:
    from regard.attention.executors.fused import lone

    if lone.fits(problem):
        return lone.work(problem)
    from regard.attention.executors.fused.units import cut_of, touched

    cut = cut_of(problem)
    width = problem.d + problem.e
    # Where shorter stretches are quicker, it takes less.
    meetings, pairs = touched(problem, problem.tiles.keys)
    return {
        "calls": 1,
        "units": len(cut.calls) - 1,
        "rows": problem.layout.total * problem.heads * width,
        "meetings": meetings,
        "pairs": pairs,
        "products": pairs * width,
    }


def at_least(problem: Problem) -> dict[str, float]:
    """Work that is certain before anything is cut up: all rows, and the allowed pairs without those that are computed in vain."""
    from regard.attention.executors.fused import lone
    from regard.kernels.simd.processor import ROWS

    if lone.fits(problem):
        return lone.work(problem)
    width, pairs = problem.d + problem.e, problem.pairs
    meetings: float = pairs / (ROWS * problem.tiles.keys)
    if problem.union == Edges() and problem.layout.edges is not None:
        # Rows of a register tile meet at least one stretch if one of them has an edge.
        seen = int((torch.bincount(problem.layout.edges[0]) > 0).sum())
        meetings = max(meetings, problem.heads * seen / ROWS)
    return {
        "calls": 1,
        "rows": problem.layout.total * problem.heads * width,
        "meetings": meetings,
        "pairs": pairs,
        "products": pairs * width,
    }


def memory(problem: Problem) -> int:
    from regard.attention.executors.fused import autograd, lone

    return (lone if lone.fits(problem) else autograd).memory(problem)


def run(problem: Problem, tensors: Tensors) -> Tensor:
    from regard.attention.executors.fused import autograd, lone

    return (lone if lone.fits(problem) else autograd).attend(problem, tensors)
