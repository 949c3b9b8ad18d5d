"""The first layers that self-attention is compared with: each vector alone, and each vector with its neighbors.

A mixer says in `context` how many vectors before and behind one it looks at.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.sets import Layout, VectorSets

__all__ = ["Pointwise", "WindowedLinear"]


class Pointwise(nn.Module):
    """y_i = W x_i + b: fully connected, every vector by itself.

    Args:
        width_in: of the vectors. width: of the result; None means the same.
    """

    def __init__(self, width_in: int, width: int | None = None) -> None:
        super().__init__()
        self.width = width or width_in
        self.context = 0.0, 0.0
        self.linear = nn.Linear(width_in, self.width)

    def forward(self, sets: VectorSets) -> VectorSets:
        return sets.with_values(self.linear(sets.values))


class WindowedLinear(nn.Module):
    """y_i = W [x_{i - left}; ...; x_{i + right}] + b, with zeros beyond the ends of the set: neighboring frames joined.

    Args:
        width_in: of the vectors.
        left, right: how many neighbors before and behind.
        width: of the result; None means that of the vectors.
    """

    def __init__(self, width_in: int, left: int, right: int, width: int | None = None) -> None:
        super().__init__()
        self.width, self.left, self.right = width or width_in, left, right
        self.context = float(left), float(right)
        self.linear = nn.Linear((left + right + 1) * width_in, self.width)

    def forward(self, sets: VectorSets) -> VectorSets:
        rows = neighbors(sets.layout, self.left, self.right, sets.values.shape[0])
        padded = torch.cat([sets.values, sets.values.new_zeros(1, sets.values.shape[1])])
        joined = padded.index_select(0, rows.flatten()).view(rows.shape[0], self.linear.in_features)
        return sets.with_values(self.linear(joined))


def neighbors(layout: Layout, left: int, right: int, rows: int) -> Tensor:
    """`[t, left + right + 1]` the rows around each of the t rows, t where they would lie outside of its set; kept by the layout."""
    return layout.kept(("neighbors", left, right), lambda: _new_neighbors(layout, left, right, rows))


def _new_neighbors(layout: Layout, left: int, right: int, rows: int) -> Tensor:
    around = torch.arange(rows, device=layout.device)[:, None] + torch.arange(-left, right + 1, device=layout.device)
    owner = layout.owners(rows)
    begin, end = layout.offsets[owner][:, None], layout.offsets[owner + 1][:, None]
    return torch.where((around >= begin) & (around < end), around, rows)
