"""`regard embed`: the vectors that a trained model makes of new inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.cli.options import parse, parser
from regard.cli.sources import add_sources, datasets, sources_of, with_ids
from regard.errors import InputError
from regard.files import json_line, written_whole
from regard.train.folder import read_config

if TYPE_CHECKING:
    from regard.train.embedding import Embedding

__all__ = ["checked_out", "run", "write_embeddings"]

_DESCRIPTION = """Embeddings of new inputs, one for each set of vectors: what the model's task pools them to. With --vectors those
of each vector: of each word, frame, patch or node, in its context. INPUT is what `regard predict` takes.
Printed as JSON lines; --out writes a file, whole or not at all: .jsonl the same lines, .npy an array [sets, width] in the order
of the inputs, .npz the arrays `names` and `values`, with --vectors also `tokens`, and `offsets`, where each set begins."""
_ENDINGS = (".jsonl", ".npy", ".npz")


def run(arguments: Sequence[str]) -> int:
    options = parser("embed", _DESCRIPTION)
    options.add_argument("run", metavar="RUN", help="a run folder")
    add_sources(options)
    options.add_argument("--vectors", action="store_true", help="an embedding for each vector, not for each set")
    options.add_argument(
        "--out", default="", metavar="FILE", help="ending in .jsonl, .npy or .npz; printed if not given"
    )
    options.add_argument("--id", default="", metavar="COLUMN", help="of a table or JSON lines, which names the sets")
    chosen = parse(options, arguments)
    out = checked_out(chosen.out)
    if out.suffix == ".npy" and chosen.vectors:
        raise InputError(
            "--out is an array, which does not say where a set begins, expected .npz or .jsonl with --vectors"
        )
    reader = with_ids(read_config(Path(chosen.run)).data, chosen.id)
    sources = sources_of(reader, chosen.inputs, chosen.text, "embed")

    from regard.train import Run

    opened = Run.open(chosen.run)
    opened = replace(opened, experiment=replace(opened.experiment, data=reader))
    found = opened.embeddings(datasets(opened, sources), chosen.vectors)
    write_embeddings(found, chosen.out, chosen.vectors)
    return 0


def checked_out(name: str) -> Path:
    """The file that `--out` names.

    Raises:
        InputError: a name that ends in another way than those of embeddings.
    """
    out = Path(name)
    if name and out.suffix not in _ENDINGS:
        raise InputError(f"--out is {name!r}, expected a name that ends in {', '.join(_ENDINGS)}")
    return out


def write_embeddings(found: Iterable[Embedding], out: str, vectors: bool = False) -> None:
    """Print embeddings as JSON lines, or write them into a file of the form that its name says, whole or not at all."""
    if not out:
        for each in found:
            print(json_line(_plain(each)), flush=True)
        return
    path = checked_out(out)
    with written_whole(path) as file:
        if path.suffix == ".jsonl":
            for each in found:
                file.write(f"{json_line(_plain(each))}\n".encode())
        elif path.suffix == ".npz":
            np.savez(file, **_arrays(list(found), vectors))
        else:
            np.save(file, _arrays(list(found), False)["values"])


def _plain(embedding: Embedding) -> dict[str, Any]:
    """The embedding as JSON takes it, with the fewest digits that give the same float32 again."""
    if embedding.values.ndim == 1:
        return {"name": embedding.name, "embedding": _numbers(embedding.values)}
    rows = zip(embedding.places, embedding.values, strict=True)
    return {"name": embedding.name, "vectors": [{"token": name, "embedding": _numbers(row)} for name, row in rows]}


def _numbers(row: Any) -> list[float]:
    return [float(str(number)) for number in row]


def _arrays(embeddings: Sequence[Embedding], vectors: bool) -> dict[str, Any]:
    if not embeddings:
        raise InputError("the input holds no sets, expected at least one")
    values = [each.values for each in embeddings]
    names = {"names": np.array([each.name for each in embeddings])}
    if not vectors:
        return names | {"values": np.stack(values)}
    tokens = np.array([name for each in embeddings for name in each.places])
    return names | {"values": np.concatenate(values), "tokens": tokens, "offsets": np.cumsum([0, *map(len, values)])}
