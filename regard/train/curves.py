"""The picture of a training: how the loss fell, and how validation rose."""

from __future__ import annotations

import io
from pathlib import Path

from regard.train.folder import save
from regard.train.recorder import read_metrics

__all__ = ["CURVES", "draw_curves"]

CURVES = "curves.png"


def draw_curves(folder: Path, monitor: str, trivial: dict[str, float]) -> None:
    """Draws `metrics.csv` as `curves.png`: the losses, and the metric that chose the weights beside the trivial one."""
    from matplotlib.figure import Figure

    rows = read_metrics(folder)
    steps = [row for row in rows if row["kind"] == "step"]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, metric = figure.subplots(1, 2)

    def numbers(chosen: list[dict[str, str]], column: str) -> list[float]:
        return [float(row[column]) for row in chosen]

    validated = [row for row in epochs if row["validation_loss"]]
    watched = [row for row in epochs if row[f"validation_{monitor}"]]

    losses.plot(
        numbers(steps, "step"), numbers(steps, "loss"), color="0.8", linewidth=1, label="training, single steps"
    )
    losses.plot(numbers(epochs, "step"), numbers(epochs, "loss"), marker=".", label="training")
    losses.plot(numbers(validated, "step"), numbers(validated, "validation_loss"), marker=".", label="validation")
    losses.set(xlabel="step", ylabel="loss per target", title="Loss")
    losses.legend()
    metric.plot(
        numbers(watched, "step"),
        numbers(watched, f"validation_{monitor}"),
        marker=".",
        color="C1",
        label="validation",
    )
    if monitor in trivial:
        metric.axhline(trivial[monitor], color="0.5", linestyle="--", label="without looking")
    metric.set(xlabel="step", title=monitor)
    metric.legend()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    save(folder / CURVES, stream.getvalue())
