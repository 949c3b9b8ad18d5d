"""`Sinkhorn` and `SortCut`: blocks of keys are sorted by a learned soft permutation (Sparse Sinkhorn Attention)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from regard.attention.adapters.base import Adapter, Attends, Call
from regard.attention.adapters.folding import check_order_alone, in_places
from regard.attention.spec.base import Shapes, bounded
from regard.attention.spec.patterns import Causal
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.adapters.sorting import Blocks
    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["Sinkhorn", "SortCut"]


@dataclass(frozen=True, repr=False)
class Sinkhorn(Adapter):
    """Attention to one's own block and to one block that is a mixture of all, as learned: n vectors take 2 n size pairs.

        S_i = sum of the keys of block i
        R_ij = [relu(S_i W_1) W_2]_j                        for `blocks` blocks, as in the paper
        R_ij = relu(S_i W_1) W_2 . S_j / (size sqrt(d))      for any number of them, where `blocks` is None
        P = Sinkhorn(R / temperature)
        keys of a query in block i: sum over j of P_ij (keys of block j), place by place, and the keys of block i; values likewise

    Sinkhorn's normalization makes P nearly a permutation: in logarithms, each row and then each column is brought to the sum 1,
    `steps` times. A set is cut into blocks of `size` vectors, the last of which is shorter; at the places that it lacks, its share
    goes to the other blocks. There is no Gumbel noise. A set of one block attends to its keys twice, which is full attention.

    With the pattern `Causal()`, S_i in row i is the sum of the keys up to the first of block i, P_ij is zero but for j < i, columns
    are summed over the rows up to i, and the first block has itself alone: nothing depends on later vectors.

    Source: Tay et al. 2020 (Sparse Sinkhorn Attention), sections 3.1 to 3.3.

    Args:
        attention: the score, the normalizer, and the pattern `Everyone()` or `Causal()`.
        size: vectors of a block.
        blocks: how many blocks a set has at most; None for any number.
        steps: of the normalization.
        temperature: the lower, the more P is a permutation.

    Raises:
        InputError: an attention with another pattern, with a bias, or whose score reads places or edges.

    >>> Sinkhorn(size=32)
    Sinkhorn(size=32)
    """

    size: int = field(default=64, metadata=bounded(1))
    blocks: int | None = field(default=None, metadata=bounded(1, 1 << 20))
    steps: int = field(default=8, metadata=bounded(0, 1 << 10))
    temperature: float = field(default=0.75, metadata=bounded(1e-6))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order_alone(self, learned=True)

    @property
    def causal(self) -> bool:
        """Whether no vector attends to a later one."""
        return isinstance(self.attention.pattern, Causal)

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        out = d if self.blocks is None else self.blocks
        return self.attention.parameters(heads, d, e) | {"sort_hidden": (heads, d, d), "sort_out": (heads, d, out)}

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        if key_layout is not layout:
            return f"{self.text} sorts blocks of one layout, expected queries and keys of the same layout"
        number = (layout.longest + self.size - 1) // self.size
        if self.blocks is not None and number > self.blocks:
            return f"a set has {layout.longest:,} vectors in {number:,} blocks, expected at most {self.blocks:,} for {self.text}"
        return None

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call]:
        from regard.attention.adapters.sorting import Blocks

        blocks = Blocks(layout.in_order(), self.size)
        return [Call(self._named, self.attention, *self._layouts(blocks))]

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        from regard.attention.adapters.sorting import Blocks, Sorting, sorted_blocks

        given, sets = in_places(tensors, layout)
        blocks = Blocks(sets, self.size)
        sorting = Sorting(self.steps, self.temperature, self.causal, self.blocks is None)
        k, v = sorted_blocks(given, blocks, sorting)
        rows = None if blocks.even and not self.causal else self._rows(blocks)
        k, v = (self._keys(x, own, rows) for x, own in ((k, given.k), (v, given.v)))
        learned = {name: given.parameters[name] for name in self.attention.parameters(1, 1)}
        out = verb(self.attention, replace(given, k=k, v=v, parameters=learned), *self._layouts(blocks), dropout)
        return out if layout.row_order is None else out.index_select(0, layout.ranks)

    @property
    def _named(self) -> str:
        return "own and sorted blocks"

    def _keys(self, x: Tensor, own: Tensor, rows: Tensor | None) -> Tensor:
        """The rows of the keys' layout, from sorted blocks `[m, n, size, h, d]` and the keys or values themselves.

        Args:
            rows: those of `_rows`; None where blocks and their keys lie as they are wanted.
        """
        import torch

        if rows is None:
            return torch.cat([x, own.unflatten(0, x.shape[:3])], 2).flatten(0, 2)
        return torch.cat([x.flatten(0, 2), own]).index_select(0, rows)

    def _layouts(self, blocks: Blocks) -> tuple[Layout, Layout]:
        """Of the queries, with a set for each block, and of its keys, the sorted ones first."""
        from regard.sets import Layout

        mixed = blocks.sorted_sizes(self.causal)
        queries = Layout.of_lengths(blocks.sizes)
        starts = mixed if self.causal else None
        return Layout(queries.offsets, starts=starts), Layout.of_lengths(mixed + blocks.sizes)

    def _rows(self, blocks: Blocks) -> Tensor:
        """Which rows, of the sorted blocks' and then one's own, are the keys of each block."""
        import torch

        from regard.attention.pairs.pairs import expand

        first = torch.stack([blocks.slots, blocks.begin + blocks.number * self.size], 1).flatten()
        counts = torch.stack([blocks.sorted_sizes(self.causal), blocks.sizes], 1).flatten()
        return expand(first, counts)[1]


@dataclass(frozen=True, repr=False)
class SortCut(Sinkhorn):
    """Attention of all queries to the first few sorted blocks of their set: n vectors take n first size pairs.

        keys of every query: sum over j of P_ij (keys of block j), for i < first; values likewise

    P is that of `Sinkhorn`. A set of one block is full attention. A causal form there is not: first blocks hold vectors of all.

    Source: Tay et al. 2020 (Sparse Sinkhorn Attention), section 3.4.

    Args:
        attention, size, blocks, steps, temperature: as in `Sinkhorn`; the pattern `Everyone()`.
        first: how many of the sorted blocks are attended to.

    Raises:
        InputError: as `Sinkhorn`, or the pattern `Causal()`.

    >>> SortCut(size=32, first=4)
    SortCut(size=32, first=4)
    """

    first: int = field(default=2, metadata=bounded(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.causal:
            raise InputError(
                "SortCut has pattern Causal(), expected Everyone(): the first sorted blocks hold vectors of the whole set"
            )

    @property
    def _named(self) -> str:
        return "first sorted blocks"

    def _keys(self, x: Tensor, own: Tensor, rows: Tensor | None) -> Tensor:
        if rows is None:
            return x[:, : self.first].flatten(0, 2)
        return x.flatten(0, 2).index_select(0, rows)

    def _layouts(self, blocks: Blocks) -> tuple[Layout, Layout]:
        from regard.sets import Layout

        sizes = blocks.sorted_sizes(False) * (blocks.turn < self.first)
        lengths = sizes.new_zeros(blocks.layout.sets).index_add(0, blocks.owner, sizes)
        return Layout.of_lengths(blocks.layout.lengths), Layout.of_lengths(lengths)

    def _rows(self, blocks: Blocks) -> Tensor:
        from regard.attention.pairs.pairs import expand

        return expand(blocks.slots, blocks.sorted_sizes(False) * (blocks.turn < self.first))[1]
