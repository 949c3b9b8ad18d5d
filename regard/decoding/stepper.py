"""What decoding asks of a model, `Stepper`; what it keeps to, `Limits`; what it gives, `Hypothesis`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from regard.errors import InputError, check_number
from regard.kernels import available
from regard.kernels.threads import share

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Hypothesis", "Limits", "Stepper", "best", "best_next", "next_log_probabilities"]

# So many of a row the kernel looks for: it puts each one in its place among those that it has.
_FEW = 64


@runtime_checkable
class Stepper(Protocol):
    """Scores of the next id of sets that grow, one row for each; what the model remembers of them is inside.

    A row depends on its own ids alone: not on the other rows, nor on where it stands among them.
    """

    vocabulary: int
    """How many ids there are."""

    def __len__(self) -> int:
        """The number of rows; at first one for each set."""
        ...

    def next(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """Append one id to each row; the logits of the ids that may follow. They may be -inf, but not NaN."""
        ...

    def select(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep these rows alone, in this order; one may come several times, as hypotheses of a beam do."""
        ...


class Hypothesis(NamedTuple):
    """One sequence that was found for a set.

    Args:
        ids: without the one that begins it and the one that ends it.
        score: what hypotheses of a set are ordered by: the log probability, divided by the length penalty where there is one.
        log_probability: the sum of log softmax(logits) over the ids, the end included, in nats.
        finished: whether the end came; otherwise the set was as long as it may become, or no id had a probability.
    """

    ids: tuple[int, ...]
    score: float
    log_probability: float
    finished: bool


@dataclass(frozen=True, eq=False)
class Limits:
    """What each sequence begins and ends with, and how long it becomes.

    Args:
        begin: the id that is fed first, which the sequence does not hold; one for all sets, or `[s]`.
        end: the id that ends a sequence; None where nothing does.
        forbidden: ids that never come: those that pad, begin, or stand for what is unknown.
        longest: `[s]` the most ids of each set, its end included. Decoding computes on the device of this tensor.
        least: ids that stand before the end at least.

    Raises:
        InputError: numbers below 0, ids of another number of sets, or an end that is forbidden.

    >>> Limits(begin=1, end=2, forbidden=(0, 1), longest=torch.tensor([5, 8])).sets
    2
    """

    begin: int | Int[Tensor, " s"]
    end: int | None
    forbidden: tuple[int, ...] = ()
    longest: Int[Tensor, " s"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    least: int = 1

    def __post_init__(self) -> None:
        check_number("Limits", "least", self.least, "int", least=0)
        longest = torch.as_tensor(self.longest, dtype=torch.int64)
        if longest.dim() != 1 or (longest < 0).any():
            raise InputError(f"Limits has longest {longest.tolist()}, expected a number of at least 0 for each set")
        object.__setattr__(self, "longest", longest)
        if isinstance(self.begin, Tensor) and self.begin.shape != longest.shape:
            raise InputError(
                f"Limits has {list(self.begin.shape)} ids that begin, expected one, or [{len(longest)}]: one for each set"
            )
        if self.end is not None and self.end in self.forbidden:
            raise InputError(f"Limits has the end {self.end} among what is forbidden, expected it to be allowed")

    @property
    def sets(self) -> int:
        """How many sets there are."""
        return len(self.longest)

    def begins(self, stepper: Stepper) -> Int[Tensor, " s"]:
        """`[s]` the ids to feed first, for a stepper that these limits are of.

        Raises:
            InputError: another number of sets than the stepper has rows, ids outside its vocabulary, or none that is allowed.
        """
        if len(stepper) != self.sets:
            raise InputError(f"the limits are of {self.sets} sets, expected {len(stepper)}: one for each row")
        begins = torch.as_tensor(self.begin, dtype=torch.int64, device=self.longest.device).expand(self.sets)
        ends = () if self.end is None else (self.end,)
        outside = sorted({n for n in (*begins.tolist(), *ends, *self.forbidden) if not 0 <= n < stepper.vocabulary})
        if outside:
            raise InputError(
                f"the limits name the id {outside[0]}, expected at least 0 and less than {stepper.vocabulary}"
            )
        if len({*self.forbidden, *ends}) == stepper.vocabulary and self.least:
            raise InputError(f"of {stepper.vocabulary} ids none may come first, expected fewer that are forbidden")
        return begins


def next_log_probabilities(
    logits: Float[Tensor, "rows vocabulary"], limits: Limits, length: int, sets: Sequence[int]
) -> Float[Tensor, "rows vocabulary"]:
    """log softmax(logits), at least in float32, then -inf where an id may not come.

    Args:
        length: how many ids each row has. sets: the set of each row, for the sentence of an error.

    Raises:
        InputError: logits that are NaN or infinite.
    """
    # Rows that lie as the stepper happened to make them would be summed in another order.
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).contiguous()
    scores = logits.log_softmax(-1)
    # A number that is NaN or infinite makes the whole row NaN, as does a row without any probability.
    odd = scores[:, 0].isnan() if scores.shape[1] else scores.new_zeros(len(scores), dtype=torch.bool)
    if odd.any():
        wrong = (logits.isnan() | (logits == torch.inf)).nonzero()
        if len(wrong):
            row, n = wrong[0].tolist()
            found = f"the score of id {n} at place {length} of set {sets[row]} is {logits[row, n].item()}"
            raise InputError(f"{found}, expected numbers: the weights of the model are not finite, or it overflows")
        scores[odd] = -torch.inf
    if hidden := _hidden(limits, length):
        scores[:, hidden] = -torch.inf
    return scores


def _hidden(limits: Limits, length: int) -> list[int]:
    """The ids that may not come after so many."""
    end = () if limits.end is None or length >= limits.least else (limits.end,)
    return [*limits.forbidden, *end]


def best_next(
    logits: Float[Tensor, "rows vocabulary"], limits: Limits, length: int, sets: Sequence[int], k: int
) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
    """`best` of `next_log_probabilities`, whose arguments it takes: of many ids without a number for each where there is a kernel.

    Raises:
        InputError: as `next_log_probabilities`.
    """
    found = _by_kernel(logits, limits, length, k)
    return best(next_log_probabilities(logits, limits, length, sets), k) if found is None else found


def _by_kernel(logits: Tensor, limits: Limits, length: int, k: int) -> tuple[Tensor, Tensor] | None:
    """None where there is no kernel, or it meets numbers that are more than it knows of."""
    rows, width = logits.shape
    plain = logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64) and type(logits) is Tensor
    if not plain or not rows or not 0 < k <= min(_FEW, width) or logits.requires_grad or not available():
        return None
    from regard.decoding import kernels

    values, places, sums = logits.new_empty(rows, k), torch.empty(rows, k, dtype=torch.int64), logits.new_empty(rows)
    arrays = (x.view(-1).numpy() for x in (values, places, sums, logits.contiguous()))
    threads = torch.get_num_threads()
    bounds = [rows * n // threads for n in range(threads + 1)]
    share(kernels.largest, bounds, *arrays, width, k, np.array(_hidden(limits, length), np.int64))
    # Not so many have a probability, or a score is NaN or infinite.
    odd = not bool((values[:, -1] > -torch.inf).all()) or not bool(sums.isfinite().all())
    return None if odd else (values - sums[:, None], places)


def best(scores: Float[Tensor, "rows n"], k: int) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
    """The k largest of each row, in falling order, and their places; of equal ones the first comes first.

    >>> best(torch.tensor([[1.0, 3.0, 1.0, 3.0, 1.0]]), 3)[1].tolist()
    [[1, 3, 0]]
    """
    if k == 1:
        return _largest(scores)
    every = scores.shape[1]
    values, places = scores.topk(min(k + 1, every), dim=1)
    # `topk` takes any of those that equal the last.
    tied = (values[:, k - 1] == values[:, k]).nonzero()[:, 0] if 0 < k < every else places.new_zeros(0)
    values, places = values[:, :k], places[:, :k]
    if len(tied):
        order = scores[tied].sort(dim=1, descending=True, stable=True)
        values[tied], places[tied] = order.values[:, :k], order.indices[:, :k]
    places = places.sort(dim=1).values
    order = scores.gather(1, places).sort(dim=1, descending=True, stable=True)
    return order.values, places.gather(1, order.indices)


def _largest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """`[rows, 1]` the largest of each row and its place, the first of equal ones."""
    if scores.device.type != "cpu" or not scores.numel():
        largest = scores.max(dim=1, keepdim=True)
        return largest.values, largest.indices
    # NumPy compares whole vectors of numbers, a tenth of the time that torch takes.
    places = torch.from_numpy(scores.detach().numpy().argmax(axis=1))[:, None]
    return scores.gather(1, places), places
