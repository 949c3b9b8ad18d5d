"""Networks on graphs: graph attention networks (Velickovic et al. 2018; Brody et al. 2022), and their layers with other mixers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from regard.errors import InputError, check_numbers
from regard.layers.registry import MixerSizes, Mixing, check_sets, make_mixer, mixer_names
from regard.models.pieces import HEADED, LAYERS, attention_of, check_heads

if TYPE_CHECKING:
    from regard.data.encoding import Encoding
    from regard.models.model import Model

__all__ = ["GraphNetwork", "make_graph_network"]


@dataclass
class GraphNetwork:
    """Layers of one mixer with an activation between two: a graph attention network where it is "gat".

    Args:
        width: of the vectors between the layers, all heads together.
        layers: number of layers.
        heads: of all layers but the last.
        last_heads: of the last layer; those of "gat" and "gatv2" are averaged there.
        mixer: "gat" (the same projection makes query, key and value), "gatv2" (its score, whatever the attention, and what
            edges carry), "attention" (three projections), "gcn", "chebyshev",
            "spectral", "spatial_mean", "spatial_sum", "spatial_max", "graphsage", "gcnii" and "deep_attention" (deep networks),
            "edge_attention", "graph_transformer" or "pointwise" (each node alone); joined by "+" they take turns.
        attention: text form; score `Separable()` is GAT, `Additive(activation='leaky_relu')` GATv2, `Dot()` a graph Transformer.
        dropout: on the vectors that enter each layer, while training.
        attention_dropout: on the weights, while training.
        value_dropout: on the projected vectors that the weights of "gat" and "gatv2" sum up, while training.
        activation: between two layers.
        linear_ends: whether a linear map of each vector stands before the layers, and another after them, each with the activation
            and the dropout between; deep networks have them.
        mixing: what only some mixers read.
    """

    width: int = 64
    layers: int = 2
    heads: int = 8
    last_heads: int = 1
    mixer: str = "gat"
    attention: str = "Attention(score=Separable(), pattern=Edges())"
    dropout: float = 0.6
    attention_dropout: float = 0.6
    value_dropout: float = 0.0
    activation: Literal["elu", "relu", "gelu"] = "elu"
    linear_ends: bool = False
    mixing: Mixing = field(default_factory=Mixing)

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "heads", "last_heads", least=1)
        check_numbers("model", self, "layers", least=1, below=LAYERS)
        check_numbers("model", self, "dropout", "attention_dropout", "value_dropout", least=0, below=1)
        if "&" in self.mixer:
            found = f"model.mixer is {self.mixer!r} in a GraphNetwork"
            raise InputError(
                f"{found}, expected mixers that take turns: those side by side need the blocks of an Encoder"
            )
        if HEADED & set(mixer_names(self.mixer)):
            check_heads(self.width, self.heads, self.attention)


def make_graph_network(options: GraphNetwork, encoding: Encoding, outputs: int = 0) -> Model:
    """The network of those options, for data of that encoding.

    Args:
        outputs: width of the last layer's vectors, where it gives the scores of classes itself, as in the papers; 0 for `width`.

    Raises:
        InputError: nodes that carry ids; mixers that need an order or edges where the data have none; outputs that the heads
            of the last layer do not divide.
    """
    from regard.layers.stacks import PlainStack
    from regard.models.front import ModelFront
    from regard.models.model import Model

    if not encoding.width:
        raise InputError("the nodes carry ids, expected vectors of numbers for a graph network")
    names = mixer_names(options.mixer)
    check_sets(names, encoding.ordered, encoding.edges, encoding.grid.coords)
    turns = [names[n % len(names)] for n in range(options.layers)]
    if options.linear_ends:
        turns = ["pointwise", *turns, "pointwise"]
    if turns[-1] in HEADED - {"gat", "gatv2"} and outputs % options.last_heads:
        raise InputError(
            f"model.last_heads is {options.last_heads} and the last layer gives {outputs} outputs, expected a divisor of them: "
            "only the heads of 'gat' and 'gatv2' are averaged"
        )
    layers = []
    carried, before = encoding.edge_width, int(options.linear_ends)
    for n, name in enumerate(turns):
        last = n + 1 == len(turns)
        sizes = MixerSizes(
            options.width if n else encoding.width,
            outputs if last and outputs else options.width,
            options.last_heads if last else options.heads,
            attention_of(options.attention),
            options.attention_dropout,
            average=last,
            depth=max(1, n + 1 - before),
            edge_width=carried,
            last="graph_transformer" not in turns[n + 1 :],
            value_dropout=options.value_dropout,
            mixing=options.mixing,
        )
        layers.append(make_mixer(name, sizes))
        carried = sizes.width if carried and name == "graph_transformer" else carried
    return Model(ModelFront(), PlainStack(layers, options.dropout, options.activation))
