"""Tables in the terminal."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

__all__ = ["print_table"]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Print rows under their column names; columns whose cells are all numbers are aligned to the right.

    In a terminal long cells are wrapped; into a file or a pipe each row is one line, for other programs to read.
    """
    terminal = sys.stdout.isatty()
    if title:
        print(title)
    table = Table(box=None, pad_edge=False, header_style="bold" if terminal else "")
    for n, column in enumerate(columns):
        numbers = all(row[n][:1] in "+-−0123456789" for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold", no_wrap=not terminal)
    for row in rows:
        table.add_row(*(_escaped(cell) for cell in row))
    console = Console(file=sys.stdout, highlight=False, markup=False, width=None if terminal else 10_000)
    console.print(table)


def _escaped(cell: str) -> str:
    return cell.replace("[", r"\[")
