"""The attention benchmark: every case next to its peers, in one process, taking turns.

    python -m benchmarks.attention [--only window,everyone] [--quick] [--list]

Writes `results/attention-GROUP.json` for each group that was measured, unless the conformance suite is red.
`--quick` takes small cases only and writes nothing. `make peers` installs the peers; one that is not there is named as missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks import conformance
from benchmarks.cases import CASES, Case, Floor, Inputs, ours
from benchmarks.machine import machine, write
from benchmarks.measure import Contestant, Measured, peak_memory, race
from benchmarks.peers import PEERS, missing
from regard.attention.verb import attend
from regard.errors import InputError

__all__ = ["main", "measure", "reached"]

_MATRIX, _COPY = "matrix product", "copy"
_COPIED = 1 << 26
_QUICK_VECTORS = 8192


def measure(case: Case, repeats: int = 5, memory: bool = True) -> dict[str, Any]:
    """One row of a result."""
    plan = case.plan()
    if plan.memory > 0.7 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        return {"case": case.name, "executor": plan.executor, "skipped": f"it needs {plan.memory / 2**30:.0f} GiB"}
    inputs = case.inputs()
    there = {name: missing(name) for name in case.peers}
    contestants = {"regard": ours(case, inputs), _MATRIX: _matrix(case)}
    if not case.step:
        contestants["new layout"] = ours(case, inputs, fresh=True)
    for name in [name for name, why in there.items() if why is None]:
        try:
            contestants[name] = PEERS[name].make(case, inputs)
        except RuntimeError as error:  # Such as too little memory for it.
            there[name] = f"could not begin: {str(error).splitlines()[0]}"
    if case.attention.patterns[0].reads_edges:
        contestants[_COPY] = _copy()
    times = race(contestants, repeats)
    seconds = times["regard"].seconds
    rate, flops = 2 * 1024**3 / times[_MATRIX].seconds, case.flops()
    executor = "a state" if case.step else plan.executor
    row: dict[str, Any] = {"case": case.name, "line": case.line, "vectors": case.total, "executor": executor}
    row |= {"ms": _ms(seconds)}
    if "new layout" in times:
        row |= {"new layout ms": _ms(times["new layout"].seconds)}
    if case.matrix:
        row |= {"GFLOP": _digits(flops / 1e9), "of G": _digits(flops / seconds / rate)}
    if _COPY in times:
        memory_rate, moved = 2 * _COPIED / times[_COPY].seconds, case.gathered()
        row |= {
            "GB": _digits(moved / 1e9),
            "of M": _digits(moved / seconds / memory_rate),
            "M": _digits(memory_rate / 1e9),
        }
    row |= {"G": round(rate / 1e9, 1)}
    if memory:
        row |= {"MB": _digits(peak_memory(contestants["regard"]) / 1e6)}
        if not case.layer and not case.step:
            row |= {"predicted MB": _digits(plan.memory / 1e6)}
    row["peers"] = {name: _peer(name, case, times, contestants, memory) for name in case.peers if name in contestants}
    absent = {name: why for name, why in there.items() if why is not None}
    if absent:
        row["missing"] = absent
    if any(floor.than == "error" for floor in case.floors):
        row["errors"] = _errors(case, inputs)
    return row


def _matrix(case: Case) -> Contestant:
    a = torch.randn(1024, 1024).to(case.dtype)
    return Contestant(lambda: a @ a)


def _copy() -> Contestant:
    a = torch.ones(_COPIED, dtype=torch.uint8)
    return Contestant(a.clone)


def _peer(
    name: str, case: Case, times: Mapping[str, Measured], contestants: Mapping[str, Contestant], memory: bool
) -> dict[str, float]:
    # One head of the peer stands for all of them.
    times_as_long = case.heads if name == "SDPA, one head" else 1
    seconds = times[name].seconds * times_as_long
    found = {"ms": _ms(seconds), "ratio": _digits(seconds / times["regard"].seconds), "runs": len(times[name].runs)}
    if memory and not contestants[name].once and times_as_long == 1:
        found["MB"] = _digits(peak_memory(contestants[name]) / 1e6)
    return found


def _errors(case: Case, inputs: Inputs) -> dict[str, float]:
    """The largest distance from the same attention in float64."""
    exact = [x.detach().double() for x in (inputs.q, inputs.k, inputs.v)]
    q, k, v = exact
    parameters = {name: x.detach().double() for name, x in inputs.parameters.items()}
    true = attend(case.attention, q, k, v, inputs.layout, None, parameters)

    def error(out: Tensor) -> float:
        return _digits(float((out.double() - true).abs().max()))

    found = {"regard": error(ours(case, inputs)(None))}
    return found | {name: error(PEERS[name].make(case, inputs)(None)) for name in case.peers if missing(name) is None}


def reached(
    floors: Sequence[Floor], row: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """For each floor: what it says, what was reached, and whether that is enough; None where something was not measured."""
    found = []
    for floor in floors:
        peer = row.get("peers", {}).get(floor.than)
        value: float | None
        if floor.than in ("G", "MB"):
            value = row.get("of G" if floor.than == "G" else "MB")
            at_least = floor.than == "G"
        elif floor.than == "error":
            errors = row.get("errors", {})
            others = [x for name, x in errors.items() if name != "regard"]
            value, at_least = (_digits(errors["regard"] / max(others)) if others else None), False
        elif floor.than in PEERS:
            value, at_least = None if peer is None else peer["ratio"], True
        else:
            other = rows.get(floor.than, {}).get("ms")
            value, at_least = None if other is None else _digits(row["ms"] / other), False
        met = None if value is None else value >= floor.factor if at_least else value <= floor.factor
        if met is False and floor.slack and peer is not None:
            met = row["ms"] <= peer["ms"] + floor.slack
        found.append(
            {"than": floor.than, "floor": _digits(floor.factor), "at least": at_least, "reached": value, "met": met}
        )
    return found


def run(cases: Sequence[Case], repeats: int, memory: bool = True) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the cases, and what could not be measured."""
    rows: dict[str, dict[str, Any]] = {}
    failures = []
    for case in cases:
        try:
            row = measure(case, repeats, memory)
        except InputError as error:
            failures.append(f"{case.name}: {error}")
            continue
        rows[case.name] = row
        row["floors"] = reached(case.floors, row, rows)
        print(summary(row), flush=True)
    return list(rows.values()), failures


def summary(row: Mapping[str, Any]) -> str:
    """A row in a line."""
    if "skipped" in row:
        return f"{row['case']:44} {row['executor']:11} skipped: {row['skipped']}"
    parts = [f"{row['case']:44} {row['executor']:11} {row['ms']:9.2f} ms"]
    parts += [f"{row['of G']:.2f} G"] if "of G" in row else []
    parts += [f"{row['MB']:.0f} MB"] if "MB" in row else []
    parts += [f"{name} {peer['ratio']:.2f}x" for name, peer in row["peers"].items()]
    parts += [f"{name} missing" for name in row.get("missing", ())]
    parts += [f"below {each['floor']} {each['than']}" for each in row.get("floors", ()) if each["met"] is False]
    return "  ".join(parts)


def _ms(seconds: float) -> float:
    return _digits(seconds * 1e3)


def _digits(x: float) -> float:
    """Four digits are more than a measurement has."""
    return float(f"{x:.4g}")


def chosen(only: str | None, quick: bool = False) -> list[Case]:
    """The cases of the groups, or those whose name holds one of the words, in `--only a,b`.

    Raises:
        InputError: a word that no group and no case knows.
    """
    words = [] if only is None else only.split(",")
    for word in words:
        if not any(word in (case.group, case.name) or word in case.name for case in CASES):
            groups = ", ".join(dict.fromkeys(case.group for case in CASES))
            raise InputError(
                f"there is no case {word!r}, expected one of the groups {groups}, or a part of a case's name"
            )
    cases = [case for case in CASES if not words or any(word == case.group or word in case.name for word in words)]
    return [case for case in cases if not quick or case.total <= _QUICK_VECTORS]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; 1 where something could not be measured, 2 where nothing may be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention")
    parser.add_argument("--only", help="groups, or parts of names, with commas between them")
    parser.add_argument("--quick", action="store_true", help="small cases, three turns, nothing written")
    parser.add_argument("--list", action="store_true", help="name the cases and what the plan chooses")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # Peers warn of what they do not use.
    try:
        cases = chosen(options.only, options.quick)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        for case in cases:
            print(f"{case.group:11} {case.name}")
        return 0
    refusal = None if options.quick else conformance.ensure()
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    failures = []
    for group in dict.fromkeys(case.group for case in cases):
        members = [case for case in cases if case.group == group]
        rows, failed = run(members, 3 if options.quick else options.repeats, memory=not options.quick)
        failures += failed
        whole = len(members) == sum(case.group == group for case in CASES)
        if rows and whole and not options.quick:
            write(
                f"attention-{group}",
                {"case": group, "kind": "attention", "rows": rows, "machine": machine()},
                show=False,
            )
    for failure in failures:
        print(f"not measured: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
