"""The tables of a task of the arena: a file, or one for each part in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from regard.data.examples import Part
from regard.data.folders import files_by_part
from regard.data.survey import Skips
from regard.errors import InputError
from regard.files import plain_suffix

__all__ = ["is_table", "table_files"]


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table whose columns tabs divide."""
    return plain_suffix(path) == ".tsv"


def table_files(place: Path, validation: str) -> tuple[list[tuple[Path, Part | None]], Skips]:
    """The tables at a place with the part that each is, None for a file alone; and what was skipped.

    Args:
        validation: what the published name of the validation part's file holds, for the error.

    Raises:
        InputError: a folder without a table that names its part.
    """
    if not os.path.isdir(place):
        return [(place, None)], Skips()
    files, skips = files_by_part(place, is_table)
    if not files:
        raise InputError(
            f"{place} has no .tsv file with train, {validation} or test in its name, expected one for each part"
        )
    return [*files], skips
