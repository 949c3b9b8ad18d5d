"""The full spectral filter on graphs: any response to the frequencies of the whole graph, by the eigenvectors of its Laplacian."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from regard.layers.checks import checked
from regard.layers.laplacian import Spectrum, spectra
from regard.layers.linear import Linear
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["SpectralFilter"]


@checked()
class SpectralFilter(nn.Module):
    """Y = sum_{k=0}^{K-1} U B_k(Lambda) U^T X W_k + b, with the eigenvectors U and eigenvalues Lambda of the Laplacian.

    L = I - D^-1/2 A D^-1/2 = U Lambda U^T as in `Chebyshev`, with eigenvalues from 0 (all vectors alike) to 2 (each unlike its
    neighbors). B_k are the linear B-splines over K knots at even distances from 0 to 2: 1 at the knot k, 0 at all others, straight
    lines between. So W_k is the response at the frequency of knot k, and frequencies between two knots have a mixture of both. One
    number per eigenvector (Bruna et al. 2014, eq. 3) would be tied to one graph and to the order of its eigenvectors; a smooth
    response means the same on every graph. The filter reaches the whole graph. Values of edges are not read.

    Sources: Bruna et al. 2014; Henaff et al. 2015, section 3 (smooth responses). Each W_k begins as by Glorot and Bengio 2010.

    Args:
        width_in: of the vectors.
        width: of the result; None means that of the vectors.
        terms: K, at least 1; with 1 the response is the same everywhere, and each vector is alone.

    Raises:
        InputError: fewer than 1 term; (when called) sets without edges, edges that go one way only, and graphs too large for
            eigenvectors (`regard.layers.eigenvectors.MOST_NODES`).

    >>> layer = SpectralFilter(8, 4, terms=3)
    >>> layer(VectorSets.pack([torch.ones(3, 8)], edges=[torch.tensor([[0, 1], [1, 0]])]))
    VectorSets(values [3, 4] float32, 1 sets)
    """

    def __init__(self, width_in: int, width: int | None = None, terms: int = 3) -> None:
        super().__init__()
        self.width, self.terms = width or width_in, terms
        self.context = math.inf, math.inf
        self.linear = Linear(width_in, terms * self.width, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.width))
        for matrix in self.linear.weight.split(self.width):
            nn.init.xavier_uniform_(matrix)

    def shares(self, values: Float[torch.Tensor, "*b"]) -> Float[torch.Tensor, "*b terms"]:
        """`B_k` of eigenvalues: how much of the response at each knot each of them has.

        >>> SpectralFilter(1, terms=3).shares(torch.tensor([0.0, 0.75, 2.0])).tolist()
        [[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]
        """
        if self.terms == 1:
            return torch.ones_like(values)[..., None]
        knots = torch.arange(self.terms, device=values.device, dtype=values.dtype)
        place = values.clamp(0, 2) * (self.terms - 1) / 2
        return (1 - (place[..., None] - knots).abs()).clamp(min=0)

    def forward(self, sets: VectorSets) -> VectorSets:
        if torch.compiler.is_compiling():
            from regard.layers.untraced import untraced

            return sets.with_values(untraced(self._filtered, sets.layout, sets.values))
        return sets.with_values(self._filtered(sets.layout, sets.values))

    def _filtered(self, layout: Layout, x: torch.Tensor) -> torch.Tensor:
        groups = spectra(layout)
        if not groups:
            return self.linear(x)[:, : self.width] + self.bias
        found = torch.cat([self._of(group, x) for group in groups])
        back = torch.cat([group.rows.flatten() for group in groups]).argsort()
        return found.index_select(0, back) + self.bias

    def _of(self, group: Spectrum, x: torch.Tensor) -> torch.Tensor:
        vectors, shares = group.vectors.to(x.dtype), self.shares(group.values).to(x.dtype)
        frequencies = vectors.mT @ x.index_select(0, group.rows.flatten()).unflatten(0, group.rows.shape)
        responses = self.linear(frequencies).unflatten(-1, (self.terms, self.width))
        return (vectors @ (responses * shares[..., None]).sum(-2)).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"width={self.width}, terms={self.terms}"
