"""The mixers side by side: tagging, speed, how far back each hears a clue, and time against length.

    python -m benchmarks.mixers [tagging] [speed] [probe [--only MIXER]] [lengths] [--folder runs/bench]

does what is named, or all of it:

- `tagging` trains every mixer on EWT as `python -m benchmarks.train tagging` does: accuracy and parameters, `results/tagging.json`;
- `speed` adds to that file how many words per second each trains and predicts, and compares recurrent layers on packed sentences
  with torch's on padded ones, `results/mixers-padded.json`. Wants a quiet machine;
- `probe` trains small models to name a clue that lies so many vectors back, `results/mixers-probe.json`;
- `lengths` times one set of so many vectors, `results/mixers-lengths.json`. Wants a quiet machine.

The first two need REGARD_DATA.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks import train
from benchmarks.machine import RESULTS, machine, write
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Window
from regard.data.batch import Batch
from regard.data.batching import BudgetSampler, loader
from regard.data.encoding import WORD, Encoding
from regard.layers.attention import SelfAttention
from regard.layers.mixers import Convolution
from regard.layers.recurrent import LSTM, Recurrent
from regard.layers.registry import Mixing
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.recipes import RECIPES
from regard.sets import Layout, VectorSets
from regard.train.experiment import changed
from regard.train.kinds import build

__all__ = ["clues", "lengths", "padded", "probe", "speed"]

BATCHES, REPEATS, WIDTH = 12, 3, 128


def speed() -> None:
    """Words per second of each variant of the recipe, one batch of each in turn, into the rows of `results/tagging.json`."""
    case, experiment = train.CASES["tagging"], RECIPES["tagging"].experiment()
    encoding = experiment.data.fit()
    part = experiment.data.training(encoding)
    order = BudgetSampler(part.lengths, experiment.training.batch_vectors, seed=0, shuffle=True)
    batches = list(islice(iter(loader(part, order)), BATCHES))
    words = sum(len(batch.inputs.values) for batch in batches)
    steps, rows = {}, []
    for variant, changes in case.variants.items():
        options = {name: value for name, value in changes.items() if name != "epochs"}
        model = build(train.with_options(experiment, options).model, encoding)
        task = build(experiment.task, model.width, encoding)
        steps[variant] = _steps(model, task)
        parameters = sum(each.numel() for module in (model, task) for each in module.parameters())
        rows.append({"model": variant, "parameters": parameters, "words per second": dict.fromkeys(steps[variant], 0)})
    for _ in range(REPEATS):
        for row in rows:
            for way, step in steps[row["model"]].items():
                rate = round(words / _seconds(step, batches))
                row["words per second"][way] = max(row["words per second"][way], rate)
    result = json.loads((RESULTS / "tagging.json").read_text())
    write("tagging", result | {"rows": train.merged(result["rows"], rows)})


def _steps(model: nn.Module, task: Any) -> dict[str, Callable[[Batch], None]]:
    """What is done with a batch while training, and while predicting."""
    optimizer = torch.optim.AdamW([*model.parameters(), *task.parameters()], 1e-3, fused=True)

    def training(batch: Batch) -> None:
        model.train()
        total, count = task.loss(task(model(batch), batch), batch)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()

    def predicting(batch: Batch) -> None:
        model.eval()
        with torch.inference_mode():
            task(model(batch), batch).argmax(-1)

    return {"training": training, "predicting": predicting}


def _seconds(step: Callable[[Any], None], batches: Sequence[Any]) -> float:
    begin = time.perf_counter()
    for batch in batches:
        step(batch)
    return time.perf_counter() - begin


def padded() -> None:
    """Forward and backward of one recurrent layer with both directions, from packed sentences to packed sentences."""
    reader = RECIPES["tagging"].experiment().data
    part = reader.part("train", reader.fit())
    generator = torch.Generator().manual_seed(0)
    bucketed = list(islice(iter(BudgetSampler(part.lengths, 512, seed=0, shuffle=True)), BATCHES))
    drawn = torch.randperm(len(part), generator=generator)[: 32 * BATCHES].view(BATCHES, 32).tolist()
    rows = []
    for name, chosen in (("like length, 512 words", bucketed), ("any length, 32 sentences", drawn)):
        given = [[part.lengths[i] for i in batch] for batch in chosen]
        values = [torch.randn(sum(each), WIDTH, requires_grad=True) for each in given]
        real, places = sum(map(sum, given)), sum(len(each) * max(each) for each in given)
        for kind in (nn.LSTM, nn.RNN):
            ours = LSTM(WIDTH, bidirectional=True) if kind is nn.LSTM else Recurrent(WIDTH, bidirectional=True)
            theirs = kind(WIDTH, WIDTH // 2, bidirectional=True)
            ways = {"ours": ours, "padded": _Padded(theirs), "exact": _Padded(theirs, exact=True)}
            best = dict.fromkeys(ways, float("inf"))
            for _ in range(REPEATS + 1):
                for way, layer in ways.items():
                    begin = time.perf_counter()
                    for each, x in zip(given, values, strict=True):
                        # A fresh layout for each: what is derived from it is part of the price.
                        layer(VectorSets(x, Layout.of_lengths(each))).values.sum().backward()
                    best[way] = min(best[way], time.perf_counter() - begin)
            row: dict[str, Any] = {"layer": kind.__name__, "batches": name, "padding": round(1 - real / places, 3)}
            row["words per second"] = {way: round(real / seconds) for way, seconds in best.items()}
            rows.append(row | {"ours to": {way: round(best[way] / best["ours"], 2) for way in ("padded", "exact")}})
    write("mixers-padded", {"case": "mixers-padded", "rows": rows, "machine": machine()})


class _Padded(nn.Module):
    """torch's layer on padded sentences: its way back begins in the padding, unless it is told the lengths (exact)."""

    def __init__(self, network: nn.RNNBase, exact: bool = False) -> None:
        super().__init__()
        self.network, self.exact = network, exact
        self.out = nn.Linear(2 * network.hidden_size, WIDTH)

    def forward(self, sets: VectorSets) -> VectorSets:
        values, mask = sets.to_padded()
        given: Any = values.transpose(0, 1)
        if self.exact:
            given = pack_padded_sequence(given, sets.layout.lengths, enforce_sorted=False)
        states = self.network(given)[0]
        if self.exact:
            states, _ = pad_packed_sequence(states)
        return sets.with_values(self.out(states.transpose(0, 1)[mask]))


CLASSES, NOISE, ROOM = 8, 16, 8
PROBED: dict[str, dict[str, Any]] = {
    "window of 8": {"mixer": "window", "mixing.neighbors": 8},
    "convolution of 8": {"mixer": "convolution", "mixing.neighbors": 8},
    "Elman": {"mixer": "elman"},
    "Jordan": {"mixer": "jordan"},
    "LSTM": {"mixer": "lstm"},
    "self-attention": {"mixer": "attention"},
}
DISTANCES = (1, 2, 4, 8, 16, 32, 64, 128)


def clues(sets: int, distance: int, generator: torch.Generator) -> tuple[VectorSets, Tensor, Tensor]:
    """Sets of ids in which a question stands `distance` vectors behind a clue, amid noise.

    Returns:
        The sets, the row of each set's question, and its answer: which of the clues it was.
    """
    before, behind = torch.randint(ROOM, (2, sets), generator=generator)
    layout = Layout.of_lengths(before + distance + 1 + behind)
    ids = torch.randint(NOISE, (layout.total,), generator=generator)
    answers = torch.randint(CLASSES, (sets,), generator=generator)
    clue = layout.offsets[:-1] + before
    ids[clue] = NOISE + answers
    ids[clue + distance] = NOISE + CLASSES
    return VectorSets(ids, layout), clue + distance, answers


def probe(only: str | None = None, steps: int = 200, sets: int = 32, width: int = 32) -> None:
    """Accuracy of one block of each mixer, or of that one, trained at each distance anew."""
    path = RESULTS / "mixers-probe.json"
    rows = {row["mixer"]: row for row in json.loads(path.read_text())["rows"]} if only and path.exists() else {}
    for name in [only] if only else PROBED:
        begin = time.process_time()
        found = {str(d): round(_answered(PROBED[name], d, steps, sets, width), 3) for d in DISTANCES}
        seconds = (time.process_time() - begin) / len(DISTANCES)
        rows[name] = {"mixer": name, "accuracy at distance": found, "seconds for each": round(seconds, 1)}
    rows["chance"] = {"mixer": "chance", "accuracy at distance": dict.fromkeys(map(str, DISTANCES), 1 / CLASSES)}
    about = f"{steps} steps of {sets} sets, width {width}, seed 0, 1,024 new sets to test on"
    ordered = [rows[name] for name in (*PROBED, "chance") if name in rows]
    write("mixers-probe", {"case": "mixers-probe", "data": about, "rows": ordered, "machine": machine()})


def _answered(options: dict[str, Any], distance: int, steps: int, sets: int, width: int) -> float:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    small = Encoder(
        width=width,
        layers=1,
        heads=4,
        feed_forward=64,
        dropout=0.0,
        positions=Positions("none"),
        mixing=Mixing(bidirectional=False),
    )
    config = changed(small, options)
    words = tuple(str(n) for n in range(NOISE + CLASSES + 1))
    model = build(config, Encoding(columns={WORD: words}))
    head = nn.Linear(width, CLASSES)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 3e-3)

    def outputs(number: int) -> tuple[Tensor, Tensor]:
        inputs, questions, answers = clues(number, distance, generator)
        return head(model(Batch(inputs)).values.index_select(0, questions)), answers

    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(*outputs(sets)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        found, answers = outputs(1024)
        return float((found.argmax(-1) == answers).float().mean())


LENGTHS = (64, 256, 1024, 4096, 8192)


def lengths() -> None:
    """Microseconds per vector, forward and backward, of one set of so many vectors."""
    mixers: dict[str, nn.Module] = {
        "Elman": Recurrent(WIDTH),
        "LSTM": LSTM(WIDTH),
        "convolution of 2": Convolution(WIDTH, 2, 2),
        "self-attention": SelfAttention(WIDTH, 4),
        "self-attention in a window of 64": SelfAttention(WIDTH, 4, Attention(pattern=Window(64, 64))),
    }
    rows = []
    for name, mixer in mixers.items():
        found = {}
        for n in LENGTHS:
            x = torch.randn(n, WIDTH, requires_grad=True)
            times = []
            for _ in range(REPEATS + 1):
                begin = time.perf_counter()
                mixer(VectorSets(x, Layout.of_lengths([n]))).values.sum().backward()
                times.append(time.perf_counter() - begin)
            found[str(n)] = round(1e6 * statistics.median(times[1:]) / n, 2)
        rows.append({"mixer": name, "microseconds per vector, of": found})
    about = f"one set, width {WIDTH}, 4 heads, forward and backward, median of {REPEATS}"
    write("mixers-lengths", {"case": "mixers-lengths", "data": about, "rows": rows, "machine": machine()})


def main() -> int:
    parser = argparse.ArgumentParser()
    names = ("tagging", "speed", "probe", "lengths")
    parser.add_argument("parts", nargs="*", choices=names, metavar="PART", help=", ".join(names))
    parser.add_argument("--only", metavar="MIXER", help="of the probe, this row alone; the others stay")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    chosen = options.parts or names
    if "tagging" in chosen:
        train.report("tagging", options.folder)
    if "speed" in chosen:
        speed()
        padded()
    if "probe" in chosen:
        probe(options.only)
    if "lengths" in chosen:
        lengths()
    return 0


if __name__ == "__main__":
    sys.exit(main())
