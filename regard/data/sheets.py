"""Sheets: many small pictures side by side in one, as a model writes them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np

from regard.data.examples import Array

__all__ = ["png", "sheet"]

_BETWEEN = 128  # the gray between pictures


def sheet(pictures: Sequence[Array], columns: int = 0) -> Array:
    """`[H, W]` or `[H, W, 3]` uint8: pictures `[h, w]` or `[h, w, 3]` of one size in rows, with a line of gray around each.

    Args:
        pictures: at least one. columns: how many stand in a row; 0 for about as many as there are rows.

    >>> sheet([np.zeros((28, 28), np.uint8)] * 6).shape
    (59, 88)
    """
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    height, width, *channels = pictures[0].shape
    whole = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, *channels), _BETWEEN, np.uint8)
    for n, picture in enumerate(pictures):
        top, left = n // columns * (height + 1) + 1, n % columns * (width + 1) + 1
        whole[top : top + height, left : left + width] = picture
    return whole


def png(pixels: Array) -> bytes:
    """`[h, w]` or `[h, w, 3]` uint8 as a PNG file, the same bytes for the same pixels."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
