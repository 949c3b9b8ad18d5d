"""The registry of readers, each checked against the contract by mypy: one that misses a method does not pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

from regard.data.arena.list_operations import ListOps
from regard.data.arena.masked_trees import MaskedTrees
from regard.data.arena.pairs import DocumentPairs
from regard.data.arena.raster import Raster
from regard.data.boxes import Boxes
from regard.data.edge_list import EdgeList
from regard.data.examples import TargetName
from regard.data.folders import files_at
from regard.data.graph import Planetoid
from regard.data.graphs import Graphs
from regard.data.homework import LogMelFolder
from regard.data.image import Digits
from regard.data.labeled_patches import PatchLabels
from regard.data.masked_graph import MaskedGraph
from regard.data.molecules import Molecules
from regard.data.parallel import ParallelText
from regard.data.passages import Passages
from regard.data.pictures import Pictures
from regard.data.pixels import Pixels
from regard.data.reader import Reader
from regard.data.running_text import RunningText
from regard.data.speech import Sounds
from regard.data.text import Conllu, Texts
from regard.data.transcripts import Transcripts
from regard.errors import InputError

__all__ = ["READERS", "reader_of", "reading"]

# `type:` in the section `data` of a configuration may name each of these.
READERS: tuple[type[Reader], ...] = (
    Boxes,
    Conllu,
    Digits,
    DocumentPairs,
    EdgeList,
    Graphs,
    ListOps,
    LogMelFolder,
    MaskedGraph,
    MaskedTrees,
    Molecules,
    ParallelText,
    Passages,
    PatchLabels,
    Pictures,
    Pixels,
    Planetoid,
    Raster,
    RunningText,
    Sounds,
    Texts,
    Transcripts,
)


_READ = (
    "texts (CSV, TSV, JSON lines, a label and a text on each line, or .txt files by label), CoNLL-U, pictures by label or in idx "
    "files, boxes of pictures in XML, sounds by label or in utterances.csv, sounds with their texts in a table, a graph of "
    "nodes.csv and edges.csv, of two lists (edges, labels) or of arrays (.npz), graphs in JSON lines, or tables of molecules "
    "with a column smiles"
)


def reader_of(place: Path) -> type[Reader]:
    """The reader for most of the files at a place, a file or a folder.

    Raises:
        InputError: nothing is there, or nothing that a reader knows.
    """
    if not place.exists():
        raise InputError(f"{place} is not there, expected a file or a folder of data")
    claims = {reader: reader.claims(place) for reader in READERS}
    most = max(claims.values())
    found = [reader for reader, count in claims.items() if count == most]
    if not most:
        raise InputError(f"{place} holds {_endings(place)}, which no reader reads, expected {_READ}")
    if len(found) > 1:
        names = " as well as ".join(reader.__name__ for reader in found)
        raise InputError(f"{place} may be read by {names}, expected --as with one of them")
    return found[0]


def _endings(place: Path) -> str:
    """How many files there are of each ending."""
    endings = Counter(path.suffix.lower() or "nothing" for path in files_at(place))
    counted = [f"{count:,} ending in {ending}" for ending, count in endings.most_common(5)]
    return f"files ({', '.join(counted)}{' and others' if len(endings) > 5 else ''})" if counted else "no file"


def reading(reader: Reader, target: TargetName) -> Reader:
    """A reader that gives such targets, where it has an option for that: `numbers`, or `target`.

    >>> reading(Texts(), "number").target, reading(Sounds(), "number").numbers
    ('number', True)
    """
    options = {option.name for option in fields(reader)}
    changes: dict[str, object] = {"numbers": target == "number", "target": target}
    if "target" not in options and target != "labels":
        changes["label_separator"] = ""
    elif "target" not in options:
        changes["label_separator"] = getattr(reader, "label_separator", "") or ";"
    return replace(reader, **{name: value for name, value in changes.items() if name in options})
