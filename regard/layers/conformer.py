"""The block of the Conformer (Gulati et al. 2020)."""

from __future__ import annotations

from torch import nn

from regard.layers.attention import SelfAttention
from regard.layers.checks import checked
from regard.layers.convolution import ConvolutionModule
from regard.layers.dropout import Dropout
from regard.sets import VectorSets

__all__ = ["ConformerBlock"]


@checked()
class ConformerBlock(nn.Module):
    """Half a feed-forward step, attention, convolution, half a feed-forward step, each around a residual; then a layer norm.

        x = x + before(norm(x)) / 2
        x = x + attention(norm(x))
        x = x + convolution(norm(x))
        y = norm(x + after(norm(x)) / 2)

    Source: Gulati et al. 2020, section 2.4.

    Args:
        before, after: feed-forward networks, from values to values.
        attention: its bias is where relative positions enter.
        convolution: along the order of the set.
        width: of the vectors.
        dropout: on what each but the convolution adds, while training.
    """

    def __init__(
        self,
        before: nn.Module,
        attention: SelfAttention,
        convolution: ConvolutionModule,
        after: nn.Module,
        width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(5)])
        self.before, self.attention, self.convolution, self.after = before, attention, convolution, after
        self.dropout = Dropout(dropout)

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and after one it looks at."""
        (before, after), taps = self.attention.context, self.convolution.depthwise
        return before + taps.left, after + taps.right

    def forward(self, sets: VectorSets) -> VectorSets:
        x = sets.values
        x = x + self.dropout(self.before(self.norms[0](x))) / 2
        x = x + self.dropout(self.attention(sets.with_values(self.norms[1](x))).values)
        x = x + self.convolution(sets.with_values(self.norms[2](x))).values
        x = x + self.dropout(self.after(self.norms[3](x))) / 2
        return sets.with_values(self.norms[4](x))
