"""From ids, or from the characters of each vector, to vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regard.errors import InputError
from regard.kernels.hashing import hashed
from regard.layers.checks import checked
from regard.layers.mixers import WindowedLinear
from regard.layers.pooling import Max
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Embed", "FromCharacters", "NGrams"]


@checked()
class Embed(nn.Module):
    """x_i = E[id_i]; with f columns of ids, the sum of one table's vector for each column.

    It is the fully connected layer of the ids' one-hot vectors, without building them.

    Args:
        sizes: how many ids each column has. width: of the vectors.
        drop_ids: probability to take an id for id 0, the unknown one, while training, so that its vector is learned.
        deviation: of the numbers that the tables begin with. The smaller, the less of a rare id's vector is chance.
        scale: what the vectors are multiplied with, sqrt(width) in Vaswani et al. 2017, section 3.4.

    Raises:
        InputError: (when called) an id that no table has; the sentence names the set.
    """

    def __init__(
        self, sizes: tuple[int, ...], width: int, drop_ids: float = 0.0, deviation: float = 1.0, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.width, self.sizes, self.drop_ids, self.scale = width, sizes, drop_ids, scale
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        for weight in self.tables.parameters():
            weight.data.mul_(deviation)

    def forward(self, sets: VectorSets) -> VectorSets:
        ids = sets.values if sets.values.dim() == 2 else sets.values[:, None]
        if ids.shape[1] != len(self.sizes):
            raise InputError(f"the vectors have {ids.shape[1]} ids each, expected {len(self.sizes)}")
        for column, size in enumerate(self.sizes):
            outside = (ids[:, column] < 0) | (ids[:, column] >= size)
            # Traced code cannot look; there torch refuses to read past the table, in its own words.
            if not torch.compiler.is_compiling() and bool(outside.any()):
                row = int(outside.nonzero()[0])
                found = f"set {int(sets.layout.set_of_row[row])} has id {int(ids[row, column])}"
                raise InputError(f"{found}, expected less than {size}, the size of the vocabulary")
        if self.training and self.drop_ids:
            ids = ids.masked_fill(torch.rand(ids.shape, device=ids.device) < self.drop_ids, 0)
        vectors = [table(ids[:, column]) for column, table in enumerate(self.tables)]
        summed = torch.stack(vectors).sum(0)
        return sets.with_values(summed if self.scale == 1 else self.scale * summed)


@checked(reach=0)
class FromCharacters(nn.Module):
    """A vector for each word from its characters: max_c relu(W [e_{c - reach}; ...; e_{c + reach}] + b).

    The characters are a second batch with one set per word (Dos Santos and Zadrozny 2014, section 2.1.2).

    Args:
        size: of the alphabet. width: of the words' vectors. embedding: of the characters' vectors. reach: neighbors on each side.
    """

    def __init__(self, size: int, width: int, embedding: int = 32, reach: int = 2) -> None:
        super().__init__()
        self.width = width
        self.embed = Embed((size,), embedding)
        self.window = WindowedLinear(embedding, reach, reach, width)
        self.pool = Max(width)

    def forward(self, characters: VectorSets) -> Float[Tensor, "words {self.width}"]:
        seen = self.window(self.embed(characters))
        return self.pool(seen.with_values(seen.values.relu()))


@checked()
class NGrams(nn.Module):
    """y_i = sum_{n=2}^{longest} G[hash(id_{i-n+1}, ..., id_i)]: a vector for each run of ids that ends in i.

    Runs share the rows of one table by a hash of theirs (Joulin et al. 2017, section 2.2; Pagnoni et al. 2024, section 3.2.1,
    for bytes); a set's first ids have fewer of them, and none reaches into another set. The table begins with zeros: a run that
    training never shows adds nothing, unless it shares its row.

    Args:
        longest: how many ids the longest runs have, at least 2. buckets: rows of the table.
        width: of the vectors. drop: probability to leave a run out, while training; those that stay count 1 / (1 - drop).

    Raises:
        InputError: a longest run of less than 2 ids, or no row.

    >>> rows = NGrams(2, 1000, 4).rows(VectorSets.pack([torch.tensor([5, 7, 5, 7]), torch.tensor([7])]))
    >>> rows[:, 0].tolist()
    [0, 355, 694, 355, 0]
    """

    def __init__(self, longest: int, buckets: int, width: int, drop: float = 0.0) -> None:
        super().__init__()
        if longest < 2 or buckets < 1:
            raise InputError(f"runs of up to {longest} ids in {buckets} rows, expected at least 2 ids and 1 row")
        self.longest, self.buckets, self.width, self.drop = longest, buckets, width, drop
        # Row 0 stands for runs that do not exist.
        self.table = nn.EmbeddingBag(buckets + 1, width, mode="sum", padding_idx=0)
        nn.init.zeros_(self.table.weight)

    def rows(self, sets: VectorSets) -> Int[Tensor, "t {self.longest}-1"]:
        """The row of the table for each run, 0 where the set begins later."""
        ids = sets.values if sets.values.dim() == 1 else sets.values[:, 0]
        sets.layout.check_rows_in_order("a layer of n-grams")
        index, code, rows = sets.layout.index, hashed(ids), []
        for back in range(1, self.longest):
            # What wraps around stands where the run begins before the set, and is not looked at.
            code = hashed(code, ids.roll(back))
            rows.append((1 + code % self.buckets).where(index >= back, 0))
        return torch.stack(rows, 1)

    def forward(self, sets: VectorSets) -> Float[Tensor, "t {self.width}"]:
        """The sums for sets of ids, `[t]` or the first column of `[t, f]`."""
        rows = self.rows(sets)
        if not (self.training and self.drop):
            found: Tensor = self.table(rows)
            return found
        rows = rows.masked_fill(torch.rand(rows.shape, device=rows.device) < self.drop, 0)
        return self.table(rows) / (1 - self.drop)
