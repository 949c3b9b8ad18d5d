"""Blocks of sets, and how a learned soft permutation sorts them; what `Sinkhorn` says is computed here."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from regard.attention.problem import Tensors
from regard.sets import Layout
from regard.sets.whole import repeated

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Blocks", "Sorting", "permutation", "sorted_blocks"]

# In the place of minus infinity, whose gradients would be no numbers.
_NONE = -1e30


class Blocks:
    """The blocks of `size` rows of each set, the last of which is shorter; set after set."""

    def __init__(self, layout: Layout, size: int) -> None:
        self.layout = layout
        self.size = size

    @cached_property
    def per_set(self) -> Int[Tensor, " s"]:
        return (self.layout.lengths + self.size - 1) // self.size

    @cached_property
    def owner(self) -> Int[Tensor, " blocks"]:
        """The set of each block."""
        return repeated(torch.arange(self.layout.sets, device=self.layout.device), self.per_set)

    @property
    def number(self) -> int:
        return len(self.owner)

    @cached_property
    def turn(self) -> Int[Tensor, " blocks"]:
        """Which block of its set each one is."""
        first = self.per_set.cumsum(0) - self.per_set
        return torch.arange(self.number, device=self.layout.device) - first[self.owner]

    @cached_property
    def begin(self) -> Int[Tensor, " blocks"]:
        """The first row of each."""
        return self.layout.offsets[self.owner] + self.turn * self.size

    @cached_property
    def sizes(self) -> Int[Tensor, " blocks"]:
        return torch.minimum(self.layout.offsets[self.owner + 1] - self.begin, self.begin.new_tensor(self.size))

    @property
    def even(self) -> bool:
        """Whether all sets have as many blocks, at least one, and all blocks are whole."""
        total, longest = self.layout.total, self.layout.longest
        return total > 0 and longest % self.size == 0 and total == self.layout.sets * longest

    @property
    def slots(self) -> Int[Tensor, " blocks"]:
        """The first row of each among sorted blocks, which all take `size` rows."""
        return torch.arange(self.number, device=self.layout.device) * self.size

    def sorted_sizes(self, causal: bool) -> Int[Tensor, " blocks"]:
        """How many rows each block has when it is sorted: those of the longest that it is mixed of."""
        whole = self.layout.lengths.clamp(max=self.size)[self.owner]
        return whole * (self.turn > 0) if causal else whole


class Sorting(NamedTuple):
    """How blocks are sorted, as `Sinkhorn` says; `any_number` where its `blocks` are None."""

    steps: int
    temperature: float
    causal: bool
    any_number: bool


def sorted_blocks(
    tensors: Tensors, blocks: Blocks, sorting: Sorting
) -> tuple[Float[Tensor, "m n {blocks.size} h d"], Float[Tensor, "m n {blocks.size} h e"]]:
    """Keys and values of the sorted blocks, `size` rows for each block: those from its sorted size on mean nothing.

    They are m sets of n blocks where these are even, and else one set of all blocks.

    Args:
        tensors: with as many key heads as heads, in order of their places, and the learned `sort_hidden` and `sort_out`.
    """
    if blocks.even:
        # Nothing is gathered, and nothing is copied but for the product.
        k, v = (x.unflatten(0, (blocks.layout.sets, -1, blocks.size)) for x in (tensors.k, tensors.v))
        p = permutation(_logits(k, tensors, sorting) / sorting.temperature, sorting).exp().to(k.dtype)
        return _times(p, k), _times(p, v)
    return _sorted_apart(tensors, blocks, sorting)


def _sorted_apart(tensors: Tensors, blocks: Blocks, sorting: Sorting) -> tuple[Tensor, Tensor]:
    """The same, of sets of any sizes."""
    size, d, device = blocks.size, tensors.k.shape[2], tensors.k.device
    both = torch.cat([tensors.k, tensors.v], -1)
    first = blocks.per_set.cumsum(0) - blocks.per_set
    parts, order = [both[:0]], [blocks.owner[:0]]
    # Sets of as many blocks are sorted together.
    for number in blocks.per_set[blocks.per_set > 0].unique().tolist():
        sets, turn = (blocks.per_set == number).nonzero()[:, 0], torch.arange(number, device=device)
        places = turn[:, None] * size + torch.arange(size, device=device)
        there = places < blocks.layout.lengths[sets, None, None]
        rows = blocks.layout.offsets[sets, None, None] + torch.where(there, places, 0)
        x = both.index_select(0, rows.flatten()).unflatten(0, rows.shape).masked_fill(~there[..., None, None], 0)
        log_p = permutation(_logits(x[..., :d], tensors, sorting) / sorting.temperature, sorting)
        parts.append(_mixed(x, log_p, there[:, -1]).flatten(0, 2))
        order.append((first[sets, None] + turn).flatten())
    # Block by block as they lie in the sets.
    out = torch.cat(parts).unflatten(0, (-1, size)).index_select(0, torch.cat(order).argsort())[None]
    return out[..., :d], out[..., d:]


def _logits(k: Tensor, tensors: Tensors, sorting: Sorting) -> Tensor:
    """R `[m, h, n, n]`, from the keys `[m, n, size, h, d]` of m sets of n blocks, zeros where a block has none."""
    k = k.to(torch.promote_types(k.dtype, torch.float32))
    hidden, out = (tensors.parameters[name].to(k) for name in ("sort_hidden", "sort_out"))
    _, number, size, _, d = k.shape
    sums = asking = k.sum(2).transpose(1, 2)
    if sorting.causal:
        # What lies before the block, and its first vector.
        asking = sums.cumsum(2) - sums + k[:, :, 0].transpose(1, 2)
    found: Tensor = (asking @ hidden).relu() @ out
    return found @ sums.mT / (size * d**0.5) if sorting.any_number else found[..., :number]


def permutation(logits: Float[Tensor, "m h n n"], sorting: Sorting) -> Float[Tensor, "m h n n"]:
    """log P `[m, h, n, n]`: the logarithms of a matrix whose rows and columns come nearer to the sum 1 at each step.

    Causal, row i has the columns j < i alone, and the sum of a column is that of the rows up to i; the others are `-1e30`.
    """
    if not sorting.causal:
        for _ in range(sorting.steps):
            logits = logits - logits.logsumexp(-1, keepdim=True)
            logits = logits - logits.logsumexp(-2, keepdim=True)
        return logits
    later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu()
    logits = logits.masked_fill(later, _NONE)
    for _ in range(sorting.steps):
        logits = (logits - logits.logsumexp(-1, keepdim=True)).masked_fill(later, _NONE)
        logits = (logits - logits.logcumsumexp(-2)).masked_fill(later, _NONE)
    return logits


def _mixed(x: Tensor, log_p: Tensor, last: Tensor) -> Tensor:
    """The sorted blocks `[m, n, size, h, d]` of x, of the same shape, zeros where the last block has no row of `last [m, size]`.

    There, the others have its share, each in proportion to its own.
    """
    out = _times(log_p.exp().to(x.dtype), x)
    if log_p.shape[-1] == 1 or bool(last.all()):
        return out
    others = log_p[..., :-1]
    shares = (others - others.logsumexp(-1, keepdim=True) + log_p.logsumexp(-1, keepdim=True)).exp().to(x.dtype)
    return torch.where(last[:, None, :, None, None], out, _times(shares, x[:, :-1]))


def _times(p: Tensor, x: Tensor) -> Tensor:
    """Mixtures `[m, i, size, h, d]` of the blocks `[m, j, size, h, d]`, by p `[m, h, i, j]`."""
    return torch.einsum("mhij,mjshd->mishd", p, x)
