"""Charts from the committed results: attention against length, what mixers remember and take, and steps against their position."""

from __future__ import annotations

import json
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS

__all__ = ["mixers", "recurrence", "scaling"]

INK, SOFT, ACCENT = "#30343f", "#c9ced6", "#2f6db5"
HUES = ("#c8553d", "#588157", "#8a5a9e")
# Title, file of results, and which of its cases lie on the line.
_PANELS = (
    ("window of ±128", "attention-window", "window ±128"),
    ("everyone, 4,096 vectors in sets of equal length", "attention-everyone", "everyone"),
    ("additive", "attention-additive", "additive"),
    ("kernelized, elu + 1", "attention-kernelized", "kernelized, elu + 1"),
    ("random graphs of 16,384 vectors, 8 heads of 8", "attention-graphs", "random graph, GATConv 8 x 8"),
)


def scaling() -> Figure:
    """Time and peak memory against length, next to peers and to the least time that the matrix rate allows."""
    panels = [panel for panel in _PANELS if (RESULTS / f"{panel[1]}.json").exists()]
    columns = max(1, len(panels))
    figure, axes = plt.subplots(2, columns, figsize=(4 * columns, 7), layout="constrained", squeeze=False, sharex="col")
    for column, (title, name, line) in enumerate(panels):
        every = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
        rows = sorted((row for row in every if row.get("line") == line and "ms" in row), key=_length)
        above, below = axes[:, column]
        _curves(above, rows, "ms")
        _curves(below, rows, "MB")
        for amount, rate, name in (("GFLOP", "G", "the matrix rate G"), ("GB", "M", "the memory rate M")):
            limits = [(_length(row), row[amount] / row[rate] * 1e3) for row in rows if amount in row]
            _curve(above, limits, ":", INK, f"limit: {name}")
        above.set_title(title, fontsize=10, color=INK)
        above.legend(fontsize=7.5, frameon=False)
        below.set_xlabel("edges" if "graph" in line else "vectors in a set", color=INK)
    for axis in axes.flat:
        axis.set(xscale="log", yscale="log")
        axis.grid(color=SOFT, linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("ms, forward and backward", color=INK)
    axes[1, 0].set_ylabel("peak MB above the inputs", color=INK)
    return figure


# The same mixer in the same color in both panels.
_LINES = {
    "window of 8": ("#b58a2f", "s-"),
    "convolution of 8": ("#4a9d9c", "o--"),
    "convolution of 2": ("#4a9d9c", "o--"),
    "Elman": (HUES[0], "o-"),
    "Jordan": (HUES[2], "o-"),
    "LSTM": (HUES[1], "o-"),
    "self-attention": (ACCENT, "o-"),
    "self-attention in a window of 64": (ACCENT, "o--"),
    "chance": (INK, ":"),
}


def mixers() -> Figure:
    """Which mixers still hear a clue that lies so far back, and the time that each takes for a vector of a longer set."""
    figure, (heard, time) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, name, entry in (
        (heard, "mixers-probe", "accuracy at distance"),
        (time, "mixers-lengths", "microseconds per vector, of"),
    ):
        path = RESULTS / f"{name}.json"
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        for row in rows:
            hue, style = _LINES[row["mixer"]]
            _curve(axis, [(int(x), y) for x, y in row[entry].items()], style, hue, row["mixer"])
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axis.legend(fontsize=8, frameon=False)
        axis.grid(color=SOFT, linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    heard.set(xlabel="vectors from the clue to the question", ylabel="accuracy", ylim=(0, 1.03))
    time.set(xlabel="vectors in the set", ylabel="microseconds per vector, forward and backward", yscale="log")
    return figure


def recurrence() -> Figure:
    """The time of one more vector, and what is remembered for it, against the number of those before it."""
    figure, both = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    rows = json.loads((RESULTS / "recurrence.json").read_text())["rows"]
    for axis, entry in zip(both, ("ms at", "MB remembered at"), strict=True):
        for row, hue in zip(rows, (ACCENT, *HUES), strict=False):
            points = [(int(x.replace(",", "")), y) for x, y in row[entry].items()]
            _curve(axis, [point for point in points if point[1]], "o-", hue, row["what"])
        axis.set(yscale="log", xlabel="vectors before")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axis.grid(color=SOFT, linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    both[0].legend(fontsize=8, frameon=False)
    both[0].set_ylabel("ms for one more vector", color=INK)
    both[1].set_ylabel("MB remembered", color=INK)
    return figure


def _length(row: dict[str, Any]) -> int:
    """The length of a set, the last number of a case's name."""
    return int(row["case"].replace(",", "").split()[-1])


def _curves(axis: Axes, rows: list[dict[str, Any]], entry: str) -> None:
    ours = [(_length(row), row[entry]) for row in rows if entry in row]
    _curve(axis, ours, "o-", ACCENT, "regard")
    names = dict.fromkeys(name for row in rows for name in row["peers"])
    for name, hue in zip(names, HUES, strict=False):
        there = [(_length(row), row["peers"][name][entry]) for row in rows if entry in row["peers"].get(name, {})]
        _curve(axis, there, "s--", hue, name)


def _curve(axis: Axes, points: list[tuple[int, float]], style: str, hue: str, name: str) -> None:
    if points:
        axis.plot([x for x, _ in points], [y for _, y in points], style, color=hue, label=name, markersize=4)
