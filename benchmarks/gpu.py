"""All that waits for a GPU, in one command and under ten minutes.

    python -m benchmarks.gpu [--device cuda] [--minutes 9.5] [--only executors,compiled] [--quick]

runs every step in a process of its own, so that one that fails or hangs costs no other, and writes `results/gpu/DEVICE.json`.
`--quick` takes tiny sizes and writes nothing; `--device cpu --quick` shows without a GPU that the steps run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import RESULTS, machine
from benchmarks.measure import Contestant, race
from regard.attention.planning import EXECUTORS, plan
from regard.attention.problem import Problem
from regard.attention.spec.attention import Attention
from regard.attention.verb import attend
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.sets import Layout, VectorSets

__all__ = ["STEPS", "Step", "main"]

HEADS, WIDTH = 8, 64
# Attention, lengths of the sets, and lengths where all is tiny.
TIMED = {
    "everyone": ("Attention()", [4096] * 4, [40, 30]),
    "causal": ("Attention(pattern=Causal())", [8192] * 2, [40, 30]),
    "short sets": ("Attention()", list(range(8, 72)) * 8, [3, 5]),
    "window": ("Attention(pattern=Window(128, 128))", [65536], [80]),
    "window, ALiBi": ("Attention(pattern=Window(128, 128), bias=ALiBi())", [16384], [80]),
    "window and global": ("Attention(pattern=Window(128, 128) | First(4))", [16384], [80]),
}


def time_executors(device: str, quick: bool) -> dict[str, Any]:
    """Milliseconds, forward and backward, of every executor that does not refuse, with its work: what `costs-cuda.json` needs."""
    rows = []
    for name, (text, lengths, tiny) in TIMED.items():
        attention, layout = parse(text), Layout.of_lengths(tiny if quick else lengths).to(device)
        leaves = [torch.randn(layout.total, HEADS, WIDTH, device=device, requires_grad=True) for _ in range(3)]
        contestants, works = {}, {}
        for executor, module in EXECUTORS.items():
            problem = Problem(attention, layout, layout, HEADS, HEADS, WIDTH, WIDTH, torch.float32)
            if module.why_not(problem) is None and module.memory(problem) < 16 << 30:
                contestants[executor] = _attending(attention, leaves, layout, executor)
                works[executor] = module.work(problem)
        times = race(contestants, 2 if quick else 5)
        chosen = plan(attention, layout, heads=HEADS, d=WIDTH).executor
        rows += [
            {
                "case": name,
                "executor": each,
                "ms": round(t.seconds * 1e3, 4),
                "work": works[each],
                "chosen": each == chosen,
            }
            for each, t in times.items()
        ]
    return {"rows": rows}


def _attending(attention: Attention, leaves: Sequence[torch.Tensor], layout: Layout, executor: str) -> Contestant:
    def forward() -> torch.Tensor:
        return attend(attention, leaves[0], leaves[1], leaves[2], layout, executor=executor)

    return Contestant(forward, leaves)


def compile_an_encoder(device: str, quick: bool) -> dict[str, Any]:
    """A compiled encoder next to the same one not compiled: milliseconds, the largest difference, graphs compiled so far."""
    torch.manual_seed(0)
    width, layers = (32, 1) if quick else (256, 4)
    blocks = [Block(SelfAttention(width, 4), FeedForward(width, 4 * width), width) for _ in range(layers)]
    model = Stack(blocks, width).to(device)
    # Without a compiler of C++, a CPU has this one.
    compiled = torch.compile(
        model, fullgraph=True, dynamic=True, backend="aot_eager" if device == "cpu" else "inductor"
    )
    batches = [
        VectorSets.pack([torch.randn(n, width) for n in range(3, 3 + sets)]).to(device)
        for sets in ((2, 3, 4) if quick else (40, 50, 60, 70))
    ]
    far, graphs = 0.0, []
    for sets in batches:
        far = max(far, float((compiled(sets).values - model(sets).values).detach().abs().max()))
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    parameters = list(model.parameters())
    times = race(
        {name: _running(call, batches[-1], parameters) for name, call in (("eager", model), ("compiled", compiled))},
        2 if quick else 5,
    )
    return {
        "ms": {name: round(t.seconds * 1e3, 3) for name, t in times.items()},
        "largest difference": far,
        "graphs after each size": graphs,
    }


def _running(call: Callable[[VectorSets], VectorSets], sets: VectorSets, leaves: Sequence[torch.Tensor]) -> Contestant:
    def forward() -> torch.Tensor:
        return call(VectorSets(sets.values, Layout(sets.offsets))).values

    return Contestant(forward, leaves)


INSIDE: dict[str, Callable[[str, bool], dict[str, Any]]] = {"executors": time_executors, "compiled": compile_an_encoder}


@dataclass(frozen=True)
class Step:
    """A process to run: what it shows, and for how many seconds at most."""

    name: str
    shows: str
    command: Callable[[str, bool, str], list[str]]
    seconds: float
    needs_data: bool = False


def _tests(selection: str, workers: str) -> Callable[[str, bool, str], list[str]]:
    def command(device: str, quick: bool, folder: str) -> list[str]:
        chosen = selection if device == "cuda" else f"({selection}) and on_the_cpu"
        # A plugin that may be installed beside, and warns that it measures nothing in several processes.
        quiet = ["-p", "no:benchmark"]
        return ["-m", "pytest", "-q", "-n", workers, *quiet, "tests/attention/test_gpu.py", "-k", chosen]

    return command


def _itself(name: str) -> Callable[[str, bool, str], list[str]]:
    def command(device: str, quick: bool, folder: str) -> list[str]:
        return ["-m", "benchmarks.gpu", "--step", name, "--device", device, *(["--quick"] if quick else [])]

    return command


def _train(device: str, quick: bool, folder: str) -> list[str]:
    epochs = ["--training.epochs", "1"] if quick else []
    return ["-m", "regard.cli", "train", "digits", "--folder", f"{folder}/run", "--training.device", device, *epochs]


STEPS = [
    Step(
        "conformance",
        "every executor but flex equals the float64 reference, dropout included",
        _tests("not flex", "4"),
        150,
    ),
    Step("executors", "milliseconds of every executor and its work, for `costs-cuda.json`", _itself("executors"), 120),
    Step(
        "compiled",
        "a compiled encoder equals the one that is not, is quicker, and compiles once",
        _itself("compiled"),
        100,
    ),
    Step("flex", "flex equals the float64 reference, forward and backward", _tests("flex", "2"), 200),
    Step("training", "the digits are learned as well as on a CPU", _train, 60),
    Step(
        "encoder",
        "packed sets against torch's encoder on padded ones; writes `results/encoder-cuda.json`",
        lambda device, quick, folder: ["-m", "benchmarks.encoder", "--device", device],
        100,
        needs_data=True,
    ),
]


def run(step: Step, device: str, quick: bool, seconds: float) -> dict[str, Any]:
    """What became of a step: whether it passed, how long it took, what it found, and the end of what it printed."""
    if step.needs_data and (quick or not os.environ.get("REGARD_DATA")):
        return {"step": step.name, "passed": None, "why": "REGARD_DATA names no folder, or sizes are tiny"}
    if seconds < 1:
        return {"step": step.name, "passed": None, "why": "the time was over"}
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *step.command(device, quick, folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
            passed, printed = done.returncode == 0, done.stdout + done.stderr
        except subprocess.TimeoutExpired as late:
            passed, printed = False, f"{_text(late.stdout)}\nstopped after {seconds:.0f} seconds"
    found: dict[str, Any] = {"step": step.name, "passed": passed, "seconds": round(time.perf_counter() - begin, 1)}
    if passed and step.name in INSIDE:
        return found | json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    return found | {"printed": re.sub(r"\x1b\[[0-9;]*m", "", printed)[-2000:].splitlines()[-12:]}


def _text(printed: str | bytes | None) -> str:
    return printed.decode(errors="replace") if isinstance(printed, bytes) else printed or ""


def report(found: Mapping[str, Any]) -> None:
    verdict = {True: "passed", False: "FAILED", None: "left out"}[found["passed"]]
    print(f"{found['step']:12} {verdict:8} {found.get('seconds', 0):6.1f} s  {found.get('why', '')}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """All steps, or one inside of its process; 1 where a step failed, 2 where the device is not there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--minutes", type=float, default=9.5, help="for all steps together")
    parser.add_argument("--only", help="names of steps, with commas between them")
    parser.add_argument("--quick", action="store_true", help="tiny sizes; nothing is written")
    parser.add_argument("--step", choices=sorted(INSIDE), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device, expected one, or --device cpu --quick", file=sys.stderr)
        return 2
    if options.step is not None:
        print(json.dumps(INSIDE[options.step](options.device, options.quick)))
        return 0
    wanted = [step.name for step in STEPS] if options.only is None else options.only.split(",")
    if unknown := [name for name in wanted if name not in [step.name for step in STEPS]]:
        raise InputError(f"there is no step {unknown[0]!r}, expected some of {', '.join(step.name for step in STEPS)}")
    end = time.monotonic() + 60 * options.minutes
    rows = []
    for step in STEPS:
        if step.name in wanted:
            rows.append(run(step, options.device, options.quick, min(step.seconds, end - time.monotonic())))
            report(rows[-1])
            if not options.quick and options.device == "cuda":
                # After every step: what has been found stays, whatever ends the next one.
                print(write(rows), flush=True)
    return int(any(row["passed"] is False for row in rows))


def write(rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write what the steps have found so far into `results/gpu/DEVICE.json`."""
    device = torch.cuda.get_device_name()
    found = {"device": device, "machine": machine(), "shows": {s.name: s.shows for s in STEPS}, "rows": rows}
    path = RESULTS / "gpu" / f"{re.sub('[^a-z0-9]+', '-', device.lower())}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
