"""This checkout against another one, such as the commit before a change: the same cases, in two processes that take turns.

    python -m benchmarks.before OTHER [--only "window|graphs|additive|encoder"] [--rounds 5] [--turns 5]

OTHER is a checkout with an environment of its own (`OTHER/.venv`). Prints, per case, the median seconds of both over the rounds
and their ratio. Each round starts both processes anew, since where memory happens to lie moves a process by several percent.
Needs REGARD_DATA for the encoder and for graphs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["main"]

ENCODERS = {"encoder": 0.0, "encoder, dropout 0.1": 0.1}
GROUPS = "window|graphs|additive|encoder"
# One turn repeats a case until it has taken this long.
_SECONDS = 0.25
_READY = "ready"


def _step(name: str) -> Callable[[], None]:
    """One forward and backward pass of a case, after a warm-up; imports what the checkout in the working folder has."""
    import torch

    from benchmarks import encoder
    from benchmarks.cases import CASES, ours

    if name in ENCODERS:
        torch.manual_seed(0)
        model, _ = encoder.encoders(ENCODERS[name])
        batches = encoder.batches()
        # A fresh layout per step: what is derived from it is part of the price.
        return lambda: [  # type: ignore[return-value]
            model(type(sets)(sets.values, type(sets.layout)(sets.offsets))).values.square().sum().backward()
            for sets in batches
        ]
    case = next(case for case in CASES if case.name == name)
    contestant = ours(case, case.inputs())
    gradient = torch.randn_like(contestant(None)) if contestant.leaves else None
    return lambda: contestant(gradient)  # type: ignore[return-value]


def _serve() -> None:
    """Reads the name of a case, then `go` for each turn, until a blank line; answers with seconds."""
    for line in sys.stdin:
        step = _step(line.strip())
        step()
        began = time.perf_counter()
        step()
        calls = max(1, round(_SECONDS / (time.perf_counter() - began)))
        print(_READY, flush=True)
        while sys.stdin.readline().strip():
            began = time.perf_counter()
            for _ in range(calls):
                step()
            print((time.perf_counter() - began) / calls, flush=True)


@contextmanager
def _checkout(folder: Path) -> Iterator[Callable[[str], str]]:
    """A process in a checkout that answers one line with one line."""
    code = f"import runpy, sys; sys.path.insert(0, ''); runpy.run_path({str(Path(__file__).resolve())!r})['_serve']()"
    python = folder / ".venv" / "bin" / "python"
    process = subprocess.Popen(
        [python, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def ask(line: str) -> str:
        stdin.write(line + "\n")
        return stdout.readline().strip() if line else ""

    try:
        yield ask
    finally:
        process.kill()


def compare(name: str, ours: Callable[[str], str], theirs: Callable[[str], str], turns: int) -> tuple[float, float]:
    """The median seconds of the other checkout and of this one, in these two processes."""
    for ask in (ours, theirs):
        if ask(name) != _READY:
            raise SystemExit(f"{name}: one of the two checkouts cannot run it")
    seconds: list[tuple[float, float]] = []
    for turn in range(turns):
        # Who goes first changes, so that a machine that slows down favors neither.
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        pair = float(first("go")), float(second("go"))
        seconds.append(pair[::-1] if turn % 2 else pair)
    for ask in (ours, theirs):
        ask("")
    before, now = (statistics.median(column) for column in zip(*seconds, strict=True))
    return before, now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, metavar="OTHER")
    parser.add_argument("--only", default=GROUPS, help=f"groups or parts of names, with | between them; {GROUPS}")
    parser.add_argument("--rounds", type=int, default=5, help="how often both processes start anew")
    parser.add_argument("--turns", type=int, default=5, help="of a case in a round")
    chosen = parser.parse_args()
    from benchmarks.cases import CASES

    wanted = chosen.only.split("|")
    names = [case.name for case in CASES if any(word == case.group or word in case.name for word in wanted)]
    names += [name for name in ENCODERS if any(word in name for word in wanted)]
    here = Path(__file__).parent.parent
    medians: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(chosen.rounds):
        with _checkout(here) as ours, _checkout(chosen.other.resolve()) as theirs:
            for name in names:
                medians[name].append(compare(name, ours, theirs, chosen.turns))
    print(f"{'case':40} {'before ms':>10} {'now ms':>10} {'ratio':>7}   round by round")
    for name, rounds in medians.items():
        before, now = (statistics.median(column) * 1e3 for column in zip(*rounds, strict=True))
        ratios = " ".join(f"{after / earlier:.3f}" for earlier, after in rounds)
        print(f"{name:40} {before:10.2f} {now:10.2f} {now / before:7.3f}   {ratios}")


if __name__ == "__main__":
    main()
