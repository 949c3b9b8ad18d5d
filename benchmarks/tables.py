"""Result tables: writes them from `benchmarks/results/NAME.json` into the README and the docs.

    python -m benchmarks.tables

rewrites what stands between `<!-- table: NAME -->` and `<!-- end -->`; a test checks that nothing there was typed in.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "documents", "fill", "main", "table"]

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Entry of a row -> heading; those that no row has are left out.
HEADINGS = {
    "model": "model",
    "metric": "metric",
    "mean": "test",
    "baseline": "trivial baseline",
    "published": "published",
    "parameters": "parameters",
    "epochs": "epochs",
    "seconds": "seconds to train",
}


def _number(x: Any) -> str:
    if not isinstance(x, int | float):
        return "" if x is None else str(x)
    if isinstance(x, int) or abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.1f}" if abs(x) >= 10 else f"{x:.3f}"


def _cell(row: dict[str, Any], entry: str) -> str:
    text = _number(row.get(entry)).replace("|", "\\|")
    seeds = len(row.get("values", ()))
    if entry == "mean" and seeds > 1:
        text += f" ± {_number(row['sd'])} ({seeds} seeds)"
    return text


def table(result: dict[str, Any]) -> str:
    """A result file as a Markdown table, with the data and the machine in a line below it."""
    entries = [entry for entry in HEADINGS if any(row.get(entry) is not None for row in result["rows"])]
    lines = [[HEADINGS[entry] for entry in entries], ["---"] * len(entries)]
    lines += [[_cell(row, entry) for entry in entries] for row in result["rows"]]
    about = [str(result[key]) for key in ("data", "split") if result.get(key)]
    about += [f"{key}: {value}" for key, value in result.get("machine", {}).items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{'; '.join(about)}.\n"


def fill(text: str) -> str:
    """A document with its marked tables written anew."""

    def written(match: re.Match[str]) -> str:
        result = json.loads((RESULTS / f"{match[2]}.json").read_text())
        return f"{match[1]}\n{table(result)}\n{match[3]}"

    return MARKED.sub(written, text)


def documents() -> list[Path]:
    """The files that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> int:
    """Rewrite every document whose tables are out of date, and say which."""
    for path in documents():
        before = path.read_text()
        after = fill(before)
        if after != before:
            path.write_text(after)
            print(f"wrote the tables of {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
