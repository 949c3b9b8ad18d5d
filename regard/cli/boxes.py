"""Boxes drawn on the pictures that they were predicted for: `regard predict RUN INPUT --out PLACE`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from regard.data.boxed_pictures import BoxedPictures
from regard.data.examples import Array, Dataset
from regard.errors import InputError
from regard.files import write_atomically

if TYPE_CHECKING:
    from regard.train import Run

__all__ = ["drawn", "with_pictures"]

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_COLORS = ("#e6194b", "#0082c8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#808000", "#e377c2")


def drawn(pixels: Array, boxes: Sequence[dict[str, Any]], labels: Sequence[str], threshold: float) -> Any:
    """A picture `[h, w, 3]` with the boxes whose score is at least the threshold, a color for each label."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 300))
    for box in (each for each in boxes if each["score"] >= threshold):
        color = _COLORS[labels.index(box["label"]) % len(_COLORS)]
        left, top, right, bottom = box["box"]
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=width)
        pen.text((left + width + 1, top + width), f"{box['label']} {box['score']:.2f}", fill=color)
    return picture


def _checked(place: str, task: object) -> Path:
    """Where pictures are to be written, for a run that tells boxes.

    Raises:
        InputError: a run that tells something else, or a place that cannot be written to.
    """
    from regard.tasks.boxes import BoxTask

    path = Path(place)
    if not isinstance(task, BoxTask):
        raise InputError("--out draws boxes, and the run tells none, expected a run such as of the recipe cells")
    if path.suffix and path.suffix.lower() not in _FORMATS:
        raise InputError(f"--out is {place!r}, expected a folder, or a picture ending in {', '.join(_FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--out is {place!r}, and {path.parent} is no folder, expected one that is there")
    if path.exists() and path.is_dir() == bool(path.suffix):
        raise InputError(
            f"--out is {place!r}, which is {'a folder' if path.is_dir() else 'a file'}, expected the other"
        )
    return path


def with_pictures(opened: Run, parts: Sequence[Dataset], out: str) -> Iterator[dict[str, Any]]:
    """The predictions of data sets; when one is told its picture has been written, to the file `out` or into that folder.

    Raises:
        InputError: a run that tells no boxes, a place that cannot be written to, or several pictures for one file.
    """
    place = _checked(out, opened.task)
    count = sum(len(part) for part in parts)
    if place.suffix and count != 1:
        raise InputError(f"--out is {str(place)!r} for {count} pictures, expected a folder")
    if not place.suffix:
        place.mkdir(exist_ok=True)
    written: set[str] = set()
    task: Any = opened.task
    for part in parts:
        assert isinstance(part, BoxedPictures)
        for source, prediction in zip(part.sources, opened.predictions([part]), strict=True):
            picture = drawn(source.read(), prediction["boxes"], task.labels, task.config.threshold)
            path = place if place.suffix else place / _free(source.name, written)
            content = io.BytesIO()
            picture.save(content, _FORMATS[path.suffix.lower()])
            write_atomically(path, content.getvalue())
            yield prediction


def _free(name: str, written: set[str]) -> str:
    """A name of a file that no other picture has: `a.jpg` becomes `a.png`, and another one `a-2.png`."""
    stem, number = PurePosixPath(name).stem or "picture", 1
    while (found := f"{stem}.png" if number == 1 else f"{stem}-{number}.png") in written:
        number += 1
    written.add(found)
    return found
