"""The weights of a head as SVG: names as text, cells as rectangles, or as one picture where they are many."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from regard.inspector.answers import Questions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["matrix_svg"]

_SIDE = 64  # cells of a matrix that is drawn as rectangles
_NAMED = 80  # rows or columns that each have a name
_LETTERS = 18
# Lightness alone tells the number; the same colors as on the page.
_STOPS = np.array([[247, 249, 252], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], float)
_HIDDEN, _SPOILED = (236, 236, 238), (212, 0, 122)


def matrix_svg(questions: Questions, layer: int, head: int) -> str:
    """Queries down, keys across, darker for more weight, up to the largest; grey where the pattern hides the key.

    Raises:
        InputError: a layer or head that is not there.
    """
    inspection = questions.inspection
    answer = questions.answer({"ask": "matrix", "layer": layer, "head": head})
    rows, columns = answer.content["shape"]
    weights = np.frombuffer(answer.buffers[0], "<f4").reshape(rows, columns)
    down, across = answer.content["step"]
    seen = inspection.seen[layer]
    cell = max(1.0, min(20.0, 900 / max(rows, columns, 1)))
    left, top = 130, 110
    width, height = left + columns * cell + 10, top + rows * cell + 10
    shown = np.where(np.isfinite(weights), weights, 0)
    most = float(shown.max(initial=0)) or 1.0
    title = f"{inspection.name}: {inspection.title}, layer {layer}, head {head}, {seen.attention}, largest weight {most:.6g}"
    if down * across > 1:
        title += f"; each cell is the largest weight of {down} × {across} pairs"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{_text(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="6" y="14">{_text(title if len(title) < 140 else title[:139] + "…")}</text>',
    ]
    colors = _colors(weights, most)
    if max(rows, columns) <= _SIDE:
        lines += [
            f'<rect x="{left + c * cell:g}" y="{top + r * cell:g}" width="{cell:g}" height="{cell:g}" '
            f'fill="#{bytes(colors[r, c].tolist()).hex()}"><title>{float(weights[r, c]):.7g}</title></rect>'
            for r in range(rows)
            for c in range(columns)
        ]
    else:
        place = f'x="{left}" y="{top}" width="{columns * cell:g}" height="{rows * cell:g}"'
        lines.append(f'<image {place} style="image-rendering:pixelated" href="{_png(colors)}"/>')
    for r in range(0, rows, -(-rows // _NAMED)):
        y = top + (r + 0.5) * cell + 4
        lines.append(f'<text x="{left - 4}" y="{y:g}" text-anchor="end">{_name(seen.queries.names, r * down)}</text>')
    for c in range(0, columns, -(-columns // _NAMED)):
        x = left + (c + 0.5) * cell + 4
        turned = f'transform="translate({x:g} {top - 4}) rotate(-90)"'
        lines.append(f"<text {turned}>{_name(seen.keys.names, c * across)}</text>")
    return "\n".join([*lines, "</svg>\n"])


def _colors(weights: NDArray[np.float32], most: float) -> NDArray[np.uint8]:
    place = np.nan_to_num(np.clip(weights / most, 0, 1)) * (len(_STOPS) - 1)
    n = np.minimum(place.astype(int), len(_STOPS) - 2)
    part = (place - n)[..., None]
    mixed = np.rint(_STOPS[n] * (1 - part) + _STOPS[n + 1] * part)
    mixed[np.isneginf(weights)] = _HIDDEN
    mixed[np.isnan(weights)] = _SPOILED
    return mixed.astype(np.uint8)


def _png(colors: NDArray[np.uint8]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(colors).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _name(names: tuple[str, ...], place: int) -> str:
    name = names[place] if place < len(names) else ""
    return _text(name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…")


def _text(text: str) -> str:
    """Text for XML, which has no characters that do not print."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
