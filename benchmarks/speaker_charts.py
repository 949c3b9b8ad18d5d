"""Charts of speaker recognition: error trade-offs of the rungs, margins, and where pooling looks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import norm

from benchmarks.machine import RESULTS

__all__ = ["margins", "pooling", "trade_offs"]

INK, SOFT, ACCENT = "#30343f", "#c9ced6", "#2f6db5"
HUES = {
    "simple": "#9aa3b2",
    "medium": "#c8553d",
    "strong": "#588157",
    "strong, self-attention pooling": "#b08a2e",
    "strong, AM-softmax": "#5fa8a8",
    "boss": "#2f6db5",
    "Conformer, statistics": "#8a5fa8",
    "recipe speaker, all of calibrate": "#d1495b",
}
_TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


def _measured() -> dict[str, Any]:
    path = RESULTS / "pictures" / "speaker.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def trade_offs() -> Figure:
    """DET curves (Martin et al. 1997): misses against false acceptances of strangers, as quantiles of the normal distribution."""
    curves = _measured().get("det", {})
    names = list(next(iter(curves.values()), {"whole": None}))
    figure, axes = plt.subplots(1, len(names), figsize=(4.2 * len(names), 4.2), layout="constrained", squeeze=False)
    places = norm.ppf(_TICKS)
    for axis, kept in zip(axes[0], names, strict=True):
        for variant, by_length in curves.items():
            rates = (np.clip(by_length[kept][kind], 1e-4, 0.9999) for kind in ("false acceptance", "miss"))
            axis.plot(*(norm.ppf(each) for each in rates), color=HUES.get(variant, INK), label=variant, linewidth=1.3)
        axis.plot(places, places, color=SOFT, linewidth=0.8, linestyle=":")
        axis.set(xlim=(places[0], places[-1]), ylim=(places[0], places[-1]), title=kept)
        for ticks, labels in ((axis.set_xticks, axis.set_xticklabels), (axis.set_yticks, axis.set_yticklabels)):
            ticks(places)
            labels([f"{100 * each:g}" for each in _TICKS])
        axis.set_xlabel("false acceptances, %", color=INK)
        axis.grid(color=SOFT, linewidth=0.4)
    axes[0, 0].set_ylabel("misses, %", color=INK)
    axes[0, -1].legend(fontsize=7.5, frameon=False)
    return figure


def margins() -> Figure:
    """How far the true speaker's cosine is above the next one, with and without a margin in the loss."""
    figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    for variant, found in _measured().get("margins", {}).items():
        if variant in ("strong", "strong, AM-softmax", "boss"):
            edges = np.array(found["edges"])
            share = np.array(found["counts"]) / sum(found["counts"])
            label = f"{variant} (median {found['median']:.2f})"
            axis.stairs(share, edges, color=HUES[variant], label=label, linewidth=1.4)
    axis.axvline(0, color=INK, linewidth=0.8, linestyle=":")
    axis.set(xlim=(-0.6, 1), xlabel="cosine of the true speaker minus the largest other, one second", ylabel="share")
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def pooling() -> Figure:
    """The weights of self-attention pooling over an utterance, above how loud it is and which frames hold voice."""
    found = _measured().get("pooling", {})
    figure, axes = plt.subplots(
        max(1, len(found)), 1, figsize=(10, 2.8 * max(1, len(found))), layout="constrained", squeeze=False
    )
    for axis, (variant, one) in zip(axes[:, 0], found.items(), strict=False):
        step = one["seconds per vector"]
        at = np.arange(len(one["weights"])) * step
        loud = np.array(one["loudness"])
        axis.fill_between(at, -loud / loud.max(), loud / loud.max(), color=SOFT, step="post", linewidth=0)
        silent = np.array(one["voiced"]) < 0.5
        axis.fill_between(at, -1, 1, where=silent, color="#f3e3df", step="post", linewidth=0, zorder=0)
        weights = axis.twinx()
        weights.step(
            at, np.array(one["weights"]) * len(at), where="post", color=HUES.get(variant, ACCENT), linewidth=1.2
        )
        weights.axhline(1, color=INK, linewidth=0.6, linestyle=":")
        weights.set_ylabel("weight / even weight", color=INK, fontsize=8)
        weights.set_ylim(bottom=0)
        axis.set(xlim=(0, len(at) * step), yticks=[])
        share, voice = 100 * one["weight on voice"], 100 * one["voice"]
        axis.set_title(
            f"{variant}: {share:.0f} % of the weight falls on voice, which {voice:.0f} % of the frames hold", fontsize=9
        )
    axes[-1, 0].set_xlabel("seconds; silence is shaded", color=INK)
    return figure
