"""Layers for deep graph networks: with the first vectors in each layer, and a matrix close to the identity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from regard.attention.adapters.base import Adapter
from regard.attention.spec.attention import Attention
from regard.errors import InputError
from regard.layers.adjacency import spread
from regard.layers.attention import Attend
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["DeepGraphAttention", "DeepGraphConvolution"]


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
        self.enter = nn.Identity() if self.width == width_in else Linear(width_in, self.width)
        self.linear = Linear(self.width, self.width, bias=False)
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, sets: VectorSets) -> VectorSets:
        values = self.enter(sets.values)
        return self.after(sets.with_values(values), values)

    def after(self, sets: VectorSets, first: Float[Tensor, "t {self.width}"]) -> VectorSets:
        """The result for vectors that have entered, with the first vectors of the stack, which have entered as well."""
        mixed = (1 - self.alpha) * self.gathered(sets) + self.alpha * first
        return sets.with_values((1 - self.beta) * mixed + self.beta * self.linear(mixed))

    def gathered(self, sets: VectorSets) -> Float[Tensor, "t {self.width}"]:
        """P X: what each vector hears of its neighbors and itself."""
        return spread(sets.layout, sets.values, self_loops=True)

    def extra_repr(self) -> str:
        return f"width={self.width}, alpha={self.alpha}, beta={self.beta:.4g}"


@checked(depth=1, alpha=0, theta=0)
class DeepGraphAttention(DeepGraphConvolution):
    """`DeepGraphConvolution` whose P is made of attention weights: H = (1 - alpha) A(X) X + alpha X_0.

    Head h weighs the h-th part of the vectors, and its queries, keys and values are that part itself: W is the only matrix of the
    layer. With the score `Separable()` it is the attention of GAT (Velickovic et al. 2018, eq. 3) in a layer of GCNII (Chen et
    al. 2020, eq. 5).

    Args:
        width_in, width, depth, alpha, theta: as in `DeepGraphConvolution`.
        heads: number of heads, which divides the width.
        attention: the specification, for graphs with the pattern `Edges()`.
        dropout: on the weights, while training.

    Raises:
        InputError: as in `DeepGraphConvolution`; heads that do not divide the width.
    """

    def __init__(
        self,
        width_in: int,
        width: int | None = None,
        heads: int = 1,
        attention: Attention | Adapter | None = None,
        dropout: float = 0.0,
        depth: int = 1,
        alpha: float = 0.1,
        theta: float = 0.5,
    ) -> None:
        super().__init__(width_in, width, depth, alpha, theta)
        if self.width % heads:
            raise InputError(
                f"the graph layer has width {self.width} and {heads} heads, expected heads to divide the width"
            )
        self.heads = heads
        self.attend = Attend(attention or Attention(), heads, self.width // heads, dropout=dropout)
        for learned in self.attend.learned.values():
            nn.init.xavier_uniform_(learned)

    def gathered(self, sets: VectorSets) -> Float[Tensor, "t {self.width}"]:
        x = sets.values.unflatten(-1, (self.heads, -1))
        return self.attend(x, x, x, sets.layout).flatten(1)
