"""Words of letters and the same words from their end: parallel text that a model learns within seconds."""

from dataclasses import dataclass, replace

import numpy as np
from tiny import SIZES

from regard.data.encoding import BEGIN, END, Encoding
from regard.data.examples import Example, Listed, VectorSet
from regard.data.tokenizer import UNKNOWN
from regard.models.encoder_decoder import EncoderDecoder
from regard.tasks import PerSetSequence
from regard.train import Experiment, Optimizer, Training
from regard.train.kinds import KINDS, Kind

LETTERS = "abcdef"
ENTRIES = (UNKNOWN, BEGIN, END, *LETTERS)


@dataclass
class Letters:
    """Words of 1 to 5 letters, whose targets are their letters from the last one on.

    Args:
        path: nowhere.
        seed: of the words.
    """

    path: str | None = None
    seed: int = 0

    published = ""

    def fit(self):
        columns = {"token": ENTRIES}
        return Encoding(Encoding(columns=columns), columns=columns)

    def part(self, name, encoding):
        draw = np.random.default_rng([self.seed, list(SIZES).index(name)])
        words = [draw.integers(3, 9, draw.integers(1, 6)) for _ in range(8 * SIZES[name])]
        return Listed(
            [Example(word, VectorSet(np.append(word[::-1], 2)), f"{name}-{i}", "sets") for i, word in enumerate(words)]
        )

    def training(self, encoding):
        return self.part("train", encoding)

    def example(self, value, encoding, name=""):
        ids = np.array([ENTRIES.index(letter) if letter in LETTERS else 0 for letter in value], np.int64)
        return Example(ids, None, name or value)

    def texts(self, texts, names, encoding):
        return Listed([self.example(text, encoding, name) for text, name in zip(texts, names, strict=True)])

    def inputs(self, sources, encoding):
        return self.texts(sources, sources, encoding)


KINDS["data"]["Letters"] = Kind("letters")


def experiment(model=None, **training):
    options = {"epochs": 12, "batch_vectors": 64, "log_every": 5, "device": "cpu", "progress": False}
    return Experiment(
        "letters",
        Letters(),
        model or EncoderDecoder(width=32, layers=1, decoder_layers=1, heads=4, feed_forward=64, dropout=0.0),
        PerSetSequence(longer=5),
        Optimizer(learning_rate=5e-3, warm_up=20),
        replace(Training(), **(options | training)),
    )
