"""What executors cost: amounts of work, times the seconds that each kind of work was measured to take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regard.attention.problem import Problem

__all__ = ["beside", "constants", "seconds"]


@cache
def constants() -> dict[str, dict[str, float]]:
    """For each executor, the seconds that a unit of each kind of its work takes on the machine that was measured."""
    return json.loads(files("regard.attention").joinpath("costs.json").read_text())["seconds"]


def seconds(executor: str, work: Mapping[str, float]) -> float:
    """How long this work takes, forward and backward."""
    each = constants()[executor]
    return sum(each[kind] * amount for kind, amount in work.items())


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
