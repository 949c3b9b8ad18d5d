"""What a vector attends to, drawn over the picture whose patches the keys are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from regard.data.examples import Array, Dataset
from regard.errors import InputError
from regard.inspector.calls import Call
from regard.inspector.explain import Explanation, located
from regard.models.model import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Overlay", "overlay_run"]


@dataclass(frozen=True)
class Overlay:
    """The weights of one vector's keys where they lie in a picture.

    Args:
        explanation: of that vector, by numbers.
        pixels: `[h, w]` or `[h, w, c]` uint8, the picture.
        weights: `[rows, columns]` of each patch; NaN where there is none that the pattern allows.
    """

    explanation: Explanation
    pixels: Array
    weights: Array

    def plot(self) -> Figure:
        """The picture, and beside it the same in gray under the weights, with their scale."""
        from matplotlib.figure import Figure

        height, width = self.pixels.shape[:2]
        picture = self.pixels[..., 0] if self.pixels.shape[2:] == (1,) else self.pixels
        figure = Figure(figsize=(10, 0.6 + 4.4 * min(2.0, height / width)), layout="constrained")
        left, right = figure.subplots(1, 2)
        extent = (0, width, height, 0)
        left.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=extent)
        gray = picture if picture.ndim == 2 else picture.mean(2)
        right.imshow(gray, cmap="gray", vmin=0, vmax=255, extent=extent)
        most = float(np.nanmax(self.weights))
        shares = np.nan_to_num(self.weights / most if most > 0 else self.weights)
        # What weighs nothing leaves the picture as it is.
        drawn = right.imshow(self.weights, cmap="viridis", vmin=0, vmax=most, extent=extent, alpha=0.85 * shares)
        figure.colorbar(drawn, ax=right, shrink=0.8, label="weight")
        left.set_title("the picture")
        right.set_title(f"what {self.explanation.span} attends to: a sum of {np.nansum(self.weights):.3f}")
        for axes in (left, right):
            axes.set(xticks=[], yticks=[])
        return figure


def overlay_run(
    run: Any,
    inputs: Iterable[Dataset],
    query: int | Literal["class"],
    layer: int = 0,
    head: int = 0,
    set: int = 0,  # noqa: A002
) -> Overlay:
    """What one vector of a trained model attends to in a picture of one's own; the arguments are those of `explain_run`.

    Raises:
        InputError: what `explain_run` refuses; data that are no pictures, or keys that are no patches of one.
    """
    parts: Any = list(inputs)
    found = located(run, parts, query, layer, head, set)
    owners = [(part, n) for part in parts for n in range(len(part))]
    part, n = owners[set]
    if not hasattr(part, "picture"):
        raise InputError("the run reads no pictures, expected one that does, such as of the recipe cells")
    patches = found.example.coords
    if patches is None or not _on_patches(run.model, found.call, patches):
        raise InputError(f"the keys of layer {layer} are no patches of the picture, expected another --layer")
    explanation = found.by_numbers()
    weights = np.full((patches.max(0) + 1).astype(int), np.nan)
    for heard in explanation.heard:
        if heard.index < 0:
            # A class vector lies nowhere.
            continue
        row, column = patches[heard.index].astype(int)
        weights[row, column] = heard.weight
    return Overlay(explanation, part.picture(n), weights)


def _on_patches(model: Any, call: Call, patches: Array) -> bool:
    """Whether the keys of a call are a picture's patches, one each, or those and a class vector."""
    coords = call.key_layout.coords
    if call.keys is not None:
        return False
    if coords is not None and coords.shape == patches.shape:
        return bool(np.array_equal(coords.detach().cpu().numpy(), patches))
    return isinstance(model, Model) and model.step == 1 and call.key_layout.total == len(model.covered(len(patches)))
