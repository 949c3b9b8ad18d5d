"""What executors cost: amounts of work, times the seconds that each kind of work was measured to take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

__all__ = ["constants", "seconds"]


@cache
def constants() -> dict[str, dict[str, float]]:
    """For each executor, the seconds that a unit of each kind of its work takes on the machine that was measured."""
    return json.loads(files("regard.attention").joinpath("costs.json").read_text())["seconds"]


def seconds(executor: str, work: Mapping[str, float]) -> float:
    """How long this work takes, forward and backward."""
    each = constants()[executor]
    return sum(each[kind] * amount for kind, amount in work.items())
