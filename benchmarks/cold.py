"""Cold start: how long it takes, once, to compile every kernel that the default recipes use.

    python -m benchmarks.cold

For each recipe a new process, with an empty folder for compiled code, trains and evaluates on some batches, and says how long Numba
compiled. A second process finds the folder full. Writes `results/cold.json`. Needs REGARD_DATA.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, write

__all__ = ["compiling", "main", "measure"]

# So many batches, the longest set among them, see every executor that a plan may choose.
_BATCHES = 3


def compiling(recipe: str) -> dict[str, float]:
    """In this process: seconds of Numba's compilation, and of the batches altogether."""
    from numba.core import event

    from regard.data.batch import collate
    from regard.recipes import RECIPES
    from regard.train.kinds import build, build_model
    from regard.train.scoring import in_order

    experiment = RECIPES[recipe].experiment()
    encoding = experiment.data.fit()
    part = experiment.data.training(encoding)
    model = build_model(experiment.model, experiment.task, encoding)
    task = build(experiment.task, model.width, encoding)
    longest = [max(range(len(part)), key=part.lengths.__getitem__)]
    batches = [*list(in_order(part.lengths, experiment.training.batch_vectors))[:_BATCHES], longest]
    begin = time.perf_counter()
    with event.install_listener("numba:compile", event.TimingListener()) as compiled:
        for training in (True, False):
            model.train(training)
            for indices in batches:
                batch = collate([part[i] for i in indices])
                loss, _ = task.loss(task(model(batch), batch), batch)
                if training:
                    loss.backward()
    return {"compiling": compiled.duration if compiled.done else 0.0, "batches": time.perf_counter() - begin}


def measure(recipe: str, cache: Path) -> dict[str, float]:
    """The same in a new process that keeps compiled code in a folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.cold", recipe]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every recipe one after another, with one folder, as a user would meet them."""
    from regard.recipes import RECIPES

    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments:
        print(json.dumps(compiling(arguments[0])))
        return 0
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for recipe in RECIPES:
            cold, warm = measure(recipe, Path(folder)), measure(recipe, Path(folder))
            seconds = {"compiling": round(cold["compiling"], 1), "compiling again": round(warm["compiling"], 1)}
            rows.append({"recipe": recipe, "seconds": seconds})
    total = round(sum(row["seconds"]["compiling"] for row in rows), 1)
    again = round(sum(row["seconds"]["compiling again"] for row in rows), 1)
    rows.append({"recipe": "all", "seconds": {"compiling": total, "compiling again": again}, "at most": 20})
    write("cold", {"case": "cold", "rows": rows, "machine": machine()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
