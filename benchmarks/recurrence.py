"""One more vector: what a step takes at each position, cached, as a running state, or with everything computed again.

    python -m benchmarks.recurrence [--quick]

The model of the images in "Transformers are RNNs" (Katharopoulos et al. 2020): 8 blocks of 8 heads of 32, 256 values of a pixel.
Weights are random, since they change no time. Times are those of the processor, with one thread, so that other programs count
little. Writes `results/recurrence.json`, the steps by position, and `results/recurrence-images.json`, whole images of 784 pixels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import machine, write
from regard.attention.adapters.key_values import KeyValues
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.models.continuing import ModelStepper
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.sets import VectorSets
from regard.tasks.configs import NextToken
from regard.train.kinds import build

__all__ = ["ATTENTIONS", "LINEAR", "SOFTMAX", "images", "main", "remembered", "steps"]

SOFTMAX = "Attention(pattern=Causal())"
LINEAR = "Attention(score=Kernel(), pattern=Causal(), normalizer=Sum())"
ATTENTIONS = {"softmax, cached": SOFTMAX, "linear, a state": LINEAR, "softmax, recomputed": SOFTMAX}
_POSITIONS = (64, 256, 1024, 4096, 16384)
_PIXELS = 784
_STEPS = 15
# How many images are written together; a running state takes so little memory that there may be more.
_TOGETHER = {"softmax, cached": 16, "linear, a state": 64, "softmax, recomputed": 1}


class Writer:
    """A model of ids, and the scores of the next one."""

    def __init__(self, attention: str, layers: int, values: int = 256) -> None:
        entries = tuple(str(n) for n in range(values))
        encoding = Encoding(Labels(entries), {"token": entries})
        sizes: dict[str, Any] = {"width": 256, "layers": layers, "heads": 8, "feed_forward": 1024, "dropout": 0.0}
        pieces: dict[str, Any] = {"positions": Positions("rotary"), "front": Front(deviation=0.05)}
        torch.manual_seed(0)
        self.values = values
        self.model: Any = build(Encoder(attention=attention, **sizes, **pieces), encoding)
        self.task: Any = build(NextToken(), 256, encoding)
        self.task.attach(self.model)
        self.model.eval()

    def ids(self, sets: int, number: int) -> Tensor:
        return torch.randint(self.values, (sets, number), generator=torch.Generator().manual_seed(1))

    def begun(self, ids: Tensor) -> ModelStepper:
        """A stepper that has read these ids."""
        return ModelStepper(self.model, self.task.scores, self.values, ids.tolist())

    @torch.no_grad()
    def again(self, ids: Tensor) -> Tensor:
        """The scores after these ids, everything computed from the beginning."""
        sets = VectorSets.pack(list(ids))
        hidden = self.model(Batch(sets))
        scores: Tensor = self.task.scores(hidden.values[sets.layout.offsets[1:] - 1])
        return scores


def remembered(stepper: ModelStepper) -> int:
    """Bytes of what the layers keep, the room of a cache included."""
    total = 0
    for layer in stepper._states:
        state = layer.value
        parts = (state.k, state.v) if isinstance(state, KeyValues) else (state.sums, state.totals)
        if isinstance(state, KeyValues) and state.room is not None:
            parts = state.room.k, state.room.v
        total += sum(part.numel() * part.element_size() for part in parts)
    return total


def _seconds(call: Callable[[], object]) -> float:
    """Of the processor, not of the clock."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def steps(name: str, positions: Sequence[int], layers: int = 8, repeats: int = _STEPS) -> dict[str, Any]:
    """One row: the milliseconds of one more id of a single set, and what is remembered, after so many others."""
    writer = Writer(ATTENTIONS[name], layers)
    row: dict[str, Any] = {"what": name, "ms at": {}, "MB remembered at": {}}
    for position in positions:
        ids = writer.ids(1, position)
        if "recomputed" in name:
            # The longest take long enough to be measured once.
            runs = [_seconds(partial(writer.again, ids)) for _ in range(1 if position > 1024 else 3)]
            memory = 0
        else:
            stepper = writer.begun(ids)
            one = ids[:, -1]
            for _ in range(3):  # Memory is made, and kernels are loaded.
                stepper.next(one)
            runs = [_seconds(partial(stepper.next, one)) for _ in range(repeats)]
            memory = remembered(stepper)
        row["ms at"][f"{position:,}"] = _digits(1e3 * statistics.median(runs))
        row["MB remembered at"][f"{position:,}"] = _digits(memory / 1e6)
        print(name, position, row["ms at"][f"{position:,}"], flush=True)
    return row


def images(pixels: int = _PIXELS, layers: int = 8, points: int = 8) -> list[dict[str, Any]]:
    """Rows: the seconds for an image, pixel after pixel, of each way."""
    rows: list[dict[str, Any]] = []
    for name, attention in ATTENTIONS.items():
        writer = Writer(attention, layers)
        batch = _TOGETHER[name]
        seconds = _anew(writer, pixels, points) if batch == 1 else _on(writer, pixels, batch)
        rows.append({"what": name, "images at once": batch, "seconds for an image": _digits(seconds)})
        print(rows[-1], flush=True)
    slowest = rows[-1]["seconds for an image"]
    return [row | {"times as many images": _digits(slowest / row["seconds for an image"])} for row in rows]


def _on(writer: Writer, pixels: int, batch: int) -> float:
    """Seconds for an image of a batch, from what is remembered."""
    ids = writer.ids(batch, pixels)
    stepper = writer.begun(ids[:, :0])
    return _seconds(lambda: [stepper.next(column) for column in ids.T]) / batch


def _anew(writer: Writer, pixels: int, points: int) -> float:
    """Seconds for an image, everything computed again for each pixel: as many times the mean over a few of them, spread evenly."""
    places = [(2 * n + 1) * pixels // (2 * points) for n in range(points)]
    return pixels * statistics.mean(_seconds(partial(writer.again, writer.ids(1, at))) for at in places)


def _digits(x: float) -> float:
    return float(f"{x:.3g}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; `--quick` takes small sizes and writes nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recurrence")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing written")
    parser.add_argument("--only", choices=["steps", "images"], help="one of the two")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.quick:
        print([steps(name, (8, 64), layers=2, repeats=3) for name in ATTENTIONS], images(16, 2, 2))
        return 0
    if options.only != "images":
        rows = [steps(name, _POSITIONS) for name in ATTENTIONS]
        about = "8 blocks of 8 heads of 32, one set; milliseconds of one processor"
        write("recurrence", {"case": "recurrence", "data": about, "rows": rows, "machine": machine()}, show=False)
    if options.only != "steps":
        about = f"{_PIXELS} pixels of 256 values, 8 blocks of 8 heads of 32; seconds of one processor"
        found = {"case": "recurrence-images", "data": about, "rows": images(), "machine": machine()}
        write("recurrence-images", found, show=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
