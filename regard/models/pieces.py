"""The options of the pieces that models are built from: plain values, without torch.

    front -> positions -> stack

A front makes vectors of the model's width out of what a reader gives, positions say where each vector stands, a stack of blocks
mixes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.attention.adapters.base import Adapter
from regard.attention.spec.attention import Attention
from regard.attention.vocabulary import parse
from regard.errors import InputError, check_numbers

__all__ = ["HEADED", "LAYERS", "Denoising", "Front", "Positions", "attention_of", "check_heads"]

HEADED = {"attention", "induced", "gat", "gatv2", "edge_attention", "graph_transformer", "deep_attention"}
"""Mixers whose heads divide the width."""
LAYERS = 10_001
"""More blocks than any model has: so many take minutes to make, whatever their width."""


@dataclass(frozen=True)
class Front:
    """What makes vectors of the model's width out of ids or vectors of numbers.

    Args:
        characters: width of the vectors made from characters, where the data have some; 0 means none.
        ngrams: each id also adds the vectors of the runs of 2, 3, ... up to this many ids that end in it; 1 for none.
        buckets: how many vectors the runs share, by a hash.
        vectors: file of word vectors, as `regard vectors train` writes, that the words' embedding begins with; a trained run does
            without it. Empty for none.
        deviation: of the numbers that embeddings begin with; small for small data, where rare words hardly learn.
        word_dropout: probability to take an id for the unknown one, while training.
        step: the number of neighboring vectors that become one.
        stem: how they do: "joined", by one matrix, "convolution", by one whose windows overlap, and GELU, or "convolution2d": over
            rows and columns, each stage convolutions and ReLU, then the maximum of 3 x 3, which halves both. "strided" reads
            patches of pictures: convolutions over their pixels, across patches, each with half the rows and columns, until one
            vector is left per patch; as boxes do (`Detr`), so that these can begin with a run that has it.
        reach: how many vectors on each side of those a convolution reads.
        stages: of "convolution2d", the widths of those before the last, whose width is the model's.
        convolutions: of each of these stages.
        norm: whether these convolutions are normalized, vector by vector.
        class_vector: whether a learned vector is put in front of each set, for the pooling "first" to take.
        set: what the set is made of: the "vectors" of the data, or the "edges" between them, each made of its two ends and what it
            carries, and joined with those that share an end.
        dropout: on the vectors that enter the stack, while training.
    """

    characters: int = 0
    ngrams: int = 1
    buckets: int = 1 << 18
    vectors: str = ""
    deviation: float = 1.0
    word_dropout: float = 0.0
    step: int = 1
    stem: Literal["joined", "convolution", "convolution2d", "strided"] = "joined"
    reach: int = 1
    stages: tuple[int, ...] = ()
    convolutions: int = 1
    norm: bool = False
    class_vector: bool = False
    set: Literal["vectors", "edges"] = "vectors"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_numbers("model.front", self, "step", "ngrams", "buckets", "convolutions", least=1)
        check_numbers("model.front", self, "characters", "reach", least=0)
        check_numbers("model.front", self, "dropout", "word_dropout", least=0, below=1)
        if any(width < 1 for width in self.stages):
            raise InputError(f"model.front.stages is {list(self.stages)}, expected widths of at least 1")
        if self.stem in ("convolution2d", "strided") and self.step > 1:
            found = f"model.front.step is {self.step} and the stem is {self.stem!r}"
            raise InputError(f"{found}, expected 1: each of its stages halves rows and columns")
        if self.set == "edges" and (self.step > 1 or self.stem != "joined"):
            found = "model.front.set is 'edges' and several vectors are to become one"
            raise InputError(f"{found}, expected a step of 1 without a convolution")


@dataclass(frozen=True)
class Positions:
    """How a model knows where each vector stands.

    Args:
        type: "none", "sinusoidal", "learned", "rotary" or "floater"; of the coordinates where the data have some (not floater).
            On graphs "none" or "degree", a learned vector for each number of neighbors.
        longest: how many places learned positions have, where the data are no pictures; how many degrees have vectors of their own.
    """

    type: Literal["none", "sinusoidal", "learned", "rotary", "floater", "degree"] = "sinusoidal"
    longest: int = 1024

    def __post_init__(self) -> None:
        check_numbers("model.positions", self, "longest", least=1)


@dataclass(frozen=True)
class Denoising:
    """Targets with noise as further queries while training, which are to give the targets back (Li et al. 2022, DN-DETR).

    Each group is a set of its own in the decoder's self-attention: groups see neither one another nor the queries that are matched.

    Args:
        groups: how many noisy copies of all targets; 0 for none.
        boxes: how far centers are moved and sides changed, at most, as a part of the half side and of the side.
        labels: the probability that a label becomes one drawn at random.
    """

    groups: int = 0
    boxes: float = 0.4
    labels: float = 0.2

    def __post_init__(self) -> None:
        check_numbers("model.denoising", self, "groups", least=0)
        check_numbers("model.denoising", self, "boxes", "labels", least=0, below=1)


def attention_of(text: str) -> Attention | Adapter:
    """The attention, or the adapter around one, that a recipe's text names.

    Raises:
        InputError: text that is no attention.
    """
    attention = parse(text)
    if not isinstance(attention, Attention | Adapter):
        raise InputError(f"the model's attention is {text!r}, expected such as 'Attention(pattern=Window(64, 16))'")
    return attention


def check_heads(width: int, heads: int, attention: str) -> None:
    """Here, before anything is built, so that the last run of a sweep is refused before the first begins."""
    attention_of(attention)
    if width % heads:
        raise InputError(f"model.width is {width}, expected a multiple of the {heads} heads")
