"""`blocks`: chunks of query tiles against all the keys they need, in plain operators; see `chunked`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from regard.attention.chunked import attend_in_chunks, chunk_memory, cut
from regard.attention.pairs import Pairs
from regard.attention.problem import Problem, Tensors

__all__ = ["memory", "run", "why_not", "work"]


def why_not(problem: Problem) -> str | None:
    return None


def _numbers(problem: Problem) -> int:
    return problem.attention.score.numbers_per_pair(problem.d)


def work(problem: Problem) -> dict[str, float]:
    numbers = _numbers(problem)
    chunks = cut(problem, numbers)
    pairs = chunks.pairs * problem.heads
    return {
        "calls": 1,
        "chunks": len(chunks.each),
        "products": pairs * (problem.d + problem.e),
        "pairs": pairs,
        "held numbers": pairs * numbers,
    }


def memory(problem: Problem) -> int:
    return chunk_memory(problem, _numbers(problem))


def run(problem: Problem, tensors: Tensors) -> Tensor:
    return attend_in_chunks(problem, tensors, _scores, _numbers(problem))


def _scores(problem: Problem, q: Tensor, k: Tensor, pairs: Pairs, parameters: Mapping[str, Tensor]) -> Tensor:
    return problem.attention.tile(q, k, pairs, parameters)
