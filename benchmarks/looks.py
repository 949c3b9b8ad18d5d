"""What `regard data look` finds in the published data sets: writes `docs/looks.md`.

REGARD_DATA=FOLDER python -m benchmarks.looks
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from pathlib import Path

from regard.cli import main as regard
from regard.data.registry import DATASETS, locate
from regard.errors import InputError

__all__ = ["main", "page"]

PAGE = Path(__file__).parent.parent / "docs" / "looks.md"

_HEAD = """# What a look finds

`regard data look` on the published data sets that a reader reads; `$REGARD_DATA` stands for the folder of the data.
The command takes files and folders as well, see [data](data.md).
"""


def look(name: str) -> str:
    """What the command prints for a data set.

    Raises:
        InputError: the data set is not here, or is none that a recipe trains on.
    """
    place = locate(name)
    printed = io.StringIO()
    with redirect_stdout(printed):
        status = regard(["data", "look", name])
    if status:
        raise InputError(f"{name} cannot be looked at, expected data of a recipe")
    root = os.environ.get("REGARD_DATA")
    text = printed.getvalue().replace(str(place), f"$REGARD_DATA/{name}" if root else name)
    return "\n".join(line.rstrip() for line in text.splitlines())


def page() -> str:
    """The whole page, of the data sets that are here and have a reader."""
    sections = [_HEAD]
    for name, published in DATASETS.items():
        try:
            found = look(name)
        except InputError:
            continue
        sections.append(f"## {name}\n\n{published.title}\n\n```text\n$ regard data look {name}\n{found}\n```\n")
    return "\n".join(sections)


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
