"""Files that a command writes for `--out`, refused before the work where they cannot be written; pictures among them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.errors import InputError
from regard.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["picture_format", "place_to_write", "svg_format", "write_picture"]


def place_to_write(out: str, expected: str, check: Callable[[Path], Any] | None = None, option: str = "--out") -> Path:
    """The path of a file to write, whose folder is made where there is none.

    Args:
        expected: what the file is, for sentences. check: refuses a name that says no format. option: that named it.

    Raises:
        InputError: a folder, or a place that cannot be written to.
    """
    path = Path(out)
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder, expected {expected}")
    if check is not None:
        check(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror}") from None
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path} cannot be written, expected a folder that can be written to")
    return path


def picture_format(out: Path) -> str:
    """The format of pictures that a name ends in.

    Raises:
        InputError: it ends in none that matplotlib writes.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    known, form = sorted(FigureCanvasBase.get_supported_filetypes()), out.suffix[1:].lower()
    if form not in known:
        raise InputError(f"--out is {str(out)!r}, expected a name that ends in one of {', '.join(known)}")
    return form


def svg_format(out: Path) -> str:
    """`svg`, for pictures that are drawn in no other format.

    Raises:
        InputError: a name that ends otherwise.
    """
    if out.suffix.lower() != ".svg":
        raise InputError(f"--out is {str(out)!r}, expected a name that ends in .svg")
    return "svg"


def write_picture(figure: Figure, out: Path) -> None:
    """Write a figure in the format that its name ends in, whole or not at all."""
    picture = io.BytesIO()
    figure.savefig(picture, format=picture_format(out), dpi=150)
    write_atomically(out, picture.getvalue())
