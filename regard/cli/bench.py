"""`regard bench`: how fast attention is on this machine, next to what was measured on one of its class."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from regard.cli.options import parse, parser, take_threads, threads_option
from regard.cli.table import print_table

__all__ = ["run"]

_DESCRIPTION = """How fast attention is on this machine: each case forward and backward, taking turns with the same in torch's own
operators, next to what was measured on a processor of its class. Under three minutes, and one with --quick, once the kernels are
compiled. G is the rate of torch's matrix product, the peak that of multiply-adds in registers."""


def run(arguments: Sequence[str]) -> int:
    options = parser("bench", _DESCRIPTION)
    options.add_argument("--quick", action="store_true", help="small cases alone, and fewer turns")
    options.add_argument("--json", action="store_true", help="print what was measured as JSON")
    threads_option(options)
    chosen = parse(options, arguments)
    take_threads(chosen.threads)

    from regard.cli.bench_cases import CASES, measured

    machine = _machine()
    rows = [measured(case, chosen.quick) for case in CASES if case.quick or not chosen.quick]
    if chosen.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=2, ensure_ascii=False))
        return 0
    _show(machine, rows, _committed(machine["class"]))
    return 0


def _machine() -> dict[str, Any]:
    """Processor, its class and features, threads, and what it can do at most."""
    import torch

    from regard.attention.calibration import processor
    from regard.attention.costs import processor_class

    found: dict[str, Any] = {
        "processor": processor(),
        "class": processor_class(),
        "features": _features(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if hasattr(os, "getloadavg"):
        found["load"] = round(os.getloadavg()[0], 1)
    if find_spec("numba") is not None:
        from regard.kernels.rates import matrix_rate, memory_rate, peak_rate

        found["matrix GFLOP/s"] = round(matrix_rate(), 1)
        found["peak GFLOP/s"] = round(peak_rate(), 1)
        found["memory GB/s"] = round(memory_rate(), 1)
    return found


def _features() -> list[str]:
    """What of the instructions that matter here torch computes with."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability().lower()
    there = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    halves = [name for name in ("avx512_bf16", "avx512_vnni", "avx512_fp16", "amx_bf16") if there.get(name)]
    forced = {"ATEN_CPU_CAPABILITY", "NUMBA_CPU_FEATURES"} & os.environ.keys()
    return [f"{capability}, forced" if forced else capability, *(halves if capability != "avx2" else [])]


def _committed(name: str) -> dict[str, Any] | None:
    """What was measured on a processor of this class; None where none was."""
    there = files("regard.cli").joinpath(f"bench-{name}.json")
    return json.loads(there.read_text(encoding="utf-8")) if there.is_file() else None


def _show(machine: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], committed: Mapping[str, Any] | None) -> None:
    from regard.cli.bench_cases import PEERS

    print(_about(machine))
    if machine.get("load", 0) > (machine["cores"] or 1):
        print(f"the machine is busy, with {machine['load']} programs on {machine['cores']} cores: times mean little")
    known: dict[str, Mapping[str, Any]] = {}
    if committed is None:
        print(f"nothing was measured on a processor of the class {machine['class']}, to be shown next to these")
    else:
        known = {row["case"]: row for row in committed["rows"]}
        print(f"measured  {_about(committed['machine'])}")
    print()
    columns = ["case", "executor", "ms", "of peak", "times as fast"]
    if committed is not None:
        columns += ["measured: ms", "of peak", "times as fast"]
    table = []
    for row in rows:
        cells = [row["case"], row["executor"], *_cells(row, machine)]
        if committed is not None:
            there = known.get(row["case"])
            cells += ["", "", ""] if there is None else _cells(there, committed["machine"])
        table.append(cells)
    print_table(columns, table)
    absent = [name for name, module in PEERS.items() if find_spec(module) is None]
    if absent:
        print(f"\nnot installed, and so not measured: {', '.join(absent)}")


def _about(machine: Mapping[str, Any]) -> str:
    parts = [f"{machine['processor']}, {', '.join(machine['features'])}", f"{machine['threads']} threads"]
    rates = (("G", "matrix GFLOP/s"), ("peak", "peak GFLOP/s"))
    parts += [f"{name} {machine[rate]:,} GFLOP/s" for name, rate in rates if rate in machine]
    if "memory GB/s" in machine:
        parts.append(f"memory {machine['memory GB/s']:,} GB/s")
    return ", ".join([*parts, f"torch {machine['torch']}"])


def _cells(row: Mapping[str, Any], machine: Mapping[str, Any]) -> list[str]:
    """Milliseconds, the share of the peak, and for each of the others how many times as long it takes."""
    share = ""
    if "GFLOP" in row and "peak GFLOP/s" in machine:
        share = f"{row['GFLOP'] / row['ms'] * 1e3 / machine['peak GFLOP/s']:.2f}"
    others = [f"{ms / row['ms']:.2f} {name}" for name, ms in row["others"].items()]
    return [f"{row['ms']:,.4g}", share, "; ".join(others)]
