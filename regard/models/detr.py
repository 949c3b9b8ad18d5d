"""DETR (Carion et al. 2020), the Transformer from a picture to a set of boxes, with what makes it learn from few pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from regard.errors import InputError, check_numbers
from regard.models.pieces import LAYERS, Denoising, Positions, attention_of, check_heads

if TYPE_CHECKING:
    from regard.data.encoding import Encoding
    from regard.models.box_decoder import DetrModel

__all__ = ["Detr", "make_detr"]


@dataclass
class Detr:
    """Reads the patches of a picture with convolutions and a Transformer encoder; a decoder makes boxes out of query vectors.

    Args:
        width: of the vectors inside.
        layers: number of the encoder's blocks.
        decoder_layers: number of the decoder's blocks, each of which gives boxes.
        heads: of all attentions.
        feed_forward: hidden width of the feed-forward networks.
        dropout: while training, on weights, on hidden vectors and on what every layer adds.
        queries: how many boxes it can give.
        anchors: whether each query begins with a box of its own, learned and first on a grid, that each block moves (Liu et al.
            2022, DAB-DETR; Zhu et al. 2020, Deformable DETR, appendix A.4); otherwise every block tells the whole box.
        attention: text form of the encoder's attention.
        cross_attention: of the decoder to the encoder's vectors. Their coordinates are rows and columns of patches, those of
            queries row, column, height and width of their box, so that `Attention(bias=Gaussian())` looks around the box.
        norm: "pre" or "post".
        activation: "relu" or "gelu".
        positions: where each patch lies.
        denoising: noisy targets as further queries while training.
    """

    width: int = 128
    layers: int = 2
    decoder_layers: int = 3
    heads: int = 4
    feed_forward: int = 256
    dropout: float = 0.1
    queries: int = 100
    anchors: bool = False
    attention: str = "Attention()"
    cross_attention: str = "Attention()"
    norm: Literal["pre", "post"] = "pre"
    activation: Literal["relu", "gelu"] = "relu"
    positions: Positions = field(default_factory=Positions)
    denoising: Denoising = field(default_factory=Denoising)

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "heads", "feed_forward", "queries", least=1)
        check_numbers("model", self, "layers", least=0, below=LAYERS)
        check_numbers("model", self, "decoder_layers", least=1, below=LAYERS)
        check_numbers("model", self, "dropout", least=0, below=1)
        for text in (self.attention, self.cross_attention):
            check_heads(self.width, self.heads, text)
        if self.width % 8:
            raise InputError(
                f"model.width is {self.width}, expected a multiple of 8: two numbers for each end of a box"
            )
        if self.denoising.groups and not self.anchors:
            raise InputError(
                "model.denoising.groups needs queries that begin with a box, expected --model.anchors true"
            )


def make_detr(options: Detr, encoding: Encoding) -> DetrModel:
    """The model of those options, for data of that encoding.

    Raises:
        InputError: data that are no pictures with sets of boxes.
    """
    from regard.data.encoding import Encoding, Labels
    from regard.layers.attention import CrossAttention, SelfAttention, mark_learned
    from regard.layers.blocks import Block, FeedForward, Stack
    from regard.models.box_decoder import Begin, BoxDecoder, DetrModel, aim
    from regard.models.front import ModelFront, patch_stem
    from regard.models.model import Model
    from regard.models.positions import make_positions

    width, heads, dropout, norm = options.width, options.heads, options.dropout, options.norm
    boxes = encoding.targets
    if not isinstance(boxes, Encoding) or not isinstance(boxes.targets, Labels) or boxes.grid.coords != 4:
        found = encoding.described_targets
        raise InputError(
            f"the model writes boxes, and the targets of the data are {found}, expected sets of labels with boxes"
        )

    def block(cross: CrossAttention | None = None) -> Block:
        attention = attention_of(options.attention) if cross is None else None
        rotation = positions.rotation if cross is None else None
        mixer = SelfAttention(width, heads, attention, rotation=rotation, dropout=dropout)
        if cross is not None:
            mark_learned(mixer, "queries", "keys")
            mark_learned(cross, "queries")
        feed_forward = FeedForward(width, options.feed_forward, dropout, options.activation)
        return Block(mixer, feed_forward, width, norm, dropout, cross)

    positions = make_positions(options.positions, width, options.layers, encoding)
    blocks = [block() for _ in range(options.layers)]
    front = ModelFront(stem=patch_stem(encoding, width))
    encoder = Model(front, Stack(blocks, width, final_norm=norm == "pre"), positions, dropout=dropout)
    crosses = [
        CrossAttention(width, heads, width, attention_of(options.cross_attention), dropout=dropout)
        for _ in range(options.decoder_layers)
    ]
    for cross in crosses:
        aim(cross)
    begin = Begin(len(boxes.labels), options.queries, options.anchors, options.denoising)
    decoder = BoxDecoder([block(cross) for cross in crosses], width, begin)
    return DetrModel(encoder, decoder)
