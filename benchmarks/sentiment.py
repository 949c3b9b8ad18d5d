"""Word vectors of the IMDb training reviews, without their labels and with them, for the case `sst2` of `benchmarks.train`.

    python -m benchmarks.sentiment [--folder runs/bench]

Writes `FOLDER/imdb-train.txt`, a review on each line, cut into words; `FOLDER/imdb-96.safetensors` and
`FOLDER/imdb-200.safetensors`, skip-gram with negative sampling; and `FOLDER/imdb-200-labels.safetensors`, what becomes of the
latter as the embedding of a model with one block of attention that learns whether the reviews praise (`FOLDER/imdb-200-run`).
Needs REGARD_DATA.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from regard.cli import main as regard
from regard.data.conllu import tokenize
from regard.data.documents import Columns, read_documents
from regard.data.registry import locate
from regard.data.text import Texts
from regard.recipes.sentiment import reviews
from regard.train import Experiment, fit

__all__ = ["TRAIN", "VECTORS", "labeled"]

TRAIN = (*("--tokens", "spaces", "--lines", "true", "--window", "5", "--threads", "1"),)
# File -> more options.
VECTORS = {
    "imdb-96": ("--width", "96", "--epochs", "3", "--minimum_count", "3"),
    "imdb-200": ("--width", "200", "--epochs", "10", "--minimum_count", "2"),
}


def labeled(vectors: Path) -> Experiment:
    """The recipe `reviews` with one block of attention in place of runs of words, whose embedding begins with these vectors."""
    base = reviews()
    model = {
        "width": 200,
        "layers": 1,
        "feed_forward": 128,
        "attention": "Attention(pattern=Window(8, 8), bias=T5())",
        "norm": "pre",
        "ngrams": 1,
        "input_dropout": 0.3,
        "word_dropout": 0.3,
        "embedding_deviation": 0.2,
        "vectors": str(vectors),
    }
    return replace(
        base,
        data=replace(base.data, minimum_count=2, vocabulary=60_000),
        model=replace(base.model, **model),
        optimizer=replace(base.optimizer, learning_rate=1e-3, weight_decay=0.05, decay_embeddings=False),
        training=replace(base.training, epochs=2, progress=False),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    reader, text = Texts(dataset="imdb", drop_tags=True), folder / "imdb-train.txt"
    with text.open("w", encoding="utf-8") as file:
        for document in read_documents(locate("imdb"), Columns()):
            if document.part != "test":
                file.write(" ".join(tokenize(reader.cleaned(document.text))) + "\n")
    for name, options in VECTORS.items():
        out = folder / f"{name}.safetensors"
        if not out.exists() and regard(["vectors", "train", str(text), *TRAIN, *options, "--out", str(out)]):
            raise SystemExit(1)
    run, out = folder / "imdb-200-run", folder / "imdb-200-labels.safetensors"
    if not (run / "card.md").exists():
        fit(labeled(folder / "imdb-200.safetensors"), run, resume=run.exists())
    raise SystemExit(regard(["vectors", "extract", str(run), "--out", str(out)]))


if __name__ == "__main__":
    main()
