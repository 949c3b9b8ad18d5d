"""`regard vectors walk`: vectors of a graph's nodes, learned from random walks as word vectors are from text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.data.nodes import NodeReader
from regard.data.readers import READERS, reader_of
from regard.data.registry import DATASETS
from regard.errors import InputError

if TYPE_CHECKING:
    from regard.vectors.methods import Options

__all__ = ["walk"]


def walk(place: str, out: Path, options: Options, walks: dict[str, Any]) -> None:
    """Write the vectors of a graph's nodes.

    Args:
        place: a folder or file with one graph, or the name of a published data set of one.
        walks: the arguments of `regard.vectors.walks.Walks`.

    Raises:
        InputError: a place that holds no graph, or walks that make no sense.
    """
    from regard.vectors.files import save
    from regard.vectors.methods import learn
    from regard.vectors.walks import Walks, walk_corpus

    chosen = Walks(**walks)
    kinds: list[Any] = [kind for kind in READERS if issubclass(kind, NodeReader)]
    readers = {str(kind.published): kind for kind in kinds}
    if place in readers and not Path(place).exists():
        graph = readers[place]().read(None)
    else:
        reader: Any = reader_of(Path(place))
        if reader not in readers.values():
            names = ", ".join(name for name in readers if name in DATASETS)
            raise InputError(f"{place} is read by {reader.__name__}, expected one graph, or one of {names}")
        graph = reader().read(place)
    spaced = next((name for name in graph.names if name.split() != [name]), None)
    if spaced is not None:
        expected = "expected names without spaces: a file of vectors has them between numbers"
        raise InputError(f"{graph.where} has a node {spaced!r}, {expected}")
    corpus = walk_corpus(graph.names, graph.edges, chosen)
    print(f"{len(graph.names):,} nodes, {len(corpus.words):,} with neighbors, {corpus.length:,} steps", file=sys.stderr)
    save(learn(corpus, options, lambda line: print(line, file=sys.stderr, flush=True)), out)
