"""The self-attention of SAGAN (Zhang et al. 2018): narrow keys, pooled, and a gain that begins at zero."""

from __future__ import annotations

import math

import torch
from torch import nn

from regard.attention.spec.attention import Attention
from regard.attention.spec.scores import Dot
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.layers.resized2d import BlockMax2d
from regard.sets import VectorSets

__all__ = ["PooledAttention2d"]


@checked()
class PooledAttention2d(nn.Module):
    """y_i = x_i + gamma W_o o_i with o_i = sum_J softmax_J(f_i . g_J) h_J over the blocks J of 2 x 2 cells.

        f_i = W_f x_i        g_J = max over i in J of W_g x_i        h_J = max over i in J of W_h x_i

    f and g have an eighth of the width, h half of it; the scores are not scaled, and gamma begins at 0, so that the layer is at
    first none. Source: Zhang et al. 2018, section 3, with the pooling of the authors' code (brain-research/self-attention-gan,
    `ops.sn_non_local_block_sim`).

    Args:
        width: of the vectors, which have a row and a column; at least 8.
        step: the side of a block.

    Raises:
        InputError: a width below 8, or sets whose vectors have no row and column.

    >>> coords = [torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))]
    >>> sets = VectorSets.pack([torch.randn(16, 16)], coords=coords)
    >>> torch.equal(PooledAttention2d(16)(sets).values, sets.values)
    True
    """

    def __init__(self, width: int, step: int = 2) -> None:
        super().__init__()
        if width < 8:
            raise InputError(f"PooledAttention2d has width {width}, expected at least 8: keys have an eighth of it")
        self.width = width
        # The order of vectors says nothing about where they lie.
        self.context = math.inf, math.inf
        self.query, self.key = (Linear(width, width // 8, bias=False) for _ in range(2))
        self.value, self.out = Linear(width, width // 2, bias=False), Linear(width // 2, width, bias=False)
        self.pool = BlockMax2d(step)
        self.attend = Attend(Attention(score=Dot(scale=1.0)), 1, width // 8, width // 2)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, sets: VectorSets) -> VectorSets:
        x = sets.values
        keys, values = (self.pool(sets.with_values(project(x))) for project in (self.key, self.value))
        q, k, v = (each[:, None] for each in (self.query(x), keys.values, values.values))
        out = self.attend(q, k, v, sets.layout, keys.layout)
        return sets.with_values(x + self.gamma * self.out(out[:, 0]))
