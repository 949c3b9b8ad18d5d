"""A case of `benchmarks.train`: what is trained, in which variants, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from regard.train import Run

__all__ = ["Case", "Variants"]

# For each variant, the options that differ from the recipe's: the model's by their names, `epochs`, others such as `task.pool`; and
# `recipe` where it is another one.
Variants = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """What is trained and what it is compared with; the recipe is the one of the case's name, unless it says another.

    Of the test part `metric` counts; a seed is also what `draws` is set to, an option that says which division into parts it is,
    and the simple models are then fitted to each division as well. With `together` a row also has what the mean output reaches.
    `folder` is that of the data in REGARD_DATA, where the recipe has none of its own.
    """

    data: str
    split: str
    seeds: int
    published: str
    variants: Variants = field(default_factory=lambda: {"recipe": {}})
    more: Callable[[Run], dict[str, float]] = lambda run: {}
    shown: Callable[[Run], dict[str, str]] = lambda run: {}
    recipe: str = ""
    metric: str = "accuracy"
    draws: str = ""
    together: bool = False
    folder: str = ""
