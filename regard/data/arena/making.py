"""Tasks of the arena as files: written whole or not at all, by a seed that decides all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from regard.data.arena.authors import PAIR_SIZES, draw_pairs, texts_by_author
from regard.data.arena.listops import draw_trees, with_parentheses
from regard.errors import InputError
from regard.files import written_whole

__all__ = ["LISTOPS_SIZES", "PAIR_SIZES", "Sizes", "make_listops", "make_retrieval", "whole_folder"]

Sizes = tuple[int, int, int]
"""How many examples there are to train on, to validate with and to test."""

LISTOPS_SIZES: Sizes = (96_000, 2_000, 2_000)

Report = Callable[[str], None]


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that is `out` once all is in it, and is gone if that fails.

    Raises:
        InputError: something is there already, or it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already, expected a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
            folder = Path(temporary) / out.name
            folder.mkdir()
            yield folder
            # In the place of an empty folder as well.
            folder.replace(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from None


def make_retrieval(
    out: Path, seed: int, sizes: Sizes = PAIR_SIZES, texts: Path | None = None, report: Report = lambda line: None
) -> None:
    """Write `author_pairs.train.tsv`, `author_pairs.eval.tsv` and `author_pairs.test.tsv`, a stand-in for the published pairs.

    Args:
        out: the folder, which must be new or empty. seed: of all pairs. sizes: of the three parts. texts: a folder or an archive of
            books `AUTHOR_TITLE.txt`, or None for the published novels. report: is told of each file.

    Raises:
        InputError: books of too few authors, a folder that cannot be written, or is not empty.
    """
    books, skips = texts_by_author(texts)
    for line in skips.lines():
        report(f"skipped: {line}")
    parts = draw_pairs(books, seed, sizes)
    with whole_folder(out) as folder:
        for name, lines, count in zip(("train", "eval", "test"), parts, sizes, strict=True):
            with written_whole(folder / f"author_pairs.{name}.tsv") as file:
                for line in lines:
                    file.write(line.encode())
            report(f"{count:,} pairs in author_pairs.{name}.tsv")


def make_listops(out: Path, seed: int, sizes: Sizes = LISTOPS_SIZES, report: Report = lambda line: None) -> None:
    """Write `basic_train.tsv`, `basic_val.tsv` and `basic_test.tsv`: a first line `Source`, `Target`, then a tree and its value.

    Trees are in the order in which `draw_trees` gives them.

    Args:
        out: the folder, which must be new or empty. seed: of all trees. sizes: of the three parts. report: is told of each file.

    Raises:
        InputError: a folder that cannot be written, or is not empty.
    """
    trees = draw_trees(seed)
    with whole_folder(out) as folder:
        for name, count in zip(("train", "val", "test"), sizes, strict=True):
            with written_whole(folder / f"basic_{name}.tsv") as file:
                file.write(b"Source\tTarget\n")
                for tree in islice(trees, count):
                    file.write(f"{with_parentheses(tree.symbols)}\t{tree.value}\n".encode())
            report(f"{count:,} trees in basic_{name}.tsv")
