"""Word vectors of the IMDb training reviews, without their labels, for the case `sst2` of `benchmarks.train`.

    python -m benchmarks.sentiment [--folder runs/bench]

Writes `FOLDER/imdb-train.txt`, a review on each line, cut into words, and `FOLDER/imdb-96.safetensors`. Needs REGARD_DATA.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from regard.cli import main as regard
from regard.data.conllu import tokenize
from regard.data.documents import Columns, read_documents
from regard.data.registry import locate
from regard.data.text import Texts

__all__ = ["TRAIN"]

TRAIN = (
    *("--tokens", "spaces", "--lines", "true", "--width", "96", "--window", "5"),
    *("--epochs", "3", "--minimum_count", "3", "--threads", "1"),
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
    raise SystemExit(regard(["vectors", "train", str(text), *TRAIN, "--out", str(folder / "imdb-96.safetensors")]))


if __name__ == "__main__":
    main()
