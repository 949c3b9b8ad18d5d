"""Sheets of pictures that a model wrote, for `regard generate`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.cli.pictures import place_to_write
from regard.data.sheets import png, sheet
from regard.errors import InputError
from regard.files import write_atomically

if TYPE_CHECKING:
    from regard.data.examples import Array
    from regard.train import Run

__all__ = ["sheet_place", "write_pixels", "write_samples"]

_GRAY = 128  # of what was not kept


def sheet_place(out: str | None) -> Path:
    """Where the sheet is to be written.

    Raises:
        InputError: none is named, it is no PNG, or it cannot be written.
    """
    if out is None:
        raise InputError("generate is not told --out, expected the file for the sheet of pictures, such as sheet.png")
    if not out.lower().endswith(".png"):
        raise InputError(f"--out is {out!r}, expected a name that ends in .png")
    return place_to_write(out, "a picture that ends in .png")


def write_pixels(opened: Run, chosen: Any) -> None:
    """Write a sheet of pictures of a run of the task NextPixel; `chosen` are the options of `regard generate`."""
    from regard.train.painting import paint

    place = sheet_place(chosen.out)
    task: Any = opened.task
    height, width = task.extent
    numbers = chosen.temperature, chosen.top_k, chosen.top_p, chosen.seed
    given = _given(opened, chosen)
    if given is None:
        if chosen.keep is not None:
            raise InputError("--keep was given and no picture, expected PICTURE or --test, of which a part is kept")
        pixels = sheet(paint(opened, [np.zeros(0, np.uint8)] * (chosen.count or 16), *numbers))
    else:
        kept = round((0.5 if chosen.keep is None else chosen.keep) * height) * width
        count = chosen.count or 4
        drawn = paint(opened, [each[:kept] for each in given for _ in range(count)], *numbers)
        rows = []
        for n, levels in enumerate(given):
            cut = np.where(np.arange(height * width) < kept, levels, _GRAY).astype(np.uint8)
            rows += [levels.reshape(height, width), cut.reshape(height, width), *drawn[n * count : (n + 1) * count]]
        pixels = sheet(rows, columns=count + 2)
    write_atomically(place, png(pixels))


def write_samples(opened: Run, chosen: Any) -> None:
    """Write a sheet of pictures of a run of the task WrittenPictures; `chosen` are the options of `regard generate`."""
    place = sheet_place(chosen.out)
    plain: dict[str, Any] = {
        "temperature": 1.0,
        "top_k": None,
        "top_p": 1.0,
        "keep": None,
        "test": None,
        "pictures": [],
    }
    for name, value in plain.items():
        if chosen[name] != value:
            found = (
                f"generate got {chosen.pictures[0]!r}"
                if name == "pictures"
                else f"--{name.replace('_', '-')} was given"
            )
            raise InputError(f"{found} and {chosen.run} writes pictures from noise alone, expected it not to be")
    task: Any = opened.task
    write_atomically(place, png(task.sheet(chosen.count or task.config.samples, chosen.seed)))


def _given(opened: Run, chosen: Any) -> Sequence[Array] | None:
    """`[pixels]` uint8 of each picture that is to be completed; None where none is."""
    if chosen.pictures and chosen.test is not None:
        raise InputError("--test was given and pictures as well, expected one of them")
    if chosen.pictures:
        parts: Any = list(opened.inputs(chosen.pictures))
        examples = [part[n] for part in parts for n in range(len(part))]
    elif chosen.test is not None:
        part = opened.part("test")
        examples = [part[n] for n in itertools.islice(range(len(part)), chosen.test)]
    else:
        return None
    return [example.values.astype(np.uint8) for example in examples]
