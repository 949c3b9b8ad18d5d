"""`blocks`: tile batches against all the keys they need, in plain operators; see `tiled.autodiff`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from regard.attention.costs import beside
from regard.attention.executors.blocks.dot_softmax import attend_by_dots, dots_memory, dots_work
from regard.attention.executors.tiled.autodiff import attend_in_tile_batches, cut, tile_batch_memory
from regard.attention.pairs.pairs import Pairs
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import Softmax
from regard.attention.spec.scores import Dot, Kernel

__all__ = ["CUTTING", "at_least", "memory", "run", "why_not", "work"]

CUTTING = 1e-6
"""Seconds to cut up a row, about: looking at what may save less than that is no gain where batches change."""


def _by_dots(problem: Problem) -> bool:
    """Whether both passes are written out."""
    attention = problem.attention
    bias = attention.bias is None or (attention.bias.of_distance and not attention.bias.has_values)
    written_out = type(attention.score) is Dot and type(attention.normalizer) is Softmax and bias
    return written_out and (attention.bias is None or problem.far is None)


def why_not(problem: Problem) -> str | None:
    return None


def _numbers(problem: Problem) -> int:
    return problem.attention.score.numbers_per_pair(problem.d)


def work(problem: Problem) -> dict[str, float]:
    if _by_dots(problem):
        pairs, steps, keys = dots_work(problem)
        width = problem.d + problem.e
        amounts = {"calls": 1, "steps": steps, "dots": pairs * width, "weights": pairs, "gathered": keys * width}
        return amounts | beside(problem, pairs)
    numbers, width = _numbers(problem), problem.attention.score.width(problem.d)
    batches = cut(problem, numbers)
    pairs = batches.pairs * problem.heads
    # Every tile batch computes the features of its vectors for itself.
    featured = batches.vectors * problem.heads * width if isinstance(problem.attention.score, Kernel) else 0
    return {
        "calls": 1,
        "tile batches": len(batches.each),
        "products": pairs * (width + problem.e),
        "pairs": pairs,
        "held numbers": pairs * numbers + featured,
        "gathered": batches.gathered * problem.heads * (problem.d + problem.e),
        **beside(problem, pairs),
    }


def at_least(problem: Problem) -> dict[str, float]:
    """Work that is certain before anything is cut up: one step, and the allowed pairs without those that fill up its tiles."""
    pairs, width = problem.pairs, problem.attention.score.width(problem.d) + problem.e
    if _by_dots(problem):
        return {"calls": 1, "steps": 1, "dots": pairs * width, "weights": pairs}
    return {
        "calls": 1,
        "tile batches": 1,
        "products": pairs * width,
        "pairs": pairs,
        "held numbers": pairs * _numbers(problem),
    }


def memory(problem: Problem) -> int:
    if _by_dots(problem):
        return dots_memory(problem)
    return tile_batch_memory(problem, _numbers(problem))


def run(problem: Problem, tensors: Tensors) -> Tensor:
    if _by_dots(problem):
        return attend_by_dots(problem, tensors)
    return attend_in_tile_batches(problem, tensors, _scores, _numbers(problem))


def _scores(problem: Problem, q: Tensor, k: Tensor, pairs: Pairs, parameters: Mapping[str, Tensor]) -> Tensor:
    return problem.attention.tile(q, k, pairs, parameters)
