"""`MemoryCompressed`: keys and values shortened along each set by a strided convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from regard.attention.adapters.base import Adapter, Attends, Call
from regard.attention.spec.base import Shapes, bounded
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["MemoryCompressed"]


@dataclass(frozen=True, repr=False)
class MemoryCompressed(Adapter):
    """Attention over keys and values that a convolution of kernel and stride c has made: n keys of a set become n / c.

    With learned matrices A_r and B_r of each head, group g = 0, 1, ... of a set has one key and one value

        k'_g = sum_r A_r k_(c g + r)        v'_g = sum_r B_r v_(c g + r)        r = 0 ... c - 1, over the places that the set has

    so that the last group of a set whose length c does not divide has fewer terms, as if zeros came after it; the next set has no
    part in it. A group's key lies at the last place of its group, c g + c - 1, whether or not the set reaches it: there patterns,
    biases and scores find it. So `Causal` looks at whole groups that end at or before the query, a vector may come later
    without changing those before, and the first c - 1 queries of a set, which no group precedes, get zeros. The convolution adds
    no learned vector: on keys the softmax would forget it, on values the layer's output projection has one.

    With c = 1 and A = B = I it is the attention itself.

    Source: Liu et al. 2018 (Generating Wikipedia by Summarizing Long Sequences), section 4.2.4, where c = 3.

    Args:
        attention: of the queries over the groups; one that reads no edges and no coordinates.
        rate: c, the kernel and the stride of the convolution.

    Raises:
        InputError: a rate below 1, or an attention that reads edges or coordinates.

    >>> MemoryCompressed().parameters(heads=4, d=16)
    {'compress_keys': (4, 3, 16, 16), 'compress_values': (4, 3, 16, 16)}
    """

    rate: int = field(default=3, kw_only=True, metadata=bounded(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention.reads_edges or self.attention.coordinates:
            what = "edges" if self.attention.reads_edges else "coordinates"
            raise InputError(
                f"MemoryCompressed has attention {self.attention!r}, which reads {what}, expected one that reads none: "
                "a key made of several vectors has none"
            )

    @property
    def extent(self) -> tuple[float, float]:
        before, after = self.attention.extent
        return before + self.rate - 1, after

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        e = d if e is None else e
        own = {"compress_keys": (heads, self.rate, d, d), "compress_values": (heads, self.rate, e, e)}
        return self.attention.parameters(heads, d, e) | own

    def deviation(self, name: str, shape: Sequence[int]) -> float:
        # A sum of all numbers of a group is then about as large as each of them.
        return (shape[1] * shape[2]) ** -0.5 if name.startswith("compress") else super().deviation(name, shape)

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call]:
        return [Call("groups of keys", self.attention, layout, _groups(key_layout, self.rate).layout)]

    def made_of(self, layout: Layout) -> Sequence[range]:
        last = _groups(layout.host, self.rate).layout.index.tolist()
        return [range(place + 1 - self.rate, place + 1) for place in last]

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        groups, heads = _groups(key_layout, self.rate), tensors.q.shape[1]
        k = _convolved(tensors.k, tensors.parameters["compress_keys"], groups.rows, heads)
        v = _convolved(tensors.v, tensors.parameters["compress_values"], groups.rows, heads)
        return verb(self.attention, replace(tensors, k=k, v=v), layout, groups.layout, dropout)


class _Groups(NamedTuple):
    """The layout of the groups, and `[groups, c]` which rows each has, in order of place; one past the last row for none."""

    layout: Layout
    rows: Int[Tensor, "groups c"]


def _groups(layout: Layout, rate: int) -> _Groups:
    found: _Groups = layout.kept(("groups of keys", rate), lambda: _new_groups(layout, rate))
    return found


def _new_groups(layout: Layout, rate: int) -> _Groups:
    import torch

    from regard.sets import Layout
    from regard.sets.layout import offsets_of

    number, tap = layout.index.div(rate, rounding_mode="floor"), layout.index.remainder(rate)
    pairs = torch.stack([layout.set_of_row, number], 1)
    of_set, group = pairs.unique(dim=0, return_inverse=True)
    rows = torch.full((len(of_set), rate), layout.total, device=layout.device)
    rows[group, tap] = torch.arange(layout.total, device=layout.device)
    offsets = offsets_of(torch.bincount(of_set[:, 0], minlength=layout.sets))
    return _Groups(Layout(offsets, places=of_set[:, 1] * rate + rate - 1), rows)


def _convolved(
    x: Float[Tensor, "u g d"], taps: Float[Tensor, "h c d d"], rows: Int[Tensor, "groups c"], heads: int
) -> Float[Tensor, "groups h d"]:
    import torch

    padded = torch.cat([x, x.new_zeros(1, *x.shape[1:])])
    joined = padded.index_select(0, rows.flatten()).unflatten(0, rows.shape)
    joined = joined.repeat_interleave(heads // x.shape[1], dim=2)
    return (joined.permute(2, 0, 1, 3).flatten(2) @ taps.flatten(1, 2)).transpose(0, 1)
