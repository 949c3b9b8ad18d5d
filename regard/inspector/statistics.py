"""What each head of an attention does on the whole, as numbers: how spread its weights are, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.inspector.calls import Call
from regard.inspector.weights import at_once, heads_weights

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["HeadStatistics", "head_statistics"]


@dataclass(frozen=True)
class HeadStatistics:
    """Means over queries with a key, one number for each head; weights are divided by their sum, where it is not 1.

    Attributes:
        entropy: -sum_j a_j log a_j in nats, from 0 (one key) to the log of the number of keys.
        distance: sum_j a_j |i - j|, in places, or in the units of coordinates where the vectors have some.
        first, itself, previous: the weight of the first key, of the query's own place, and of the place before.
        rows: the queries that were looked at.
    """

    entropy: Float[Tensor, " h"]
    distance: Float[Tensor, " h"]
    first: Float[Tensor, " h"]
    itself: Float[Tensor, " h"]
    previous: Float[Tensor, " h"]
    rows: int


@torch.no_grad()
def head_statistics(call: Call, rows: Int[Tensor, " n"]) -> HeadStatistics:
    """The statistics of all heads over some packed rows of the queries.

    >>> from regard import Attention, Layout
    >>> q, layout = torch.zeros(4, 1, 2), Layout.of_lengths([4])
    >>> found = head_statistics(Call(Attention(), q, q, q, layout, layout, {}, q), torch.arange(4))
    >>> [round(float(x), 4) for x in (found.entropy, found.distance, found.first, found.itself, found.previous)]
    [1.3863, 1.25, 0.25, 0.25, 0.1875]
    """
    heads, size = call.q.shape[1], max(1, at_once(call) // call.q.shape[1])
    parts = [_of_rows(call, part) for part in rows.split(size)]
    total = torch.cat(parts, 2).double() if parts else torch.zeros(6, heads, 0, dtype=torch.float64)
    count = total[5].sum(1).clamp(min=1)
    entropy, distance, first, itself, previous = ((each * total[5]).sum(1) / count for each in total[:5])
    return HeadStatistics(entropy, distance, first, itself, previous, len(rows))


def _of_rows(call: Call, rows: Tensor) -> Tensor:
    """`[6, h, rows]`: five numbers of each row, and whether it has a key."""
    a = heads_weights(call, rows)
    a = torch.where(a.isneginf(), 0, a)
    total = a.sum(-1, keepdim=True)
    a = a / torch.where(total == 0, 1, total)
    i, j = call.layout.index[rows][:, None], call.key_layout.index[None]
    ours, theirs = call.layout.coords, call.key_layout.coords
    # Queries with coordinates of another kind, such as boxes, have no distance from keys.
    if ours is not None and theirs is not None and ours.shape[1] == theirs.shape[1]:
        apart = torch.cdist(ours[rows].double(), theirs.double()).to(a.dtype)
    else:
        apart = (i - j).abs().to(a.dtype)
    same = call.layout.set_of_row[rows][:, None] == call.key_layout.set_of_row[None]
    start = call.key_layout.places_of_sets[0][call.layout.set_of_row[rows]][:, None]
    numbers = [
        -torch.special.xlogy(a, a).sum(-1),
        (a * apart).sum(-1),
        *((a * (same & place)).sum(-1) for place in (j == start, j == i, j == i - 1)),
        (total[..., 0] != 0).to(a.dtype),
    ]
    return torch.stack(numbers)
