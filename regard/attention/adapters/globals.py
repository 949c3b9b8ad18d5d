"""`Globals`: the first vectors of a set see all and are seen by all, by projections of their own (Longformer, ETC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from regard.attention.adapters.base import Adapter, Attends, Call
from regard.attention.spec.attention import Attention
from regard.attention.spec.base import Shapes, bounded
from regard.attention.spec.patterns import First
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["Globals"]


@dataclass(frozen=True, repr=False)
class Globals(Adapter):
    """The attention `pattern | First(first)`, for which a `SelfAttention` projects more than once.

    With projections="queries" the global queries, those of the first vectors, have projections of their own, of all that they see:

        out_i = attend(W_q x_i, W_k x, W_v x)             for i >= first, over the pattern and the first vectors
        out_i = attend(W_q' x_i, W_k' x, W_v' x)          for i < first, over everything

    which is the Longformer (Beltagy et al. 2020, section 3.1, as its published code computes it: what other queries read of a
    global vector is projected as everything else that they read), and ETC with shared key and value projections.

    With projections="pairs" keys and values are projected for each kind of pair, as in ETC where nothing is shared (Ainslie et
    al. 2020, section 3.2): others read W_k'' x_j and W_v'' x_j of a global vector, and global vectors W_k''' x_j and W_v''' x_j
    of one another; the global vectors then have an output projection of their own, too. Each row has one softmax over all that
    it sees.

    Biases learn one set of tensors for the global queries and one for the others.

    Called without a layer it has one projection of everything. It looks ahead wherever a global vector does.

    Args:
        attention: of the other vectors among themselves; what score, normalizer and bias all have. It reads no edges.
        first: how many vectors of each set are global, in their order.
        projections: what has projections of its own: "queries" or "pairs".

    Raises:
        InputError: an attention that reads edges, or other `projections`.

    >>> from regard.attention import Window
    >>> Globals(Attention(pattern=Window(2, 2)), first=1).whole
    Attention(pattern=(Window(left=2, right=2) | First(n=1)))
    """

    first: int = field(default=1, metadata=bounded(0))
    projections: str = "queries"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.projections not in ("queries", "pairs"):
            raise InputError(f"Globals has projections {self.projections!r}, expected 'queries' or 'pairs'")
        if self.attention.reads_edges:
            raise InputError(
                f"Globals has attention {self.attention!r}, which reads edges, expected one that reads none"
            )
        self.whole  # noqa: B018  made here, since code that torch traces can read it but not make it

    @cached_property
    def whole(self) -> Attention:
        """The attention of all vectors."""
        patterns = tuple(pattern | First(self.first) for pattern in self.attention.patterns)
        return replace(self.attention, pattern=patterns if len(patterns) > 1 else patterns[0])

    @property
    def extent(self) -> tuple[float, float]:
        return self.whole.extent

    @property
    def linear(self) -> bool:
        return self.whole.linear

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        return self.whole.parameters(heads, d, e)

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call]:
        return [Call("all vectors", self.whole, layout, key_layout)]

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        return verb(self.whole, tensors, layout, key_layout, dropout)
