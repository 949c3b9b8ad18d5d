"""Which blocks of keys each block of queries draws, for `RandomBlocks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from regard.kernels.hashing import hashed

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

__all__ = ["DrawnBlocks", "drawn_blocks"]

# Fewer draws are compared with each other, one by one; of more, a table holds what is taken, in parts of so many entries.
_COMPARED, _TABLE = 32, 1 << 25


class DrawnBlocks(NamedTuple):
    """Drawn blocks: those that `blocks [u, k]` holds in row `of`, in increasing order; none where `of` is -1."""

    blocks: Int[Tensor, "u k"]
    of: Int[Tensor, "*b"]

    def has(self, block: Int[Tensor, "*#b"]) -> Bool[Tensor, "*b"]:
        """Whether a block is among those drawn."""
        from torch import arange

        from regard.sets.whole import insertions

        if not self.blocks.numel():
            return (self.of < self.of) & (block < block)
        span = int(self.blocks.max()) + 1
        line = (self.blocks + arange(len(self.blocks), device=self.of.device)[:, None] * span).flatten()
        code = self.of * span + block
        place = insertions(line, code).clamp(max=len(line) - 1)
        return (line[place] == code) & (self.of >= 0) & (block >= 0) & (block < span)


def drawn_blocks(
    query_block: Int[Tensor, "*#b"], blocks: Int[Tensor, "*#b"], number: int, seed: tuple[int, ...]
) -> DrawnBlocks:
    """What queries of these blocks draw: `number` of `blocks` blocks of keys, all different; none where there are no more.

    Floyd's way to draw k of m: draw n is one of the first m - k + n + 1, or the last of these if that one is taken. The draw is a
    hash of the seed and the query's block.
    """
    from torch import broadcast_tensors, stack

    query_block, blocks = broadcast_tensors(query_block, blocks)
    draws = (blocks > number) & (number > 0)
    of = draws.long() - 1
    if not bool(draws.any()):
        return DrawnBlocks(of.new_zeros(0, number), of)
    # Queries of a block draw the same, and so do sets of one size.
    places, rank = query_block[draws].unique(return_inverse=True)
    most = int(blocks.max()) + 1
    codes, of[draws] = (rank * most + blocks[draws]).unique(return_inverse=True)
    asking, among = places[codes // most], codes % most
    if number > _COMPARED:
        return DrawnBlocks(_by_table(asking, among, number, seed), of)
    from torch import where

    chosen: list[Tensor] = []
    for draw in range(number):
        last = among - number + draw
        one = hashed(*seed, asking, draw) % (last + 1)
        for other in chosen:
            one = where(other == one, last, one)
        chosen.append(one)
    return DrawnBlocks(stack(chosen, 1).sort(1).values, of)


def _by_table(asking: Tensor, among: Tensor, number: int, seed: tuple[int, ...]) -> Tensor:
    """`[u, k]` the same, with a table of the blocks that are taken."""
    from torch import cat, where

    parts, most = [], int(among.max())
    for asked, of in zip(*(x.split(max(1, _TABLE // most)) for x in (asking, among)), strict=True):
        taken = asked.new_zeros(len(asked), most, dtype=bool)
        for draw in range(number):
            last = of - number + draw
            one = hashed(*seed, asked, draw) % (last + 1)
            one = where(taken.gather(1, one[:, None])[:, 0], last, one)
            taken.scatter_(1, one[:, None], True)
        parts.append(taken.nonzero()[:, 1].view(len(asked), number))
    return cat(parts)
