"""The cost model, measured: how many seconds each kind of work takes each executor.

    python -m benchmarks.costs [--only fused,edges] [--device cuda] [--seconds 30]

runs every executor, forward and backward, on the grid of `benchmarks.grid`, fits seconds per unit of the kinds of work that its
`work` names, and writes them into `regard/attention/costs-CLASS.json`, of the class of this processor, or into `costs-cuda.json`.
On a CPU it measures how quick the kernels of linear layers are as well (`--only linear` for these alone), and refuses, with status
2, where the matrix rate varies by more than a tenth while an executor is measured. What `--only` measures at another rate than the
file's is told as of that rate, so that executors measured on different days compare. `benchmarks.narrow` runs it as on a processor
of another class.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares, nnls

import regard.attention
from benchmarks.cases import Case, ours
from benchmarks.grid import GRID
from benchmarks.machine import machine
from regard.attention import calibration, costs
from regard.attention.planning import EXECUTORS
from regard.errors import InputError
from regard.kernels.rates import matrix_rate

__all__ = ["COSTS", "UnsteadyError", "errors", "fit", "known", "main", "steadily", "time_of"]

COSTS = Path(regard.attention.__file__).parent / f"costs-{costs.processor_class()}.json"
COSTS_CUDA = COSTS.with_name("costs-cuda.json")
# A case that is thought to take longer, or more memory, says nothing that a smaller one does not.
_MOST_SECONDS, _MOST_BYTES = 0.25, 2 << 30
_VARIATION = 0.1
# Of the largest share that a kind of work could have of any time; below ten times as much it counts as nothing.
_LEAST = 1e-7
_ATTEMPTS = 4

Work = Mapping[str, float]


class UnsteadyError(RuntimeError):
    """The machine computes now faster, now slower."""


def fit(works: Sequence[Work], seconds: Sequence[float]) -> dict[str, float]:
    """Seconds per unit of each kind of work, none negative, with small errors of the logarithms, few large ones forgiven.

    Logarithms, because half the time is as wrong as twice the time: least squares of relative errors, where the search begins,
    would hardly mind a prediction of nothing.

    >>> fit([{"calls": 1, "pairs": 0}, {"calls": 1, "pairs": 10}], [2.0, 7.0])
    {'calls': 2.0, 'pairs': 0.5}
    """
    kinds = list(dict.fromkeys(kind for work in works for kind in work))
    amounts = np.array([[work.get(kind, 0.0) for kind in kinds] for work in works])
    relative = amounts / np.array(seconds)[:, None]
    # Kinds come in very different units.
    unit = relative.max(0)
    if not unit.all():
        raise InputError(f"no case has work of the kind {kinds[int(np.argmin(unit))]!r}, expected one on the grid")
    relative = relative / unit
    begin, _ = nnls(relative, np.ones(len(works)))

    def residuals(logarithms: np.ndarray) -> np.ndarray:
        return np.log(relative @ np.exp(logarithms))

    def slopes(logarithms: np.ndarray) -> np.ndarray:
        parts = relative * np.exp(logarithms)
        return parts / parts.sum(1, keepdims=True)

    bounds = np.log(_LEAST), np.log(1e3)
    found = least_squares(
        residuals, np.log(begin.clip(1e-3, 1e2)), slopes, bounds, loss="soft_l1", f_scale=0.3, ftol=1e-12, xtol=1e-12
    )
    each = np.where(found.x < np.log(10 * _LEAST), 0.0, np.exp(found.x))
    return {kind: float(f"{value:.4g}") for kind, value in zip(kinds, each / unit, strict=True)}


def errors(each: Work, works: Sequence[Work], seconds: Sequence[float]) -> list[float]:
    """For each measurement, predicted seconds divided by measured ones."""
    return [sum(each[kind] * x for kind, x in work.items()) / t for work, t in zip(works, seconds, strict=True)]


def steadily(
    part: Callable[[], Any],
    rate: Callable[[], float],
    first: float | None,
    attempts: int = _ATTEMPTS,
    pause: float = 5.0,
) -> tuple[Any, float]:
    """What a part of the measurement gives, and the rate after it, repeated until the rate has kept.

    Args:
        rate: measures the matrix rate. first: what it was in the beginning; None where the part gives it.

    Raises:
        UnsteadyError: every attempt ended with another rate than `first`.
    """
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause)
        found = part()
        before, now = (found if first is None else first), rate()
        if abs(now - before) <= _VARIATION * max(now, before):
            return found, now
    raise UnsteadyError(
        f"the matrix rate went from {before:.0f} to {now:.0f} GFLOP/s, expected it to keep within {_VARIATION:.0%}: "
        "other programs are running, or the processor changes its speed"
    )


def time_of(case: Case, executor: str, device: str = "cpu") -> float:
    """Seconds of a forward and a backward pass: the middle of several after one to warm up."""
    step = ours(case, case.inputs().to(device), executor)
    out = step(None)
    gradient = torch.randn(out.shape).to(out)
    runs: list[float] = []
    begin = time.perf_counter()
    while len(runs) < 3 or (len(runs) < 9 and time.perf_counter() - begin < 0.06):
        at = time.perf_counter()
        step(gradient)
        runs.append(time.perf_counter() - at)
    return float(np.median(runs))


def suited(case: Case, executor: str, device: str = "cpu") -> Work | None:
    """The case's work for an executor, None where it refuses, or would take too long or too much."""
    problem, module = case.problem(case.layout().to(device)).on_host, EXECUTORS[executor]
    if module.why_not(problem) is not None or module.memory(problem) > _MOST_BYTES:
        return None
    work: Work = module.work(problem)
    known = costs.constants(device).get(executor, {})
    thought = sum(known.get(kind, 0.0) * x for kind, x in work.items())
    return work if thought <= _MOST_SECONDS else None


def measure(
    executor: str, cases: Sequence[Case], device: str = "cpu", most: float = math.inf
) -> tuple[list[str], list[Work], list[float]]:
    """Names, work and seconds of the cases that suit an executor; those that `most` seconds suffice for, in a random order."""
    names, works, seconds = [], [], []
    begin = time.perf_counter()
    for case in cases if most == math.inf else random.Random(0).sample(cases, len(cases)):
        if time.perf_counter() - begin > most:
            break
        work = suited(case, executor, device)
        if work is not None:
            names.append(case.name)
            works.append(work)
            seconds.append(time_of(case, executor, device))
    return names, works, seconds


def known(path: Path) -> dict[str, Any]:
    """What was measured before, of this class or, where there is nothing, of the nearest one."""
    near = path.with_name(f"costs-{costs.measured_class()}.json")
    found: dict[str, Any] = json.loads((path if path.exists() else near).read_text())
    return found


def linear(scale: float = 1.0) -> dict[str, float] | None:
    """Seconds, times `scale`, of torch's linear layer for a product of two numbers, both ways, and the kernels' share of these."""
    found = [times for _ in range(3) if (times := calibration.times_of_product()) is not None]
    if not found:
        return None
    ours, torchs = (min(times) for times in zip(*found, strict=True))
    share = float(f"{ours / torchs:.3g}")
    print(f"linear: the kernels take {share} of torch's time")
    return {"multiplications": float(f"{scale * torchs / math.prod(calibration.PRODUCT):.3g}"), "share": share}


def report(executor: str, names: Sequence[str], ratios: Sequence[float], seconds: Sequence[float]) -> None:
    """How well the fit explains what was measured."""
    spread = sorted(max(r, 1 / r) if r else float("inf") for r in ratios)
    print(f"{executor}: {len(names)} cases; off by {spread[len(spread) // 2]:.2f} in the middle, by")
    print(f"  {spread[int(0.9 * (len(spread) - 1))]:.2f} at nine tenths; furthest:")
    furthest = sorted(zip(ratios, names, seconds, strict=True), key=lambda x: -max(x[0], 1 / max(x[0], 1e-9)))
    for ratio, name, t in furthest[:5]:
        print(f"  {ratio:6.2f} of {t * 1e3:9.2f} ms  {name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, fit and write; 2 where the machine is unsteady."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs")
    parser.add_argument("--only", help="executors, with commas between them; the others keep their constants")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seconds", type=float, default=math.inf, help="for the cases of each executor")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    on_gpu = options.device == "cuda"
    names = [*EXECUTORS, *([] if on_gpu else ["linear"])] if options.only is None else options.only.split(",")
    with_linear = "linear" in names
    names = [name for name in names if name != "linear"]
    path = COSTS_CUDA if on_gpu else COSTS
    before = known(path)
    found = {name: each for name, each in before["seconds"].items() if name in EXECUTORS}
    least = {name: each for name, each in before.get("least", {}).items() if name in EXECUTORS}
    try:
        # The first part is the rate itself: it must be there before anything is compared with it.
        first = matrix_rate() if on_gpu else steadily(matrix_rate, matrix_rate, None)[0]
        print(f"{first:.0f} GFLOP/s", flush=True)
        keeps = options.only is not None and path.exists() and not on_gpu
        reference = float(before.get("machine", {}).get("matrix GFLOP/s", first)) if keeps else first
        for executor in names:
            begin = time.perf_counter()
            part = partial(measure, executor, GRID, options.device, options.seconds)
            # What a graphics processor takes does not depend on what else the CPU does.
            (cases, works, seconds), rate = (part(), first) if on_gpu else steadily(part, matrix_rate, first)
            if not cases:
                print(f"{executor}: refuses every case here, and keeps its constants")
                continue
            # What it refuses to measure here, such as what another device does, keeps its constants.
            seconds = [each * (first + rate) / (2 * reference) for each in seconds]
            found[executor] = found.get(executor, {}) | fit(works, seconds)
            least[executor] = float(f"{min(seconds):.4g}")
            report(executor, cases, errors(found[executor], works, seconds), seconds)
            print(f"  {time.perf_counter() - begin:.0f} s, {rate:.0f} GFLOP/s  {found[executor]}", flush=True)
        if with_linear:
            scaled = partial(linear, first / reference)
            before = before | {"linear": steadily(scaled, matrix_rate, first)[0] or before["linear"]}
    except UnsteadyError as unsteady:
        print(unsteady, file=sys.stderr)
        return 2
    if not options.dry:
        about = machine() | {"matrix GFLOP/s": round(reference, 1)}
        if on_gpu:
            about |= {"device": torch.cuda.get_device_name()}
        # What else is known of the class, such as how quick linear layers are, was not measured here.
        known_now = before | {"machine": about, "seconds": found, "least": least}
        path.write_text(json.dumps(known_now, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
