"""Weights where their keys lie, as SVG: over a picture, along a sound, on a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from regard.inspector.asked import Answer
from regard.inspector.page.svg import GREY, ORANGE, color, document, label, line, named, picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["placed"]

_FRAME = "#00b0ff"  # of the query
_SIZE = 360  # of a picture
_SURE = 0.5  # the score from which a box is drawn


class Placed(NamedTuple):
    """By input, what is drawn of it."""

    weights: dict[int, float]
    names: dict[int, str]
    top: float
    query: range
    number: int
    of_keys: dict[int, float]


def placed(
    answer: Answer, title: str, weights: NDArray[np.float32], keys: Mapping[str, Any], query: range, number: int
) -> str:
    """The weights of one query over what the input is.

    Args:
        answer: what weights can be shown on. keys: their names, and of each the first and the end of the inputs that it stands for.
        query: the inputs that the query stands for. number: which query it is.
    """
    inputs: dict[int, float] = {}
    names: dict[int, str] = {}
    for (first, end), name, weight in zip(keys["spans"], keys["names"], weights.tolist(), strict=True):
        inputs |= dict.fromkeys(range(first, end), max(0.0, weight) if np.isfinite(weight) else 0.0)
        names |= dict.fromkeys(range(first, end), name)
    # Keys that stand for no input, by their number: the vectors that become boxes.
    shown = np.where(np.isfinite(weights), np.maximum(weights, 0), 0).tolist()
    of_keys = {n: shown[n] for n, (first, end) in enumerate(keys["spans"]) if first == end}
    top = max([1e-30, *inputs.values(), *of_keys.values()])
    title += f", largest weight {top:.6g}"
    return _DRAWN[str(answer.content["kind"])](answer, title, Placed(inputs, names, top, query, number, of_keys))


def _picture(answer: Answer, title: str, given: Placed) -> str:
    content, inputs, top, query = answer.content, given.weights, given.top, given.query
    height, width, patch = content["height"], content["width"], content["patch"]
    pixels = np.frombuffer(answer.buffers[0], np.uint8).reshape(height, width, 3)
    big = _SIZE / max(height, width)
    gray = np.repeat(pixels.mean(2, keepdims=True).round().astype(np.uint8), 3, 2)
    left, right, y = 10, 30 + width * big, 30
    parts = [picture(pixels, left, y, width * big, height * big), picture(gray, right, y, width * big, height * big)]
    side = patch * big
    for n, (row, column) in enumerate(content["places"]):
        weight = inputs.get(n, 0.0)
        rect = f'y="{y + row * side:.5g}" width="{side:.5g}" height="{side:.5g}"'
        if weight > top / 1000:
            fill = f'fill="{ORANGE}" fill-opacity="{0.85 * weight / top:.3g}"'
            parts.append(f'<rect x="{right + column * side:.5g}" {rect} {fill}><title>{weight:.7g}</title></rect>')
        if n in query:
            parts += [
                f'<rect x="{x + column * side:.5g}" {rect} fill="none" stroke="{_FRAME}" stroke-width="2"/>'
                for x in (left, right)
            ]
    for box in content.get("boxes", ()):
        parts += _box(box, big, (left, right), y, given)
    return document(title, right + width * big + 10, y + height * big + 10, parts)


def _box(box: Mapping[str, Any], big: float, corners: tuple[float, float], top: float, given: Placed) -> list[str]:
    """A box that is predicted: of the query in both pictures, of a key by its weight, another one where it is sure."""
    mine, weight = box["query"] == given.number and not len(given.query), given.of_keys.get(box["query"])
    a, b, c, d = (each * big for each in box["box"])
    told = f"<title>query {box['query']}: {box['label']} {box['score']:.3f}</title>"

    def frame(x: float, stroke: str, width: float, opacity: float = 1) -> str:
        place = f'x="{x + a:.5g}" y="{top + b:.5g}" width="{c - a:.5g}" height="{d - b:.5g}"'
        look = f'stroke="{stroke}" stroke-width="{width}" stroke-opacity="{opacity:.3g}"'
        return f'<rect {place} fill="none" {look}>{told}</rect>'

    found = [frame(corners[0], ORANGE, 1)] if box["score"] >= _SURE and not mine else []
    if weight is not None and not mine:
        found.append(frame(corners[1], ORANGE, 3, weight / given.top))
    return found + [frame(x, _FRAME, 3) for x in corners if mine]


def _sound(answer: Answer, title: str, given: Placed) -> str:
    content, inputs, top, query = answer.content, given.weights, given.top, given.query
    frames, bands, rate = content["frames"], content["bands"], content["rate"]
    wide, left, y, parts = 760, 10, 30.0, []
    if rate:
        samples = np.abs(np.frombuffer(answer.buffers[1], "<i2").astype(np.float32)) / 32768
        loud = [float(part.max(initial=0)) for part in np.array_split(samples, wide // 2)]
        shape = " ".join(f"{left + 2 * n},{y + 30 - 30 * x:.4g}" for n, x in enumerate(loud))
        back = " ".join(f"{left + 2 * n},{y + 30 + 30 * x:.4g}" for n, x in reversed(list(enumerate(loud))))
        parts.append(f'<polygon points="{shape} {back}" fill="{GREY}"/>')
        y += 70
    mel = np.frombuffer(answer.buffers[0], np.uint8).reshape(frames, bands).T[::-1]
    shades = np.array([[int(color(n / 255)[k : k + 2], 16) for k in (1, 3, 5)] for n in range(256)], np.uint8)
    parts.append(picture(np.ascontiguousarray(shades[mel]), left, y, wide, 120))
    y += 130
    for n in range(frames):
        tall = 80 * inputs.get(n, 0.0) / top
        if tall > 0.05:
            place = f'x="{left + n * wide / frames:.5g}" y="{y + 80 - tall:.5g}" width="{wide / frames:.4g}" height="{tall:.4g}"'
            parts.append(f'<rect {place} fill="{ORANGE}"><title>{inputs[n]:.7g}</title></rect>')
    if len(query):
        x = left + query.start * wide / frames
        size = f'width="{max(1.5, len(query) * wide / frames):.4g}" height="{y + 54:.5g}"'
        parts.append(f'<rect x="{x:.5g}" y="26" {size} fill="{_FRAME}" fill-opacity=".5"/>')
    seconds = frames / content["per_second"]
    every = 5 if seconds > 20 else 1 if seconds > 4 else 0.2 if seconds > 0.8 else 0.05
    parts += [
        label(left + n * every / seconds * wide, y + 94, f"{n * every:g} s") for n in range(int(seconds / every) + 1)
    ]
    return document(title, wide + 20, y + 104, parts)


def _graph(answer: Answer, title: str, given: Placed) -> str:
    content, inputs, top, query = answer.content, given.weights, given.top, given.query
    center = query.start if len(query) else -1
    places: dict[int, tuple[float, float]] = {}
    if content["drawn"]:
        for n, (x, y) in enumerate(np.frombuffer(answer.buffers[0], "<f4").reshape(-1, 2).tolist()):
            places[n] = 40 + 560 * x, 60 + 400 * y
    else:
        heaviest = [n for n in sorted(inputs, key=lambda n: -inputs[n])[:41] if inputs[n] > 0 and n != center][:40]
        for turn, n in enumerate(heaviest):
            angle = 2 * np.pi * turn / len(heaviest)
            places[n] = 320 + 260 * float(np.cos(angle)), 260 + 200 * float(np.sin(angle))
        if center >= 0:
            places[center] = 320, 260
    parts = [line(places[a], places[b], "#c9ced8", 1.5) for a, b in content["edges"] if a in places and b in places]
    for n, place in places.items():
        weight = inputs.get(n, 0.0)
        if center in places and n != center and weight > top / 200:
            parts.append(line(places[center], place, ORANGE, 0.5 + 9 * weight / top, f"{weight:.7g}", 0.8))
    for n, (x, y) in places.items():
        frame = f'stroke="{_FRAME}" stroke-width="4"' if n == center else f'stroke="{GREY}"'
        weight = inputs.get(n, 0.0)
        parts.append(
            f'<circle cx="{x:.5g}" cy="{y:.5g}" r="10" fill="{color(weight / top)}" {frame}><title>{weight:.7g}</title></circle>'
        )
        parts.append(label(x + 12, y + 4, named([given.names.get(n, str(n))], 0)))
    return document(title, 680, 500, parts)


_DRAWN = {"picture": _picture, "sound": _sound, "graph": _graph}
