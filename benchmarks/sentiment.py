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
from dataclasses import replace
from pathlib import Path

from regard.cli import main as regard
from regard.data.conllu import tokenize
from regard.data.documents import Columns, read_documents
from regard.data.registry import locate
from regard.data.text import Texts
from regard.recipes.sentiment import sentiment
from regard.train import Experiment, fit

__all__ = ["TRAIN", "VECTORS", "labeled", "sentences"]

TRAIN = (*("--tokens", "spaces", "--lines", "true", "--window", "5", "--threads", "1"),)
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
    """The recipe `sentiment` on sentences of reviews, with a convolution and the maximum, from these vectors."""
    base = sentiment()
    model = {"width": 200, "mixer": "convolution", "embedding_deviation": 0.2, "vectors": str(vectors)}
    return replace(
        base,
        data=replace(base.data, path=str(table), prefix=0, minimum_count=2),
        model=replace(base.model, **model),
        task=replace(base.task, pool="max"),
        optimizer=replace(base.optimizer, learning_rate=1e-3),
        training=replace(base.training, epochs=1, batch_vectors=4096, progress=False),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    reader, text, table = (
        Texts(dataset="imdb", drop_tags=True),
        folder / "imdb-train.txt",
        folder / "imdb-sentences.csv",
    )
    reviews = [each for each in read_documents(locate("imdb"), Columns()) if each.part != "test"]
    with text.open("w", encoding="utf-8") as file:
        for review in reviews:
            file.write(" ".join(tokenize(reader.cleaned(review.text))) + "\n")
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label", "split"))
        cut = ((each, review.label) for review in reviews for each in sentences(reader.cleaned(review.text)))
        rows.writerows((*each, _PARTS.get(n % 50, "train")) for n, each in enumerate(cut))
    for name, options in VECTORS.items():
        out = folder / f"{name}.safetensors"
        if not out.exists() and regard(["vectors", "train", str(text), *TRAIN, *options, "--out", str(out)]):
            raise SystemExit(1)
    run, out = folder / "imdb-200-run", folder / "imdb-200-labels.safetensors"
    if not (run / "card.md").exists():
        fit(labeled(table, folder / "imdb-200.safetensors"), run, resume=run.exists())
    raise SystemExit(regard(["vectors", "extract", str(run), "--out", str(out)]))


if __name__ == "__main__":
    main()
