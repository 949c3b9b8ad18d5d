"""The Conformer over vector sets (Gulati et al. 2020), and the variant that joins the outputs of all its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from regard.errors import check_numbers
from regard.models.pieces import LAYERS, attention_of, check_heads

if TYPE_CHECKING:
    from regard.data.encoding import Encoding
    from regard.models.model import Model

__all__ = ["Conformer", "make_conformer"]


@dataclass
class Conformer:
    """Blocks of half a feed-forward step, attention, convolution, half a feed-forward step (Gulati et al. 2020).

    With `join` "all" the outputs of all blocks are joined and normalized: MFA-Conformer (Zhang et al. 2022, section 2.2); with
    "stem" what enters the first block is joined as well, in which the levels of bands are still as they were recorded.

    Args:
        width: of the vectors inside.
        layers: number of blocks.
        heads: of the attention.
        feed_forward: hidden width of the feed-forward networks.
        dropout: while training, on weights, on hidden vectors and on what every layer adds.
        attention: text form of the attention; its bias brings relative positions.
        taps_left: neighbors before that the convolution reads.
        taps_right: neighbors after that the convolution reads, which a stream must wait for.
        step: the number of frames that become one vector.
        join: "last" gives the last block's vectors; "all" joins those of all blocks, "stem" also what enters the first.
    """

    width: int = 144
    layers: int = 4
    heads: int = 4
    feed_forward: int = 576
    dropout: float = 0.1
    attention: str = "Attention(bias=Shaw(radius=16, values=False))"
    taps_left: int = 15
    taps_right: int = 15
    step: int = 1
    join: Literal["last", "all", "stem"] = "last"

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "heads", "feed_forward", "step", least=1)
        check_numbers("model", self, "layers", least=1, below=LAYERS)
        check_numbers("model", self, "taps_left", "taps_right", least=0)
        check_numbers("model", self, "dropout", least=0, below=1)
        check_heads(self.width, self.heads, self.attention)


def make_conformer(options: Conformer, encoding: Encoding) -> Model:
    """The Conformer of those options, for data of that encoding."""
    from regard.layers.attention import SelfAttention
    from regard.layers.blocks import FeedForward
    from regard.layers.conformer import ConformerBlock
    from regard.layers.convolution import ConvolutionModule, Subsample
    from regard.layers.stacks import JoinedStack
    from regard.models.front import ModelFront
    from regard.models.model import Model

    width, dropout, hidden = options.width, options.dropout, options.feed_forward
    front = ModelFront(stem=Subsample(encoding.width, width, options.step))
    blocks = [
        ConformerBlock(
            FeedForward(width, hidden, dropout, "silu"),
            SelfAttention(width, options.heads, attention_of(options.attention), dropout=dropout),
            ConvolutionModule(width, options.taps_left, options.taps_right, dropout),
            FeedForward(width, hidden, dropout, "silu"),
            width,
            dropout,
        )
        for _ in range(options.layers)
    ]
    joined = {"last": 1, "all": options.layers, "stem": options.layers + 1}[options.join]
    return Model(front, JoinedStack(blocks, width, joined, final_norm=options.join != "last"), dropout=dropout)
