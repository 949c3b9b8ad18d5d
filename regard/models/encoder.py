"""The Transformer encoder over vector sets (Vaswani et al. 2017, section 3.1), and the same stack with other mixers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.blocks import Block, FeedForward, Stack
from regard.layers.convolution import Subsample
from regard.layers.dropout import Dropout
from regard.layers.embed import Embed, FromCharacters, NGrams
from regard.layers.floater import Floater
from regard.layers.mixers import Pointwise
from regard.layers.pooling import ClassVector
from regard.layers.positions import Learned, Rotary, Sinusoidal
from regard.layers.registry import MixerSizes, Mixing, make_mixer
from regard.models.configs import Encoder, attention_of
from regard.sets import VectorSets
from regard.vectors.initial import begin_with

__all__ = ["EncoderModel"]


class EncoderModel(nn.Module):
    """From a batch to hidden vectors: `config` says what is built, `encoding` what the data look like."""

    def __init__(self, config: Encoder, encoding: Encoding) -> None:
        super().__init__()
        self.width = config.width
        sizes = tuple(len(entries) for entries in encoding.columns.values())
        self.embed = (
            Embed(sizes, config.width, config.word_dropout, config.embedding_deviation)
            if sizes
            else Pointwise(encoding.width, config.width)
        )
        if config.ngrams > 1 and not sizes:
            raise InputError(
                f"model.ngrams is {config.ngrams} and the data have no ids, expected words, pieces or bytes"
            )
        self.ngrams = (
            NGrams(config.ngrams, config.buckets, config.width, config.word_dropout) if config.ngrams > 1 else None
        )
        self.vectors, self.deviation = config.vectors, config.embedding_deviation
        self.words = encoding.words
        if self.vectors and not self.words:
            raise InputError(
                f"model.vectors is {self.vectors!r} and the data have no words, expected data read as words"
            )
        alphabet = len(encoding.characters)
        self.spell = FromCharacters(alphabet, config.characters) if alphabet and config.characters else None
        self.join = nn.Linear(config.width + config.characters, config.width) if self.spell is not None else None
        self.step = config.step
        self.stem = Subsample(config.width, config.width, config.step) if config.step > 1 else nn.Identity()
        self.position = self._positions(config, encoding)
        self.front = ClassVector(config.width) if config.class_vector else nn.Identity()
        self.floater = self._floater(config, encoding) if config.positions == "floater" else None
        self.dropout = Dropout(config.input_dropout)
        blocks = [
            Block(
                self._mixer(config.mixers[n % len(config.mixers)], config, encoding),
                FeedForward(config.width, config.feed_forward, config.dropout, config.activation),
                config.width,
                config.norm,
                config.dropout,
            )
            for n in range(config.layers)
        ]
        self.stack = Stack(blocks, config.width, final_norm=config.norm == "pre")

    def begin(self) -> None:
        """Before training: the words' embedding takes the vectors of the file that the configuration names, if it names one."""
        if self.vectors and isinstance(self.embed, Embed):
            table: Any = self.embed.tables[0]
            begin_with(table.weight, self.words, self.vectors, self.deviation)

    @staticmethod
    def _positions(config: Encoder, encoding: Encoding) -> nn.Module:
        if config.positions == "sinusoidal":
            # Embeddings start with entries of about one, like the sines.
            return Sinusoidal(config.width, encoding.grid.coords)
        if config.positions == "learned":
            return Learned(config.width, encoding.grid.extent or (config.longest,), encoding.grid.coords)
        return nn.Identity()

    @staticmethod
    def _floater(config: Encoder, encoding: Encoding) -> Floater:
        if encoding.grid.coords:
            raise InputError(
                f"the positions are floater and the vectors have {encoding.grid.coords} coordinates, "
                "expected none: FLOATER goes along one order"
            )
        return Floater(config.width, config.layers)

    @staticmethod
    def _mixer(name: str, config: Encoder, encoding: Encoding) -> nn.Module:
        sizes = MixerSizes(
            config.width,
            config.width,
            config.heads,
            attention_of(config.attention),
            config.dropout,
            rotation=Rotary(encoding.grid.coords) if config.positions == "rotary" else None,
            mixing=Mixing(config.neighbors, config.bidirectional),
        )
        return make_mixer(name, sizes)

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and behind one its hidden vector depends on."""
        if isinstance(self.front, ClassVector):
            return math.inf, math.inf
        blocks: Any = self.stack.blocks
        each = [block.mixer.context for block in blocks]
        before, behind = sum(before for before, _ in each), sum(behind for _, behind in each)
        run = 0 if self.ngrams is None else self.ngrams.longest - 1
        return before * self.step + run, behind * self.step + self.step - 1

    def forward(self, batch: Batch) -> VectorSets:
        """Hidden vectors of `batch.inputs`; words' characters come as `batch.spelling`."""
        sets: VectorSets = self.embed(batch.inputs)
        if self.ngrams is not None:
            sets = sets.with_values(sets.values + self.ngrams(batch.inputs))
        if self.spell is not None and self.join is not None:
            if batch.spelling is None:
                raise InputError("the words come without characters, expected the data that the model was made for")
            spelled = self.spell(batch.spelling.sequences).index_select(0, batch.spelling.index)
            sets = sets.with_values(self.join(torch.cat([sets.values, spelled], dim=1)))
        sets = self.front(self.position(self.stem(sets)))
        positions = None if self.floater is None else self.floater(sets.layout, sets.values.shape[0])
        return self.stack(sets.with_values(self.dropout(sets.values)), positions)
