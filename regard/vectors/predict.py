"""Vectors that predict words: skip-gram and CBOW with negative sampling (Mikolov et al. 2013a, 2013b)."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError, check_numbers
from regard.kernels import available
from regard.kernels.records import record
from regard.vectors.corpus import Corpus, keep_probability

__all__ = ["Prediction", "Progress", "Trained", "alias_table", "train"]

# So many words are one piece of work, with one rate of learning and one seed.
_PIECE = 10_000
_MOST_NEGATIVES = 1_000


@dataclass(frozen=True)
class Prediction:
    """Skip-gram or CBOW with k negatives. For a word o and what stands around it,

        loss = -log sigmoid(u_o . h) - sum over k words n, drawn by count^power, of log sigmoid(-u_n . h)

    where h is the vector v_c of one word c of the window (`"skip-gram"`: a loss for each c), or the mean of all of them (`"cbow"`).
    Each word draws how far its window reaches from 1 to `window`, after subsampling. A negative that is o itself is left out.
    The word vectors are the rows of v. The gradient of CBOW is that of the mean, also for v, which the original program
    leaves undivided (Irsoy et al. 2021).

    Args:
        model: which of the two. width: of the vectors. window: the largest, words on each side. negatives: k.
        epochs: passes over the text. rate: of learning, at the beginning; it falls to 1/1000 of that. None is 0.025 for
            skip-gram and 0.2 for CBOW, of whose gradient each word of a window has but a part. sample: the threshold of
            `regard.vectors.corpus.keep_probability`; 0 keeps all words.
        power: of the counts that negatives are drawn by. seed: of all that is drawn.
    """

    model: Literal["skip-gram", "cbow"] = "skip-gram"
    width: int = 100
    window: int = 5
    negatives: int = 5
    epochs: int = 5
    rate: float | None = None
    sample: float = 1e-3
    power: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers("vectors", self, "width", "window", "epochs", least=1)
        check_numbers("vectors", self, "negatives", least=0, below=_MOST_NEGATIVES)
        check_numbers("vectors", self, "sample", "power", "seed", least=0)
        if self.model not in ("skip-gram", "cbow"):
            raise InputError(f"vectors.model is {self.model!r}, expected 'skip-gram' or 'cbow'")
        if self.rate is not None and not 0 < self.rate < 10:
            raise InputError(f"vectors.rate is {self.rate}, expected more than 0 and less than 10")


@dataclass(frozen=True)
class Progress:
    """What a pass over the text has shown: `loss` is the mean over the pairs (of CBOW: words) of every 64th word.

    `words` counts the text's words, `kept` those that subsampling left.
    """

    epoch: int
    loss: float
    words: int
    kept: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Trained:
    """`inputs` `[v, width]` are the word vectors, `outputs` those that predict; `epochs` says how each pass went."""

    inputs: Array
    outputs: Array
    epochs: tuple[Progress, ...]


def train(
    corpus: Corpus,
    options: Prediction,
    threads: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train on a corpus; with one thread the same seed gives the same vectors, with more they write without locks.

    Args:
        progress: called after each pass.

    Raises:
        InputError: a corpus of a single distinct word, from which nothing can be predicted; no thread; a rate at which it diverges.
    """
    _check(corpus, options, threads)
    from regard.vectors import kernels

    rate = options.rate or (0.025 if options.model == "skip-gram" else 0.2)
    kernel = kernels.skip_gram if options.model == "skip-gram" else kernels.cbow
    inputs, outputs = _start(len(corpus.words), options, kernels.COLUMNS)
    flat, flat_outputs = inputs.reshape(-1), outputs.reshape(-1)
    keep = keep_probability(corpus.counts, options.sample)
    share, alias = alias_table(corpus.counts.astype(np.float64) ** options.power)
    begins = range(0, len(corpus.ids), _PIECE)
    pieces = len(begins) * options.epochs

    def work(epoch: int, n: int) -> kernels.Sums:
        sums = record(kernels.Sums(0.0, 0, 0))
        done = (epoch * len(begins) + n) / pieces
        begin = begins[n]
        end = min(begin + _PIECE, len(corpus.ids))
        kernel(
            begin, end, corpus.ids, keep, options.window, options.negatives, share, alias,
            np.float32(rate * max(1 - done, 1e-3)), _seed(options.seed, epoch * len(begins) + n),
            flat, flat_outputs, inputs.shape[1], sums,
        )  # fmt: skip
        return kernels.Sums._make(sums[0].item())

    epochs = []
    with ThreadPoolExecutor(threads) as pool:
        for epoch in range(options.epochs):
            begin = time.perf_counter()
            sums = pool.map(work, [epoch] * len(begins), range(len(begins)))
            loss, losses, words = (sum(x) for x in zip(*sums, strict=True))
            seconds = time.perf_counter() - begin
            epochs.append(Progress(epoch, loss / max(losses, 1), corpus.length, int(words), seconds))
            if not np.isfinite(flat).all():
                raise InputError(
                    f"vectors.rate is {rate}, too high: after epoch {epoch + 1} not all numbers are finite"
                )
            if progress is not None:
                progress(epochs[-1])
    inputs, outputs = (np.ascontiguousarray(x[:, : options.width]) for x in (inputs, outputs))
    return Trained(inputs, outputs, tuple(epochs))


def _check(corpus: Corpus, options: Prediction, threads: int) -> None:
    if threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    if not available():
        raise InputError(f"{options.model} is computed by kernels that need Numba, which is not installed")
    if len(corpus.words) < 2:
        raise InputError(f"the vocabulary is the one word {corpus.words[0]!r}, expected at least 2 words")


def _start(words: int, options: Prediction, columns: int) -> tuple[Array, Array]:
    """Inputs uniform in +-1 / (2 width), outputs zero; rows padded with zeros that stay zeros, and at whole lines of the cache."""
    padded = -(-options.width // columns) * columns
    matrices = []
    for _ in range(2):
        memory = np.zeros(words * padded + 16, np.float32)
        shift = -memory.ctypes.data % 64 // 4
        matrices.append(memory[shift : shift + words * padded].reshape(words, padded))
    drawn = np.random.default_rng(options.seed).random((words, options.width), np.float32)
    matrices[0][:, : options.width] = (drawn - np.float32(0.5)) / np.float32(options.width)
    return matrices[0], matrices[1]


def _seed(seed: int, piece: int) -> np.uint64:
    """Where the generator of a piece starts, far from those of the others."""
    return np.random.SeedSequence((seed, piece)).generate_state(1, np.uint64)[0]


def alias_table(weights: Array) -> tuple[Array, Array]:
    """To draw i in proportion to weights_i: draw i evenly, and take alias_i unless a number from 0 to 1 is below share_i.

    The alias method (Walker 1977; the construction is Vose's of 1991).

    >>> alias_table(np.array([1.0, 3.0]))
    (array([0.5, 1. ], dtype=float32), array([1, 1], dtype=int32))
    """
    share = weights / weights.sum() * len(weights)
    alias = np.arange(len(weights), dtype=np.int32)
    small, large = list(np.flatnonzero(share < 1)), list(np.flatnonzero(share >= 1))
    while small and large:
        low, high = small.pop(), large[-1]
        alias[low] = high
        share[high] -= 1 - share[low]
        if share[high] < 1:
            small.append(large.pop())
    # What is left missed 1 by rounding.
    share[small + large] = 1
    return share.astype(np.float32), alias
