"""The pixels of pictures, decoded at once where they fit into memory, and each time they are read where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regard.data.examples import Array
from regard.data.patches import Patches, Pixels
from regard.data.picture_files import read_header, read_picture

__all__ = ["Opened", "picture_shape", "pixels_of"]

# Bytes of pictures of a part that are held decoded.
_MOST_HELD = 1 << 30


class Opened:
    """Pictures that are opened when they are read, and brought to their form.

    Args:
        patches: that form. sources: files, or pixels in memory. places: what errors call them.
    """

    def __init__(self, patches: Patches, sources: Sequence[Path | Array], places: Sequence[str]) -> None:
        self._patches, self._sources, self._places = patches, sources, places

    def __getitem__(self, index: int, /) -> Array:
        return self._patches.brought(read_picture(self._sources[index], self._places[index]))


def picture_shape(source: Path | Array) -> tuple[int, int]:
    """Height and width in pixels, as a picture is shown."""
    if isinstance(source, Path):
        header = read_header(source)
        return header.height, header.width
    return source.shape[0], source.shape[1]


def pixels_of(
    patches: Patches, sources: Sequence[Path | Array], places: Sequence[str], shapes: Sequence[tuple[int, int]]
) -> Pixels:
    """The pixels of pictures that become these shapes: in memory, so that a damaged one is told before training, where they fit.

    Raises:
        InputError: a picture that cannot be read; where they do not fit, it is told when the picture is read.
    """
    opened = Opened(patches, sources, places)
    held = sum(height * width for height, width in shapes) * patches.channels
    return [opened[n] for n in range(len(sources))] if held <= _MOST_HELD else opened
