"""`regard arena`: the tasks of Long Range Arena, made by their published rules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from regard.cli.options import parse, parser
from regard.errors import InputError, check_number, nearest

__all__ = ["run"]

_DESCRIPTION = """Long Range Arena (Tay et al. 2021), offline:

  regard arena make listops --out FOLDER       96,000 / 2,000 / 2,000 trees of operations on digits
  regard arena make retrieval --out FOLDER     20,000 / 2,000 / 2,000 pairs of passages, by one author or by two: a stand-in
  regard arena make pathfinder --out FOLDER    160,000 / 20,000 / 20,000 pictures of paths, 32 x 32
  regard arena make path-x --out FOLDER        as many of 128 x 128

The seed decides all that is drawn. Trees are there whole or not at all; pictures are drawn a thousand to a file, and
the same command goes on where it was ended."""


def run(arguments: Sequence[str]) -> int:
    options = parser("arena", _DESCRIPTION)
    options.add_argument("action", metavar="ACTION", help=", ".join(_ACTIONS))
    options.add_argument("task", metavar="TASK", help=f"to make: {', '.join(_MADE)}")
    options.add_argument("--out", type=str, default="", metavar="FOLDER", help="where to write it")
    options.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    options.add_argument(
        "--examples", type=int | None, default=None, help="in all three parts, in the published proportion"
    )
    options.add_argument(
        "--intensity",
        type=Literal["published", "equal"],
        default="published",
        help="of the paths of pathfinder, whose long ones are darker as published; equal takes this cue away",
    )
    options.add_argument(
        "--texts",
        type=str | None,
        default=None,
        metavar="PATH",
        help="books AUTHOR_TITLE.txt for retrieval; novels if not given",
    )
    options.add_argument("--processes", type=int, default=1, help="that draw pictures at the same time")
    chosen = parse(options, arguments)
    if chosen.action not in _ACTIONS:
        raise InputError(f"arena does not know {chosen.action!r}: {nearest(chosen.action, _ACTIONS)}")
    return _ACTIONS[chosen.action](chosen)


def _make(chosen: Any) -> int:
    if chosen.task not in _MADE:
        raise InputError(f"arena makes no {chosen.task!r}: {nearest(chosen.task, _MADE)}")
    if not chosen.out:
        raise InputError(f"arena make {chosen.task} needs --out, expected a new folder")
    check_number("arena make", "seed", chosen.seed, "int", least=0)
    _MADE[chosen.task](chosen)
    print(f"The task lies in {chosen.out}")
    return 0


def _sizes(examples: int | None, published: tuple[int, int, int]) -> tuple[int, int, int]:
    """The sizes of the parts, in the published proportion.

    >>> _sizes(1000, (96000, 2000, 2000))
    (960, 20, 20)
    """
    if examples is None:
        return published
    held = [max(1, round(examples * size / sum(published))) for size in published[1:]]
    if examples < sum(held) + 1:
        raise InputError(f"--examples is {examples}, expected at least 3: one for each part")
    return examples - sum(held), held[0], held[1]


def _listops(chosen: Any) -> None:
    from regard.data.arena.making import LISTOPS_SIZES, make_listops

    make_listops(Path(chosen.out), chosen.seed, _sizes(chosen.examples, LISTOPS_SIZES), _report)


def _retrieval(chosen: Any) -> None:
    from regard.data.arena.making import PAIR_SIZES, make_retrieval

    texts = None if chosen.texts is None else Path(chosen.texts)
    make_retrieval(Path(chosen.out), chosen.seed, _sizes(chosen.examples, PAIR_SIZES), texts, _report)


def _pictures(chosen: Any) -> None:
    from regard.data.arena.shards import PICTURE_SIZES, Made, make_pictures

    sizes = _sizes(chosen.examples, PICTURE_SIZES)
    check_number("arena make", "processes", chosen.processes, "int", least=1)
    make_pictures(Made(chosen.task, chosen.seed, sizes, chosen.intensity), Path(chosen.out), chosen.processes, _report)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


_MADE: dict[str, Callable[[Any], None]] = {
    "listops": _listops,
    "retrieval": _retrieval,
    "pathfinder": _pictures,
    "path-x": _pictures,
}
_ACTIONS: dict[str, Callable[[Any], int]] = {"make": _make}
