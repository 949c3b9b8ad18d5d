"""Stacks other than the Transformer's: blocks whose outputs are joined, and plain layers with an activation between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, gelu, relu

from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.gcnii import DeepGraphConvolution
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Between", "JoinedStack", "PlainStack", "context_of"]

Between = Literal["elu", "relu", "gelu"]
"""Activations between plain layers."""

_ACTIVATIONS: dict[Between, Callable[[Tensor], Tensor]] = {"elu": elu, "relu": relu, "gelu": gelu}


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
    """x = layer(dropout(f(x))) for each layer, f between two only: an ELU in Velickovic et al. 2018, section 3.3.

    Each `DeepGraphConvolution` also has what the first of them reads, before dropout (Chen et al. 2020).

    Args:
        layers: mixers, each of the width that the one before gives.
        dropout: on the vectors that enter each layer, while training.
        activation: f, "elu", "relu" or "gelu".
    """

    def __init__(self, layers: Sequence[Any], dropout: float = 0.0, activation: Between = "elu") -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.width = int(layers[-1].width)
        self.dropout = Dropout(dropout)
        self.activation = _ACTIVATIONS[activation]

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and after one it looks at."""
        return context_of(self.layers)

    def forward(self, sets: VectorSets, positions: Float[Tensor, "blocks t d"] | None = None) -> VectorSets:
        first = None
        for n in range(len(self.layers)):
            sets, first = self.step(n, sets, first, None if positions is None else positions[n])
        return sets

    def step(
        self,
        number: int,
        sets: VectorSets,
        first: Float[Tensor, "t e"] | None = None,
        position: Float[Tensor, "t d"] | None = None,
    ) -> tuple[VectorSets, Float[Tensor, "t f"] | None]:
        """What leaves a layer for what left the one before it, and the first vectors of the deep layers, None before these."""
        layer: Any = self.layers[number]
        values = self.activation(sets.values) if number else sets.values
        if position is not None:
            values = values + position.to(values.dtype)
        dropped = self.dropout(values)
        if not isinstance(layer, DeepGraphConvolution):
            left: VectorSets = layer(sets.with_values(dropped))
            return left, first
        entered = layer.enter(dropped)
        if first is None:
            # A map at the entry is part of the first vectors.
            first = values if isinstance(layer.enter, nn.Identity) else entered
        else:
            first = layer.enter(first)
        return layer.after(sets.with_values(entered), first), first
