"""`regard generate`: go on with a text, character by character, or write pictures into a sheet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from regard.cli.options import parse, parser
from regard.errors import InputError, check_number

if TYPE_CHECKING:
    from regard.train import Run

__all__ = ["run"]

_DESCRIPTION = """Write as a trained model would. What is drawn depends on the seed alone.

A run of texts (`regard train characters`) goes on with --prompt, printed character by character as they are drawn.

A run of pixels (`regard train clothes-pixels`) writes pictures into the sheet --out; or, with PICTURE... or --test N, keeps the
upper part of each of these and writes the rest: a row of the sheet has the picture, the part that was kept, and what was drawn.

A run of a generator (`regard train clothes-gan`) writes pictures into the sheet --out, a column for each label."""

_TEXTS = ("prompt", "length")
_PICTURES = ("out", "count", "keep", "test")


def run(arguments: Sequence[str]) -> int:
    options = parser("generate", _DESCRIPTION)
    options.add_argument("run", metavar="RUN", help="a run folder")
    options.add_argument("pictures", nargs="*", metavar="PICTURE", help="pictures to complete, or folders of them")
    options.add_argument("--prompt", type=str | None, metavar="TEXT", help="what a text begins with")
    options.add_argument("--length", type=int | None, metavar="N", help="how many characters to draw (default: 500)")
    options.add_argument("--out", type=str | None, metavar="FILE", help="the sheet of pictures, ending in .png")
    options.add_argument(
        "--count",
        type=int | None,
        metavar="N",
        help="pictures to write (default: 16 of pixels, else 60), or of each to complete (default: 4)",
    )
    options.add_argument("--keep", type=float | None, metavar="P", help="the share of rows that is kept (default: 0.5)")
    options.add_argument("--test", type=int | None, metavar="N", help="complete the first N pictures of the test part")
    options.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="below 1 for what is more probable; 0 draws nothing by chance",
    )
    options.add_argument("--top-k", type=int, metavar="K", help="draw from the K most probable alone")
    options.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="draw from the fewest that have the probability P together",
    )
    options.add_argument("--seed", type=int, default=0, metavar="N", help="another seed draws another (default: 0)")
    chosen = parse(options, arguments)
    # Before anything heavy is imported.
    check_number("generate", "--temperature", chosen.temperature, "float", least=0)
    check_number("generate", "--top-k", chosen.top_k, "int | None", least=1)
    check_number("generate", "--top-p", chosen.top_p, "float", least=0, most=1)
    check_number("generate", "--seed", chosen.seed, "int", least=0)
    for name in ("length", "count", "test"):
        check_number("generate", f"--{name}", chosen[name], "int | None", least=1)
    check_number("generate", "--keep", chosen.keep, "float | None", least=0, most=1)
    if chosen.prompt == "":
        raise InputError("--prompt is empty, expected at least one character to go on from")

    from regard.train import Run

    opened = Run.open(chosen.run)
    write = _writer(opened)
    other, what = (_PICTURES, "texts") if write is _text else (_TEXTS, "pictures")
    for name in other:
        if chosen[name] is not None:
            raise InputError(f"--{name} was given and {chosen.run} is a run of {what}, expected it not to be")
    write(opened, chosen)
    return 0


def _writer(opened: Run) -> Callable[[Run, Any], None]:
    from regard.tasks.next_pixel import NextPixelTask
    from regard.tasks.written_pictures import WrittenPicturesTask

    if isinstance(opened.task, NextPixelTask | WrittenPicturesTask):
        from regard.cli.paint import write_pixels, write_samples

        return write_pixels if isinstance(opened.task, NextPixelTask) else write_samples

    from regard.train.generating import task_of

    task_of(opened)
    return _text


def _text(opened: Run, chosen: Any) -> None:
    from regard.train.generating import generate

    if chosen.pictures:
        raise InputError(f"generate got {chosen.pictures[0]!r}, expected no operand but RUN, which is a run of texts")
    if chosen.prompt is None:
        raise InputError("generate is not told --prompt, expected what the text begins with")
    begun = False

    def tell(_: int, character: str) -> None:
        nonlocal begun
        # Nothing is printed where something is refused.
        sys.stdout.write(character if begun else chosen.prompt + character)
        sys.stdout.flush()
        begun = True

    numbers = chosen.temperature, chosen.top_k, chosen.top_p, chosen.seed
    generate(opened, [chosen.prompt], chosen.length or 500, *numbers, told=tell)
    print()
