"""Stacks other than the Transformer's: blocks whose outputs are joined, and plain layers with an activation between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.gcnii import DeepGraphConvolution
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["JoinedStack", "PlainStack", "context_of"]


def context_of(layers: Iterable[Any]) -> tuple[float, float]:
    """How many vectors before and after one a row of layers looks at, each of which has a `context`."""
    contexts = [layer.context for layer in layers]
    return sum(before for before, _ in contexts), sum(after for _, after in contexts)


@checked()
class JoinedStack(nn.Module):
    """[x_{n - joined + 1}; ...; x_n], normalized, of what enters the first of n blocks, x_0, and what leaves each, x_1 to x_n.

    Args:
        blocks: each with a `context`.
        width: of the vectors inside.
        joined: how many of the last are joined; 1 for the last block's vectors alone.
        final_norm: whether a layer norm ends the stack.
    """

    def __init__(self, blocks: Iterable[nn.Module], width: int, joined: int = 1, final_norm: bool = True) -> None:
        super().__init__()
        self.joined, self.width = joined, width * joined
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(self.width) if final_norm else nn.Identity()

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and after one it looks at."""
        return context_of(self.blocks)

    def forward(self, sets: VectorSets, positions: Float[Tensor, "blocks t d"] | None = None) -> VectorSets:
        outputs = [sets.values]
        for n, block in enumerate(self.blocks):
            sets = block(sets) if positions is None else block(sets, positions[n])
            outputs = [*outputs, sets.values][-self.joined :]
        return sets.with_values(self.norm(outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)))


@checked()
class PlainStack(nn.Module):
    """x = layer(dropout(x)) for each layer, with an ELU between two (Velickovic et al. 2018, section 3.3).

    Each `DeepGraphConvolution` also has what entered the first of them.

    Args:
        layers: mixers, each of the width that the one before gives.
        dropout: on the vectors that enter each layer, while training.
    """

    def __init__(self, layers: Sequence[Any], dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.width = int(layers[-1].width)
        self.dropout = Dropout(dropout)

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and after one it looks at."""
        return context_of(self.layers)

    def forward(self, sets: VectorSets, positions: Float[Tensor, "blocks t d"] | None = None) -> VectorSets:
        first = None
        for n, layer in enumerate(self.layers):
            values = elu(sets.values) if n else sets.values
            if positions is not None:
                values = values + positions[n].to(values.dtype)
            values = self.dropout(values)
            if isinstance(layer, DeepGraphConvolution):
                values = layer.enter(values)
                first = values if first is None else layer.enter(first)
                sets = layer.after(sets.with_values(values), first)
            else:
                sets = layer(sets.with_values(values))
        return sets
