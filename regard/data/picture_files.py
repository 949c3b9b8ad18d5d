"""Picture files as pixels: what Pillow decodes, brought to 8 bits of gray or color by rules that stand here."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError
from regard.files import read_whole

__all__ = [
    "PICTURE_SUFFIXES",
    "SIDES",
    "Header",
    "gray",
    "is_colored",
    "picture_size",
    "read_header",
    "read_picture",
    "resized",
]

PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""The endings of files that are read as pictures."""

# Sides of pictures in pixels are less.
SIDES = 1 << 16
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_LARGEST = 1 << 28  # bytes of a file
_COLORED = 16  # of 255: how far apart red, green and blue of a picture that is not gray are somewhere
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS_PER_SAMPLE = 258  # a tag of TIFF
_ORIENTATION = 274  # a tag of EXIF
_TURNED = (5, 6, 7, 8)  # by a quarter: width and height change places


@dataclass(frozen=True)
class Header:
    """What a file says of its picture: width and height in pixels, whether places may be transparent, whether it moves."""

    width: int
    height: int
    transparent: bool
    moving: bool

    @property
    def side(self) -> float:
        """That of a square of as many pixels."""
        return math.sqrt(self.width * self.height)


def read_header(path: Path) -> Header:
    """What a picture file says of itself; its pixels are not decoded.

    Raises:
        InputError: a file that cannot be read as a picture.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}, expected a picture") from None
    return _header(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1 << 17)
def _header(path: Path, modified: int, size: int) -> Header:
    """Read once, since `fit` and `survey` look at the same files; a changed file is another key."""
    with _opened(path, str(path)) as file:
        width, height = _shown_size(file)
        return Header(width, height, _is_transparent(file), bool(getattr(file, "is_animated", False)))


def picture_size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height in pixels of a picture as `read_picture` turns it; its pixels are not decoded.

    Raises:
        InputError: bytes that are no picture.
    """
    with _opened(content, name) as file:
        return _shown_size(file)


def _shown_size(file: Any) -> tuple[int, int]:
    width, height = file.size
    turned = file.getexif().get(_ORIENTATION) in _TURNED
    return (height, width) if turned else (width, height)


def read_picture(source: Path | bytes | Array, name: str) -> Array:
    """`[h, w]` or `[h, w, 3]` uint8 of a picture: a file, its bytes, or such pixels, perhaps with a fourth channel, alpha.

    - Transparent places show white: value * alpha + 255 * (1 - alpha).
    - 16 bits are scaled, not cut off: 65,535 becomes 255. TIFF says how many of them it uses. 1 bit becomes 0 and 255.
    - CMYK: red = (255 - cyan) * (255 - black) / 255, and so on.
    - A photograph is turned as its EXIF data say. Of a moving picture, the first frame is read.

    Raises:
        InputError: what is no picture, is damaged, has more than 89,478,485 pixels (a bomb), or pixels of 32 bits.
    """
    if isinstance(source, np.ndarray):
        if (
            source.dtype != np.uint8
            or source.ndim not in (2, 3)
            or (source.ndim == 3 and source.shape[2] not in (3, 4))
        ):
            found = f"pixels {list(source.shape)} {source.dtype}"
            raise InputError(f"{name} has {found}, expected [h, w], [h, w, 3] or [h, w, 4] of the type uint8")
        if not source.size:
            raise InputError(f"{name} has pixels {list(source.shape)}, expected at least one")
        return _on_white(source[..., :3], source[..., 3]) if source.ndim == 3 and source.shape[2] == 4 else source
    from PIL import ImageOps

    with _opened(source, name) as file:
        bits = getattr(file, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
        deep = file.mode in _DEEP or (file.mode == "I" and file.format in ("PNG", "PPM"))
        if file.mode in ("I", "F") and not deep:
            raise InputError(f"{name} has pixels of 32 bits, expected 8 or 16")
        turned = ImageOps.exif_transpose(file)
        return _deep(turned, bits[0] if isinstance(bits, tuple) else int(bits)) if deep else _shallow(turned)


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[Any]:
    """The picture as Pillow opens it, with its errors, its warnings and the bound of its size as ours."""
    from PIL import Image

    if isinstance(source, Path) and not os.path.lexists(source):
        raise InputError(f"{name} is not there, expected a picture")
    content = source if isinstance(source, bytes) else read_whole(source, _LARGEST)
    if not content:
        raise InputError(f"{name} cannot be read as a picture: it is empty")
    try:
        with warnings.catch_warnings():
            # Of EXIF data that are damaged, and the like.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as file:
                yield file
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"{name} has more than {Image.MAX_IMAGE_PIXELS:,} pixels, expected at most that") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{name} cannot be read as a picture: it is none, or is damaged at its beginning") from None
    # What else it raises depends on where the bytes stop making sense.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0].rstrip(".") or "it is damaged"
        raise InputError(f"{name} cannot be read as a picture: {reason}") from None


def _is_transparent(file: Any) -> bool:
    return "transparency" in file.info or file.mode in ("LA", "La", "PA", "RGBA", "RGBa")


def _deep(file: Any, bits: int) -> Array:
    """16 bits of gray, or as many as are used of them, of which one value may be transparent."""
    most = (1 << bits) - 1 if 8 < bits <= 16 else 65535
    values = np.asarray(file).astype(np.int64)
    scaled = np.clip((values * 255 + most // 2) // most, 0, 255).astype(np.uint8)
    key = file.info.get("transparency")
    return scaled if not isinstance(key, int) else np.where(values == key, np.uint8(255), scaled)


def _shallow(file: Any) -> Array:
    if _is_transparent(file):
        pixels = np.asarray(file.convert("RGBA"))
        return _on_white(pixels[..., :3], pixels[..., 3])
    if file.mode in ("1", "L"):
        return np.asarray(file.convert("L"))
    if file.mode == "CMYK":
        ink = 255 - np.asarray(file).astype(np.int64)
        return ((ink[..., :3] * ink[..., 3:] + 127) // 255).astype(np.uint8)
    return np.asarray(file.convert("RGB"))


def _on_white(color: Array, alpha: Array) -> Array:
    share = alpha[..., None].astype(np.int64)
    return ((color * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def gray(pixels: Array) -> Array:
    """`[h, w]` of a picture: .299 red + .587 green + .114 blue (ITU-R BT.601)."""
    if pixels.ndim == 2:
        return pixels
    weighted = pixels.astype(np.int64) @ np.array([19595, 38470, 7471])
    return ((weighted + 0x8000) >> 16).astype(np.uint8)


def is_colored(pixels: Array) -> bool:
    """Whether red, green and blue lie apart anywhere, by more than what is lost where a gray picture is stored in color."""
    if pixels.ndim == 2:
        return False
    return bool(np.ptp(pixels.astype(np.int16), axis=2).max() > _COLORED)


def resized(pixels: Array, side: int | tuple[int, int], colored: bool) -> Array:
    """`[h, w, c]` uint8 with 3 channels or 1, of (h, w) or of one side: each value is the mean of the pixels that it covers."""
    from PIL import Image

    height, width = (side, side) if isinstance(side, int) else side
    kept = gray(pixels) if not colored else pixels if pixels.ndim == 3 else np.stack([pixels] * 3, 2)
    if kept.shape[:2] != (height, width):
        kept = np.asarray(Image.fromarray(np.ascontiguousarray(kept)).resize((width, height), Image.Resampling.BOX))
    return kept.reshape(height, width, -1)
