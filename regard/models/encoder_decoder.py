"""The Transformer from one sequence to another (Vaswani et al. 2017): an encoder, and a decoder that attends to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from regard.attention.adapters.remember import Remember
from regard.errors import InputError, check_numbers
from regard.layers.registry import Mixing, mixer_names
from regard.models.encoder import Encoder, make_encoder
from regard.models.pieces import LAYERS, Front, Positions, attention_of, check_heads

if TYPE_CHECKING:
    from regard.data.encoding import Encoding
    from regard.models.decoder import EncoderDecoderModel

__all__ = ["EncoderDecoder", "make_encoder_decoder"]


@dataclass
class EncoderDecoder:
    """Reads a set with a Transformer encoder, or its stack with other mixers, and writes ids with a Transformer decoder.

    Args:
        width: of the vectors inside.
        layers: number of the encoder's blocks.
        decoder_layers: number of the decoder's blocks.
        heads: of all attentions.
        feed_forward: hidden width of the feed-forward networks.
        dropout: while training, on weights, on hidden vectors and on what every layer adds.
        attention: text form of the encoder's attention.
        decoder_attention: of the decoder to what it has written; one that looks back only.
        cross_attention: of the decoder to the encoder's vectors.
        norm: "pre" or "post".
        activation: "relu" or "gelu".
        tied: whether one table gives the vectors of ids and the scores of ids, and where the source's ids are the targets', the
            vectors of these too.
        scaled: whether vectors of ids are multiplied with sqrt(width), and their table begins smaller by as much, as suits scores.
        positions: where each vector stands, in the encoder and in the decoder.
        front: what makes vectors of the data; `deviation` and `dropout` are those of the decoder's ids too.
        mixer: of the encoder's blocks, as in `Encoder`.
        mixing: what only some mixers read.
    """

    width: int = 128
    layers: int = 2
    decoder_layers: int = 2
    heads: int = 4
    feed_forward: int = 256
    dropout: float = 0.1
    attention: str = "Attention()"
    decoder_attention: str = "Attention(pattern=Causal())"
    cross_attention: str = "Attention()"
    norm: Literal["pre", "post"] = "pre"
    activation: Literal["relu", "gelu"] = "relu"
    tied: bool = True
    scaled: bool = True
    positions: Positions = field(default_factory=Positions)
    front: Front = field(default_factory=Front)
    mixer: str = "attention"
    mixing: Mixing = field(default_factory=Mixing)

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "heads", "feed_forward", least=1)
        check_numbers("model", self, "layers", least=0, below=LAYERS)
        check_numbers("model", self, "decoder_layers", least=1, below=LAYERS)
        check_numbers("model", self, "dropout", least=0, below=1)
        mixer_names(self.mixer)
        for text in (self.attention, self.decoder_attention, self.cross_attention):
            check_heads(self.width, self.heads, text)
        attention = attention_of(self.decoder_attention)
        try:
            attention if isinstance(attention, Remember) else Remember(attention)  # type: ignore[arg-type]
        except InputError as error:
            raise InputError(f"model.decoder_attention must be one that remembers: {error}") from None


def make_encoder_decoder(options: EncoderDecoder, encoding: Encoding) -> EncoderDecoderModel:
    """The model of those options, for data of that encoding.

    Raises:
        InputError: data whose targets are no sets of ids, or options that the data have nothing for.
    """
    from regard.layers.attention import CrossAttention, SelfAttention
    from regard.layers.blocks import Block, FeedForward, Stack
    from regard.models.decoder import Decoder, EncoderDecoderModel
    from regard.models.front import embedding_of
    from regard.models.positions import make_positions
    from regard.models.sequences import written_ids

    width, heads, dropout, norm = options.width, options.heads, options.dropout, options.norm
    targets = written_ids(encoding)
    entries = next(iter(targets.columns.values()))
    encoder = make_encoder(
        Encoder(
            width,
            options.layers,
            heads,
            options.feed_forward,
            dropout,
            attention=options.attention,
            norm=norm,
            activation=options.activation,
            mixer=options.mixer,
            positions=options.positions,
            front=options.front,
            mixing=options.mixing,
        ),
        encoding,
        options.scaled,
    )
    shared = options.tied and list(encoding.columns.values()) == [entries]
    positions = make_positions(options.positions, width, options.decoder_layers, targets)
    blocks = [
        Block(
            SelfAttention(
                width, heads, attention_of(options.decoder_attention), rotation=positions.rotation, dropout=dropout
            ),
            FeedForward(width, options.feed_forward, dropout, options.activation),
            width,
            norm,
            dropout,
            CrossAttention(width, heads, encoder.width, attention_of(options.cross_attention), dropout=dropout),
        )
        for _ in range(options.decoder_layers)
    ]
    decoder = Decoder(positions, Stack(blocks, width, final_norm=norm == "pre"), options.front.dropout)
    embed = None if shared else embedding_of(options.front, (len(entries),), width, scaled=options.scaled)
    return EncoderDecoderModel(encoder, decoder, targets, embed, options.tied)
