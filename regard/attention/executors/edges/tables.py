"""Tables of `edges`: vectors packed with heads innermost, and back, and the scores that each has by itself.

Heads are taken in blocks of 16, 8, 4, 2 or 1. The tables of a block are in float32 (float64 where the inputs are).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.attention.executors.edges import table_kernels as kernels
from regard.kernels.records import Records, Stride, record
from regard.kernels.threads import cut, memory_of, share

__all__ = ["agreement", "blocks", "empty", "interleaved", "pack", "scores", "scores_back", "unpack", "width_of"]

# Numbers behind a table, so that whole vectors can be read from its last row.
_BEHIND = 16
# So many numbers go to a thread at once.
_PART = 1 << 17
# Types that kernels read.
_TYPES = (torch.float32, torch.float64, torch.bfloat16)


def blocks(heads: Sequence[int]) -> list[list[int]]:
    """The heads, in blocks whose sizes are powers of two up to 16.

    >>> [len(block) for block in blocks(range(44))]
    [16, 16, 8, 4]
    """
    found, at = [], 0
    while at < len(heads):
        size = min(16, 1 << (len(heads) - at).bit_length() - 1)
        found.append(list(heads[at : at + size]))
        at += size
    return found


def width_of(heads: int, d: int) -> int:
    """How many numbers a row of a table has: those of all heads, filled up to whole vectors."""
    return -(-heads * d // 16) * 16


def empty(rows: int, width: int, like: Tensor) -> Tensor:
    """A table that is not written yet, but for the zeros behind it."""
    flat = like.new_empty(rows * width + _BEHIND)
    flat[rows * width :] = 0
    return flat


def pack(x: Tensor, scale: float = 1.0) -> Tensor:
    """x `[rows, h, d]`, times `scale`, as a flat table with heads innermost, and 16 numbers behind it."""
    if x.dtype not in _TYPES:
        x = x.float()
    rows, heads, d = x.shape
    width, exact = width_of(heads, d), torch.promote_types(x.dtype, torch.float32)
    flat = empty(rows, width, x if x.dtype == exact else x.new_empty(0, dtype=exact))
    kernel = kernels.pack if _whole(x, width) else kernels.pack_any
    share(kernel, cut(rows, width, _PART), _table(x, scale), memory_of(flat), memory_of(x))
    return flat


def unpack(flat: Tensor, shape: Sequence[int], scale: float, dtype: torch.dtype) -> Tensor:
    """`[rows, h, d]`, times `scale`, from a flat table."""
    x = torch.empty(shape, dtype=dtype if dtype in _TYPES else torch.float32)
    width = width_of(*shape[1:])
    kernel = kernels.unpack if _whole(x, width) else kernels.unpack_any
    share(kernel, cut(shape[0], width, _PART), _table(x, scale), memory_of(x), memory_of(flat))
    return x.to(dtype)


def _whole(x: Tensor, width: int) -> bool:
    """Whether the vectors fill the rows of a table of their type, and lie column after column."""
    return x.shape[1] * x.shape[2] == width and x.stride(2) == 1 and x.dtype != torch.bfloat16


def interleaved(w: Tensor, width: int) -> Tensor:
    """w `[h, d]` in the order of a row of a table, by operators that autograd knows: it is small."""
    return pad(w.t().flatten(), (0, width - w.numel()))


def scores(table: Tensor, rows: int, heads: int, w: Tensor) -> Tensor:
    """Of each row and head the products of its vector with some weights w `[n, width]`: n tables `[rows, h]`."""
    number, width = w.shape
    to = table.new_empty(number, rows * heads + _BEHIND)
    to[:, rows * heads :] = 0
    arrays = (memory_of(x) for x in (to, table, w.contiguous()))
    share(kernels.scores, cut(rows, width, _PART), _sizes(heads, width), *arrays)
    return to


def scores_back(above: Tensor, table: Tensor, heads: int, w: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the table and of the weights, from those of `scores`; sums over parts for any number of threads."""
    number, width = w.shape
    rows = (len(table) - _BEHIND) // width
    bounds = cut(rows, width, _PART)
    d_table, d_w = empty(rows, width, table), w.new_empty(len(bounds) - 1, number, width)
    arrays = (memory_of(x) for x in (torch.tensor(bounds), above, table, w.contiguous(), d_table, d_w))
    share(kernels.scores_back, bounds, _sizes(heads, width), *arrays)
    return d_table, d_w.sum(0)


def agreement(above: Tensor, out: Tensor, statistics: Tensor, rows: int, heads: int, width: int) -> None:
    """Write sum_c above_c out_c of each row and head as the third of its statistics."""
    arrays = (memory_of(x) for x in (above, out, statistics))
    share(kernels.agreement, cut(rows, width, _PART), _sizes(heads, width), *arrays)


def _sizes(heads: int, width: int) -> Records:
    return record(kernels.Table(width, heads, width // heads))


def _table(vectors: Tensor, scale: float) -> Records:
    heads, d = vectors.shape[1:]
    return record(kernels.Table(width_of(heads, d), heads, d, Stride.of(vectors), scale))
