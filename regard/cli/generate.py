"""`regard generate`: go on with a text, character by character."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from regard.cli.options import parse, parser
from regard.errors import InputError, check_number

__all__ = ["run"]

_DESCRIPTION = """Go on with a text as a language model would, printed character by character as they are drawn, after the prompt.
RUN is one of the task NextToken, as `regard train characters` makes. What is drawn depends on the seed alone."""


def run(arguments: Sequence[str]) -> int:
    options = parser("generate", _DESCRIPTION)
    options.add_argument("run", metavar="RUN", help="a run folder")
    options.add_argument("--prompt", type=str, required=True, metavar="TEXT", help="what the text begins with")
    options.add_argument(
        "--length", type=int, default=500, metavar="N", help="how many characters to draw (default: 500)"
    )
    options.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="below 1 for what is more probable; 0 draws nothing by chance",
    )
    options.add_argument("--top-k", type=int, metavar="K", help="draw from the K most probable characters alone")
    options.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="draw from the fewest that have the probability P together",
    )
    options.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another text (default: 0)")
    chosen = parse(options, arguments)
    # Before anything heavy is imported.
    check_number("generate", "--length", chosen.length, "int", least=1)
    check_number("generate", "--temperature", chosen.temperature, "float", least=0)
    check_number("generate", "--top-k", chosen.top_k, "int | None", least=1)
    check_number("generate", "--top-p", chosen.top_p, "float", least=0, most=1)
    check_number("generate", "--seed", chosen.seed, "int", least=0)
    if not chosen.prompt:
        raise InputError("--prompt is empty, expected at least one character to go on from")

    from regard.train import Run
    from regard.train.generating import generate

    opened = Run.open(chosen.run)
    begun = False

    def tell(_: int, character: str) -> None:
        nonlocal begun
        # Nothing is printed where something is refused.
        sys.stdout.write(character if begun else chosen.prompt + character)
        sys.stdout.flush()
        begun = True

    numbers = chosen.temperature, chosen.top_k, chosen.top_p, chosen.seed
    generate(opened, [chosen.prompt], chosen.length, *numbers, told=tell)
    print()
    return 0
