"""Speed and memory of every system of the arena on sequences of bytes, beside public ports, and its scores.

    python -m benchmarks.arena [--systems performer,local] [--lengths 1024,4096] [--repeats 5] [--seconds 300] [--device cpu]
    python -m benchmarks.arena --scores runs/arena

The model is the arena's small one: two layers of width 64, with each attention in turn. A step is 32 sequences of 1,024 to 4,096
bytes, and fewer of longer ones, so that no step has more than 131,072 bytes; training is forward, backward and a step of AdamW,
inference forward alone. Nothing is dropped out. Each number comes from a process of its own: the median of
several steps, after one on short sequences and one that does not count; memory is the most that the process took during these
steps above what it had before. What takes longer than `--seconds`, or fails, is named instead of a number. A port
(`arena_ports.py`) takes the place of the attention layers of the same model. It writes `results/arena-speed.json`, and with
`--scores` `results/arena-scores.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.arena_ports import PORTS, Ported
from benchmarks.machine import machine, write
from benchmarks.peers import load
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.recipes.systems import SYSTEMS
from regard.sets import Layout, VectorSets
from regard.tasks.configs import PerSetLabel
from regard.train.kinds import build

__all__ = ["LENGTHS", "main", "measure", "row_of", "sequences", "step_of"]

LENGTHS = (1024, 2048, 3072, 4096, 16384, 65536)
_BYTES = 1 << 17
_SEQUENCES = 32
_BASE = "transformer"
_COMPARED = 4096
_ENCODING = Encoding(Labels(("bad", "good")), {"token": ("<unknown>", *(f"{byte:02x}" for byte in range(256)))})


def sequences(length: int) -> int:
    """How many sequences a step has: 32, and fewer where that were more than 131,072 bytes.

    >>> [sequences(length) for length in LENGTHS]
    [32, 32, 32, 32, 8, 2]
    """
    return max(1, min(_SEQUENCES, _BYTES // length))


def model_of(name: str, length: int) -> nn.Module:
    """The small model with a system, or with a port in the place of its attention layers."""
    plain = Encoder(
        width=64,
        layers=2,
        heads=2,
        feed_forward=128,
        dropout=0.0,
        activation="gelu",
        positions=Positions("learned", longest=length),
    )
    system = SYSTEMS[_BASE] if name in PORTS else SYSTEMS[name]
    model: Any = build(system.of(plain), _ENCODING)
    if name in PORTS:
        for block in model.stack.blocks:
            block.mixer = Ported(PORTS[name].make(plain.width, plain.heads, length))
    made: nn.Module = model
    return made


def batch_of(count: int, length: int) -> Batch:
    """Random bytes with random labels."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 257, (count * length,), generator=generator)
    labels = torch.randint(0, 2, (count,), generator=generator)
    return Batch(VectorSets(ids, Layout.of_lengths([length] * count)), labels, target_kind="set")


def step_of(name: str, length: int, training: bool, device: str) -> Callable[[Batch], None]:
    """One step of training, or of inference, on a batch."""
    torch.manual_seed(0)
    model = model_of(name, length).to(device).train(training)
    task: Any = build(PerSetLabel(pool="mean", hidden=128), 64, _ENCODING).to(device).train(training)
    optimizer = torch.optim.AdamW([*model.parameters(), *task.parameters()], lr=1e-4)

    def infer(batch: Batch) -> None:
        with torch.inference_mode():
            task(model(batch), batch)

    def learn(batch: Batch) -> None:
        optimizer.zero_grad()
        total, count = task.loss(task(model(batch), batch), batch)
        (total / count).backward()
        optimizer.step()

    return learn if training else infer


def measure(name: str, length: int, training: bool, repeats: int, device: str) -> dict[str, float]:
    """Steps per second and the most memory, in this process."""
    step, batch = step_of(name, length, training, device), batch_of(sequences(length), length).to(device)
    # What is compiled or derived once, on sequences that some ports need to be of this length.
    step(batch_of(1, length if name in PORTS else min(length, 256)).to(device))
    memory = _Memory(device)
    step(batch)
    peak = memory.peak()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        step(batch)
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return {"steps/s": 1 / statistics.median(times), "MB": peak / 2**20}


class _Memory:
    """The most bytes that are taken from now on, above what is taken now."""

    def __init__(self, device: str) -> None:
        self._device = device
        if device == "cpu":
            # Linux forgets the highest resident set of the process when asked to.
            Path("/proc/self/clear_refs").write_text("5")
        else:
            torch.cuda.reset_peak_memory_stats()
        self._before = self._read("VmRSS") if device == "cpu" else torch.cuda.memory_allocated()

    def peak(self) -> int:
        most = self._read("VmHWM") if self._device == "cpu" else torch.cuda.max_memory_allocated()
        return int(most - self._before)

    @staticmethod
    def _read(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def _in_its_own(name: str, length: int, training: bool, options: argparse.Namespace) -> dict[str, float] | str:
    """What `measure` finds in a process of its own, or why it finds nothing."""
    asked = json.dumps([name, length, training, options.repeats, options.device])
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.arena", "--row", asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"over {options.seconds:g} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:120]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The row of a system or a port."""
    row: dict[str, Any] = {"system": name}
    if name in PORTS:
        row["system"] = f"{name} (port of {PORTS[name].system})"
        try:
            load(PORTS[name].package)
        except ImportError as error:
            return row | {"missing": f"not installed ({error.name or error}): `make peers`"}
    for training in (True, False):
        what = "training" if training else "inference"
        for length in options.lengths:
            found = _in_its_own(name, length, training, options)
            size = f"{length // 1024}K" if length >= 1024 else str(length)
            steps, peak = (found, None) if isinstance(found, str) else (round(found["steps/s"], 3), round(found["MB"]))
            row.setdefault(f"{what}, steps/s", {})[size] = steps
            row.setdefault(f"{what}, MB", {})[size] = peak
            print(name, what, size, steps, peak, file=sys.stderr, flush=True)
    return row


def with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the speed of training at 4,096 bytes as a multiple of the plain Transformer's in the same run."""
    entry, size = "training, steps/s", f"{_COMPARED // 1024}K"
    speeds = {row["system"]: row.get(entry, {}).get(size) for row in rows}
    base = speeds.get(_BASE)
    for row in rows:
        speed = speeds[row["system"]]
        if isinstance(base, float) and isinstance(speed, float):
            row["times as fast at 4K"] = round(speed / base, 2)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--row", type=json.loads)
    parser.add_argument("--scores", nargs="+", metavar="RUNS")
    parser.add_argument("--systems", type=lambda text: text.split(","), default=[*SYSTEMS, *PORTS])
    parser.add_argument("--lengths", type=lambda text: [int(n) for n in text.split(",")], default=list(LENGTHS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name", default="arena-speed")
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(*options.row)))
    elif options.scores:
        from regard.cli.arena_runs import scores

        data = "test parts of Long Range Arena's tasks, two layers of width 64; the best of the validations"
        write(
            "arena-scores", {"case": "arena-scores", "data": data, "rows": scores(options.scores), "machine": machine()}
        )
    else:
        about = machine() | ({} if options.device == "cpu" else {"device": torch.cuda.get_device_name()})
        rows = with_ratios([row_of(name, options) for name in options.systems])
        data = "random bytes, two layers of width 64; 32 sequences of up to 4K in a step, 8 of 16K, 2 of 64K"
        write(options.name, {"case": options.name, "data": data, "rows": rows, "machine": about})


if __name__ == "__main__":
    main()
