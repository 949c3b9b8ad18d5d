"""Examples and predictions drawn in the terminal."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.data.examples import Array, Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["draw", "picture"]

_SHADES = " ░▒▓█"
_SIDE = 32  # pictures with more pixels are reduced
_BAR = 20  # the length of a bar for probability 1


def draw(example: Example, prediction: dict[str, Any], vectors: int) -> str:
    """What was predicted, beside a picture of the example where it is one, or word by word.

    Args:
        vectors: how many of the example's vectors to show, where each has a prediction of its own.
    """
    if "vectors" in prediction:
        return "\n".join([prediction["name"], *_by_vector(prediction["vectors"], vectors)])
    lines = _bars(prediction)
    if example.coords is not None and example.coords.shape[1] == 2 and example.values.ndim == 2:
        drawn = picture(example.values, example.coords)
        pairs = itertools.zip_longest(drawn, lines, fillvalue="")
        lines = [f"{left:{len(drawn[0])}}   {right}".rstrip() for left, right in pairs]
    return "\n".join([_title(prediction), *lines])


def picture(values: Array, coords: Array) -> list[str]:
    """Patches `[n, d]` at their (row, column) as lines of shades, two characters for each pixel."""
    side, channels = _patch(values.shape[1])
    rows, columns = coords.round().astype(int).T
    canvas = np.zeros((rows.max(initial=0) + 1, side, columns.max(initial=0) + 1, side))
    canvas[rows, :, columns, :] = values.reshape(-1, side, side, channels).mean(axis=3)
    pixels = _reduced(canvas.reshape(canvas.shape[0] * side, -1))
    shades = (pixels.clip(0, 1) * (len(_SHADES) - 1)).round().astype(int)
    return ["".join(_SHADES[shade] * 2 for shade in row) for row in shades]


def _patch(width: int) -> tuple[int, int]:
    """The side of a patch and its number of channels, from the width of its vector."""
    for channels in (1, 3):
        side = round((width / channels) ** 0.5)
        if side * side * channels == width:
            return side, channels
    return 1, width


def _reduced(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    step = -(-max(pixels.shape) // _SIDE)
    tall, wide = (size // step * step for size in pixels.shape)
    return pixels[:tall, :wide].reshape(tall // step, step, wide // step, step).mean(axis=(1, 3))


def _title(prediction: dict[str, Any]) -> str:
    return f"{prediction['name']}: {_answer(prediction)}"


def _answer(prediction: dict[str, Any]) -> str:
    target = prediction.get("target")
    if "counts" in prediction:
        found = ", ".join(f"{count} {label}" for label, count in prediction["counts"].items())
        return found if target is None else f"{found} for {len(target)} boxes"
    if "label" not in prediction and "number" not in prediction:
        # What other tasks write, as it is.
        written = {name: value for name, value in prediction.items() if name not in ("name", "token", "target")}
        answer = json.dumps(written, ensure_ascii=False)
        return answer if target is None else f"{answer} for {json.dumps(target, ensure_ascii=False)}"
    answer = prediction["label"] if "label" in prediction else f"{prediction['number']:.4g}"
    if target is None:
        return str(answer)
    if isinstance(target, str):
        return f"{answer}, which is right" if answer == target else f"{answer}, which is wrong: {target}"
    return f"{answer} for {target:.4g}"


def _bars(prediction: dict[str, Any]) -> list[str]:
    listed = prediction.get("probabilities", {})
    width = max(map(len, listed), default=0)
    return [f"{name:{width}} {p:5.3f} {'█' * round(p * _BAR)}".rstrip() for name, p in listed.items()]


def _by_vector(predictions: list[dict[str, Any]], count: int) -> list[str]:
    """A line for each vector; where only some have a target, as the nodes of a graph's test part, those are shown."""
    targeted = [(n, each) for n, each in enumerate(predictions) if "target" in each]
    shown = (targeted or list(enumerate(predictions)))[:count]
    names = [str(each.get("token", n)) for n, each in shown]
    width = max(map(len, names), default=0)
    lines = []
    for name, (_, each) in zip(names, shown, strict=True):
        probability = f"{each['probability']:5.3f}" if "probability" in each else ""
        lines.append(f"  {name:{width}}  {probability}  {_answer(each)}")
    rest = len(targeted or predictions) - len(shown)
    return [*lines, f"  and {rest:,} more"] if rest else lines
