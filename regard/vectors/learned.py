"""Networks whose hidden layer is the vector: one that predicts the next word, and auto-encoders of counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional

from regard.data.examples import Array
from regard.errors import InputError, check_numbers
from regard.vectors.corpus import BREAK, Corpus

__all__ = ["AutoEncoder", "Encoding", "NextWord", "NextWordOptions", "next_word_vectors", "encoded_vectors"]

Told = Callable[[int, float], None]
"""Called after each epoch with its number and its mean loss."""


@dataclass(frozen=True)
class NextWordOptions:
    """How the network that predicts the next word is trained.

    Args:
        width: of the vectors. before: how many words the next one is predicted from. hidden: width of the tanh layer.
        negatives: words that a batch is contrasted with. epochs: passes over the text. batch: words at a time.
        rate: of Adam; it falls to zero in a line. seed: of weights, order and negatives.
    """

    width: int = 100
    before: int = 4
    hidden: int = 100
    negatives: int = 1000
    epochs: int = 2
    batch: int = 4000
    rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers("vectors", self, "width", "before", "hidden", "negatives", "epochs", "batch", least=1)


class NextWord(nn.Module):
    """s = H tanh(W [c_(i-n); ...; c_(i-1)] + b) + a, with c the rows of one table (Bengio et al. 2003, without direct connections).

    s scores each word as the next one; the table is what it has learned of words.
    """

    def __init__(self, words: int, options: NextWordOptions) -> None:
        super().__init__()
        self.table = nn.Embedding(words, options.width, sparse=True)
        self.hidden = nn.Linear(options.before * options.width, options.hidden)
        self.next = nn.Embedding(words, options.hidden, sparse=True)
        self.bias = nn.Embedding(words, 1, sparse=True)
        nn.init.normal_(self.table.weight, std=0.1)
        nn.init.zeros_(self.next.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, before: Tensor) -> Tensor:
        """`[b, hidden]` from the ids `[b, n]` of the words before."""
        hidden: Tensor = torch.tanh(self.hidden(self.table(before).flatten(1)))
        return hidden

    def loss(self, before: Tensor, word: Tensor, sampled: Tensor, frequency: Tensor) -> Tensor:
        """Cross-entropy of the next word against words sampled by frequency, the same for the batch.

        The scores are less log(k p(word)), so that their exponentials are expected to sum to those of the whole vocabulary
        (Bengio and Senecal 2008; Jean et al. 2015, equation 8).
        """
        hidden, shift = self(before), torch.log(len(sampled) * frequency)
        right = (hidden * self.next(word)).sum(1) + self.bias(word)[:, 0] - shift[word]
        wrong = hidden @ self.next(sampled).T + self.bias(sampled)[:, 0] - shift[sampled]
        wrong = wrong.masked_fill(sampled == word[:, None], -torch.inf)
        return functional.cross_entropy(torch.cat([right[:, None], wrong], 1), torch.zeros_like(word))


def next_word_vectors(corpus: Corpus, options: NextWordOptions, told: Told | None = None) -> Array:
    """`[v, width]`, the table of a `NextWord` trained on the corpus.

    Raises:
        InputError: no text as long as the words before and one more.
    """
    ids = torch.from_numpy(corpus.ids.astype(np.int64))
    spans = ids.unfold(0, options.before + 1, 1) if len(ids) > options.before else ids.new_empty(0, options.before + 1)
    starts = (spans != BREAK).all(1).nonzero()[:, 0]
    if not len(starts):
        raise InputError(f"no text has {options.before + 1} words of the vocabulary, expected at least one that long")
    generator = torch.Generator().manual_seed(options.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = NextWord(len(corpus.words), options)
    frequency = torch.from_numpy(corpus.counts / corpus.counts.sum()).float()
    tables = [model.table.weight, model.next.weight, model.bias.weight]
    optimizers = [
        torch.optim.SparseAdam(tables, options.rate),
        torch.optim.Adam(model.hidden.parameters(), options.rate),
    ]
    steps = -(-len(starts) // options.batch)
    for epoch in range(options.epochs):
        order, total = starts[torch.randperm(len(starts), generator=generator)], 0.0
        for n, batch in enumerate(order.split(options.batch)):
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = options.rate * (1 - (epoch * steps + n) / (options.epochs * steps))
            sampled = torch.multinomial(frequency, options.negatives, replacement=True, generator=generator)
            span = spans[batch]
            loss = model.loss(span[:, :-1], span[:, -1], sampled, frequency)
            total += loss.item() * len(batch)
            _step(loss, optimizers)
        if told is not None:
            told(epoch, total / len(starts))
    return model.table.weight.detach().numpy()


@dataclass(frozen=True)
class Encoding:
    """How an auto-encoder is trained.

    Args:
        kind: `"plain"` or `"variational"`. width: of the bottleneck. hidden: width of a ReLU layer on each side of it; 0 for none.
        weight: of the divergence from the standard normal, for the variational one. Without hidden layers it keeps the directions
            that hold more than half of it of the rows' mean square, which is 1 (Lucas et al. 2019).
        epochs, batch, rate, seed: of Adam.
    """

    kind: Literal["plain", "variational"] = "plain"
    width: int = 100
    hidden: int = 0
    weight: float = 1e-3
    epochs: int = 20
    batch: int = 256
    rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers("vectors", self, "width", "epochs", "batch", least=1)
        check_numbers("vectors", self, "hidden", "weight", least=0)


class AutoEncoder(nn.Module):
    """z = encode(x), x' = decode(z), loss |x - x'|^2 (Hinton and Salakhutdinov 2006), summed over columns.

    The variational one (Kingma and Welling 2014) draws z = m + e^(l / 2) noise, with m and l from the encoder, and adds, weighted,

        -1/2 sum (1 + l - m^2 - e^l)

    to the loss. The vector of x is z, or m.
    """

    def __init__(self, columns: int, options: Encoding) -> None:
        super().__init__()
        self.options = options
        heads = 2 if options.kind == "variational" else 1
        inner = options.hidden or columns
        self.encode = nn.Sequential(*self._outer(columns, options.hidden), nn.Linear(inner, heads * options.width))
        self.decode = nn.Sequential(
            *self._outer(options.width, options.hidden), nn.Linear(options.hidden or options.width, columns)
        )

    @staticmethod
    def _outer(width: int, hidden: int) -> list[nn.Module]:
        return [nn.Linear(width, hidden), nn.ReLU()] if hidden else []

    def vectors(self, rows: Tensor) -> Tensor:
        """`[b, width]` from rows `[b, columns]`."""
        found: Tensor = self.encode(rows)[:, : self.options.width]
        return found

    def loss(self, rows: Tensor, noise: Tensor) -> Tensor:
        """The mean over rows; `noise` `[b, width]` is standard normal."""
        found = self.encode(rows)
        if self.options.kind == "plain":
            return ((self.decode(found) - rows) ** 2).sum(1).mean()
        mean, log = found.chunk(2, 1)
        drawn = mean + torch.exp(log / 2) * noise
        divergence = -0.5 * (1 + log - mean**2 - torch.exp(log)).sum(1)
        return (((self.decode(drawn) - rows) ** 2).sum(1) + self.options.weight * divergence).mean()


def encoded_vectors(matrix: csr_matrix, options: Encoding, told: Told | None = None) -> Array:
    """`[v, width]`, the bottleneck of an auto-encoder trained on the rows of counts, or of their PPMI.

    Rows are divided by the root of their mean square, over the whole matrix and not each alone, so that the loss does not depend on
    the unit of the counts.
    """
    scale = float(np.sqrt((matrix.data.astype(np.float64) ** 2).sum() / matrix.shape[0])) or 1.0
    generator = torch.Generator().manual_seed(options.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = AutoEncoder(matrix.shape[1], options)
    optimizer = torch.optim.Adam(model.parameters(), options.rate)

    def rows(chosen: Array) -> Tensor:
        return torch.from_numpy(matrix[chosen].toarray()).float() / scale

    for epoch in range(options.epochs):
        total = 0.0
        for batch in torch.randperm(matrix.shape[0], generator=generator).split(options.batch):
            noise = torch.randn(len(batch), options.width, generator=generator)
            loss = model.loss(rows(batch.numpy()), noise)
            total += loss.item() * len(batch)
            _step(loss, [optimizer])
        if told is not None:
            told(epoch, total / matrix.shape[0])
    with torch.inference_mode():
        parts = [
            model.vectors(rows(part))
            for part in np.array_split(np.arange(matrix.shape[0]), -(-matrix.shape[0] // 1024))
        ]
    return torch.cat(parts).numpy()


def _step(loss: Tensor, optimizers: list[Any]) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
