"""`Nystrom`: full attention estimated from a few landmarks, the means of segments of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from regard.attention.adapters.base import Attends, Call
from regard.attention.adapters.reduce import Mixed, kept_of_each
from regard.attention.spec.base import Shapes, bounded
from regard.attention.spec.normalizers import Softmax
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["Nystrom"]

_MOST_TAPS = 1001


@dataclass(frozen=True, repr=False)
class Nystrom(Mixed):
    """softmax(Q L_K^T) Z softmax(L_Q K^T) V with m landmarks L_Q and L_K: full attention's Nystrom estimate, in O(n m).

    The queries of a set, in order of their places, are cut into m segments of n / m, whose sizes differ by at most one where m does
    not divide n: segment s has those from floor(s n / m) to floor((s + 1) n / m) - 1. The landmarks L_Q are the means of the
    segments, L_K the same of the keys, and with A = softmax(L_Q L_K^T / sqrt(d)), for each set and head by itself,

        Z_0 = A^T / (|A|_1 |A|_inf)
        Z_(i + 1) = Z_i (13 I - A Z_i (15 I - A Z_i (7 I - A Z_i))) / 4
        out = softmax(Q L_K^T / sqrt(d)) Z softmax(L_Q K^T / sqrt(d)) V

    where Z, after `iterations`, stands for the pseudo-inverse of A. A set of at most m queries or keys gets full attention, which
    is what the estimate becomes with a landmark for every vector. With a `kernel` the output has one more term, a convolution of
    the values along the set, with one learned tap of each head for each place, and zeros beyond the ends:
    sum_r c_hr v_(i + r - (kernel - 1) / 2).

    Dropout falls on the weights that queries give to landmarks, or, in full attention, to keys.

    Source: Xiong et al. 2021 (Nystromformer), eq. 11 to 14 and algorithm 1; the kernel, 33 there, is that of section 4.

    Args:
        attention: which scores; its normalizer is `Softmax`.
        landmarks: m.
        iterations: for the pseudo-inverse.
        kernel: the number of taps, odd; 0 for no convolution, otherwise queries and keys are of the same sets.

    Raises:
        InputError: an even kernel; an attention whose pattern (such as `Causal`), score or bias reads places, or without softmax.

    >>> Nystrom(landmarks=32, kernel=33).parameters(heads=4, d=16)
    {'value_taps': (33, 4)}
    """

    landmarks: int = field(default=64, kw_only=True, metadata=bounded(1))
    iterations: int = field(default=6, kw_only=True, metadata=bounded(0, 1000))
    kernel: int = field(default=0, kw_only=True, metadata=bounded(0, _MOST_TAPS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.attention.normalizer, Softmax):
            raise InputError(f"Nystrom has attention {self.attention!r}, expected the normalizer Softmax()")
        if self.kernel and self.kernel % 2 == 0:
            raise InputError(f"Nystrom has kernel {self.kernel}, expected an odd number, or 0 for none")

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        taps: Shapes = {"value_taps": (self.kernel, heads)} if self.kernel else {}
        return self.attention.parameters(heads, d, e) | taps

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        if self.kernel and key_layout is not layout:
            return f"{self.text} adds values at the places of queries, expected queries and keys of the same layout"
        return None

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call]:
        short, long = _split(layout, key_layout, self.landmarks)
        calls = [Call("full attention", self.attention, short.layout, short.key_layout)] if short.sets else []
        if long.sets:
            ours, theirs = (kept_of_each(x, self.landmarks) for x in (long.layout, long.key_layout))
            calls.append(Call("landmarks to keys", self.attention, ours, long.key_layout))
            calls.append(Call("queries to landmarks", self.attention, long.layout, theirs))
        return calls

    def made_of(self, layout: Layout) -> Sequence[range]:
        made, m = [], self.landmarks
        first, number = (x.tolist() for x in layout.host.places_of_sets)
        for start, n in zip(first, number, strict=True):
            ends = [start + s * n // m for s in range(m + 1)]
            made += [range(*pair) for pair in pairwise(ends)] if n > m else []
        return made

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        heads = tensors.q.shape[1]
        short, long = _split(layout, key_layout, self.landmarks)
        parts = []
        if short.sets or not long.sets:
            out = verb(self.attention, short.of(tensors), short.layout, short.key_layout, dropout)
            parts.append(short.spread(out, layout.total))
        if long.sets:
            parts.append(long.spread(self._estimated(verb, long.of(tensors), long, dropout), layout.total))
        out = sum(parts[1:], start=parts[0])
        if self.kernel and layout.total:
            v = tensors.v.repeat_interleave(heads // tensors.v.shape[1], dim=1)
            out = out + _along(v, tensors.parameters["value_taps"], layout)
        return out

    def _estimated(self, verb: Attends, tensors: Tensors, some: _Some, dropout: Dropout | None) -> Tensor:
        """Of sets that have more queries and keys than landmarks."""
        m, q, k = self.landmarks, tensors.q, tensors.k
        ours, theirs = (kept_of_each(x, m) for x in (some.layout, some.key_layout))
        q_mean, k_mean = _means(q, some.layout, ours, m), _means(k, some.key_layout, theirs, m)
        k_mean = k_mean.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        heard = verb(self.attention, replace(tensors, q=q_mean), ours, some.key_layout)
        by_set = [x.unflatten(0, (-1, m)).transpose(1, 2) for x in (q_mean, k_mean, heard)]
        a = self.attention.score.tile(by_set[0], by_set[1], tensors.parameters)
        # Products of six and more matrices are too much for half of a float.
        z = _pseudo_inverse((a if a.itemsize > 2 else a.float()).softmax(-1), self.iterations).to(q.dtype)
        values = (z @ by_set[2]).transpose(1, 2).flatten(0, 1)
        return verb(self.attention, replace(tensors, k=k_mean, v=values), some.layout, theirs, dropout)


class _Some(NamedTuple):
    """Some of the sets of a call, without the others' vectors; rows in order of their places, None where all are as they were."""

    sets: int
    layout: Layout
    key_layout: Layout
    rows: Int[Tensor, " t"] | None
    key_rows: Int[Tensor, " u"] | None

    def of(self, tensors: Tensors) -> Tensors:
        q = tensors.q if self.rows is None else tensors.q.index_select(0, self.rows)
        k, v = (x if self.key_rows is None else x.index_select(0, self.key_rows) for x in (tensors.k, tensors.v))
        return replace(tensors, q=q, k=k, v=v)

    def spread(self, out: Float[Tensor, "t h e"], total: int) -> Float[Tensor, "{total} h e"]:
        """The rows where they were, and zeros for those of other sets."""
        return out if self.rows is None else out.new_zeros(total, *out.shape[1:]).index_copy(0, self.rows, out)


def _split(layout: Layout, key_layout: Layout, landmarks: int) -> tuple[_Some, _Some]:
    """The sets that get full attention, and those with more queries and more keys than landmarks."""
    import torch

    long = torch.minimum(layout.host.lengths, key_layout.host.lengths) > landmarks
    some = []
    for chosen in (~long, long):
        ours, rows = _of_sets(layout, chosen)
        theirs, key_rows = (ours, rows) if key_layout is layout else _of_sets(key_layout, chosen)
        some.append(_Some(int(chosen.sum()), ours, theirs, rows, key_rows))
    return some[0], some[1]


def _of_sets(layout: Layout, chosen: Tensor) -> tuple[Layout, Tensor | None]:
    """The layout with the rows of these sets alone, in order of their places, and `[t']` which they are."""
    if bool(chosen.all()) and layout.places is None and layout.starts is None:
        return layout, None

    def make() -> tuple[Layout, Tensor]:
        import torch

        from regard.sets import Layout
        from regard.sets.layout import offsets_of

        ours = chosen.to(layout.device)
        rows = torch.arange(layout.total, device=layout.device) if layout.row_order is None else layout.row_order
        return Layout._trusted([offsets_of(layout.lengths * ours)]), rows[ours[layout.set_of_row]]

    found: tuple[Layout, Tensor] = layout.kept(("of sets", tuple(chosen.tolist())), make)
    return found


def _means(x: Float[Tensor, "t h d"], layout: Layout, reduced: Layout, number: int) -> Float[Tensor, "segments h d"]:
    """The means of so many segments of each set, whose sizes differ by at most one."""
    import torch

    owner = layout.set_of_row
    segment = ((layout.index + 1) * number - 1).div(layout.lengths[owner], rounding_mode="floor")
    segment = segment + reduced.offsets[owner]
    sizes = torch.bincount(segment, minlength=reduced.total)
    return x.new_zeros(reduced.total, *x.shape[1:]).index_add(0, segment, x) / sizes[:, None, None]


def _pseudo_inverse(a: Float[Tensor, "*b m m"], iterations: int) -> Float[Tensor, "*b m m"]:
    """Eq. 13, from a start for each matrix by itself: |A|_inf of weights that sum to 1 is 1."""
    import torch

    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    z = a.mT / a.sum(-2).amax(-1)[..., None, None]
    for _ in range(iterations):
        az = a @ z
        z = 0.25 * z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az)))
    return z


def _along(v: Float[Tensor, "t h e"], taps: Float[Tensor, "kernel h"], layout: Layout) -> Float[Tensor, "t h e"]:
    """The convolution of each set in order of its places, all sets along one line, with zeros between them."""
    from torch.nn.functional import conv1d

    gap = len(taps) // 2
    place = layout.ranks + gap * layout.set_of_row
    line = v.new_zeros(layout.total + gap * layout.sets, *v.shape[1:]).index_copy(0, place, v)
    out = conv1d(line.permute(2, 1, 0), taps.T[:, None], padding=gap, groups=v.shape[1])
    return out.permute(2, 1, 0).index_select(0, place)
