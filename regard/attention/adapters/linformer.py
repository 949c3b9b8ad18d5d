"""`Linformer`: keys and values of a set projected, along the set, to a fixed number of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from regard.attention.adapters.base import Attends, Call
from regard.attention.adapters.reduce import Mixed, kept_of_each
from regard.attention.spec.base import Shapes, bounded
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["Linformer"]


@dataclass(frozen=True, repr=False)
class Linformer(Mixed):
    """softmax(q_i (E K)^T / sqrt(d)) (F V): n keys of a set become k, whatever n, by learned sums; O(n k) time and memory.

    With e_r(p) and f_r(p) learned for each place p and r = 1 ... k,

        k'_r = sum_j e_r(place of j) k_j        v'_r = sum_j f_r(place of j) v_j        over the n keys j of the set
        out_i = sum_r softmax_r(q_i . k'_r / sqrt(d)) v'_r

    A set of n vectors uses what is learned for its places: the first n columns of E and F. Nothing is padded, so no other set of
    the batch has a part in it; but a set shorter than k has k projected keys too. Since every projected key is made of all
    vectors, there is no causal form, and sets longer than `longest` are refused. With E = F = I and k = n it is full attention.

    Source: Wang et al. 2020 (Linformer), section 4, eq. 7; the last of its ways to share, one E for all layers, is left out,
    since each layer owns what it learns.

    Args:
        attention: of the queries over the projected keys: any score that reads no places, any normalizer.
        longest: how many places E and F have.
        k: how many projected keys a set gets.
        share: "none" learns E and F for each head, "heads" one E and one F for all heads, "values" one E = F for all.

    Raises:
        InputError: another way to share, or an attention whose pattern (such as `Causal`), score or bias reads places.

    >>> Linformer(longest=512, k=64).parameters(heads=4, d=16)
    {'project_keys': (512, 1, 64), 'project_values': (512, 1, 64)}
    """

    longest: int = field(kw_only=True, metadata=bounded(1))
    k: int = field(kw_only=True, metadata=bounded(1))
    share: str = field(default="heads", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share not in ("none", "heads", "values"):
            raise InputError(f"Linformer has share {self.share!r}, expected 'none', 'heads' or 'values'")

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        shape = self.longest, heads if self.share == "none" else 1, self.k
        names = ("project_keys",) if self.share == "values" else ("project_keys", "project_values")
        return self.attention.parameters(heads, d, e) | dict.fromkeys(names, shape)

    def deviation(self, name: str, shape: Sequence[int]) -> float:
        # As Glorot's, so that projected keys are about as large as keys where sets are about as long as the longest.
        return math.sqrt(2 / (self.longest + self.k)) if name.startswith("project") else super().deviation(name, shape)

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        keys = key_layout.host
        first, number = keys.places_of_sets
        outside = (keys.lengths > 0) & ((first < 0) | (first + number > self.longest))
        if not bool(outside.any()):
            return None
        b = int(outside.nonzero()[0])
        found = f"keys at places {int(first[b]):,} to {int(first[b] + number[b]) - 1:,}"
        return f"set {b} has {found}, expected places 0 to {self.longest - 1:,}: the length of {self.text}"

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call]:
        return [Call("projected keys", self.attention, layout, kept_of_each(key_layout, self.k))]

    def made_of(self, layout: Layout) -> Sequence[range]:
        first, number = (x.tolist() for x in layout.host.places_of_sets)
        return [range(a, a + n) for a, n in zip(first, number, strict=True) if n for _ in range(self.k)]

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        from regard.attention.pairs.by_place import sums_by_place

        learned, k, v = tensors.parameters, tensors.k, tensors.v
        e = learned["project_keys"]
        f = e if self.share == "values" else learned["project_values"]
        if self.share == "none":
            k, v = (x.repeat_interleave(tensors.q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        k, v = sums_by_place(e, k, key_layout), sums_by_place(f, v, key_layout)
        return verb(self.attention, replace(tensors, k=k, v=v), layout, kept_of_each(key_layout, self.k), dropout)
