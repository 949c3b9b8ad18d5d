"""`regard evaluate`: metrics on a part of the data."""

from collections.abc import Sequence
from typing import Literal

from regard.cli.folders import expand
from regard.cli.options import parse, parser
from regard.cli.table import print_table
from regard.data.targets import listed_labels

__all__ = ["run"]

_DESCRIPTION = """Metrics on the test part, beside those of the best model that never looks at its input:
the most frequent label, or the mean. Writes evaluation.json and predictions-test.jsonl into the run folder."""


def run(arguments: Sequence[str]) -> int:
    options = parser("evaluate", _DESCRIPTION)
    options.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, or a folder of them")
    options.add_argument("--part", type=Literal["test", "validation", "train"], default="test", help="of the data")
    chosen = parse(options, arguments)
    folders = expand(chosen.runs)

    from regard.train import Run

    for folder in folders:
        found = Run.open(folder).evaluate(chosen.part)
        baseline = found["baseline"]
        rows = [
            (name, f"{value:.4f}", f"{baseline[name]:.4f}" if name in baseline else "")
            for name, value in found["metrics"].items()
        ]
        counts = ", ".join(f"{found[unit]:,} {unit}" for unit in ("sets", "vectors", "targets"))
        print_table(["metric", "model", "without looking"], rows, f"{folder}, {chosen.part} part: {counts}")
        if "unseen" in found:
            print(listed_labels(found["unseen"], chosen.part))
    return 0
