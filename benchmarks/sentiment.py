"""Word vectors of the IMDb training reviews, without their labels and with them, for the case `sst2` of `benchmarks.train`.

    python -m benchmarks.sentiment [--folder runs/bench]

Writes `FOLDER/imdb-train.txt`, a review on each line, cut into words; `FOLDER/imdb-96.safetensors` and
`FOLDER/imdb-200.safetensors`, skip-gram with negative sampling; and `FOLDER/imdb-200-labels.safetensors`, what becomes of the
latter as the embedding of the recipe `sentiment` with a convolution (`FOLDER/imdb-200-run`) on the reviews' sentences, each with
its review's label (`FOLDER/imdb-sentences.csv`). Needs REGARD_DATA.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.train import FROM_REVIEWS, train_one, with_options
from regard.cli import main as regard
from regard.data.conllu import tokenize
from regard.data.documents import Columns, read_documents
from regard.data.registry import locate
from regard.data.text import Texts
from regard.recipes.sentiment import sentiment
from regard.train import Experiment

__all__ = ["TRAIN", "VECTORS", "labeled", "sentences"]

TRAIN = ("--tokens", "spaces", "--lines", "true", "--window", "5", "--threads", "1")
_PARTS = {0: "validation", 1: "test"}
# File -> more options.
VECTORS = {
    "imdb-96": ("--width", "96", "--epochs", "3", "--minimum_count", "3"),
    "imdb-200": ("--width", "200", "--epochs", "10", "--minimum_count", "2"),
}


def sentences(text: str, least: int = 8) -> Iterator[str]:
    """A text cut behind full stops, question and exclamation marks, into pieces of at least so many words."""
    words: list[str] = []
    for piece in re.split(r"(?<=[.!?])\s+", text):
        words += piece.split()
        if len(words) >= least:
            yield " ".join(words)
            words = []


def labeled(table: Path, vectors: Path) -> Experiment:
    """What begins with vectors of reviews in the case `sst2`, on sentences of reviews, and with the recipe's own dropout."""
    options = FROM_REVIEWS | {
        "model.front.vectors": str(vectors),
        "data.path": str(table),
        "data.minimum_count": 2,
        "model.front.word_dropout": 0.3,
        "model.front.dropout": 0.4,
        "epochs": 1,
        "training.batch_vectors": 4096,
        "training.progress": False,
    }
    return with_options(sentiment(), options)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    text, table = folder / "imdb-train.txt", folder / "imdb-sentences.csv"
    reader = Texts(dataset="imdb", drop_tags=True)
    training = [each for each in read_documents(locate("imdb"), Columns()) if each.part != "test"]
    reviews = [(reader.cleaned(each.text), each.label) for each in training]
    with text.open("w", encoding="utf-8") as file:
        file.writelines(" ".join(tokenize(review)) + "\n" for review, _ in reviews)
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label", "split"))
        cut = ((each, label) for review, label in reviews for each in sentences(review))
        rows.writerows((*each, _PARTS.get(n % 50, "train")) for n, each in enumerate(cut))
    for name, options in VECTORS.items():
        out = folder / f"{name}.safetensors"
        if not out.exists() and regard(["vectors", "train", str(text), *TRAIN, *options, "--out", str(out)]):
            raise SystemExit(1)
    run = train_one(labeled(table, folder / "imdb-200.safetensors"), folder / "imdb-200-run")
    out = folder / "imdb-200-labels.safetensors"
    raise SystemExit(regard(["vectors", "extract", str(run.folder), "--out", str(out)]))


if __name__ == "__main__":
    main()
