"""The options of each model: plain values, without torch. `regard.train.kinds` names what they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.attention.spec.attention import Attention
from regard.attention.vocabulary import parse
from regard.errors import InputError, check_numbers
from regard.layers.registry import mixer_names

__all__ = ["Conformer", "Encoder", "GraphAttentionNetwork", "attention_of"]


@dataclass
class Encoder:
    """Embed, add positions, a stack of blocks of one mixer: the Transformer encoder where the mixer is attention.

    Args:
        width: of the vectors inside
        layers: number of blocks
        heads: of the attention
        feed_forward: hidden width of the feed-forward networks
        dropout: while training, on weights, on hidden vectors and on what each layer adds
        mixer: "attention", "pointwise" (each vector alone), "window" (each with its neighbors), "convolution", "elman", "jordan" or
            "lstm"; several joined by "+", as in "lstm+attention", take turns from block to block
        attention: text form of the attention
        positions: "none", "sinusoidal", "learned", "rotary" or "floater"; of the coordinates where the data have some (not floater)
        longest: how many places learned positions have, where the data are no pictures
        neighbors: how many on each side, for the mixers "window" and "convolution"
        bidirectional: whether the recurrent mixers (elman, jordan, lstm) also read each set from its end
        norm: "pre" or "post"
        activation: "relu" or "gelu"
        input_dropout: on the vectors that enter the stack, while training
        word_dropout: probability to take an id for the unknown one, while training
        characters: width of the vectors made from characters, where the data have some; 0 means none
        embedding_deviation: of the numbers that embeddings begin with; small for small data, where rare words hardly learn
        ngrams: each id also brings the vectors of the runs of 2, 3, up to so many ids that end in it; 1 for none
        buckets: how many vectors the runs share, by a hash
        vectors: file of word vectors, as `regard vectors train` writes, that the words' embedding begins with; a trained run does
            without it. Empty for none
        step: so many neighboring vectors become one at the beginning
        class_vector: whether a learned vector is put in front of each set, for the pooling "first" to take
    """

    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int = 256
    dropout: float = 0.1
    mixer: str = "attention"
    attention: str = "Attention()"
    positions: Literal["none", "sinusoidal", "learned", "rotary", "floater"] = "sinusoidal"
    longest: int = 1024
    neighbors: int = 1
    bidirectional: bool = True
    norm: Literal["pre", "post"] = "pre"
    activation: Literal["relu", "gelu"] = "relu"
    input_dropout: float = 0.0
    word_dropout: float = 0.0
    characters: int = 0
    embedding_deviation: float = 1.0
    ngrams: int = 1
    buckets: int = 1 << 18
    vectors: str = ""
    step: int = 1
    class_vector: bool = False

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "heads", "feed_forward", "longest", "step", "ngrams", "buckets", least=1)
        check_numbers("model", self, "layers", "neighbors", "characters", least=0)
        check_numbers("model", self, "dropout", "input_dropout", "word_dropout", least=0, below=1)
        if {"attention", "gat"} & set(self.mixers):
            _check_heads(self.width, self.heads, self.attention)

    @property
    def mixers(self) -> list[str]:
        """The names that take turns."""
        return mixer_names(self.mixer)


@dataclass
class GraphAttentionNetwork:
    """Layers of attention along edges (Velickovic et al. 2018): the same projection makes query, key and value.

    Args:
        width: of the vectors between the layers, all heads together
        layers: number of layers
        heads: of all layers but the last
        last_heads: of the last layer, whose outputs are averaged
        attention: text form; score `Separable()` is GAT, `Additive(activation='leaky_relu')` GATv2, `Dot()` a graph Transformer
        dropout: on the vectors that enter each layer, while training
        attention_dropout: on the weights, while training
    """

    width: int = 64
    layers: int = 2
    heads: int = 8
    last_heads: int = 1
    attention: str = "Attention(score=Separable(), pattern=Edges())"
    dropout: float = 0.6
    attention_dropout: float = 0.6

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "layers", "heads", "last_heads", least=1)
        check_numbers("model", self, "dropout", "attention_dropout", least=0, below=1)
        _check_heads(self.width, self.heads, self.attention)


@dataclass
class Conformer:
    """Blocks of half a feed-forward step, attention, convolution, half a feed-forward step (Gulati et al. 2020).

    Args:
        width: of the vectors inside
        layers: number of blocks
        heads: of the attention
        feed_forward: hidden width of the feed-forward networks
        dropout: while training, on weights, on hidden vectors and on what each layer adds
        attention: text form of the attention; its bias brings relative positions
        taps_left: neighbors before that the convolution reads
        taps_right: neighbors behind that the convolution reads; what a stream must wait for
        step: so many frames become one vector at the beginning
        join: "last" gives the last block's vectors; "all" joins those of all blocks (MFA-Conformer), "stem" also what enters
            the first
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
        check_numbers("model", self, "width", "layers", "heads", "feed_forward", "step", least=1)
        check_numbers("model", self, "taps_left", "taps_right", least=0)
        check_numbers("model", self, "dropout", least=0, below=1)
        _check_heads(self.width, self.heads, self.attention)


def attention_of(text: str) -> Attention:
    """The attention that a recipe's text names.

    Raises:
        InputError: text that is no attention.
    """
    attention = parse(text)
    if not isinstance(attention, Attention):
        raise InputError(f"the model's attention is {text!r}, expected such as 'Attention(pattern=Window(64, 16))'")
    return attention


def _check_heads(width: int, heads: int, attention: str) -> None:
    """Here, before anything is built, so that the last run of a sweep is refused before the first begins."""
    attention_of(attention)
    if width % heads:
        raise InputError(f"model.width is {width}, expected a multiple of the {heads} heads")
