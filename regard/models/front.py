"""Fronts: what makes vectors of the model's width out of what a reader gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from regard.data.batch import Batch, Spelling
from regard.data.encoding import Encoding, Grid
from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.convolution import ConvolutionalStem, Subsample
from regard.layers.embed import Embed, FromCharacters, NGrams
from regard.layers.line_graph import EdgesAsSet
from regard.layers.linear import Linear
from regard.layers.mixers import Pointwise
from regard.layers.patch_stem import PatchStem
from regard.layers.stem2d import PictureStem
from regard.models.pieces import Front
from regard.sets import VectorSets
from regard.vectors.initial import begin_with

__all__ = ["Characters", "ModelFront", "Words", "embedding_of", "make_front", "patch_stem", "stemmed"]

_OF_PICTURES = ("convolution2d", "strided")


class Words(Embed):
    """An embedding of ids whose first column, of words, begins with the vectors of a file.

    Args:
        sizes, width, drop_ids, deviation, scale: as in `Embed`.
        words: what each id of the first column stands for.
        path: the file, read when training begins; the rows of words without a vector there stay as they are.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        width: int,
        drop_ids: float,
        deviation: float,
        words: Sequence[str],
        path: str,
        scale: float = 1.0,
    ) -> None:
        super().__init__(sizes, width, drop_ids, deviation, scale)
        self.words, self.deviation, self.path = words, deviation, path

    def begin_training(self) -> list[str]:
        """Takes the vectors of the file, and says how many words have one."""
        table: Any = self.tables[0]
        said: list[str] = []
        begin_with(table.weight, self.words, self.path, self.deviation, said.append)
        return said


@checked()
class Characters(nn.Module):
    """W [x_i; c_i] + b, with c_i made from the characters of word i.

    Args:
        alphabet: how many characters there are. characters: width of c. width: of x and of the result.
    """

    def __init__(self, alphabet: int, characters: int, width: int) -> None:
        super().__init__()
        self.spell = FromCharacters(alphabet, characters)
        self.join = Linear(width + characters, width)

    @torch.no_grad()
    def pass_on(self) -> None:
        """Set W to [1, 0] and b to 0, so that x passes unchanged until the characters have learned something."""
        self.join.weight.zero_().fill_diagonal_(1)
        self.join.bias.zero_()

    def forward(self, sets: VectorSets, spelling: Spelling | None) -> VectorSets:
        if spelling is None:
            raise InputError("the batch has no spelling, expected the characters of its words")
        spelled = self.spell(spelling.sequences).index_select(0, spelling.index)
        return sets.with_values(self.join(torch.cat([sets.values, spelled], dim=1)))


class ModelFront(nn.Module):
    """join(characters(embed(x) + ngrams(x))), without the pieces that are None.

    Args:
        embed: from what the reader gives to vectors; None where they are taken as they are.
        ngrams: vectors of runs of ids, added. characters: vectors of the words' characters, joined.
        stem: makes one vector of several neighbors.
        edges: makes sets of edges of them.
    """

    def __init__(
        self,
        embed: nn.Module | None = None,
        ngrams: NGrams | None = None,
        characters: Characters | None = None,
        stem: Subsample | PictureStem | PatchStem | None = None,
        edges: EdgesAsSet | None = None,
    ) -> None:
        super().__init__()
        self.embed = embed or nn.Identity()
        self.ngrams, self.characters = ngrams, characters
        self.stem = stem or nn.Identity()
        self.step = stem.step if isinstance(stem, Subsample) else 1
        """The number of vectors that become one; 1 where they are not neighbors along an order."""
        reach: float = stem.reach if isinstance(stem, Subsample) else 0 if stem is None else math.inf
        self.edges = edges or nn.Identity()
        before = reach + (0 if ngrams is None else ngrams.longest - 1)
        self.context: tuple[float, float] = (before, reach) if edges is None else (math.inf, math.inf)
        """How many inputs before and after those that become one vector it depends on."""

    def forward(self, batch: Batch) -> VectorSets:
        sets: VectorSets = self.embed(batch.inputs)
        if self.ngrams is not None:
            sets = sets.with_values(sets.values + self.ngrams(batch.inputs))
        if self.characters is not None:
            sets = self.characters(sets, batch.spelling)
        joined: VectorSets = self.edges(self.stem(sets))
        return joined


def make_front(options: Front, width: int, encoding: Encoding, scaled: bool = False) -> ModelFront:
    """The front of those options, for data of that encoding.

    Args:
        scaled: as in `embedding_of`.

    Raises:
        InputError: an option that the data have nothing for.
    """
    if options.stem in _OF_PICTURES and encoding.grid.coords != 2:
        found = (
            f"model.front.stem is {options.stem!r} and the vectors of the data have {encoding.grid.coords} coordinates"
        )
        raise InputError(f"{found}, expected a row and a column")
    # In this order, in which initial weights have been drawn from the beginning on.
    embed = _embedding(options, width, encoding, scaled)
    ngrams = None
    if options.ngrams > 1:
        if not encoding.columns:
            found = f"model.front.ngrams is {options.ngrams} and the data have no ids"
            raise InputError(f"{found}, expected words, pieces or bytes")
        ngrams = NGrams(options.ngrams, options.buckets, width, options.word_dropout)
    alphabet, characters = len(encoding.characters), None
    if alphabet and options.characters:
        characters = Characters(alphabet, options.characters, width)
    return ModelFront(embed, ngrams, characters, _stem(options, width, encoding), _edges(options, width, encoding))


def _edges(options: Front, width: int, encoding: Encoding) -> EdgesAsSet | None:
    if options.set == "vectors":
        return None
    if not encoding.edges:
        raise InputError("model.front.set is 'edges' and the sets of the data have none, expected graphs")
    return EdgesAsSet(width, encoding.edge_width, width)


def stemmed(options: Front, encoding: Encoding) -> Encoding:
    """The encoding with the grid on which a stem's vectors lie."""
    if options.stem != "convolution2d":
        return encoding
    halved = 1 << (len(options.stages) + 1)
    return replace(encoding, grid=Grid(encoding.grid.coords, tuple(-(-n // halved) for n in encoding.grid.extent)))


def patch_stem(encoding: Encoding, width: int) -> PatchStem:
    """Strided convolutions over the pixels of the data's patches, in color where their values are three for each pixel.

    Raises:
        InputError: vectors that are no square patches.
    """
    for channels in (1, 3):
        patch = math.isqrt(encoding.width // channels)
        if not encoding.columns and encoding.grid.coords == 2 and encoding.width == channels * patch * patch:
            return PatchStem(patch, channels, width)
    found = f"vectors of width {encoding.width} with {encoding.grid.coords} coordinates"
    found = f"ids of {', '.join(encoding.columns)}" if encoding.columns else found
    raise InputError(
        f"the stem reads pictures, and the data have {found}, expected square patches with a row and a column"
    )


def _stem(options: Front, width: int, encoding: Encoding) -> Subsample | PictureStem | PatchStem | None:
    if options.stem == "strided":
        return patch_stem(encoding, width)
    if options.stem == "convolution2d":
        width_in = width if encoding.columns else encoding.width
        return PictureStem(width_in, [*options.stages, width], options.reach, options.convolutions, options.norm)
    if options.stem == "convolution":
        return ConvolutionalStem(width, width, options.step, options.reach)
    return Subsample(width, width, options.step) if options.step > 1 else None


def _embedding(options: Front, width: int, encoding: Encoding, scaled: bool) -> nn.Module | None:
    sizes = tuple(len(entries) for entries in encoding.columns.values())
    if options.vectors and not encoding.words:
        found = f"model.front.vectors is {options.vectors!r} and the data have no words"
        raise InputError(f"{found}, expected data read as words")
    if sizes:
        return embedding_of(options, sizes, width, encoding.words, scaled)
    # What a stem of pictures reads is their pixels.
    return None if options.stem in _OF_PICTURES else Pointwise(encoding.width, width)


def embedding_of(
    options: Front, sizes: tuple[int, ...], width: int, words: Sequence[str] = (), scaled: bool = False
) -> Embed:
    """The embedding of ids, each column with so many of them.

    Args:
        words: what the ids of the first column stand for, where they are words.
        scaled: whether the tables begin 1 / sqrt(width) as large and vectors are multiplied with sqrt(width) (Vaswani et al. 2017,
            section 3.4), so that the same table can give the scores of an output.
    """
    scale = math.sqrt(width) if scaled else 1.0
    deviation = options.deviation / scale
    if options.vectors and words:
        return Words(sizes, width, options.word_dropout, deviation, words, options.vectors, scale)
    return Embed(sizes, width, options.word_dropout, deviation, scale)
