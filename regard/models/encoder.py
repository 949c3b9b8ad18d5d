"""The Transformer encoder over vector sets (Vaswani et al. 2017, section 3.1), and the same stack with other mixers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from regard.errors import check_numbers
from regard.layers.registry import MixerSizes, Mixing, check_sets, make_mixer, mixer_names, side_by_side
from regard.models.pieces import HEADED, LAYERS, Front, Positions, attention_of, check_heads

if TYPE_CHECKING:
    from torch import nn

    from regard.data.encoding import Encoding
    from regard.models.model import Model

__all__ = ["Encoder", "make_encoder"]


@dataclass
class Encoder:
    """Front, positions, a stack of blocks of one mixer: the Transformer encoder where the mixer is attention.

    Args:
        width: of the vectors inside.
        layers: number of blocks.
        heads: of the attention.
        feed_forward: hidden width of the feed-forward networks.
        dropout: while training, on weights (linear attention has none), on hidden vectors and on what every layer adds.
        stochastic_depth: probability that a set skips what the last block adds, while training; block n of L has n / L of it (Huang
            et al. 2016, eq. 4).
        mixer: "attention", "induced" (attention by way of a few learned vectors), "pointwise" (each vector alone), "window" (each
            with its neighbors), "convolution", "convolution2d" (over rows and columns), "elman", "jordan", "lstm", and along edges
            "gat", "gatv2", "gcn", "gcnii", "deep_attention", "chebyshev", "spectral", "spatial_mean", "spatial_sum", "spatial_max",
            "graphsage", "edge_attention" or "graph_transformer"; several joined by "+", as in "lstm+attention", take turns from
            block to block, and several joined by "&", as in "gcn&attention", stand side by side in a block, whose norms are then
            behind (GPS).
        attention: text form of the attention.
        norm: "pre" or "post".
        activation: "relu" or "gelu".
        positions: where each vector stands; a name alone is its type.
        front: what makes vectors of the data.
        mixing: what only some mixers read.
        residual: "one" stream of vectors, or "reversible", two of them, with which training stores the vectors of no block and
            computes each block once more (Reformer); for blocks of one mixer with the norm "pre".
    """

    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int = 256
    dropout: float = 0.1
    stochastic_depth: float = 0.0
    mixer: str = "attention"
    attention: str = "Attention()"
    norm: Literal["pre", "post"] = "pre"
    activation: Literal["relu", "gelu"] = "relu"
    positions: Positions = field(default_factory=Positions)
    front: Front = field(default_factory=Front)
    mixing: Mixing = field(default_factory=Mixing)
    residual: Literal["one", "reversible"] = "one"

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "heads", "feed_forward", least=1)
        check_numbers("model", self, "layers", least=0, below=LAYERS)
        check_numbers("model", self, "dropout", "stochastic_depth", least=0, below=1)
        if HEADED & set(side_by_side(mixer_names(self.mixer))):
            check_heads(self.width, self.heads, self.attention)


def make_encoder(options: Encoder, encoding: Encoding, scaled: bool = False) -> Model:
    """The encoder of those options, for data of that encoding.

    Args:
        scaled: whether embeddings are multiplied with sqrt(width), see `regard.models.front.embedding_of`.

    Raises:
        InputError: options that the data have nothing for: ids, words, an order, edges.
    """
    from regard.layers.blocks import Block, FeedForward, Stack
    from regard.layers.pooling import ClassVector
    from regard.layers.reversible import ReversibleStack
    from regard.layers.side_by_side import SideBySide
    from regard.models.front import make_front, stemmed
    from regard.models.model import Model
    from regard.models.positions import make_positions

    width, names = options.width, mixer_names(options.mixer)
    check_sets(names, encoding.ordered, encoding.edges, encoding.grid.coords)
    front = make_front(options.front, width, encoding, scaled)
    positions = make_positions(options.positions, width, options.layers, stemmed(options.front, encoding))
    # Rotary positions read coordinates in every block.
    turns = options.positions.type == "rotary" and encoding.grid.coords > 0
    class_vector = ClassVector(width, origin=turns) if options.front.class_vector else None
    sizes = MixerSizes(
        width,
        width,
        options.heads,
        attention_of(options.attention),
        options.dropout,
        positions.rotation,
        mixing=options.mixing,
    )
    stacked = [names[n % len(names)].split("&") for n in range(options.layers)]
    blocks: list[nn.Module] = []
    carried = 0 if options.front.set == "edges" else encoding.edge_width
    for n, mixers in enumerate(stacked):
        each = replace(
            sizes,
            depth=n + 1,
            edge_width=carried,
            last=not any("graph_transformer" in later for later in stacked[n + 1 :]),
        )
        made, skip = [make_mixer(name, each) for name in mixers], options.stochastic_depth * (n + 1) / options.layers
        feed_forward = FeedForward(width, options.feed_forward, options.dropout, options.activation)
        if len(made) > 1:
            blocks.append(SideBySide(made, feed_forward, width, options.dropout, skip))
        else:
            blocks.append(Block(made[0], feed_forward, width, options.norm, options.dropout, skip=skip))
        carried = width if carried and "graph_transformer" in mixers else carried
    kind = ReversibleStack if options.residual == "reversible" else Stack
    stack = kind(blocks, width, final_norm=options.norm == "pre")
    model = Model(front, stack, positions, class_vector, options.front.dropout)
    model.options = options
    return model
