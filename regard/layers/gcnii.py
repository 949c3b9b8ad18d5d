"""Graph convolutions that stay apart in deep networks: with the first vectors in each layer, and a matrix close to the identity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from regard.errors import InputError
from regard.layers.adjacency import spread
from regard.layers.checks import checked
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["DeepGraphConvolution"]


@checked(depth=1, alpha=0, theta=0)
class DeepGraphConvolution(nn.Module):
    """Y = H ((1 - beta) I + beta W) with H = (1 - alpha) P X + alpha X_0 and P = D^-1/2 (A + I) D^-1/2, as in `GraphConvolution`.

    X_0 are the first vectors of a stack of such layers; alone, a layer takes its own, X. beta = log(theta / depth + 1) becomes
    smaller from layer to layer. Where the width changes, X and X_0 enter through a linear map with a bias.

    Source: Chen et al. 2020 (GCNII), eq. 5, whose activation stands between layers.

    Args:
        width_in: of the vectors.
        width: of the result; None means that of the vectors.
        depth: which layer of the stack it is, counted from 1.
        alpha: how much of the first vectors each layer keeps, from 0 to 1.
        theta: how far the matrix may lie from the identity, at least 0.

    Raises:
        InputError: numbers outside of these bounds; (when called) sets without edges.

    >>> import torch
    >>> layer = DeepGraphConvolution(8, 4)
    >>> layer(VectorSets.pack([torch.ones(3, 8)], edges=[torch.tensor([[0, 1], [1, 0]])]))
    VectorSets(values [3, 4] float32, 1 sets)
    """

    def __init__(
        self, width_in: int, width: int | None = None, depth: int = 1, alpha: float = 0.1, theta: float = 0.5
    ) -> None:
        super().__init__()
        if alpha > 1:
            raise InputError(f"DeepGraphConvolution has alpha {alpha}, expected at most 1")
        self.width, self.alpha = width or width_in, alpha
        self.beta = math.log(theta / depth + 1)
        self.context = math.inf, math.inf
        self.enter = nn.Identity() if self.width == width_in else nn.Linear(width_in, self.width)
        self.linear = nn.Linear(self.width, self.width, bias=False)
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, sets: VectorSets) -> VectorSets:
        values = self.enter(sets.values)
        return self.after(sets.with_values(values), values)

    def after(self, sets: VectorSets, first: Float[Tensor, "t {self.width}"]) -> VectorSets:
        """The result for vectors that have entered, with the first vectors of the stack, which have entered as well."""
        near = spread(sets.layout, sets.values, self_loops=True)
        mixed = (1 - self.alpha) * near + self.alpha * first
        return sets.with_values((1 - self.beta) * mixed + self.beta * self.linear(mixed))

    def extra_repr(self) -> str:
        return f"width={self.width}, alpha={self.alpha}, beta={self.beta:.4g}"
