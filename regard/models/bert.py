"""BERT (Devlin et al. 2019) from our own pieces: embeddings with a norm, post-norm blocks, and its heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from regard.data.batch import Batch
from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.layers.pooling import Mean
from regard.models.front import ModelFront
from regard.models.model import Model
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

__all__ = ["Bert", "BertEmbeddings", "BertSizes", "MaskedHead"]


@dataclass(frozen=True)
class BertSizes:
    """The sizes of a BERT.

    Args:
        vocabulary: entries of the table of ids. width: of the vectors. layers: number of blocks. heads: of the attention.
        feed_forward: hidden width of the feed-forward networks. longest: the most ids of a set. segments: entries of the table of
            segments. epsilon: of all layer norms.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    feed_forward: int
    longest: int
    segments: int
    epsilon: float


class BertEmbeddings(nn.Module):
    """x_i = norm(W[id_i] + P[i] + S[segment_i]); ids `[t]`, whose segment is 0, or `[t, 2]`, ids and segments.

    Raises:
        InputError: (when called) a set that is longer than there are positions, or an id or segment without a row.
    """

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.words = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = nn.Embedding(sizes.longest, sizes.width)
        self.segments = nn.Embedding(sizes.segments, sizes.width)
        self.norm = nn.LayerNorm(sizes.width, sizes.epsilon)

    def forward(self, sets: VectorSets) -> VectorSets:
        ids = sets.values if sets.values.dim() == 2 else torch.stack([sets.values, torch.zeros_like(sets.values)], 1)
        place = sets.layout.index
        for what, rows, table in (
            ("id", ids[:, 0], self.words),
            ("vector at place", place, self.positions),
            ("segment", ids[:, 1], self.segments),
        ):
            outside = (rows < 0) | (rows >= table.num_embeddings)
            if bool(outside.any()):
                row = int(outside.nonzero()[0])
                found = f"set {int(sets.layout.set_of_row[row])} has {what} {int(rows[row])}"
                raise InputError(f"{found}, expected less than {table.num_embeddings}")
        return sets.with_values(self.norm(self.words(ids[:, 0]) + self.positions(place) + self.segments(ids[:, 1])))


class MaskedHead(nn.Module):
    """score(i, w) = E_w . norm(gelu(W h_i + c)) + b_w, with E the table of the model's ids."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.width, sizes.width)
        self.norm = nn.LayerNorm(sizes.width, sizes.epsilon)
        self.bias = nn.Parameter(torch.zeros(sizes.vocabulary))

    def forward(self, vectors: Float[Tensor, "t d"], table: Float[Tensor, "v d"]) -> Float[Tensor, "t v"]:
        return linear(self.norm(nn.functional.gelu(self.dense(vectors))), table, self.bias)


class Bert(nn.Module):
    """The encoder, and what stands on it.

    Args:
        sizes: of all parts.
        pooled: whether there is a layer for the first vector of each set, tanh(W h_0 + c).
        masked: whether there is a head that scores hidden tokens.
    """

    def __init__(self, sizes: BertSizes, pooled: bool = False, masked: bool = False) -> None:
        super().__init__()
        self.sizes = sizes
        blocks = [
            Block(
                SelfAttention(sizes.width, sizes.heads),
                FeedForward(sizes.width, sizes.feed_forward, activation="gelu"),
                sizes.width,
                norm="post",
            )
            for _ in range(sizes.layers)
        ]
        for block in blocks:
            block.norm_mixer.eps = block.norm_feed_forward.eps = sizes.epsilon
        self.model = Model(ModelFront(BertEmbeddings(sizes)), Stack(blocks, sizes.width, final_norm=False))
        self.pooler = nn.Linear(sizes.width, sizes.width) if pooled else None
        self.head = MaskedHead(sizes) if masked else None

    @property
    def table(self) -> Tensor:
        """`[vocabulary, width]` the vectors of ids."""
        weight: Any = self.model.front.embed.words.weight  # type: ignore[union-attr]
        return weight

    def forward(self, sets: VectorSets) -> VectorSets:
        """Hidden vectors of sets of ids, `[CLS]` and `[SEP]` among them."""
        hidden: VectorSets = self.model(Batch(sets))
        return hidden

    def pooled(self, hidden: VectorSets) -> Float[Tensor, "s d"]:
        """tanh(W h_0 + c) for each set, none of which is empty.

        Raises:
            InputError: a model without that layer.
        """
        if self.pooler is None:
            raise InputError("the model has no pooling layer, expected a folder with pooler.dense.weight")
        return self.pooler(hidden.values[hidden.layout.offsets[:-1]]).tanh()

    def scores(self, hidden: VectorSets, rows: Bool[Tensor, " t"]) -> Float[Tensor, "r v"]:
        """The score of each token at some rows.

        Raises:
            InputError: a model without the head.
        """
        if self.head is None:
            raise InputError("the model has no head that guesses tokens, expected a folder with cls.predictions")
        scores: Tensor = self.head(hidden.values[rows], self.table)
        return scores

    def embed(self, sets: VectorSets) -> Float[Tensor, "s d"]:
        """One vector of length 1 for each set: the mean of its hidden vectors, divided by its length."""
        means: Tensor = Mean(self.sizes.width)(self(sets))
        return normalize(means, dim=1)

    @torch.no_grad()
    def embed_ids(self, ids: Sequence[Sequence[int]], budget: int = 4096) -> Float[Tensor, "s d"]:
        """The same for ids, in batches of at most `budget` of them, or one set that has more; they keep their order."""
        found = [self.embed(VectorSets.pack([torch.tensor(row) for row in part])) for part in _batches(ids, budget)]
        return torch.cat([torch.zeros(0, self.sizes.width), *found])

    @torch.no_grad()
    def fill_ids(self, ids: Sequence[Sequence[int]], mask: int, budget: int = 4096) -> Iterator[Float[Tensor, "g v"]]:
        """For each set of ids the scores of all tokens at the places of the id `mask`; computed in batches as `embed_ids` does.

        Raises:
            InputError: a model without the head.
        """
        for part in _batches(ids, budget):
            sets = VectorSets.pack([torch.tensor(row) for row in part])
            scores = self.scores(self(sets), sets.values == mask)
            yield from scores.split([list(row).count(mask) for row in part])


def _batches(ids: Sequence[Sequence[int]], budget: int) -> Iterator[Sequence[Sequence[int]]]:
    """The sets in their order, so many at a time that they have at most `budget` ids, or one that has more."""
    first, total = 0, 0
    for n, row in enumerate(ids):
        if n > first and total + len(row) > budget:
            yield ids[first:n]
            first, total = n, 0
        total += len(row)
    if first < len(ids):
        yield ids[first:]
