"""Run folders named on the command line."""

from collections.abc import Sequence
from pathlib import Path

from regard.errors import InputError
from regard.train.folder import CONFIG

__all__ = ["expand"]


def expand(names: Sequence[str]) -> list[Path]:
    """The runs that are named; a folder of runs, as a sweep leaves it, stands for all of them.

    Raises:
        InputError: a folder that is no run and holds none, or a run that is named twice.
    """
    found: list[Path] = []
    for name in names:
        folder = Path(name)
        inner = [folder] if (folder / CONFIG).is_file() else sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
        if not inner:
            raise InputError(f"{name} holds no {CONFIG}, expected the folder of a run, or a folder of runs")
        found += inner
    for folder in found:
        if found.count(folder) > 1:
            raise InputError(f"the run {folder} is named twice, expected each run once")
    return found
