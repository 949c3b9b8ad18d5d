"""How fast the products of layers are: by torch's own linear layer, by oneDNN's through torch, and by kernels of our own.

    python -m benchmarks.products [--threads N] [--repeats N]

measures the products of an encoder of width 256 on 64 sentences, and those of a decoder that goes one step on: the forward pass,
the gradient of the inputs and that of the weights, all contestants taking turns; and the forward pass with weights of two bytes and
of one (`regard.layers.narrow_weights`), which trained models may have. Every result is first compared with torch's own.
Writes `results/products-CLASS.json`; `python -m benchmarks.narrow avx2 -m benchmarks.products` is the narrower class, forced.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks.machine import machine, write
from benchmarks.measure import Contestant, race
from regard.attention.costs import processor_class
from regard.kernels.matrix import fits, gradient_of_inputs, gradient_of_matrix, times_matrix
from regard.layers.narrow_weights import HalfLinear, Int8Linear

__all__ = ["SHAPES", "contestants", "main", "measure"]

# Rows, width in and width out.
SHAPES = {
    "queries, keys and values": (1096, 256, 768),
    "output of attention": (1096, 256, 256),
    "into the feed-forward network": (1096, 256, 1024),
    "out of the feed-forward network": (1096, 1024, 256),
    "one vector": (1, 256, 768),
    "64 vectors": (64, 256, 768),
    "scores of 6,000 ids": (64, 128, 6000),
}
_ROUNDED = ("bfloat16", "int8")


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`linear(x, weight, bias)` by oneDNN, whatever torch would take."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def contestants(rows: int, width: int, out: int) -> dict[str, dict[str, Callable[[], Tensor]]]:
    """For each pass, by name, ways to compute the same."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias, above = (
        torch.randn(*shape, generator=generator) for shape in ((rows, width), (out, width), (out,), (rows, out))
    )
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    layer = torch.nn.Linear(width, out)
    layer.weight.data, layer.bias.data = weight, bias
    ours = fits(x, weight, bias)
    half, whole = HalfLinear(layer, torch.bfloat16), Int8Linear(layer)
    return {
        "forward": {
            "torch": lambda: linear(x, weight, bias),
            "oneDNN": lambda: _onednn(x, weight, bias),
            "oneDNN, packed weights": lambda: _onednn(x, packed, bias),
            "bfloat16": lambda: half(x),
            "int8": lambda: whole(x),
            **({"kernels": lambda: times_matrix(x, weight, bias)} if ours else {}),
        },
        "of inputs": {
            "torch": lambda: above @ weight,
            "oneDNN": lambda: _onednn(above, weight.t().contiguous(), None),
            **({"kernels": lambda: gradient_of_inputs(weight, above)} if ours else {}),
        },
        "of weights": {
            "torch": lambda: above.t() @ x,
            "oneDNN": lambda: _onednn(above.t().contiguous(), x.t().contiguous(), None),
            **({"kernels": lambda: gradient_of_matrix(x, above)} if ours else {}),
        },
    }


def measure(name: str, repeats: int) -> list[dict[str, Any]]:
    """A row for each pass of a product: GFLOP/s of every way."""
    rows, width, out = SHAPES[name]
    found = []
    for direction, ways in contestants(rows, width, out).items():
        check(ways)
        times = race({way: Contestant(call) for way, call in ways.items()}, repeats)
        rates = {way: round(2 * rows * width * out / each.seconds / 1e9, 1) for way, each in times.items()}
        found.append({"product": f"{name}, {rows:,} x {width} x {out}", "pass": direction, "GFLOP/s": rates})
    return found


def check(ways: Mapping[str, Callable[[], Tensor]]) -> None:
    """All compute the same up to rounding, of weights and inputs too where they are of other types.

    Raises:
        AssertionError: one does not.
    """
    results = {way: call() for way, call in ways.items()}
    for way, result in results.items():
        if way in _ROUNDED:
            assert (result - results["torch"]).norm() <= 0.02 * results["torch"].norm(), way
        else:
            torch.testing.assert_close(result, results["torch"], rtol=1e-4, atol=1e-3)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if not torch.backends.mkldnn.is_available():
        print("torch was built without oneDNN, expected one with it: there is nothing to compare", file=sys.stderr)
        return 2
    rows = [row for name in SHAPES for row in measure(name, options.repeats)]
    write(f"products-{processor_class()}", {"case": "products", "rows": rows, "machine": machine()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
