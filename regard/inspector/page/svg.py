"""Pieces of SVG pictures: text, colors, heat maps."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLUE", "GREY", "ORANGE", "HeatMap", "color", "document", "label", "line", "named", "picture"]

BLUE, ORANGE, GREY = "#1f6fb2", "#e66100", "#5b6472"
_SIDE = 64  # cells of a matrix that is drawn as rectangles
_NAMED = 80  # rows or columns that each have a name
_LETTERS = 18
# Lightness alone tells the number; the same colors as on the page.
_STOPS = np.array([[247, 249, 252], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], float)
_BOTH = np.array([[179, 88, 6], [241, 163, 64], [247, 247, 247], [103, 169, 207], [5, 80, 140]], float)
_HIDDEN, _SPOILED = (236, 236, 238), (212, 0, 122)


def document(title: str, width: float, height: float, parts: Iterable[str]) -> str:
    """A picture with its title as its first line."""
    shown = title if len(title) < width / 6 else title[: max(1, int(width / 6) - 1)] + "…"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        'font-family="sans-serif" font-size="11">'
    )
    begin = [
        head,
        f"<title>{_text(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        label(6, 14, shown),
    ]
    return "\n".join([*begin, *parts, "</svg>\n"])


def label(x: float, y: float, text: str, **attributes: object) -> str:
    """A text; attributes as SVG has them, with _ for -."""
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:g}" y="{y:g}"{more}>{_text(text)}</text>'


def line(
    a: tuple[float, float], b: tuple[float, float], stroke: str, width: float, told: str = "", opacity: float = 1
) -> str:
    """A line, which tells something where it is pointed at."""
    ends = f'x1="{a[0]:.5g}" y1="{a[1]:.5g}" x2="{b[0]:.5g}" y2="{b[1]:.5g}"'
    look = f'stroke="{stroke}" stroke-width="{width:.3g}" stroke-opacity="{opacity:.3g}"'
    return f"<line {ends} {look}>" + (f"<title>{_text(told)}</title>" if told else "") + "</line>"


def named(names: Sequence[str], place: int, most: int = _LETTERS) -> str:
    """A name, cut where it is long."""
    name = names[place] if place < len(names) else ""
    return name if len(name) <= most else name[: most - 1] + "…"


def color(share: float, both: bool = False) -> str:
    """The color of a share from 0 to 1, or of one from -1 to 1."""
    return "#" + bytes(_mixed(np.array([share]), both)[0].tolist()).hex()


def picture(pixels: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> str:
    """An image of pixels, which stay squares."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" preserveAspectRatio="none"'
    return f'<image {place} style="image-rendering:pixelated" href="{source}"/>'


@dataclass(frozen=True)
class HeatMap:
    """A matrix as cells, with names beside its rows and columns.

    Args:
        values: -inf where all pairs are hidden. rows, columns: names. step: pairs down and across that share a cell.
        both: whether numbers below 0 have colors of their own. size: the longer side in pixels, at most.
        most: the number of the strongest color; None for the largest.
    """

    values: NDArray[np.float32]
    rows: Sequence[str]
    columns: Sequence[str]
    step: tuple[int, int] = (1, 1)
    both: bool = False
    size: float = 900
    most: float | None = None

    left, top = 130, 100

    @property
    def cell(self) -> float:
        return min(20.0, self.size / max(*self.values.shape, 1))

    @property
    def width(self) -> float:
        return self.left + self.values.shape[1] * self.cell + 10

    @property
    def height(self) -> float:
        return self.top + self.values.shape[0] * self.cell + 10

    @property
    def largest(self) -> float:
        """The number of the strongest color."""
        shown = np.where(np.isfinite(self.values), self.values, 0)
        found = float((np.abs(shown) if self.both else shown).max(initial=0))
        return (found or 1.0) if self.most is None else self.most

    def parts(self, x: float = 0, y: float = 0) -> list[str]:
        """What draws it, with its corner at a place."""
        rows, columns = self.values.shape
        left, top, cell = x + self.left, y + self.top, self.cell
        colors = _colors(self.values, self.largest, self.both)
        found = []
        if max(rows, columns) <= _SIDE:
            found += [
                f'<rect x="{left + c * cell:g}" y="{top + r * cell:g}" width="{cell:g}" height="{cell:g}" '
                f'fill="#{bytes(colors[r, c].tolist()).hex()}"><title>{float(self.values[r, c]):.7g}</title></rect>'
                for r in range(rows)
                for c in range(columns)
            ]
        else:
            found.append(picture(colors, left, top, columns * cell, rows * cell))
        for r in range(0, rows if self.rows else 0, self._every(rows)):
            place = top + (r + 0.5) * cell + 4
            found.append(label(left - 4, place, named(self.rows, r * self.step[0]), text_anchor="end"))
        for c in range(0, columns if self.columns else 0, self._every(columns)):
            turned = f"translate({left + (c + 0.5) * cell + 4:g} {top - 4:g}) rotate(-90)"
            found.append(label(0, 0, named(self.columns, c * self.step[1]), transform=turned))
        return found

    def _every(self, count: int) -> int:
        """Of how many rows or columns one is named, so that names have room."""
        return max(-(-count // _NAMED), int(np.ceil(11 / self.cell)))


def _colors(values: NDArray[np.float32], most: float, both: bool) -> NDArray[np.uint8]:
    mixed = _mixed(np.where(np.isfinite(values), values, 0) / most, both)
    mixed[np.isneginf(values)] = _HIDDEN
    mixed[np.isnan(values)] = _SPOILED
    return mixed


def _mixed(shares: NDArray[np.floating], both: bool) -> NDArray[np.uint8]:
    stops = _BOTH if both else _STOPS
    place = np.clip((shares + 1) / 2 if both else shares, 0, 1) * (len(stops) - 1)
    n = np.minimum(place.astype(int), len(stops) - 2)
    part = (place - n)[..., None]
    return np.rint(stops[n] * (1 - part) + stops[n + 1] * part).astype(np.uint8)


def _text(text: str) -> str:
    """Text for XML, which has no characters that do not print."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
