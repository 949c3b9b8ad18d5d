"""How good the plan is: its choice against every executor, and its memory against what was allocated.

    python -m benchmarks.choices

For each case of the attention benchmark that takes over 2 ms, the time of the plan's choice divided by that of the best executor:
1.2 at most for nine tenths of them, never beyond 1.5. Where over 32 MB were allocated, predicted bytes divided by measured ones:
within a fifth. Writes `results/choices.json`.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.attention import chosen
from benchmarks.cases import Case, ours
from benchmarks.machine import machine, write
from benchmarks.measure import Contestant, peak_memory, race
from regard.attention.planning import EXECUTORS
from regard.errors import InputError

__all__ = ["main", "measure", "share"]

_LEAST_MS, _LEAST_BYTES = 2.0, 32e6
# An executor that the plan thinks so many times slower is not run, and one whose first run was is not run again, lest one case take
# minutes.
_HOPELESS = 12
_MOST_BYTES = 8 << 30
# Seconds of a first run that decide nothing.
_LONG = 2.0


def measure(case: Case, repeats: int = 3) -> dict[str, Any]:
    """One row: milliseconds of every executor that may be the best, and the memory of the chosen one."""
    case = replace(case, layer="")
    layout = case.layout()
    plan, problem = case.plan(layout), case.problem(layout)
    least = plan.seconds[plan.executor]
    tried = [
        name
        for name, seconds in plan.seconds.items()
        if seconds <= _HOPELESS * least and EXECUTORS[name].memory(problem) < _MOST_BYTES
    ]
    inputs = case.inputs()
    contestants: dict[str, Contestant] = {}
    seconds: dict[str, float] = {}
    for name in sorted(tried, key=plan.seconds.__getitem__):
        each = ours(case, inputs, name)
        begin = time.perf_counter()
        each(None)
        seconds[name] = time.perf_counter() - begin
        # The first run may compile, and derives what a layout keeps.
        if seconds[name] < _LONG or seconds[name] <= _HOPELESS * min(seconds.values()):
            contestants[name] = each
    seconds |= {name: measured.seconds for name, measured in race(contestants, repeats).items()}
    ms = {name: float(f"{seconds[name] * 1e3:.4g}") for name in tried}
    best = min(ms, key=ms.__getitem__)
    row: dict[str, Any] = {"case": case.name, "choice": plan.executor, "best": best, "ms": ms}
    row["thought ms"] = {name: float(f"{plan.seconds[name] * 1e3:.3g}") for name in plan.seconds}
    if ms[best] > _LEAST_MS:
        row["choice to best"] = round(ms[plan.executor] / ms[best], 3)
    bytes_ = peak_memory(ours(case, inputs, plan.executor))
    if case.backward and bytes_ > _LEAST_BYTES:
        row["MB"] = {"predicted": round(plan.memory / 1e6, 1), "measured": round(bytes_ / 1e6, 1)}
        row["predicted to measured"] = round(plan.memory / bytes_, 3)
    return row


def share(rows: Sequence[dict[str, Any]], key: str, low: float, high: float) -> float | None:
    """The share of the rows with this entry in which it lies between the two, None where there is none."""
    there = [row[key] for row in rows if key in row]
    return round(sum(low <= x <= high for x in there) / len(there), 3) if there else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print what is off, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choices")
    parser.add_argument("--only", help="groups, or parts of names, with commas between them; then nothing is written")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows = []
    try:
        cases = [case for case in chosen(options.only) if not case.step]
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for case in cases:
        begin = time.perf_counter()
        try:
            row = measure(case)
        except InputError as error:
            print(f"not measured: {case.name}: {error}", file=sys.stderr)
            continue
        rows.append(row)
        gc.collect()
        off = [f"{key} {row[key]}" for key in ("choice to best", "predicted to measured") if key in row]
        print(
            f"{row['case']:44} {row['choice']:11} {row['ms']} {'; '.join(off)} ({time.perf_counter() - begin:.1f} s)",
            flush=True,
        )
    summary = {
        "choice within 1.2 of the best": share(rows, "choice to best", 0, 1.2),
        "choice within 1.5 of the best": share(rows, "choice to best", 0, 1.5),
        "memory within a fifth": share(rows, "predicted to measured", 0.8, 1.2),
    }
    print(summary)
    if options.only is None:
        about = machine() | {"threads": torch.get_num_threads()}
        write(
            "choices",
            {"case": "choices", "kind": "choices", "summary": summary, "rows": rows, "machine": about},
            show=False,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
