"""Mixers by name, for sequences and graphs alike: one line each. Reading the registry loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from regard.attention.adapters.base import Adapter
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Edges
from regard.attention.spec.scores import Additive
from regard.errors import InputError, check_numbers, nearest
from regard.layers.eigenvectors import check_nodes

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "MIXERS",
    "Mixer",
    "MixerSizes",
    "Mixing",
    "check_lengths",
    "check_sets",
    "make_mixer",
    "mixer_names",
    "side_by_side",
]


@dataclass(frozen=True)
class Mixing:
    """What only some mixers read.

    Args:
        neighbors: how many on each side, for "window", "convolution" and "convolution2d".
        bidirectional: whether "elman", "jordan" and "lstm" also read each set from its end.
        terms: of the polynomial, for "chebyshev", whose vectors hear of those up to one edge less away; of the response to
            frequencies, for "spectral".
        alpha: how much of the first layer's vectors each layer of "gcnii" and "deep_attention" keeps, from 0 to 1.
        inducing: how many learned vectors "induced" goes by.
        theta: how far the matrices of both lie from the identity: by log(theta / n + 1) in layer n.
    """

    neighbors: int = 1
    bidirectional: bool = True
    terms: int = 3
    alpha: float = 0.1
    theta: float = 0.5
    inducing: int = 16

    def __post_init__(self) -> None:
        check_numbers("model.mixing", self, "neighbors", least=0)
        check_numbers("model.mixing", self, "terms", "inducing", least=1)
        check_numbers("model.mixing", self, "alpha", "theta", least=0)
        if self.alpha > 1:
            raise InputError(f"model.mixing.alpha is {self.alpha}, expected a number from 0 to 1")


@dataclass(frozen=True)
class MixerSizes:
    """What a model tells the mixer that it makes; each mixer takes of it what it needs.

    Args:
        width_in: of the vectors. width: of the result.
        heads, attention, dropout: of those that attend.
        rotation: what turns queries and keys by their positions, or None.
        average: whether heads of "gat" and "gatv2" are averaged and not joined.
        depth: which layer of the model it is, counted from 1.
        edge_width: how many values the edges carry that reach it.
        last: whether no layer comes after it.
        value_dropout: on what the weights of "gat" and "gatv2" sum up.
        mixing: the rest.
    """

    width_in: int
    width: int
    heads: int = 1
    attention: Attention | Adapter = field(default_factory=Attention)
    dropout: float = 0.0
    rotation: Any = None
    average: bool = False
    depth: int = 1
    edge_width: int = 0
    last: bool = False
    value_dropout: float = 0.0
    mixing: Mixing = field(default_factory=Mixing)


class Mixer(NamedTuple):
    """One mixer.

    Args:
        layer: `module:class`, made with `width_in`, `width` and `arguments(sizes)`.
        needs: what the sets must have: "order" where vectors are told apart by who comes first, "edges" where it runs along them,
            "grid" where it reads rows and columns.
        arguments: the layer's other arguments.
    """

    layer: str
    needs: Literal["", "order", "edges", "grid"] = ""
    arguments: Callable[[MixerSizes], Mapping[str, Any]] = lambda sizes: {}


def _attention(sizes: MixerSizes) -> dict[str, Any]:
    return {"heads": sizes.heads, "attention": sizes.attention, "dropout": sizes.dropout}


def _sides(sizes: MixerSizes) -> dict[str, Any]:
    return {"left": sizes.mixing.neighbors, "right": sizes.mixing.neighbors}


def _directions(sizes: MixerSizes) -> dict[str, Any]:
    return {"bidirectional": sizes.mixing.bidirectional}


def _induced(sizes: MixerSizes) -> dict[str, Any]:
    return {"heads": sizes.heads, "inducing": sizes.mixing.inducing, "dropout": sizes.dropout}


def _deep(sizes: MixerSizes) -> dict[str, Any]:
    return {"depth": sizes.depth, "alpha": sizes.mixing.alpha, "theta": sizes.mixing.theta}


def _deep_attention(sizes: MixerSizes) -> dict[str, Any]:
    return _attention(sizes) | _deep(sizes)


def _along_edges(sizes: MixerSizes) -> dict[str, Any]:
    attention = sizes.attention
    if not isinstance(attention, Attention):
        raise InputError(
            f"the mixer 'edge_attention' has {attention.text}, expected an attention, whose pattern it narrows"
        )
    patterns = tuple(pattern if pattern == Edges() else Edges() & pattern for pattern in attention.patterns)
    return _attention(sizes) | {"attention": replace(attention, pattern=patterns if len(patterns) > 1 else patterns[0])}


def _plain_graph(sizes: MixerSizes) -> dict[str, Any]:
    return _attention(sizes) | {"average": sizes.average, "value_dropout": sizes.value_dropout}


def _second(sizes: MixerSizes) -> dict[str, Any]:
    score = Additive(activation="leaky_relu", edges=sizes.edge_width)
    attention = Attention(score=score, pattern=Edges())
    return _plain_graph(sizes) | {"attention": attention, "shared": False}


def _streaming(sizes: MixerSizes) -> dict[str, Any]:
    return {"heads": sizes.heads, "edge_width": sizes.edge_width, "dropout": sizes.dropout, "stream": not sizes.last}


_LAYERS = "regard.layers"
MIXERS: dict[str, Mixer] = {
    "attention": Mixer(f"{_LAYERS}.attention:SelfAttention", "", lambda s: _attention(s) | {"rotation": s.rotation}),
    "gat": Mixer(f"{_LAYERS}.graph_attention:GraphAttentionLayer", "", _plain_graph),
    "gatv2": Mixer(f"{_LAYERS}.graph_attention:GraphAttentionLayer", "edges", _second),
    "edge_attention": Mixer(f"{_LAYERS}.attention:SelfAttention", "edges", _along_edges),
    "graph_transformer": Mixer(f"{_LAYERS}.graph_transformer:GraphTransformer", "edges", _streaming),
    "induced": Mixer(f"{_LAYERS}.induced:InducedAttention", "", _induced),
    "pointwise": Mixer(f"{_LAYERS}.mixers:Pointwise"),
    "window": Mixer(f"{_LAYERS}.mixers:WindowedLinear", "order", _sides),
    "convolution": Mixer(f"{_LAYERS}.mixers:Convolution", "order", _sides),
    "convolution2d": Mixer(f"{_LAYERS}.convolution2d:Convolution2d", "grid", lambda s: {"reach": s.mixing.neighbors}),
    "elman": Mixer(f"{_LAYERS}.recurrent:Recurrent", "order", _directions),
    "jordan": Mixer(f"{_LAYERS}.recurrent:Recurrent", "order", lambda s: _directions(s) | {"kind": "jordan"}),
    "lstm": Mixer(f"{_LAYERS}.recurrent:LSTM", "order", _directions),
    "gcn": Mixer(f"{_LAYERS}.gcn:GraphConvolution", "edges"),
    "spatial_mean": Mixer(f"{_LAYERS}.spatial:SpatialConvolution", "edges", lambda s: {"gather": "mean"}),
    "spatial_sum": Mixer(f"{_LAYERS}.spatial:SpatialConvolution", "edges", lambda s: {"gather": "sum"}),
    "spatial_max": Mixer(f"{_LAYERS}.spatial:SpatialConvolution", "edges", lambda s: {"gather": "max"}),
    "graphsage": Mixer(f"{_LAYERS}.spatial:GraphSAGE", "edges"),
    "gcnii": Mixer(f"{_LAYERS}.gcnii:DeepGraphConvolution", "edges", _deep),
    "deep_attention": Mixer(f"{_LAYERS}.gcnii:DeepGraphAttention", "", _deep_attention),
    "chebyshev": Mixer(f"{_LAYERS}.chebyshev:Chebyshev", "edges", lambda s: {"terms": s.mixing.terms}),
    "spectral": Mixer(f"{_LAYERS}.spectral:SpectralFilter", "edges", lambda s: {"terms": s.mixing.terms}),
}


def mixer_names(text: str) -> list[str]:
    """The mixers that take turns from block to block, such as "lstm+attention"; each may be several side by side, "gcn&attention".

    Raises:
        InputError: a name that is none; the nearest one is suggested.

    >>> mixer_names("lstm+attention")
    ['lstm', 'attention']
    """
    names = text.split("+")
    for name in side_by_side(names):
        if name not in MIXERS:
            raise InputError(f"model.mixer is {text!r} and there is no mixer {name!r}: {nearest(name, MIXERS)}")
    return names


def side_by_side(names: Iterable[str]) -> list[str]:
    """Each of the mixers alone.

    >>> side_by_side(["gcn&attention", "gat"])
    ['gcn', 'attention', 'gat']
    """
    return [name for each in names for name in each.split("&")]


def check_sets(names: list[str], ordered: bool, edges: bool, coords: int) -> None:
    """Refuse mixers that need an order, edges, or rows and columns, where the sets of the data have none."""
    has = {"": True, "order": ordered, "edges": edges, "grid": coords == 2}
    lacking = {"edges": "edges", "order": "order: they are graphs", "grid": "rows and columns"}
    for name in side_by_side(names):
        if not has[MIXERS[name].needs]:
            others = ", ".join(other for other, mixer in MIXERS.items() if has[mixer.needs])
            missing = lacking[MIXERS[name].needs]
            raise InputError(
                f"model.mixer is {name!r} and the sets of the data have no {missing}, expected one of {others}"
            )


def check_lengths(names: list[str], longest: int) -> None:
    """Refuse mixers whose cost rules out sets of so many vectors, before torch is loaded."""
    if "spectral" in side_by_side(names):
        check_nodes(longest, "model.mixer is 'spectral' and a training graph")


def make_mixer(name: str, sizes: MixerSizes) -> nn.Module:
    """The layer of that name."""
    module, _, layer = MIXERS[name].layer.partition(":")
    made: nn.Module = getattr(import_module(module), layer)(
        width_in=sizes.width_in, width=sizes.width, **MIXERS[name].arguments(sizes)
    )
    return made
