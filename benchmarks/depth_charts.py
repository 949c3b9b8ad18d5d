"""A chart of over-smoothing: how alike vectors are after many layers, untrained and trained, and what accuracy that allows."""

from __future__ import annotations

import json
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS

__all__ = ["depths"]

INK, SOFT = "#30343f", "#c9ced6"
HUES = ("#2f6db5", "#588157", "#c8553d", "#8a5a9e", "#b58a2f", "#4a9d9c")
# Title, state, what was measured.
_PANELS = (
    ("untrained: directions (effective rank)", "untrained", "effective rank"),
    ("untrained: mean angle distance", "untrained", "angle distance"),
    ("trained: directions (effective rank)", "trained", "effective rank"),
    ("trained: accuracy on the test part", "trained", "test"),
)


def depths() -> Figure:
    """Each measure against the number of layers, a line for each network."""
    path = RESULTS / "oversmoothing.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure, axes = plt.subplots(1, len(_PANELS), figsize=(15, 3.4), layout="constrained")
    for axis, (title, state, measure) in zip(axes, _PANELS, strict=True):
        for network, hue in zip(networks, HUES, strict=False):
            there = [row for row in rows if row["network"] == network and state in row]
            points = [(row["layers"], row[state][measure]) for row in there]
            axis.plot(*zip(*points, strict=True), "o-", color=hue, label=network, markersize=4)
        axis.set_xscale("log", base=2)
        axis.set_yscale("linear" if measure == "test" else "log")
        axis.set_title(title, fontsize=9.5, color=INK)
        axis.set_xlabel("layers", color=INK)
        axis.grid(color=SOFT, linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8.5, frameon=False
    )
    return figure
