"""Threads on a busy machine: steps of `tagging` with the command's default, with OpenMP's, and with one thread.

    python -m benchmarks.threads [--busy 0 2 5] [--rounds 3]

Trains on the first sentences of UD English EWT, about 34 steps, as a command of its own, while so many other processes compute.
The ways take turns; a time is the median of the rounds, of training alone, as the model card says it. Needs REGARD_DATA and writes
`results/threads.json`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, write

__all__ = ["main", "measure"]

_SENTENCES = 1100
# The name of a way, the variables that it sets, and the threads that it asks for; 0 means all.
_WAYS: dict[str, tuple[dict[str, str], int]] = {
    "the command's default": ({}, 0),
    "OpenMP's default": ({"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "300000"}, 0),
    "one thread": ({}, 1),
}


def measure(data: Path, way: str) -> float:
    """Seconds of one training, its start left out."""
    from regard.train.card import read_facts

    variables, threads = _WAYS[way]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "GOMP_"))}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            sys.executable,
            "-m",
            "regard.cli",
            "train",
            "tagging",
            "--data.path",
            str(data),
            "--folder",
            str(run),
        ]
        command += ["--training.epochs", "1", "--training.progress", "false", "--training.threads", str(threads)]
        subprocess.run(command, env=inherited | variables, check=True, capture_output=True)
        return float(read_facts(run)["seconds"])


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Within, so many other processes compute all the time."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def shortened(folder: Path) -> Path:
    """The first sentences of the published training part, in a file of its own."""
    from regard.data.registry import locate
    from regard.files import read_lines

    sentences, lines = 0, []
    for _, line in read_lines(next(locate("ud-english-ewt").glob("*-train.conllu*"))):
        lines.append(line)
        sentences += not line
        if sentences == _SENTENCES:
            break
    path = folder / "short.conllu"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every way at each load, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2, 5])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = shortened(Path(folder))
        for processes in options.busy:
            times: dict[str, list[float]] = {way: [] for way in _WAYS}
            with busy(processes):
                for _ in range(options.rounds):
                    for way in _WAYS:
                        times[way].append(measure(data, way))
            seconds = {way: statistics.median(each) for way, each in times.items()}
            best = min(seconds.values())
            rows.append({"busy processes": processes, "load": round(os.getloadavg()[0], 1), "seconds": seconds})
            told = ", ".join(f"{way} {value:.1f} s ({value / best:.2f})" for way, value in seconds.items())
            print(f"{processes} busy processes, load {rows[-1]['load']}: {told}", flush=True)
    write("threads", {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
