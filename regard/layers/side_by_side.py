"""Blocks whose mixers stand side by side: message passing along edges beside attention among everyone (GPS)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import nn

from regard.errors import InputError
from regard.layers.blocks import StochasticDepth
from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["SideBySide"]


@checked()
class SideBySide(nn.Module):
    """h = sum_k norm_k(x + mixer_k(x)), then norm(h + feed_forward(h)).

    With one mixer along edges and attention among everyone it is a GPS layer (Rampasek et al. 2022, eq. 2 to 5), whose batch norms
    are layer norms here, so that a graph gives what it gives alone. Values of edges that mixers change are those of the last one
    that does.

    Args:
        mixers: from `VectorSets` to `VectorSets` of the same width. feed_forward: from values to values. width: of the vectors.
        dropout: on what each of them adds, while training.
        skip: the probability that a set skips what one of them adds, while training; see `StochasticDepth`.

    Raises:
        InputError: no mixer.
    """

    def __init__(
        self,
        mixers: Iterable[nn.Module],
        feed_forward: nn.Module,
        width: int,
        dropout: float = 0.0,
        skip: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.mixers, self.feed_forward = width, nn.ModuleList(mixers), feed_forward
        if not len(self.mixers):
            raise InputError("there are 0 mixers side by side, expected at least one")
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.mixers)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.dropout, self.depth = Dropout(dropout), StochasticDepth(skip)

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and after one the farthest looking of them looks at."""
        before, after = zip(*(mixer.context for mixer in self.mixers), strict=True)
        return max(before), max(after)

    def forward(self, sets: VectorSets, position: Float[Tensor, "t d"] | None = None) -> VectorSets:
        """The same sets; a position is what the mixers read added to each vector."""
        x, layout = sets.values, sets.layout
        read = sets if position is None else sets.with_values(x + position.to(x.dtype))
        parts = []
        for mixer, norm in zip(self.mixers, self.norms, strict=True):
            mixed = mixer(read)
            parts.append(norm(x + self._added(mixed.values, sets)))
            layout = layout if mixed.layout is sets.layout else mixed.layout
        h = sum(parts[1:], parts[0])
        return VectorSets(self.norm_feed_forward(h + self._added(self.feed_forward(h), sets)), layout)

    def _added(self, values: Tensor, sets: VectorSets) -> Tensor:
        """What is added to the vectors, after dropout."""
        added: VectorSets = self.depth(sets.with_values(self.dropout(values)))
        return added.values
