"""The chart of pictures, from the committed results: accuracy as training pictures become more, and how far heads look."""

from __future__ import annotations

import json
import statistics
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS

__all__ = ["growing"]

_HUES = {
    "Vision Transformer": "#2f6db5",
    "with a convolutional stem": "#588157",
    "convolutional network": "#c8553d",
}
_SOFT = "#c9ced6"
# Pixels between two of 7 x 7 places that lie 4 pixels apart, on average: what a head has that weighs all alike.
_EVEN = 14.4


def growing() -> Figure:
    """Accuracy against the number of training pictures; and with the fewest and the most, the attention distance of each head.

    Dotted is the distance of a head that weighs all alike.
    """
    path = RESULTS / "pictures.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    figure, (left, *others) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for name, hue in _HUES.items():
        own = [each for each in runs if each["model"] == name]
        sizes = sorted({each["pictures"] for each in own})
        means = [statistics.mean(each["accuracy"] for each in own if each["pictures"] == size) for size in sizes]
        left.plot(sizes, means, "o-", color=hue, label=name)
    left.set(xscale="log", xlabel="training pictures", ylabel="accuracy on the test part")
    counts = sorted({each["pictures"] for each in runs})
    left.set_xticks(counts, labels=[f"{count:,}" for count in counts])
    left.minorticks_off()
    left.legend(fontsize=8, frameon=False)
    left.grid(color=_SOFT, linewidth=0.5)
    sizes = sorted({each["pictures"] for each in runs if each["distances"]})
    for axis, size in zip(others, sizes[:1] + sizes[1:][-1:], strict=False):
        for shift, (name, hue) in enumerate(_HUES.items()):
            for each in runs:
                if each["model"] == name and each["pictures"] == size:
                    for layer, heads in enumerate(each["distances"], 1):
                        axis.plot([layer + 0.15 * shift] * len(heads), heads, "o", color=hue, alpha=0.7, markersize=5)
        axis.axhline(_EVEN, linestyle=":", color="#30343f")
        axis.set(title=f"{size:,} training pictures", xlabel="layer", ylim=(0, 22), xticks=range(1, 5))
        axis.grid(color=_SOFT, linewidth=0.5)
    others[0].set_ylabel("mean attention distance, pixels")
    for axis in (left, *others):
        axis.spines[["top", "right"]].set_visible(False)
    return figure
