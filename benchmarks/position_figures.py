"""What positions look like in trained models: heat maps over pairs of places.

    python -m benchmarks.position_figures [--folder runs/bench/positions]

writes `results/positions.npz` from the first seed's models of `benchmarks/positions.py`, in steps of 1/255 of each map's range;
`make figures` draws that file. Places run to 64, twice as far as in training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.machine import RESULTS
from benchmarks.positions import LENGTH, METHODS, Speller, cut, lengthened, letters, opened, place_of
from regard.attention.pairs.pairs import Pairs
from regard.attention.verb import attention_weights
from regard.layers.attention import Attend
from regard.sets import Layout, VectorSets

__all__ = ["MAPS", "maps", "positions"]

PLACES, SETS = 64, 512
INK, LEVELS = "#30343f", 32
MAPS = RESULTS / "positions.npz"
Maps = dict[str, NDArray[np.float32]]


def maps(name: str, model: Speller, ids: Tensor) -> Maps:
    """`[places, places]` each: what the positions say of a pair, and how much the first block attends, in the mean over sets.

    Both of the head whose mean weights differ most from place to place of those that were trained.
    """
    encoder: Any = model.encoder
    attend: Attend = encoder.stack.blocks[0].mixer.attend
    attention: Any = attend.attention
    seen: list[tuple[Tensor, Tensor, Tensor, Layout]] = []
    with torch.no_grad():
        hook = attend.register_forward_pre_hook(lambda _, given: seen.append(given))
        model(ids)
        hook.remove()
        ((q, k, _, layout),) = seen
        learned = dict(attend.learned)
        weights = attention_weights(attention, q, k, layout, parameters=learned)
        length, sets = ids.shape[1], ids.shape[0]
        mean = torch.zeros(length, length, q.shape[1])
        mean.index_put_((weights.query % length, weights.key % length), weights.values / sets, accumulate=True)
        trained = mean[:LENGTH, :LENGTH]
        head = int(trained.flatten(0, 1).std(0).argmax())
        added = _added(model, layout)
        if added is not None:
            added = normalize(added[:length], dim=1)
            says = added @ added.T
        elif name == "rotary" or attention.bias is not None:
            says = _said(attend, [q, k], layout, only_bias=name != "rotary")[..., head]
        else:
            says = torch.zeros(length, length)
    return {"says": says.numpy(), "weights": mean[..., head].numpy()}


def _added(model: Speller, layout: Layout) -> Tensor | None:
    """The vectors that are added for the places, in front of all blocks or, by FLOATER, in the first."""
    if model.encoder.positions.floater is not None:
        found: Tensor = model.encoder.positions.floater(layout, layout.total)[0]
        return found
    empty = VectorSets(torch.zeros(layout.total, model.encoder.width), layout)
    added: Tensor = model.encoder.positions(empty).values
    return added if added.any() else None


def _said(attend: Attend, given: list[Tensor], layout: Layout, only_bias: bool) -> Tensor:
    """`[places, places, heads]`: the bias on the score, or the whole score, in the mean over the sets."""
    attention: Any = attend.attention
    total = torch.zeros(())
    length, (q, k) = int(layout.lengths[0]), (x.transpose(0, 1) for x in given)
    for b in range(layout.sets):
        rows = torch.arange(b * length, (b + 1) * length)
        pairs = Pairs(layout, layout, rows[:, None], rows[None, :])
        parameters = attention.prepare(dict(attend.learned), lambda: length - 1)
        if only_bias and attention.bias is not None:
            scores = attention.bias_scale(q.shape[-1]) * attention.bias.tile_score_bias(q[:, rows], pairs, parameters)
        else:
            scores = attention.tile(q[:, rows], k[:, rows], pairs, parameters)
        total = total + scores.movedim(0, -1) / layout.sets
    return total


def keep(folder: Path) -> None:
    """Writes the maps of the first seed's models, each as bytes between its least and its greatest value."""
    ids = cut(letters("validation"), PLACES)[0][:SETS]
    kept: dict[str, NDArray[Any]] = {}
    for name in METHODS:
        model = opened(name, place_of(folder, name, 0))
        for kind, values in maps(name, lengthened(model) if name == "learned" else model, ids).items():
            low, high = float(values.min()), float(values.max())
            kept[f"{name}|{kind}"] = np.round((values - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
            kept[f"{name}|{kind}|range"] = np.array([low, high], np.float32)
    np.savez_compressed(MAPS, **kept)  # type: ignore[arg-type]


def positions() -> Figure:
    """For each kind of positions, above what they say of a pair of places, below the mean weights of a head of the first block."""
    kept = np.load(MAPS)
    names = [name for name in METHODS if f"{name}|says" in kept]
    half = -(-len(names) // 2)
    figure, axes = plt.subplots(4, half, figsize=(2 * half, 8.6), layout="constrained")
    for n, name in enumerate(names):
        for row, kind in enumerate(("says", "weights")):
            axis = axes[2 * (n // half) + row, n % half]
            low, high = kept[f"{name}|{kind}|range"]
            values = low + kept[f"{name}|{kind}"].astype(np.float32) / 255 * (high - low)
            if kind == "says":
                about = _SAYS.get(name, "bias on the score")
                most = max(abs(low), abs(high), 1e-9)
                axis.imshow(values, cmap=plt.get_cmap("RdBu_r", LEVELS), vmin=-most, vmax=most, interpolation="nearest")
                axis.set_title(f"{name}\n{about}", fontsize=8.5, color=INK)
            else:
                most = float(np.quantile(values, 0.995))
                axis.imshow(values, cmap=plt.get_cmap("Blues", LEVELS), vmin=0, vmax=most, interpolation="nearest")
                axis.set_title("mean weights", fontsize=8.5, color=INK)
            axis.plot([LENGTH - 0.5] * 2 + [-0.5], [-0.5] + [LENGTH - 0.5] * 2, color=INK, linewidth=0.8, linestyle=":")
            axis.set(xticks=(0, LENGTH), yticks=(0, LENGTH), xlim=(-0.5, PLACES - 0.5))
            axis.tick_params(labelsize=7)
    for axis in axes.flat[4 * len(names) :]:
        axis.axis("off")
    return figure


_SAYS = {
    "none": "nothing",
    "sinusoidal": "cosine of two positions",
    "learned": "cosine of two positions",
    "FLOATER": "cosine, first block",
    "rotary": "mean score",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("runs/bench/positions"))
    keep(parser.parse_args().folder)


if __name__ == "__main__":
    main()
