"""`Compressed`: the pairs that may attend, as the keys of every query row, and the other way round.

They are derived once for all layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.attention.executors.edges import kernels
from regard.sets.whole import insertions, repeated

__all__ = ["Compressed"]

# There are at most so many parts, whatever the number of threads.
_MOST_PARTS = 32


@dataclass(frozen=True)
class Compressed:
    """The keys of every query row: row i owns `columns[offsets[i] : offsets[i + 1]]`, packed key rows in increasing order.

    Args:
        offsets: `[t + 1]` int64. columns: `[p]` int32. keys: the number u of key rows.
        part: how many multiplications are worth a part.
    """

    offsets: Tensor
    columns: Tensor
    keys: int
    part: int
    derived: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of_pairs(cls, query_rows: Tensor, key_rows: Tensor, rows: int, keys: int, part: int) -> Compressed:
        """From all pairs, in the order of the query rows."""
        return cls(_offsets(query_rows, rows), key_rows.int(), keys, part)

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    @property
    def pairs(self) -> int:
        return len(self.columns)

    def query_rows(self) -> Tensor:
        """`[p]` the row of each pair."""
        return repeated(torch.arange(self.rows), self.offsets.diff())

    def seen(self) -> Tensor:
        """`[u]` whether any row has this key."""
        return torch.bincount(self.columns, minlength=self.keys) > 0

    def transposed(self) -> tuple[Compressed, Tensor]:
        """The queries of every key row, and the place of each pair in the order of queries; derived once."""
        if "transposed" not in self.derived:
            offsets = _offsets(self.columns, self.keys)
            columns, places = torch.empty_like(self.columns), torch.empty_like(self.columns)
            ends = offsets[:-1].clone()
            kernels.transpose(*(x.numpy() for x in (self.offsets, self.columns, ends, columns, places)))
            self.derived["transposed"] = Compressed(offsets, columns, self.rows, self.part), places
        return self.derived["transposed"]

    def bounds(self, numbers_per_pair: int) -> list[int]:
        """Where to cut the rows into parts of about as many pairs: the same for any number of threads."""
        parts = max(1, min(_MOST_PARTS, self.pairs * numbers_per_pair // self.part))
        name = f"bounds {parts}"
        if name not in self.derived:
            wanted = torch.arange(1, parts) * self.pairs // parts
            cuts = insertions(self.offsets, wanted).clamp(max=self.rows)
            self.derived[name] = sorted({0, *cuts.tolist(), self.rows})
        return self.derived[name]


def _offsets(rows: Tensor, number: int) -> Tensor:
    return pad(torch.bincount(rows, minlength=number).cumsum(0), (1, 0))
