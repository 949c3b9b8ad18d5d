"""One sequence for each set: the most probable next id each time, `greedy`, or one drawn by chance, `sample`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from regard.decoding.stepper import Hypothesis, Limits, Stepper, best_next
from regard.errors import InputError, check_number

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Told", "greedy", "sample"]

Told = Callable[[list[int], list[int]], None]
"""Is told of each step: the sets that grew, and the id of each, ends included."""

# From `[rows, k]` falling log probabilities and the set of each row to `[rows, 1]` places among the k.
_Choice = Callable[[Tensor, list[int]], Tensor]


def greedy(stepper: Stepper, limits: Limits, told: Told | None = None) -> list[list[Hypothesis]]:
    """For each set one hypothesis, whose every id is the most probable next one; of equally probable ones the first.

    Args:
        stepper: with one row for each set; a set that has ended leaves it.
        told: called with each step as soon as it is made.

    Raises:
        InputError: limits that do not fit the stepper, or scores that are no numbers.
    """
    return _walk(stepper, limits, 1, lambda scores, sets: scores.new_zeros(len(scores), 1, dtype=torch.int64), told)


def sample(
    stepper: Stepper,
    limits: Limits,
    seeds: Sequence[int],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    told: Told | None = None,
) -> list[list[Hypothesis]]:
    """For each set one hypothesis, whose ids are drawn from softmax(logits / temperature) of those that may come.

    A set draws from its own seed alone, so that it gets the same in any batch.

    Args:
        stepper, told: as in `greedy`.
        seeds: one for each set, at least 0.
        temperature: below 1 for what is more probable; 0 for `greedy`.
        top_k: the most probable ids alone; None for all.
        top_p: of those, the fewest most probable ones that together have at least this much of their probability
            (Holtzman et al. 2020).

    Raises:
        InputError: numbers out of their bounds, and as `greedy`.
    """
    check_number("sample", "temperature", temperature, "float", least=0)
    check_number("sample", "top_k", top_k, "int | None", least=1)
    check_number("sample", "top_p", top_p, "float", least=0, most=1)
    if len(seeds) != limits.sets:
        raise InputError(f"there are {len(seeds)} seeds, expected {limits.sets}: one for each set")
    for seed in seeds:
        check_number("sample", "seed", seed, "int", least=0)
    if not temperature:
        return greedy(stepper, limits, told)
    draws = [np.random.default_rng(seed) for seed in seeds]

    def choose(scores: Tensor, sets: list[int]) -> Tensor:
        numbers = torch.tensor([draws[b].random() for b in sets], dtype=torch.float64, device=scores.device)
        return _drawn(scores.double(), temperature, top_p, numbers)[:, None]

    return _walk(stepper, limits, min(top_k or stepper.vocabulary, stepper.vocabulary), choose, told)


def _drawn(
    scores: Float[Tensor, "rows n"], temperature: float, top_p: float, numbers: Float[Tensor, " rows"]
) -> Int[Tensor, " rows"]:
    """The place that a number between 0 and 1 falls on, where falling scores divide the line by their probabilities."""
    # Where all are -inf nothing is drawn. The first is subtracted first, because a small temperature makes infinite numbers.
    weights = ((scores - scores[:, :1]) / temperature).exp().nan_to_num(nan=1.0)
    # Running sums go through a row in one order, however many rows there are; `sum` does not.
    line = weights.cumsum(1)
    here = (line - weights < top_p * line[:, -1:]) & (weights > 0)
    here[:, 0] = True
    line = (weights * here).cumsum(1)
    place = (line <= numbers[:, None] * line[:, -1:]).sum(1)
    # Rounding may put the number on the very end.
    return torch.minimum(place, here.sum(1) - 1)


def _walk(stepper: Stepper, limits: Limits, k: int, choose: _Choice, told: Told | None) -> list[list[Hypothesis]]:
    """One hypothesis for each set, of whose k most probable next ids one is chosen each time."""
    ids = limits.begins(stepper)
    found: list[list[int]] = [[] for _ in range(limits.sets)]
    finished = [False] * limits.sets
    totals = torch.zeros(limits.sets, dtype=torch.float64, device=ids.device)
    alive, length = torch.arange(limits.sets, device=ids.device), 0
    goes_on = limits.longest > 0
    while True:
        if not goes_on.all():
            rows = goes_on.nonzero()[:, 0]
            alive, ids = alive[rows], ids[rows]
            stepper.select(rows)
        if not len(alive):
            break
        sets = alive.tolist()
        scores, best = best_next(stepper.next(ids), limits, length, sets, k)
        place = choose(scores, sets)
        ids, gained = best.gather(1, place)[:, 0], scores.gather(1, place)[:, 0].double()
        possible = gained > -torch.inf
        totals[alive] += gained.where(possible, 0)
        length += 1
        ended = torch.zeros_like(possible) if limits.end is None else possible & (ids == limits.end)
        chosen = zip(sets, ids.tolist(), possible.tolist(), ended.tolist(), strict=True)
        taken = [(b, n, last) for b, n, can, last in chosen if can]
        for b, n, last in taken:
            finished[b] = last
            found[b] += [] if last else [n]
        if told is not None:
            told([b for b, _, _ in taken], [n for _, n, _ in taken])
        goes_on = possible & ~ended & (limits.longest[alive] > length)
    sums = totals.tolist()
    return [[Hypothesis(tuple(found[b]), sums[b], sums[b], finished[b])] for b in range(limits.sets)]
