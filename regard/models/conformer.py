"""The Conformer over vector sets (Gulati et al. 2020), and the variant that joins the outputs of all its blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.layers.attention import SelfAttention
from regard.layers.blocks import FeedForward
from regard.layers.convolution import ConvolutionModule, Subsample
from regard.layers.dropout import Dropout
from regard.models.configs import Conformer, attention_of
from regard.sets import VectorSets

__all__ = ["ConformerBlock", "ConformerModel"]


class ConformerBlock(nn.Module):
    """Half a feed-forward step, attention, convolution, half a feed-forward step, each around a residual; then a layer norm.

        x = x + feed_forward(norm(x)) / 2
        x = x + attention(norm(x))
        x = x + convolution(norm(x))
        y = norm(x + feed_forward'(norm(x)) / 2)

    Source: Gulati et al. 2020, section 2.4.

    Args:
        config: the sizes. Its attention's bias is where relative positions enter.
    """

    def __init__(self, config: Conformer) -> None:
        super().__init__()
        width, dropout = config.width, config.dropout
        self.width = width
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(5)])
        self.before = FeedForward(width, config.feed_forward, dropout, "silu")
        self.attention = SelfAttention(width, config.heads, attention_of(config.attention), dropout=dropout)
        self.convolution = ConvolutionModule(width, config.taps_left, config.taps_right, dropout)
        self.after = FeedForward(width, config.feed_forward, dropout, "silu")
        self.dropout = Dropout(dropout)

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and behind one it looks at."""
        (a, b), taps = self.attention.context, self.convolution.depthwise
        return a + taps.left, b + taps.right

    def forward(self, sets: VectorSets) -> VectorSets:
        x = sets.values
        x = x + self.dropout(self.before(self.norms[0](x))) / 2
        x = x + self.dropout(self.attention(sets.with_values(self.norms[1](x))).values)
        x = x + self.convolution(sets.with_values(self.norms[2](x))).values
        x = x + self.dropout(self.after(self.norms[3](x))) / 2
        return sets.with_values(self.norms[4](x))


class ConformerModel(nn.Module):
    """From a batch to hidden vectors: frames, subsampled where asked for, through blocks.

    With `join` "all" the outputs of all blocks are concatenated and normalized: MFA-Conformer (Zhang et al. 2022, section 2.2);
    with "stem" what enters the first block is joined as well, in which the levels of bands are still as they were recorded.
    """

    def __init__(self, config: Conformer, encoding: Encoding) -> None:
        super().__init__()
        # Of what enters the first block and what leaves each, so many of the last are joined.
        self.joined = {"last": 1, "all": config.layers, "stem": config.layers + 1}[config.join]
        self.width = config.width * self.joined
        self.step = config.step
        self.stem = Subsample(encoding.width, config.width, config.step)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList([ConformerBlock(config) for _ in range(config.layers)])
        self.norm = nn.Identity() if config.join == "last" else nn.LayerNorm(self.width)

    @property
    def context(self) -> tuple[float, float]:
        """How many frames before and behind a frame its vector depends on."""
        blocks: Any = self.blocks
        before, behind = (sum(block.context[side] for block in blocks) for side in (0, 1))
        return before * self.step, behind * self.step + self.step - 1

    def forward(self, batch: Batch) -> VectorSets:
        """Hidden vectors of `batch.inputs`."""
        sets: VectorSets = self.stem(batch.inputs)
        sets = sets.with_values(self.dropout(sets.values))
        outputs = [sets.values]
        for block in self.blocks:
            sets = block(sets)
            outputs = [*outputs, sets.values][-self.joined :]
        return sets.with_values(self.norm(outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)))
