"""The picture of the arena: score against speed, the area of a circle the memory of a training step."""

from __future__ import annotations

import json
from textwrap import fill
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS

__all__ = ["SCORES", "SPEED", "arena"]

INK, SOFT, ACCENT = "#30343f", "#c9ced6", "#2f6db5"
SPEED, SCORES = RESULTS / "arena-speed.json", RESULTS / "arena-scores.json"
_SIZE = "4K"


def arena() -> Figure:
    """One panel for each task that has scores: accuracy against steps per second at 4,096 bytes, circles as large as the memory."""
    speeds = {row["system"]: row for row in json.loads(SPEED.read_text())["rows"]}
    scored = json.loads(SCORES.read_text())["rows"]
    rows = [row for row in scored if _measured(speeds.get(row["system"], {}))]
    tasks = list(dict.fromkeys(row["task"] for row in rows)) or ["none"]
    figure, axes = plt.subplots(1, len(tasks), figsize=(5.5 * len(tasks), 5), layout="constrained", squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        shown = [row for row in rows if row["task"] == task]
        for row in shown:
            speed = speeds[row["system"]]
            x, y, memory = speed["training, steps/s"][_SIZE], 100 * row["accuracy"], speed["training, MB"][_SIZE]
            axis.scatter(x, y, s=memory, color=ACCENT, alpha=0.35, edgecolor=ACCENT)
            axis.annotate(row["system"], (x, y), fontsize=8, color=INK, ha="center", va="center")
        if shown:
            axis.axhline(100 * shown[0]["without looking"], color=INK, linestyle=":", linewidth=1)
        axis.set(xscale="log", xlabel=f"training steps per second, {_SIZE} bytes", title=task)
        axis.grid(color=SOFT, linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("accuracy on the test part, %", color=INK)
    lacking = {
        f"no speed at {_SIZE}": {row["system"] for row in scored} - {row["system"] for row in rows},
        "no score": {name for name, row in speeds.items() if _measured(row)} - {row["system"] for row in scored},
    }
    said = [f"{what}: {', '.join(sorted(names))}" for what, names in lacking.items() if names]
    figure.supxlabel(fill("; ".join(said), 90 * len(tasks)), fontsize=7, color=INK)
    return figure


def _measured(row: dict[str, Any]) -> bool:
    return isinstance(row.get("training, steps/s", {}).get(_SIZE), float) and bool(row["training, MB"].get(_SIZE))
