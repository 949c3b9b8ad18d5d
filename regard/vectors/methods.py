"""Every way to make word vectors from a text, by name: what `regard vectors train` offers and the benchmark compares."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from regard.errors import InputError, check_numbers, check_processes, nearest
from regard.vectors.corpus import Corpus
from regard.vectors.counts import cooccurrence, ppmi, svd_vectors
from regard.vectors.predict import Prediction, Progress, train
from regard.vectors.words import WIDEST, WordVectors

__all__ = ["METHODS", "Options", "learn"]

_WIDEST_WINDOW = 10_000


@dataclass(frozen=True)
class Options:
    """What the methods share; epochs that are None leave a method its own number.

    Args:
        method: one of `METHODS`. width: of the vectors. window: words on each side; for `next-word`, words before.
        epochs: passes over the text, or over the counts. seed: of all that is drawn. threads: of skip-gram and CBOW.
        contexts: columns of the counts that the auto-encoders learn. negatives, sample, rate: see `Prediction`.
    """

    method: str = "skip-gram"
    width: int = 100
    window: int = 5
    epochs: int | None = None
    seed: int = 0
    threads: int = 1
    contexts: int = 5000
    negatives: int = 5
    sample: float = 1e-3
    rate: float | None = None

    def __post_init__(self) -> None:
        check_numbers("vectors", self, "threads", "contexts", least=1)
        check_numbers("vectors", self, "width", least=1, below=WIDEST + 1)
        check_numbers("vectors", self, "window", least=1, below=_WIDEST_WINDOW + 1)
        check_processes("vectors", self, "threads")
        check_numbers("vectors", self, "seed", least=0)
        if self.epochs is not None:
            check_numbers("vectors", self, "epochs", least=1)
        if self.method not in METHODS:
            raise InputError(f"there is no method {self.method!r}: {nearest(self.method, METHODS)}")


Told = Callable[[str], None]


def learn(corpus: Corpus, options: Options, told: Told | None = None) -> WordVectors:
    """Word vectors by the method that the options name; `told` hears a line of progress after each epoch.

    Raises:
        InputError: the vectors would not fit into the machine's memory, or what the method refuses.
    """
    _check_memory(len(corpus.words), options.width)
    _, method = METHODS[options.method]
    return WordVectors(corpus.words, method(corpus, options, told or (lambda line: None)))


def _check_memory(words: int, width: int) -> None:
    """Refuses before it is tried what cannot be: each word has at least one vector of float32."""
    needed = 4.0 * words * width
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else needed
    if needed > there:
        found = f"{words:,} words of width {width:,} take {needed / 2**30:,.0f} GiB, and the machine has {there / 2**30:,.0f}"
        raise InputError(f"{found}: expected a smaller --width or --vocabulary")


def _prediction(corpus: Corpus, options: Options, told: Told) -> Any:
    model: Any = options.method
    shared = {name: getattr(options, name) for name in ("width", "window", "negatives", "sample", "rate", "seed")}
    wanted = Prediction(model, **shared)
    if options.epochs is not None:
        wanted = replace(wanted, epochs=options.epochs)

    def line(each: Progress) -> None:
        rate = each.words / each.seconds
        told(f"epoch {each.epoch + 1} of {wanted.epochs}: loss {each.loss:.4f}, {rate:,.0f} words per second")

    return train(corpus, wanted, options.threads, line).inputs


def _counts(corpus: Corpus, options: Options, told: Told) -> Any:
    counts = cooccurrence(corpus, options.window)
    told(f"{counts.nnz:,} pairs of words were seen near one another")
    matrix = ppmi(counts) if options.method == "ppmi" else counts
    return svd_vectors(matrix, options.width, options.seed)[0]


def _epochs(told: Told, total: int) -> Callable[[int, float], None]:
    return lambda epoch, loss: told(f"epoch {epoch + 1} of {total}: loss {loss:.4f}")


def _next_word(corpus: Corpus, options: Options, told: Told) -> Any:
    from regard.vectors.learned import NextWordOptions, next_word_vectors

    wanted = NextWordOptions(options.width, options.window, seed=options.seed)
    wanted = replace(wanted, epochs=options.epochs or wanted.epochs)
    return next_word_vectors(corpus, wanted, _epochs(told, wanted.epochs))


def _auto_encoder(corpus: Corpus, options: Options, told: Told) -> Any:
    from regard.vectors.learned import Encoding, encoded_vectors

    wanted = Encoding("variational" if options.method == "variational" else "plain", options.width, seed=options.seed)
    wanted = replace(wanted, epochs=options.epochs or wanted.epochs)
    matrix = ppmi(cooccurrence(corpus, options.window, options.contexts))
    return encoded_vectors(matrix, wanted, _epochs(told, wanted.epochs))


METHODS: dict[str, tuple[str, Callable[[Corpus, Options, Told], Any]]] = {
    "skip-gram": ("each word from each word of its window, against drawn words", _prediction),
    "cbow": ("each word from the mean of its window, against drawn words", _prediction),
    "counts": ("words seen near one another, counted; truncated SVD", _counts),
    "ppmi": ("their positive pointwise mutual information; truncated SVD", _counts),
    "next-word": ("a network that predicts the next word from those before", _next_word),
    "auto-encoder": ("the bottleneck of a network that gives back rows of the PPMI", _auto_encoder),
    "variational": ("the same, with a bottleneck that is drawn from a normal distribution", _auto_encoder),
}
"""By name: one line that says what the vectors are, and how they are made."""
