"""`flex`: dot products with softmax on a GPU, through PyTorch's FlexAttention (Dong et al. 2024).

Sets lie on one line, each from a multiple of a block's rows on, so that no block holds vectors of two sets: what a block hides
may be infinite without reaching another set. The keys that a row may see are a few stretches of the line, looked up and not
computed, so that one kernel serves all patterns and all batches. Blocks of which nothing is seen are skipped; blocks that are
seen whole need no look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.attention.pairs.tiles import Tiles, tiles
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import Softmax
from regard.attention.spec.patterns import Pattern
from regard.attention.spec.scores import Dot
from regard.sets import Layout
from regard.sets.whole import repeated

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

__all__ = ["blocks_seen", "memory", "prepared", "run", "run_with", "why_not", "work"]

# More stretches of keys per row are looked up more slowly than other executors compute.
_STRETCHES = 4
# Narrower vectors are filled up with zeros, which change no product.
_NARROWEST = 16

Attend = Callable[..., Any]


def why_not(problem: Problem) -> str | None:
    attention = problem.attention
    if problem.device.type != "cuda":
        return f"FlexAttention has no backward pass on {problem.device.type}"
    return _unlike(problem) or (
        None
        if attention.bias is None or not attention.bias.parameters(1, 1, 1)
        else "it sums the gradient of a learned bias in no fixed order"
    )


def _unlike(problem: Problem) -> str | None:
    """What keeps this attention from being computed on any device."""
    attention = problem.attention
    if not isinstance(attention.score, Dot):
        return f"it computes the score Dot, not {type(attention.score).__name__}"
    if not isinstance(attention.normalizer, Softmax):
        return f"it computes the normalizer Softmax, not {type(attention.normalizer).__name__}"
    if attention.bias is not None and (not attention.bias.of_distance or attention.bias.has_values):
        return f"{attention.bias!r} is no function of the distance alone"
    if attention.bias is not None and problem.far is not None:
        return problem.far
    if problem.dropout is not None:
        return "it has no dropout on weights"
    if problem.dtype == torch.float64:
        return "it computes float32, bfloat16 and float16, not float64"
    most = max(_stretches(problem, pattern) for pattern, _ in problem.groups)
    if most > _STRETCHES:
        return f"some row sees {most} stretches of keys, expected at most {_STRETCHES}"
    return None


def _stretches(problem: Problem, pattern: Pattern) -> int:
    """The largest number of intervals of a row."""

    def make() -> int:
        row = problem.intervals(pattern).row
        return int(torch.bincount(row).max()) if row.numel() else 0

    return problem.kept(("flex stretches", pattern), make)


def work(problem: Problem) -> dict[str, float]:
    seen = sum(_plan(problem, pattern).seen * len(heads) for pattern, heads in problem.groups)
    return {"calls": 1, "products": float(seen * problem.tiles.block**2 * (problem.d + problem.e))}


def memory(problem: Problem) -> int:
    lines = sum(_line(problem, layout).rows for layout in (problem.layout, problem.key_layout))
    return problem.bytes + 2 * lines * problem.heads * (problem.d + problem.e) * problem.dtype.itemsize


@dataclass(frozen=True)
class _Line:
    """Sets one after another, each from a block's first place on, `rows` places in all.

    Row r lies at `place[r]` and set b from `first[b]` on; `index [rows]` is the index in its own set of what lies at a place.
    """

    place: Tensor
    rows: int
    first: Tensor
    index: Tensor


def _line(problem: Problem, layout: Layout) -> _Line:
    block = problem.tiles.block

    def make() -> _Line:
        ends = ((layout.lengths + block - 1) // block * block).cumsum(0)
        first = pad(ends, (1, 0))[:-1]
        place = torch.arange(layout.total, device=layout.device) + (first - layout.offsets[:-1])[layout.set_of_row]
        rows = int(ends[-1]) if layout.sets else 0
        index = torch.zeros(rows, dtype=torch.int32, device=layout.device)
        return _Line(place, rows, first, index.index_copy(0, place, layout.index.to(torch.int32)))

    return problem.kept(("flex line", layout is problem.layout), make)


@dataclass(frozen=True)
class _Plan:
    """A pattern on the line: place r may see the places from `low[n, r]` to `high[n, r]`, for every n.

    Of blocks `[query, key]`, `some` are seen in part and `full` whole; `seen` is how many these are.
    """

    low: Tensor
    high: Tensor
    some: Tensor
    full: Tensor
    seen: int


def _plan(problem: Problem, pattern: Pattern) -> _Plan:
    def make() -> _Plan:
        ours, theirs = _line(problem, problem.layout), _line(problem, problem.key_layout)
        intervals = problem.intervals(pattern)
        shift = (theirs.first - problem.key_layout.offsets[:-1])[problem.layout.set_of_row[intervals.row]]
        start, stop = (end + shift for end in intervals.bounds())
        # Intervals of a row lie one after another; the n-th of each row goes to the n-th table.
        number = torch.arange(len(start), device=start.device) - torch.searchsorted(intervals.row, intervals.row)
        tables = torch.zeros(2, max(1, _stretches(problem, pattern)), ours.rows, dtype=torch.int32, device=start.device)
        for table, end in zip(tables, (start, stop), strict=True):
            table[number, ours.place[intervals.row]] = end.to(torch.int32)
        tiled = tiles(problem.layout, intervals, problem.tiles.block)
        some, full = blocks_seen(tiled, problem, theirs.first, theirs.rows)
        return _Plan(tables[0], tables[1], some, full, int((some | full).sum()))

    return problem.kept(("flex plan", pattern), make)


def blocks_seen(tiled: Tiles, problem: Problem, first: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """`(some, full)`, each `[query blocks, key blocks]`: blocks of which a part is seen, and blocks that all their rows see whole.

    Args:
        tiled: tiles of as many rows as a block has. first: `[s]` the place of each set's first key. rows: of the keys' line.
    """
    size = problem.tiles.block
    number, across = len(tiled.begin), rows // size
    tile = repeated(torch.arange(number, device=tiled.start.device), tiled.spans.diff())
    owner = problem.layout.set_of_row[tiled.begin[tile]]
    shift = (first - problem.key_layout.offsets[:-1])[owner]
    start, stop = tiled.start + shift, tiled.stop + shift
    many = (stop - 1) // size - start // size + 1
    span = repeated(torch.arange(len(start), device=start.device), many)
    before = pad(many.cumsum(0), (1, 0))[:-1]
    block = start[span] // size + torch.arange(len(span), device=start.device) - before[span]
    overlap = torch.minimum(stop[span], (block + 1) * size) - torch.maximum(start[span], block * size)
    at = tile[span] * across + block
    none = start.new_zeros(number * across)
    touched = none.index_add(0, at, overlap).view(number, across)
    whole = none.index_add(0, at, overlap * tiled.full[span]).view(number, across) == size
    return (touched > 0) & ~whole, whole


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks each row of blocks has, and which, those that are there first."""
    return blocks.sum(-1).to(torch.int32), torch.argsort(~blocks, dim=-1, stable=True).to(torch.int32)


@dataclass(frozen=True)
class Prepared:
    """What a layout and patterns leave to look up: the mask of blocks, and the index in its set of every place."""

    mask: BlockMask
    query_index: Tensor
    key_index: Tensor


def prepared(problem: Problem) -> Prepared:
    """The mask for all heads, derived once for all layers."""

    def make() -> Prepared:
        from torch.nn.attention.flex_attention import BlockMask

        ours, theirs = _line(problem, problem.layout), _line(problem, problem.key_layout)
        plans = [_plan(problem, pattern) for pattern, _ in problem.groups]
        most = max(len(plan.low) for plan in plans)
        low, high = (
            torch.stack([pad(getattr(plan, name), (0, 0, 0, most - len(plan.low))) for plan in plans], 1)
            for name in ("low", "high")
        )
        of_head = torch.zeros(problem.heads, dtype=torch.int64)
        for number, (_, heads) in enumerate(problem.groups):
            of_head[heads] = number
        of_head = of_head.to(problem.device)

        def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            group = of_head[h]
            seen = (low[0, group, q] <= k) & (k < high[0, group, q])
            for n in range(1, most):
                seen = seen | ((low[n, group, q] <= k) & (k < high[n, group, q]))
            return seen

        by_head = of_head if len(plans) > 1 else of_head[:1]
        some, full = (torch.stack([getattr(plan, name) for plan in plans])[by_head][None] for name in ("some", "full"))
        mask = BlockMask.from_kv_blocks(
            *_ordered(some),
            *_ordered(full),
            BLOCK_SIZE=problem.tiles.block,
            mask_mod=sees,
            seq_lengths=(ours.rows, theirs.rows),
        )
        return Prepared(mask, ours.index, theirs.index)

    return problem.kept(("flex", problem.attention.pattern, problem.heads), make)


def _score(problem: Problem, tensors: Tensors, ready: Prepared) -> Attend | None:
    """What the bias adds to a score, looked up by distance."""
    bias = problem.attention.bias
    if bias is None:
        return None
    reach = problem.reach
    found = bias.by_distance(problem.heads, reach, tensors.parameters)
    assert found is not None, "a bias that is no function of the distance is refused"
    table = (found * problem.attention.bias_scale(problem.d)).to(tensors.q.device, torch.float32)
    ours, theirs = ready.query_index, ready.key_index

    def add(score: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return score + table[h, (theirs[k] - ours[q]).clamp(-reach, reach) + reach]

    return add


@cache
def _compiled() -> Attend:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def run(problem: Problem, tensors: Tensors) -> Tensor:
    return run_with(_compiled(), problem, tensors)


def run_with(attend: Attend, problem: Problem, tensors: Tensors) -> Tensor:
    """`[t, h, e]` by `flex_attention`, compiled or not."""
    ours, theirs = _line(problem, problem.layout), _line(problem, problem.key_layout)
    if not ours.rows or not theirs.rows:
        # Zeros whose gradients are zeros: sums of nothing.
        return tensors.q.new_zeros(problem.layout.total, problem.heads, problem.e) + tensors.q[:0].sum()
    ready = prepared(problem)
    q, k, v = (_spread(x, line) for x, line in ((tensors.q, ours), (tensors.k, theirs), (tensors.v, theirs)))
    out = attend(
        q,
        k,
        v,
        score_mod=_score(problem, tensors, ready),
        block_mask=ready.mask,
        scale=problem.attention.score.scaling(problem.d),
        enable_gqa=problem.heads != problem.key_heads,
    )
    out = out[0].transpose(0, 1)
    out = out if ours.rows == problem.layout.total else out.index_select(0, ours.place)
    return out[..., : problem.e]


def _spread(x: Tensor, line: _Line) -> Tensor:
    """`[1, h, rows, width]` with x where its rows lie on the line, and zeros between."""
    if x.shape[-1] < _NARROWEST:
        x = pad(x, (0, _NARROWEST - x.shape[-1]))
    if line.rows != x.shape[0]:
        x = x.new_zeros(line.rows, *x.shape[1:]).index_copy(0, line.place, x)
    return x.transpose(0, 1)[None]
