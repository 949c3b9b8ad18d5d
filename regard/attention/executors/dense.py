"""`dense`: rectangles of all pairs, a set beside others of about its length, so that little or nothing is padded.

Dot products with softmax and neither bias nor dropout go to `scaled_dot_product_attention`; everything else is written out in
plain operators over the same rectangles. A place behind the end of a shorter set repeats that set's last vector and is masked, so
that no vector of another set is ever touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from regard.attention.costs import beside
from regard.attention.pairs.pairs import Pairs
from regard.attention.pairs.rows import Along
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.normalizers import Softmax
from regard.attention.spec.patterns import Causal, Everyone
from regard.attention.spec.scores import Dot
from regard.attention.tail import row_weights, sum_tile
from regard.sets import Layout

__all__ = ["at_least", "memory", "run", "why_not", "work"]

# A score matrix larger than this is refused rather than built.
_LARGEST_BYTES = 4 << 30
# How many times as long the operator takes for numbers of 16 bits on a CPU: in bfloat16 from 5.6 for sets of 17 vectors to 1.04 for
# 512, most of it in its backward pass, and in float16 up to 9; `fused` takes less time for them than for those of 32.
_HALF = 4.0
# Products of numbers up to here, summed, are finite in float32.
_TAME = 1e15


def _fused(problem: Problem) -> bool:
    attention = problem.attention
    plain = isinstance(attention.score, Dot) and isinstance(attention.normalizer, Softmax)
    return plain and attention.bias is None and problem.dropout is None


def _matrix_free(problem: Problem) -> bool:
    """Whether no mask is needed, so that the fused operator builds no score matrix."""
    if not _fused(problem):
        return False
    pattern = problem.attention.pattern
    if isinstance(pattern, Everyone):
        return True
    square = problem.layout is problem.key_layout and problem.layout.starts is None
    # The operator forbids keys before it scales the scores: 0 times -inf is NaN, and a negative number of times allows them.
    return isinstance(pattern, Causal) and square and problem.attention.score.scaling(problem.d) > 0


def why_not(problem: Problem) -> str | None:
    if _matrix_free(problem):
        return None
    numbers = problem.attention.score.numbers_per_pair(problem.d)
    per_pair = problem.heads * numbers * max(4, problem.dtype.itemsize)
    longest = int((problem.layout.lengths * problem.key_layout.lengths).max()) if problem.layout.sets else 0
    if longest * per_pair > _LARGEST_BYTES:
        size = f"{longest * per_pair / 2**30:.1f} GiB"
        return f"the largest set's {longest:,} pairs would take {size} at once, expected at most {_LARGEST_BYTES >> 30}"
    return None


def work(problem: Problem) -> dict[str, float]:
    cut = _cut_up(problem)
    pairs = sum(r.query_rows.numel() * r.key_rows.shape[1] for r in cut.each)
    gathered = 0 if cut.in_order else len(cut.query_order) + len(cut.key_order)
    return _work(problem, len(cut.each), gathered, pairs)


def at_least(problem: Problem) -> dict[str, float]:
    """Work that is certain before anything is cut up: one rectangle, no padding, and rows gathered where sets are not in order."""
    ours, theirs = problem.layout.host.lengths, problem.key_layout.host.lengths
    both = (ours > 0) & (theirs > 0)
    ours, theirs = ours[both], theirs[both]
    code = ours * (problem.key_layout.longest + 1) + theirs
    gathered = int((ours + theirs).sum()) if bool((code[1:] < code[:-1]).any()) else 0
    return _work(problem, min(1, len(ours)), gathered, problem.dense_pairs)


def _work(problem: Problem, rectangles: int, gathered: int, pairs: int) -> dict[str, float]:
    """That of so many rectangles, gathered rows and pairs of a head."""
    pairs *= problem.heads
    amounts: dict[str, float] = {
        "calls": 1,
        "rectangles": rectangles,
        "gathered": problem.heads * (problem.d + problem.e) * gathered,
        "products": pairs * (problem.attention.score.width(problem.d) + problem.e),
    }
    if _fused(problem):
        causal = _matrix_free(problem) and isinstance(problem.attention.pattern, Causal)
        amounts["fused pairs"] = pairs * (0.75 if causal else 1)
        half = problem.dtype.itemsize == 2 and problem.device.type == "cpu"
        return {name: (_HALF if half else 1) * amount for name, amount in amounts.items()}
    held = problem.attention.score.numbers_per_pair(problem.d)
    return amounts | {"written-out pairs": pairs, "held numbers": pairs * held} | beside(problem, pairs)


def memory(problem: Problem) -> int:
    cut, numbers = _cut_up(problem), problem.attention.score.numbers_per_pair(problem.d)
    pairs = sum(r.query_rows.numel() * r.key_rows.shape[1] for r in cut.each)
    if _fused(problem):
        # The operator turns a mask, which all heads share, from booleans into numbers.
        held = 0 if _matrix_free(problem) else pairs * 11
    else:
        held = problem.heads * pairs * (numbers + 3) * max(4, problem.dtype.itemsize)
    # The output, its gradient and the inputs' gradients, and all of it once more where rows are gathered.
    return held + int(problem.bytes * (1.26 if cut.in_order else 2.5))


@dataclass(frozen=True)
class _Rectangle:
    """Sets of about the same length, side by side: `[g, n]` query rows against `[g, m]` key rows."""

    query_rows: Tensor
    key_rows: Tensor
    real: Tensor | None
    """`[g, 1, m]` True where a key is real, or None where all are."""

    def to(self, device: torch.device) -> _Rectangle:
        real = None if self.real is None else self.real.to(device)
        return _Rectangle(self.query_rows.to(device), self.key_rows.to(device), real)

    def pairs(self, problem: Problem) -> Pairs:
        return Pairs(problem.layout, problem.key_layout, self.query_rows[:, :, None], self.key_rows[:, None, :])


@dataclass(frozen=True)
class _Rectangles:
    """The sets of a batch, sorted by length and cut into rectangles."""

    each: list[_Rectangle]
    query_order: Tensor
    key_order: Tensor
    back: Tensor
    """For each query row, its place in the padded order, or one past the end where its set has no keys."""
    complete: bool
    """Whether every query's set has keys."""
    in_order: bool
    """Whether rows already lie as the rectangles want them, so that nothing needs to be gathered."""

    def to(self, device: torch.device) -> _Rectangles:
        each = [r.to(device) for r in self.each]
        query_order, key_order, back = (x.to(device) for x in (self.query_order, self.key_order, self.back))
        return _Rectangles(each, query_order, key_order, back, self.complete, self.in_order)


def _rows(layout: Layout, sets: Tensor) -> tuple[Tensor, Tensor]:
    """`[g, n]` rows of these sets, the last one repeated behind shorter ones, and which are real."""
    lengths = layout.lengths[sets]
    place = torch.arange(int(lengths.max()), device=layout.device)
    real = place < lengths[:, None]
    return layout.offsets[sets][:, None] + torch.minimum(place, lengths[:, None] - 1), real


def _cut(n: list[int], m: list[int], padding: int) -> Iterator[tuple[int, int]]:
    """Where to cut the sorted sets: padding a rectangle must cost less than starting another one, so many pairs."""
    begin, wide, high = 0, 0, 0
    for at in range(len(n)):
        new_wide, new_high = max(wide, m[at]), max(high, n[at])
        before = (at - begin) * wide * high
        grown = (at + 1 - begin) * new_wide * new_high
        if at > begin and grown - before - n[at] * m[at] > padding:
            yield begin, at
            begin, wide, high = at, m[at], n[at]
        else:
            wide, high = new_wide, new_high
    if begin < len(n):
        yield begin, len(n)


def _even_rectangle(layout: Layout, key_layout: Layout) -> _Rectangles | None:
    """The one rectangle of sets that are all as long, with keys that are; None where they are not."""
    sets = layout.sets
    longest = layout.longest, key_layout.longest
    if not all(longest) or (sets * longest[0], sets * longest[1]) != (layout.total, key_layout.total):
        return None
    rows, key_rows = (torch.arange(each.total, device=layout.device) for each in (layout, key_layout))
    each = _Rectangle(rows.view(sets, -1), key_rows.view(sets, -1), None)
    return _Rectangles([each], rows, key_rows, rows, complete=True, in_order=True)


def _rectangles(layout: Layout, key_layout: Layout, padding: int) -> _Rectangles:
    even = _even_rectangle(layout, key_layout)
    if even is not None:
        return even
    code = layout.lengths * (key_layout.longest + 1) + key_layout.lengths
    order = torch.argsort(code, stable=True)
    # A set without queries or without keys has nothing to compute.
    order = order[(layout.lengths[order] > 0) & (key_layout.lengths[order] > 0)]
    n, m = layout.lengths[order].tolist(), key_layout.lengths[order].tolist()
    each, at = [], 0
    back = torch.full((layout.total,), -1, device=layout.device)
    for begin, end in _cut(n, m, padding):
        query_rows, real_queries = _rows(layout, order[begin:end])
        key_rows, real_keys = _rows(key_layout, order[begin:end])
        places = torch.arange(at, at + query_rows.numel(), device=layout.device).view_as(query_rows)
        back[query_rows[real_queries]] = places[real_queries]
        real = None if min(m[begin:end]) == max(m[begin:end]) else real_keys[:, None, :]
        each.append(_Rectangle(query_rows, key_rows, real))
        at += query_rows.numel()
    complete = bool((back >= 0).all())
    back[back < 0] = at
    none = layout.offsets.new_zeros(0)
    query_order = torch.cat([r.query_rows.flatten() for r in each] or [none])
    key_order = torch.cat([r.key_rows.flatten() for r in each] or [none])
    in_order = all(
        torch.equal(rows, torch.arange(total, device=rows.device))
        for rows, total in ((query_order, layout.total), (key_order, key_layout.total))
    )
    return _Rectangles(each, query_order, key_order, back, complete, in_order)


def _cut_up(problem: Problem) -> _Rectangles:
    host = problem.on_host
    padding = problem.tiles.padding if problem.device.type == "cpu" else problem.tiles.most_padding
    rectangles = host.kept(("rectangles",), lambda: _rectangles(host.layout, host.key_layout, padding))
    if host is problem:
        return rectangles
    return problem.kept(("rectangles",), lambda: rectangles.to(problem.device))


@dataclass(frozen=True)
class _Mask:
    """`forbidden [g, h or 1, n, m]`, True where a pair may not attend, and each query's `number [g, h or 1, n, 1]` of others."""

    forbidden: Tensor
    number: Tensor
    complete: bool
    """Whether every query may attend to some key."""


def _sees_all(problem: Problem) -> bool:
    """Whether queries look back and none comes before a key of its set, as in a step of one that grows."""
    if not isinstance(problem.attention.pattern, Causal):
        return False
    (first, _), (begin, number) = problem.layout.places_of_sets, problem.key_layout.places_of_sets
    return bool((first >= begin + number - 1).all())


def _mask(problem: Problem, at: int, rectangle: _Rectangle) -> _Mask | None:
    """What a rectangle forbids, None where it is nothing; derived once for all layers."""

    def make() -> _Mask | None:
        if rectangle.real is None and _sees_all(problem):
            return None
        allowed = problem.attention.allows(rectangle.pairs(problem)).movedim(-1, 1)
        if rectangle.real is not None:
            allowed = allowed & rectangle.real[:, None]
        number = allowed.sum(-1, keepdim=True)
        return None if bool(allowed.all()) else _Mask(~allowed, number, bool(number.all()))

    return problem.kept(("mask", problem.attention.pattern, at), make)


def run(problem: Problem, tensors: Tensors) -> Tensor:
    rectangles = _cut_up(problem)
    q, k, v = tensors.q, tensors.k, tensors.v
    if not rectangles.in_order:
        q = q.index_select(0, rectangles.query_order)
        k, v = (x.index_select(0, rectangles.key_order) for x in (k, v))
    compute = _run_eager
    if _fused(problem) and _lone(problem, k):
        compute = _run_lone
    elif _fused(problem) and (not _hides(problem, rectangles) or _tame((q, k, v))):
        compute = _run_fused
    parts = []
    for at, (r, *cut) in enumerate(_shares(rectangles.each, q, k, v)):
        g, n, m = *r.query_rows.shape, r.key_rows.shape[1]
        ours, keys, values = (
            x.view(g, length, *x.shape[1:]).transpose(1, 2) for x, length in zip(cut, (n, m, m), strict=True)
        )
        out = compute(problem, Tensors(ours, keys, values, tensors.parameters), at, r)
        parts.append(out.transpose(1, 2).reshape(g * n, problem.heads, problem.e))
    out = _joined(parts) if parts else _nothing(problem, (q, k, v, *tensors.parameters.values()))
    if rectangles.in_order:
        return out
    if not rectangles.complete:
        out = torch.cat([out, out.new_zeros(1, *out.shape[1:])])
    return out.index_select(0, rectangles.back)


def _shares(
    each: list[_Rectangle], q: Tensor, k: Tensor, v: Tensor
) -> Iterable[tuple[_Rectangle, Tensor, Tensor, Tensor]]:
    """Every rectangle with its rows. One split costs one gradient as large as the whole, slices cost one each."""
    if len(each) == 1:
        return [(each[0], q, k, v)]
    queries, keys = [r.query_rows.numel() for r in each], [r.key_rows.numel() for r in each]
    return zip(each, q.split(queries), k.split(keys), v.split(keys), strict=True)


def _nothing(problem: Problem, tensors: Sequence[Tensor]) -> Tensor:
    """No rows at all, of which every tensor has a gradient of zeros: that of the sum of none of its numbers."""
    sums = [x.flatten()[:0].sum().to(tensors[0].dtype) for x in tensors if x.is_floating_point()]
    return torch.stack(sums).sum().expand(0, problem.heads, problem.e)


def _joined(parts: list[Tensor]) -> Tensor:
    """Joining one part would copy it."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _lone(problem: Problem, k: Tensor) -> bool:
    """Whether each set has one query at most and the rows of a key head lie together: plain products then read them fastest.

    Not in half precision, whose scores they would round.
    """
    return problem.layout.longest <= 1 and k.stride(0) == k.shape[2] and k.dtype.itemsize >= 4


def _hides(problem: Problem, rectangles: _Rectangles) -> bool:
    """Whether any pair is masked."""
    if _matrix_free(problem):
        return not isinstance(problem.attention.pattern, Everyone)
    return any(_mask(problem, at, r) is not None for at, r in enumerate(rectangles.each))


def _tame(tensors: tuple[Tensor, ...]) -> bool:
    """Whether no product that a mask hides can be infinite: the fused operator, which adds -inf to it, would make it NaN."""
    if not all(x.numel() for x in tensors):
        return True
    return bool(torch.stack([x.detach().abs().amax() for x in tensors]).amax() <= _TAME)


def _run_fused(problem: Problem, tensors: Tensors, at: int, rectangle: _Rectangle) -> Tensor:
    scale = problem.attention.score.scaling(problem.d)
    grouped = problem.heads != problem.key_heads
    # Only where all widths are the same does the operator build no matrix, and zeros change neither product.
    width = max(problem.d, problem.e)
    q, k, v = (
        x if x.shape[-1] == width else pad(x, (0, width - x.shape[-1])) for x in (tensors.q, tensors.k, tensors.v)
    )
    if _matrix_free(problem):
        causal = isinstance(problem.attention.pattern, Causal)
        # Causal queries see nothing behind the end of their set, so that they need no mask.
        real = None if rectangle.real is None or causal else rectangle.real[:, None]
        out = scaled_dot_product_attention(q, k, v, real, is_causal=causal, scale=scale, enable_gqa=grouped)
        return _narrow(out, problem.e)
    mask = _mask(problem, at, rectangle)
    if mask is None:
        return _narrow(scaled_dot_product_attention(q, k, v, scale=scale, enable_gqa=grouped), problem.e)
    # A row without keys attends to all of them and is then struck out, so that neither it nor its gradient is NaN.
    nothing = mask.number == 0
    out = scaled_dot_product_attention(q, k, v, ~mask.forbidden | nothing, scale=scale, enable_gqa=grouped)
    return _narrow(out, problem.e).masked_fill(nothing, 0)


def _narrow(x: Tensor, width: int) -> Tensor:
    """The first numbers of each vector; a slice of everything would cost a copy in the backward pass."""
    return x if x.shape[-1] == width else x[..., :width]


def _run_lone(problem: Problem, tensors: Tensors, at: int, rectangle: _Rectangle) -> Tensor:
    """One query of each set: heads of keys come first, as they lie, and the heads that share one are rows; nothing is copied."""

    def by_key_head(x: Tensor) -> Tensor:
        """`[g, c, h / g, width]` of `[c, h, 1, width]`; a single head is for all."""
        return x.squeeze(2).unflatten(1, (min(problem.key_heads, x.shape[1]), -1)).transpose(0, 1)

    k, v = (x.transpose(0, 1) for x in (tensors.k, tensors.v))
    s = by_key_head(tensors.q) * problem.attention.score.scaling(problem.d) @ k.mT
    mask = None if _matrix_free(problem) and rectangle.real is None else _mask(problem, at, rectangle)
    if mask is None or (mask.complete and not s.requires_grad):
        # Where nothing is differentiated, scores of -inf are forbidden keys and no gradient is infinite.
        a = (s if mask is None else s.masked_fill(by_key_head(mask.forbidden), -torch.inf)).softmax(-1)
    else:
        a = row_weights(problem, s, Along(-1, by_key_head(mask.number)), by_key_head(mask.forbidden))
    return (a.to(v.dtype) @ v).transpose(0, 1).flatten(1, 2)[:, :, None]


def _run_eager(problem: Problem, tensors: Tensors, at: int, rectangle: _Rectangle) -> Tensor:
    attention, parameters = problem.attention, tensors.parameters
    pairs = rectangle.pairs(problem)
    mask = _mask(problem, at, rectangle)
    k, v, times = tensors.k, tensors.v, problem.heads // problem.key_heads
    if times > 1:
        k, v = (x.repeat_interleave(times, dim=1) for x in (k, v))
    s = attention.tile(tensors.q, k, pairs, parameters)
    number = torch.tensor(s.shape[-1], device=s.device) if mask is None else mask.number
    forbidden = None if mask is None else mask.forbidden
    return sum_tile(problem, s, v, pairs, number, forbidden, parameters)
