"""The pictures of the README and the docs, drawn from the code that they show and from results.

python -m benchmarks.figures
"""

import os
import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from benchmarks.arena_charts import SCORES, SPEED, arena
from benchmarks.attended import attended
from benchmarks.charts import mixers, recurrence, scaling
from benchmarks.depth_charts import depths
from benchmarks.network_charts import departments
from benchmarks.picture_charts import growing
from benchmarks.position_figures import MAPS, positions
from benchmarks.speaker_charts import margins, pooling, trade_offs
from regard.attention.pairs.drawing import matrix, on_grid, plot
from regard.attention.vocabulary import parse

__all__ = ["FIGURES", "main", "overview", "papers", "patterns"]

IMAGES = Path(__file__).parent.parent / "docs" / "images"
INK, SOFT, ACCENT = "#30343f", "#c9ced6", "#2f6db5"
HUES = ("#2f6db5", "#c8553d", "#588157", "#8a5a9e")


def patterns(size: int = 14) -> Figure:
    """Which keys (columns) each query (row) may attend to, asked of the patterns themselves."""
    shown = (
        "Everyone()",
        "Causal()",
        "Window(3, 1)",
        "Dilated(2, 2, 3)",
        "Stride(4) & Causal()",
        "Blocks(5)",
        "First(2)",
        "Window(2, 2) | First(1)",
    )
    figure, axes = plt.subplots(1, len(shown), figsize=(15, 2.4), layout="constrained")
    for axis, text in zip(axes, shown, strict=True):
        plot(parse(text), size, axis)
        axis.set_title(text, fontsize=8.5, color=INK, family="monospace")
        if axis is not axes[0]:
            axis.set(xlabel=None, ylabel=None)
    return figure


def papers(size: int = 24) -> Figure:
    """The patterns of papers; those of pictures as the keys that one query sees on a grid of pixels."""
    matrices = {
        "Longformer": ("Window(2, 2) | First(1)",),
        "BigBird": ("Window(2, 2) | First(1) | RandomBlocks(2, 2)",),
        "Sparse Transformer, two heads": ("Window(4, 0)", "Stride(5) & Causal()"),
        "speech: a bounded look ahead": ("Window(8, 2)",),
        "dilated window": ("Dilated(3, 3, 3)",),
    }
    grids = {"Near(2)": "Near(2)", "Image Transformer": "Near(2) & Causal()", "axial": "AlongAxis(0) | AlongAxis(1)"}
    figure, axes = plt.subplots(2, 4, figsize=(13, 7), layout="constrained")
    for axis, (name, texts) in zip(axes.flat, matrices.items(), strict=False):
        plot(parse(texts[0]), size, axis)
        for text, hue in zip(texts[1:], HUES[1:], strict=False):
            _fill(axis, matrix(parse(text), size).numpy(), hue)
        axis.set_title(f"{name}\n{', '.join(texts)}", fontsize=8.5, color=INK)
    for axis, (name, text) in zip(axes.flat[len(matrices) :], grids.items(), strict=True):
        query, side = (5, 6), 12
        plot(parse("~Everyone()"), side, axis)
        _fill(axis, on_grid(parse(text), side, side, query).numpy(), ACCENT)
        axis.plot(query[1], query[0], "o", color="white", markersize=7)
        axis.set(xlabel="column", ylabel="row")
        axis.set_title(f"{name}, on a picture\n{text}", fontsize=8.5, color=INK)
    return figure


def _fill(axis: Axes, cells: np.ndarray, hue: str) -> None:
    """Colors the cells that are not zero."""
    axis.imshow(np.ma.masked_equal(cells, 0), cmap=matplotlib.colors.ListedColormap([hue]))


def overview() -> Figure:
    """Four kinds of input become sets of vectors; attention mixes each set; labels come out."""
    figure, axis = plt.subplots(figsize=(11, 3.9), layout="constrained")
    axis.set(xlim=(0, 110), ylim=(0, 39))
    axis.axis("off")
    kinds = ("words of a sentence", "frames of speech", "patches of a picture", "nodes of a graph")
    labels = ("a label per word", "who speaks", "which digit", "a label per node")
    for n, (kind, label, count, hue) in enumerate(zip(kinds, labels, (5, 8, 4, 6), HUES, strict=True)):
        y = 31 - 9 * n
        axis.text(1, y + 1.2, kind, color=hue, fontsize=11, va="center")
        _vectors(axis, 30, y, count, hue)
        _arrow(axis, (25.5, y + 1.2), (29, y + 1.2))
        _arrow(axis, (30.5 + 2.2 * count, y + 1.2), (54, y + 1.2))
        _arrow(axis, (81, y + 1.2), (86.5, y + 1.2))
        axis.text(88, y + 1.2, label, color=hue, fontsize=11, va="center")
    axis.add_patch(Rectangle((55, 1), 25, 35, facecolor="#eef3f9", edgecolor=ACCENT, linewidth=1.4))
    formulas = (r"s_{ij}=\mathrm{score}(q_i,k_j)", r"a_{ij}=\mathrm{normalizer}_j(s_{ij})", r"o_i=\sum_j a_{ij}\,v_j")
    for n, formula in enumerate(formulas):
        axis.text(67.5, 24 - 8 * n, f"${formula}$", ha="center", va="center", fontsize=12.5, color=INK)
    axis.text(67.5, 31, "attend", ha="center", fontsize=14, color=INK, weight="bold", family="monospace")
    axis.text(39, 37, "sets of vectors", ha="center", color=INK, fontsize=10, style="italic")
    return figure


def _vectors(axis: Axes, x: float, y: float, count: int, hue: str) -> None:
    shades = np.random.default_rng(count).uniform(0.25, 1, (count, 4))
    for (column, row), alpha in np.ndenumerate(shades):
        corner = (x + 2.2 * column, y - 2 + 1.6 * row)
        axis.add_patch(Rectangle(corner, 1.5, 1.5, color=hue, alpha=alpha, linewidth=0))


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=SOFT, linewidth=1.6))


FIGURES = {
    "patterns": patterns,
    "papers": papers,
    "overview": overview,
    "scaling": scaling,
    "efficient": attended,
    "mixers": mixers,
    "oversmoothing": depths,
    "recurrence": recurrence,
    "pictures": growing,
    "speaker-trade-offs": trade_offs,
    "speaker-margins": margins,
    "speaker-pooling": pooling,
}

_LACKING = [path for path in (SPEED, SCORES) if not path.exists()]
if not _LACKING:
    FIGURES["arena"] = arena
if "REGARD_DATA" in os.environ:
    FIGURES["departments"] = departments
if MAPS.exists():
    FIGURES["positions"] = positions


def main() -> int:
    """Draw every figure into `docs/images`."""
    matplotlib.use("Agg")
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        figure = draw()
        figure.savefig(IMAGES / f"{name}.png", dpi=150, facecolor="white")
        plt.close(figure)
        print(f"drew docs/images/{name}.png")
    for path in _LACKING:
        print(
            f"docs/images/arena.png is not drawn: benchmarks/results/{path.name} is missing: `python -m benchmarks.arena`"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
