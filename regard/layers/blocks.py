"""Blocks: a mixer and a feed-forward network, each with a residual around it and a layer norm before or behind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

from regard.layers.dropout import Dropout
from regard.layers.stacks import context_of
from regard.sets import VectorSets

__all__ = ["Block", "FeedForward", "Stack"]


class FeedForward(nn.Module):
    """W_2 f(W_1 x + b_1) + b_2, every vector by itself (Vaswani et al. 2017, eq. 2).

    Args:
        width: in and out. hidden: in between. dropout: behind f while training. activation: f, "relu", "gelu" or "silu".
    """

    def __init__(
        self, width: int, hidden: int, dropout: float = 0.0, activation: Literal["relu", "gelu", "silu"] = "relu"
    ) -> None:
        super().__init__()
        self.into = nn.Linear(width, hidden)
        self.activation = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}[activation]()
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(hidden, width)

    def forward(self, values: Tensor) -> Tensor:
        return self.out(self.dropout(self.activation(self.into(values))))


class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x)); or, post-norm, norm(x + mixer(x)), then norm(x + feed_forward(x)).

    Post-norm is Vaswani et al. 2017 (section 3.1); pre-norm trains without warm-up (Xiong et al. 2020, table 1).

    Args:
        mixer: from `VectorSets` to `VectorSets` of the same width.
        feed_forward: from values to values.
        width: of the vectors.
        norm: "pre" or "post".
        dropout: on what each of the two adds, while training.
    """

    def __init__(
        self,
        mixer: nn.Module,
        feed_forward: nn.Module,
        width: int,
        norm: Literal["pre", "post"] = "pre",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.pre = width, norm == "pre"
        self.mixer, self.feed_forward = mixer, feed_forward
        self.norm_mixer, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and behind one it looks at."""
        return context_of([self.mixer])

    def forward(self, sets: VectorSets, position: Tensor | None = None) -> VectorSets:
        """The same sets; the mixer reads each vector plus its `position [t, width]`, where there are some."""
        x = sets.values
        seen = self.norm_mixer(x) if self.pre else x
        mixed = self.mixer(sets.with_values(seen if position is None else seen + position.to(seen.dtype))).values
        if self.pre:
            x = x + self.dropout(mixed)
            x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        else:
            x = self.norm_mixer(x + self.dropout(mixed))
            x = self.norm_feed_forward(x + self.dropout(self.feed_forward(x)))
        return sets.with_values(x)


class Stack(nn.Module):
    """Blocks one after another, and a layer norm at the end where the blocks are pre-norm.

    Args:
        blocks: at least none. width: of the vectors. final_norm: whether a layer norm ends the stack.
    """

    def __init__(self, blocks: Iterable[nn.Module], width: int, final_norm: bool = True) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width) if final_norm else nn.Identity()

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and behind one it looks at."""
        return context_of(self.blocks)

    def forward(self, sets: VectorSets, positions: Tensor | None = None) -> VectorSets:
        """The same sets; `positions [blocks, t, width]`, such as `Floater`'s, go to the mixers of the blocks."""
        for n, block in enumerate(self.blocks):
            sets = block(sets) if positions is None else block(sets, positions[n])
        return sets.with_values(self.norm(sets.values))
