"""What executors cost: amounts of work, times the seconds that each kind of work was measured to take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.attention.problem import Problem

__all__ = ["beside", "constants", "least", "seconds"]


@cache
def _measured(device: str) -> dict[str, Any]:
    """What was measured on a CPU, or on a graphics processor of NVIDIA; other devices count as a CPU."""
    name = "costs-cuda.json" if device == "cuda" else "costs.json"
    found: dict[str, Any] = json.loads(files("regard.attention").joinpath(name).read_text())
    return found


def constants(device: str = "cpu") -> dict[str, dict[str, float]]:
    """For each executor, the seconds that a unit of each kind of its work takes on the machine that was measured."""
    found: dict[str, dict[str, float]] = _measured(device)["seconds"]
    return found


def least(executor: str, device: str = "cpu") -> float:
    """The seconds of the quickest call that was measured of an executor, 0 where that is not known: no call takes less.

    Cutting up a batch of many sets for `blocks` takes longer than a graphics processor takes to compute it by `dense`, so what
    cannot be the quickest is not cut up.
    """
    found: float = _measured(device).get("least", {}).get(executor, 0.0)
    return found


def seconds(executor: str, work: Mapping[str, float], device: str = "cpu") -> float:
    """How long this work takes, forward and backward."""
    each = constants(device)[executor]
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
