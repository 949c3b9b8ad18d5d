"""Attention over windows of two dimensions: `Near(3)` on pictures, forward and backward, against the same by torch's unfold.

    python -m benchmarks.windows2d [--quick]

Each pixel of a picture attends to the 7 x 7 around it, as far as they lie in the picture: 4 heads of 32 numbers, one picture,
gradients of queries, keys and values. `torch.nn.functional.unfold` copies the keys and the values of every window, and what lies
beyond the edge is masked. Writes `results/windows2d.json`: the seconds by the pictures' side, and the memory that a run takes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import unfold

from benchmarks.machine import machine, write
from benchmarks.measure import Contestant, peak_memory, race
from regard.attention import Attention, Near
from regard.attention.verb import attend
from regard.sets import Layout

__all__ = ["contestants", "main", "unfolded", "windows2d"]

_SIDES = (32, 64, 128)
_RADIUS, _HEADS, _WIDTH = 3, 4, 32


def unfolded(q: Tensor, k: Tensor, v: Tensor, side: int, radius: int) -> Tensor:
    """`[side * side, h, d]` softmax attention of each pixel to those at most `radius` rows and columns from it."""
    window = 2 * radius + 1

    def around(x: Tensor) -> Tensor:
        """`[h, d, window * window, pixels]`"""
        pixels = x.permute(1, 2, 0).reshape(1, -1, side, side)
        return unfold(pixels, window, padding=radius).view(*x.shape[1:], window * window, side * side)

    inside = unfold(torch.ones(1, 1, side, side), window, padding=radius)[0] > 0
    scores = (around(k) * q.permute(1, 2, 0).unsqueeze(2)).sum(1) / q.shape[2] ** 0.5
    weights = scores.masked_fill(~inside, -torch.inf).softmax(1)
    return (weights.unsqueeze(1) * around(v)).sum(2).permute(2, 0, 1)


def contestants(side: int, radius: int = _RADIUS, heads: int = _HEADS, width: int = _WIDTH) -> dict[str, Contestant]:
    """Both ways, on the same numbers."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(side * side, heads, width, requires_grad=True) for _ in range(3))
    coords = torch.cartesian_prod(torch.arange(float(side)), torch.arange(float(side)))
    layout = Layout(torch.tensor([0, side * side]), coords=coords)
    attention = Attention(pattern=Near(radius))
    return {
        "regard": Contestant(partial(attend, attention, q, k, v, layout), (q, k, v)),
        "unfold": Contestant(partial(unfolded, q, k, v, side, radius), (q, k, v)),
    }


def windows2d(sides: Sequence[int], repeats: int = 5) -> list[dict[str, Any]]:
    """A row for each way: milliseconds and megabytes by the side of a picture."""
    rows: dict[str, dict[str, Any]] = {}
    for side in sides:
        both = contestants(side)
        measured = race(both, repeats)
        for name, each in both.items():
            row = rows.setdefault(name, {"what": name, "ms at": {}, "MB at": {}})
            row["ms at"][f"{side} x {side}"] = float(f"{1e3 * measured[name].seconds:.3g}")
            row["MB at"][f"{side} x {side}"] = float(f"{peak_memory(each) / 1e6:.3g}")
    return list(rows.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; `--quick` takes small pictures and writes nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.windows2d")
    parser.add_argument("--quick", action="store_true", help="small pictures, nothing written")
    options = parser.parse_args(arguments)
    if options.quick:
        print(windows2d((8, 16), repeats=1))
        return 0
    about = f"one picture, {_HEADS} heads of {_WIDTH}, windows of {2 * _RADIUS + 1} x {2 * _RADIUS + 1}; forward and backward"
    write("windows2d", {"case": "windows2d", "data": about, "rows": windows2d(_SIDES), "machine": machine()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
