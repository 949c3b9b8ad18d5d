"""Beam search over all sets of a batch at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from regard.decoding.stepper import Hypothesis, Limits, Stepper, best, best_next
from regard.decoding.walk import greedy
from regard.errors import InputError, check_number

__all__ = ["LengthPenalty", "beam"]


@dataclass(frozen=True)
class LengthPenalty:
    """What the log probability of a hypothesis is divided by, so that short ones are not always the best.

    `average`: length^alpha; with alpha 1 the score is the mean over the ids.

    `wu`: ((5 + length) / 6)^alpha (Wu et al. 2016, eq. 14).

    The length counts the end. With alpha 0 both are 1.

    >>> LengthPenalty("average")(4), LengthPenalty("wu", 2.0)(7)
    (4.0, 4.0)
    """

    kind: Literal["average", "wu"] = "average"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("average", "wu"):
            raise InputError(f"LengthPenalty has kind {self.kind!r}, expected 'average' or 'wu'")
        # With less, longer ones would have larger scores without bound, and no stop were safe.
        check_number("LengthPenalty", "alpha", self.alpha, "float", least=0)

    def __call__(self, length: int) -> float:
        """The penalty of so many ids."""
        return float(max(length, 1) if self.kind == "average" else (5 + length) / 6) ** self.alpha


def beam(
    stepper: Stepper,
    limits: Limits,
    width: int = 5,
    n_best: int = 1,
    penalty: LengthPenalty | None = None,
) -> list[list[Hypothesis]]:
    """For each set the `n_best` hypotheses that were found, by falling score; first those that ended.

    At each step the 2 width most probable ways to go on compete. An end among the first `width` of them finishes its hypothesis;
    of the others the first `width` go on. A hypothesis goes on for as long as it can still become one of the best: until its log
    probability, divided by the penalty of the longest that the set may become, is no more than the score of the `n_best`th that
    ended. That is safe, because a log probability only falls. With width 1 the search is `greedy`: the first end is the end.

    Args:
        stepper: with one row for each set; hypotheses that end, and sets that are done, leave it.
        width: how many hypotheses of a set go on at most.
        n_best: how many are given at most, `width` or fewer; there are fewer where no more were found.
        penalty: `LengthPenalty()` where None.

    Raises:
        InputError: numbers out of their bounds, limits that do not fit the stepper, or scores that are no numbers.
    """
    check_number("beam", "width", width, "int", least=1)
    check_number("beam", "n_best", n_best, "int", least=1)
    if n_best > width:
        raise InputError(f"beam has n_best {n_best}, expected at most its width, {width}")
    penalty = penalty or LengthPenalty()
    if width == 1:
        return [[_scored(one, penalty) for one in found] for found in greedy(stepper, limits)]
    search = _Search(stepper, limits, width, n_best, penalty)
    while len(search.sets):
        search.step()
    return [found[:n_best] for found in search.found]


def _scored(found: Hypothesis, penalty: LengthPenalty) -> Hypothesis:
    return found._replace(score=found.log_probability / penalty(len(found.ids) + found.finished))


class _Search:
    """Hypotheses that go on, a row for each, those of a set one after another in falling order; and those that are found."""

    def __init__(self, stepper: Stepper, limits: Limits, width: int, n_best: int, penalty: LengthPenalty) -> None:
        self.stepper, self.limits, self.width, self.n_best, self.penalty = stepper, limits, width, n_best, penalty
        self.found: list[list[Hypothesis]] = [[] for _ in range(limits.sets)]
        self.last = limits.begins(stepper)
        self.sets = torch.arange(limits.sets, device=self.last.device)
        """`[rows]` the set of each row, never falling."""
        self.ids = self.last.new_zeros(limits.sets, 0)
        self.totals = torch.zeros(limits.sets, dtype=torch.float64, device=self.last.device)
        self.divisors = torch.tensor([penalty(n) for n in limits.longest.tolist()]).to(self.totals)
        full = limits.longest == 0
        self._give_up(full, self.sets, self.ids, self.totals)
        if full.any():
            self.sets, self.ids, self.totals, self.last = (
                x[~full] for x in (self.sets, self.ids, self.totals, self.last)
            )
            stepper.select((~full).nonzero()[:, 0])

    def step(self) -> None:
        """One more id of every hypothesis."""
        limits, end = self.limits, self.limits.end
        sets, totals, parents, ids = self._candidates(self.stepper.next(self.last))
        possible = totals > -torch.inf
        ended = torch.zeros_like(possible) if end is None else possible & (ids == end)
        goes_on = possible & ~ended
        goes_on &= goes_on.cumsum(1) <= self.width
        for i, j in ended[:, : self.width].nonzero().tolist():
            self._finish(int(sets[i]), parents[i, j], float(totals[i, j]))
        stuck = sets[~goes_on.any(1)]
        self._give_up((self.sets[:, None] == stuck).any(1), self.sets, self.ids, self.totals)
        goes_on &= totals / self.divisors[sets, None] > self._to_beat(sets)[:, None]
        rows = parents[goes_on]
        grown = torch.cat([self.ids[rows], ids[goes_on][:, None]], dim=1)
        of_rows, sums = self.sets[rows], totals[goes_on]
        full = limits.longest[of_rows] <= grown.shape[1]
        self._give_up(full, of_rows, grown, sums)
        self.sets, self.ids, self.totals = of_rows[~full], grown[~full], sums[~full]
        self.last = self.ids[:, -1]
        self.stepper.select(rows[~full])

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`[a]` sets; for each, `[a, candidates]`: the log probabilities of the best ways to go on, their rows, their ids."""
        each = min(2 * self.width, logits.shape[1])
        # What is not among the best of its row is not among the best of its set.
        gained, ids = best_next(logits, self.limits, self.ids.shape[1], self.sets.tolist(), each)
        totals = self.totals[:, None] + gained.double()
        sets, of_row, counts = torch.unique_consecutive(self.sets, return_inverse=True, return_counts=True)
        first, most = counts.cumsum(0) - counts, int(counts.max())
        table = totals.new_full((len(sets), most, each), -torch.inf)
        table[of_row, torch.arange(len(of_row), device=of_row.device) - first[of_row]] = totals
        values, places = best(table.flatten(1), min(2 * self.width, most * each))
        # Places of rows that a set does not have hold -inf, whatever row they are given.
        rows = (first[:, None] + places // each).clamp(max=len(of_row) - 1)
        return sets, values, rows, ids[rows, places % each]

    def _finish(self, b: int, row: Tensor, total: float) -> None:
        """A row's ids end here: with the best of those that its set has, by falling score, of equal ones the earlier first."""
        ids = tuple(self.ids[row].tolist())
        found = Hypothesis(ids, total / self.penalty(len(ids) + 1), total, True)
        self.found[b] = sorted([*self.found[b], found], key=lambda one: -one.score)[: self.n_best]

    def _to_beat(self, sets: Tensor) -> Tensor:
        """The score of the `n_best`th hypothesis that ended, -inf where there are fewer."""
        found = (self.found[b] for b in sets.tolist())
        scores = [one[-1].score if len(one) == self.n_best else -torch.inf for one in found]
        return torch.tensor(scores, dtype=self.totals.dtype, device=self.totals.device)

    def _give_up(self, which: Tensor, sets: Tensor, ids: Tensor, totals: Tensor) -> None:
        """Rows that go no further without having ended stand after what ended, as many as are wanted."""
        for row in which.nonzero()[:, 0].tolist():
            found, total = self.found[int(sets[row])], float(totals[row])
            if len(found) < self.n_best:
                score = total / self.penalty(ids.shape[1])
                found.append(Hypothesis(tuple(ids[row].tolist()), score, total, False))
