"""`regard arena`: the tasks of Long Range Arena, made by their published rules, and systems compared on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from regard.cli.options import parse, parser
from regard.errors import InputError, check_number, nearest

__all__ = ["run"]

_DESCRIPTION = """Long Range Arena (Tay et al. 2021), offline:

  regard arena make TASK --out FOLDER      the data of a task, by its published rules and a seed
  regard arena train TASK --data FOLDER    one small model for each efficient Transformer, trained and evaluated
  regard arena table RUNS...               their scores, beside those without looking

regard arena ACTION --help lists the options of an action."""

_MAKE = """The data of a task of Long Range Arena:

  regard arena make listops --out FOLDER       96,000 / 2,000 / 2,000 trees of operations on digits
  regard arena make retrieval --out FOLDER     20,000 / 2,000 / 2,000 pairs of passages, by one author or by two: a stand-in
  regard arena make pathfinder --out FOLDER    160,000 / 20,000 / 20,000 pictures of paths, 32 x 32
  regard arena make path-x --out FOLDER        as many of 128 x 128

The seed decides all that is drawn. Trees and pairs are there whole or not at all; pictures are drawn a thousand to a
file, and the same command goes on where it was ended."""

_TRAIN = """Train the small model of the recipe arena-TASK with each attention, and evaluate it on the test part, with the
weights of the best validation. Runs are RUNS/TASK-SYSTEM; those that are evaluated already are left as they are, and one
that was ended goes on. All other options are those of `regard train arena-TASK`, such as --training.epochs 1."""

_TABLE = """The scores of runs of the arena on the test part: one row for each task and system, runs of several seeds together,
beside the score of the most frequent label of the training part, with how much of the published training each had. Runs in a folder
that are not evaluated yet are named and left out, and so are systems without a run."""


def run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] not in _ACTIONS and not arguments[0].startswith("-"):
        raise InputError(f"arena does not know {arguments[0]!r}: {nearest(arguments[0], _ACTIONS)}")
    if not arguments or arguments[0] not in _ACTIONS:
        options = parser("arena", _DESCRIPTION)
        options.add_argument("action", metavar="ACTION", help=", ".join(_ACTIONS))
        parse(options, arguments)
    return _ACTIONS[arguments[0]](arguments[1:])


def _make(arguments: Sequence[str]) -> int:
    options = parser("arena make", _MAKE)
    options.add_argument("task", metavar="TASK", help=", ".join(_MADE))
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
        "--texts", type=str | None, default=None, metavar="PATH", help="books AUTHOR_TITLE.txt; novels if not given"
    )
    options.add_argument("--processes", type=int, default=1, help="that draw pictures at the same time")
    chosen = parse(options, arguments)
    if chosen.task not in _MADE:
        raise InputError(f"arena makes no {chosen.task!r}: {nearest(chosen.task, _MADE)}")
    if not chosen.out:
        raise InputError(f"arena make {chosen.task} needs --out, expected a new folder")
    check_number("arena make", "seed", chosen.seed, "int", least=0)
    _MADE[chosen.task](chosen)
    print(f"The task lies in {chosen.out}")
    return 0


def _train(arguments: Sequence[str]) -> int:
    from regard.cli.arena_runs import TASKS, train
    from regard.recipes.systems import SYSTEMS

    options = parser("arena train", _TRAIN)
    options.add_argument("task", metavar="TASK", help=", ".join(TASKS))
    options.add_argument(
        "--attention",
        action="append",
        type=str,
        default=[],
        metavar="SYSTEM",
        help=f"one of {', '.join(SYSTEMS)}, or a text form; may be given several times; all if not given",
    )
    options.add_argument(
        "--data", type=str | None, default=None, help="the folder of the task; the published data if not given"
    )
    options.add_argument("--runs", type=str, default="runs/arena", metavar="FOLDER", help="where the runs are written")
    own, others = _divided(arguments, ("--attention", "--data", "--runs"))
    chosen = parse(options, own)
    train(chosen.task, chosen.attention, chosen.data, Path(chosen.runs), others)
    return 0


def _divided(arguments: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments with the options of these names, and all other options with their values.

    >>> _divided(["listops", "--data", "x", "--training.epochs", "1", "--training.seed=2"], ["--data"])
    (['listops', '--data', 'x'], ['--training.epochs', '1', '--training.seed=2'])
    """
    own: list[str] = []
    others: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.partition("=")
        mine = not name.startswith("--") or name in (*names, "--help")
        (own if mine else others).append(argument)
        if name.startswith("--") and name != "--help" and not equals and rest and not rest[0].startswith("--"):
            (own if mine else others).append(rest.pop(0))
    return own, others


def _table(arguments: Sequence[str]) -> int:
    from regard.cli.arena_runs import missing, scores, show

    options = parser("arena table", _TABLE)
    options.add_argument("runs", nargs="+", metavar="RUNS", help="a run folder, or a folder of them")
    options.add_argument("--json", action="store_true", help="print a list of objects instead")
    chosen = parse(options, arguments)
    rows = scores(chosen.runs, lambda error: _report(f"left out: {error}"))
    if not rows:
        raise InputError(f"{' and '.join(chosen.runs)} holds no evaluated run of the arena, expected some")
    show(rows, chosen.json)
    for line in missing(rows):
        _report(line)
    return 0


def _sizes(examples: int | None, published: tuple[int, int, int]) -> tuple[int, int, int]:
    """The sizes of the parts, in the published proportion.

    >>> _sizes(1000, (96000, 2000, 2000))
    (960, 20, 20)
    """
    from regard.data.arena.shards import MOST_PICTURES

    if examples is None:
        return published
    if examples > MOST_PICTURES:
        raise InputError(f"--examples is {examples}, expected at most {MOST_PICTURES:,}")
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
_ACTIONS: dict[str, Callable[[Sequence[str]], int]] = {"make": _make, "train": _train, "table": _table}
